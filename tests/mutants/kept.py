"""What became of mutants, kept in files: of whole runs, and of one that goes on.

A room takes minutes to hours, and a run may be ended at any time. ``Journal`` has a
line for each mutant as soon as it was tried, so that ``--resume`` goes on where a run
was ended. That holds only for the very same files: another run of the tests could
notice what survived, and another function has other mutants.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

NOTICED, TIMED_OUT, REFUSED = "noticed", "timed out", "refused by mypy"
SURVIVED, UNREACHED, UNTRIED = "survived", "reached by no test", "not tried"
NOTICES = {NOTICED, TIMED_OUT, REFUSED}

Key = tuple[str, str, str]
"""Which mutant: file, function, and what is changed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant.

    Attributes:
        place: As of a ``Mutant``.
        owner: As of a ``Mutant``.
        change: As of a ``Mutant``.
        became: One of the words above.
    """

    place: str
    owner: str
    change: str
    became: str

    @property
    def key(self) -> Key:
        """Which mutant it is."""
        return self.place, self.owner, self.change

    def __str__(self) -> str:
        """All of it, in a line."""
        return f"{self.became}: {self.place}: {self.owner}: {self.change}"


class Kept:
    """What became of every mutant when it was last tried."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _read(self) -> list[Outcome]:
        if not self._path.exists():
            return []
        lines = self._path.read_text().splitlines()
        return [Outcome(*json.loads(line)) for line in lines]

    def read_noticed(self) -> dict[Key, str]:
        """Return those that were noticed, and how."""
        outcomes = self._read()
        left = {each.key for each in outcomes if each.became not in NOTICES}
        return {each.key: each.became for each in outcomes if each.key not in left}

    def write(self, outcomes: list[Outcome]) -> None:
        """Keep the outcomes of some files, instead of those that were known of them."""
        places = {each.place for each in outcomes}
        others = [each for each in self._read() if each.place not in places]
        lines = [json.dumps([*each.key, each.became]) for each in (*others, *outcomes)]
        self._path.parent.mkdir(exist_ok=True)
        self._path.write_text("".join(f"{line}\n" for line in lines))


class Journal:
    """The outcomes of a run that has not ended, one a line.

    Args:
        path: Its file; removed when the run ends.
        digest: Of all that the outcomes depend on.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self._path = path
        self._digest = digest

    def begin(self, *, resumes: bool) -> dict[int, Outcome]:
        """Begin, or go on with the journal of a run that was ended.

        Returns:
            By number of the mutant, what is known already.
        """
        known = self._read() if resumes else {}
        self._path.parent.mkdir(exist_ok=True)
        self._path.write_text("")
        self._write([self._digest])
        for number, outcome in known.items():
            self.note(number, outcome)
        return known

    def _read(self) -> dict[int, Outcome]:
        try:
            head, *lines = self._path.read_text().splitlines()
        except (FileNotFoundError, ValueError):
            return {}
        if json.loads(head) != [self._digest]:
            return {}
        known = {}
        for line in lines:
            try:
                number, *words = json.loads(line)
            except ValueError:  # the run was ended while it wrote the line
                break
            known[number] = Outcome(*words)
        return known

    def note(self, number: int, outcome: Outcome) -> None:
        """Keep what became of a mutant, at once."""
        self._write([number, *outcome.key, outcome.became])

    def _write(self, words: list[object]) -> None:
        with self._path.open("a") as file:
            print(json.dumps(words), file=file)

    def end(self) -> None:
        """Remove it: all was tried."""
        self._path.unlink()


def sum_up(files: Iterable[Path], *words: str) -> str:
    """Return the digest of files and words."""
    found = hashlib.sha256("\0".join(words).encode())
    for path in sorted(files):
        content = path.read_bytes()
        found.update(f"{path}\0{len(content)}\0".encode() + content)
    return found.hexdigest()
