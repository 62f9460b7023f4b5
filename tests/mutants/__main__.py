"""Does a test notice when the code is wrong? ``make mutants``.

mutmut changes one thing in a function (a comparison, a number, a text, an argument
left out) and runs the tests that reach it. A mutant that no test notices has
survived: it is a missing test, or a change that makes no difference. What stands
outside of functions, as constants and tables do, it does not change.

    python -m tests.mutants                             # every room below
    python -m tests.mutants blazeio/wire/chunked.py     # one module

A module has some hundred mutants, and each takes about a second of CPU; what is not
tried when the time of a room is over (``--seconds``) is left out. Everything happens
in a copy below ``build/``, in which both packages lie side by side, as mutmut needs
it. The exit code is 1 where more than ``MOST_SURVIVORS`` of a room's mutants survive.
"""

import argparse
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.support.tree import PACKAGES, REPOSITORY

COPY = REPOSITORY / "build" / "mutants"
MOST_SURVIVORS = 0.05
"""A share of the mutants of a room."""
ROOMS = {
    "blazeio/wire": ["tests/wire"],
    "blazeio/content": ["tests/content"],
    "blazeio/client/cookies.py": ["tests/client"],
    "blazeio/client/pool.py": ["tests/client"],
    "blazeio/client/proxy.py": ["tests/client"],
    "blazeio/client/redirects.py": ["tests/client"],
    "blazeio/client/url.py": ["tests/client"],
    "blazeio/protocol/states.py": ["tests/protocol"],
    "supervisor/blazeio_supervisor/fleet": ["tests/supervisor/fleet"],
    "supervisor/blazeio_supervisor/sockets": ["tests/supervisor/sockets"],
}
"""What is changed, and the tests that should notice."""
COPIED = ("docs", "examples", "tests", "README.md", "CONTRIBUTING.md", "Makefile")
FAST = "not slow and not long and not browser and not systemd"
RESULT = re.compile(r"^\s+(\S+): ([\w ]+)$", re.MULTILINE)
NOTICED = {"killed", "timeout", "segfault", "caught by type check"}
UNTRIED = {"not checked", "check was interrupted by user"}


def choose_tests(place: str) -> list[str]:
    """Choose the tests that should notice a change of a file or folder."""
    if not (REPOSITORY / place).exists():
        sys.exit(f"{place} is not there")
    for room, tests in ROOMS.items():
        if place == room or place.startswith(f"{room}/"):
            return tests
    sys.exit(f"{place} is in none of the rooms: {', '.join(ROOMS)}")


def make_copy(place: str, tests: list[str]) -> None:
    """Copy what is tested, and say what of it is changed."""
    shutil.rmtree(COPY, ignore_errors=True)
    skipped = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name, folder in PACKAGES.items():
        shutil.copytree(REPOSITORY / folder, COPY / name, ignore=skipped)
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, COPY / name, ignore=skipped)
        else:
            shutil.copy(source, COPY / name)
    inside = place.removeprefix("supervisor/")
    package = inside.partition("/")[0]
    settings = {
        "source_paths": [package],
        "only_mutate": [inside if inside.endswith(".py") else f"{inside}/*.py"],
        "also_copy": [*COPIED, *PACKAGES],
        "pytest_add_cli_args": ["-x", "-m", FAST],
        "pytest_add_cli_args_test_selection": tests,
        "timeout_constant": 5.0,
    }
    lines = "".join(f"{key} = {value!r}\n" for key, value in settings.items())
    project = (REPOSITORY / "pyproject.toml").read_text()
    (COPY / "pyproject.toml").write_text(f"{project}\n[tool.mutmut]\n{lines}")


def try_all(seconds: float, children: int) -> None:
    """Have mutmut try every mutant of the copy, for so many seconds."""
    command = [sys.executable, "-m", "mutmut", "run", f"--max-children={children}"]
    with subprocess.Popen(command, cwd=COPY) as running:
        try:
            running.wait(seconds)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGINT)  # it writes down what it has by then
            try:
                running.wait(30)
            except subprocess.TimeoutExpired:
                running.kill()  # it was not yet done with the tests as they are


def ask_mutmut(*words: str) -> str:
    """Return what mutmut says of the results in the copy."""
    command = [sys.executable, "-m", "mutmut", *words]
    done = subprocess.run(command, cwd=COPY, stdout=subprocess.PIPE, text=True)
    return done.stdout


def judge(place: str, seconds: float, children: int) -> bool:
    """Try every mutant of a file or folder, and show those that survive.

    Returns:
        Whether few enough did.
    """
    make_copy(place, choose_tests(place))
    try_all(seconds, children)
    found = RESULT.findall(ask_mutmut("results", "--all", "true"))
    results = [(name, result) for name, result in found if result not in UNTRIED]
    if not results:
        print(f"{place}: nothing was tried; do its tests pass?")
        return False
    counts = Counter(result for _, result in results)
    survivors = [name for name, result in results if result not in NOTICED]
    for name in survivors:
        print(ask_mutmut("show", name))
    share = len(survivors) / len(results)
    told = ", ".join(f"{count} {result}" for result, count in counts.most_common())
    print(
        f"{place}: {len(results)} of {len(found)} mutants: {told}; {share:.1%} survived"
    )
    return share <= MOST_SURVIVORS


def main() -> None:
    """Read the command line and try what it names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", nargs="*", default=list(ROOMS), metavar="PLACE")
    parser.add_argument("--seconds", type=float, default=600, help="for each PLACE")
    parser.add_argument("--children", type=int, default=2, help="tests at once")
    words = parser.parse_args()
    places = [str(Path(place)) for place in words.places]
    verdicts = [judge(place, words.seconds, words.children) for place in places]
    shutil.rmtree(COPY, ignore_errors=True)
    sys.exit(0 if all(verdicts) else 1)


if __name__ == "__main__":
    main()
