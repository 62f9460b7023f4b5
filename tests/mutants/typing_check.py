"""Which mutants ``make check`` would refuse: the type checker notices, too.

Every survivor of a file is written below the function that it changes, under a name
of its own, and mypy reads that in place of the file.
"""

import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable
from pathlib import Path

import libcst

from tests.mutants.making import Mutant
from tests.support.tree import REPOSITORY

# A changed ``__init__`` declares the attributes once more: that is no error of its own.
_ERROR = re.compile(r"^([^:]+\.py):(\d+): error: (?!.*\[no-redef\]$)", re.MULTILINE)


def find_wrongly_typed(mutants: Iterable[Mutant]) -> set[Mutant]:
    """Return the mutants that mypy refuses."""
    by_place: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        if mutant.changed is not None:
            by_place.setdefault(mutant.place, []).append(mutant)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--no-error-summary",
        "--hide-error-context",
    ]
    written: dict[str, list[Mutant | None]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (place, here) in enumerate(by_place.items()):
            text, written[place] = _write_all(REPOSITORY / place, here)
            shadow = Path(folder, f"{number}.py")
            shadow.write_text(text)
            command += ["--shadow-file", place, str(shadow)]
        if not written:
            return set()
        done = subprocess.run(
            [*command, *written], cwd=REPOSITORY, capture_output=True, text=True
        )
    if done.returncode not in (0, 1):
        sys.exit(f"mypy: {done.stdout}{done.stderr}")
    found = (
        written[place][int(line) - 1] for place, line in _ERROR.findall(done.stdout)
    )
    return {each for each in found if each is not None}


def _write_all(path: Path, mutants: list[Mutant]) -> tuple[str, list[Mutant | None]]:
    """Return the text with its mutants, and for each line whose it is."""
    behind: dict[int, list[tuple[str, Mutant]]] = {}
    for number, mutant in enumerate(mutants):
        assert mutant.changed is not None
        name = libcst.Name(f"{mutant.changed.name.value}_{number}")
        code = libcst.Module([mutant.changed.with_changes(name=name)]).code
        if "." in mutant.owner:
            code = textwrap.indent(code, "    ")
        behind.setdefault(mutant.lines[-1], []).append((code, mutant))
    lines: list[str] = []
    owners: list[Mutant | None] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        lines.append(line)
        owners.append(None)
        for code, mutant in behind.get(number, ()):
            new = code.splitlines()
            lines += new
            owners += [mutant] * len(new)
    return "\n".join(lines) + "\n", owners
