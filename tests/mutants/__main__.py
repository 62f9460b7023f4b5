"""Does a test notice when the code is wrong? ``make mutants``.

One thing is changed in a function (a comparison, a number, a text, an argument left
out), and the tests that reach it are run. A mutant that no test notices, nor mypy, has
survived: it is a missing test, or code that makes no difference.

    python -m tests.mutants                             # every room
    python -m tests.mutants wire content                # two of them
    python -m tests.mutants blazeio/wire/chunked.py     # one module
    python -m tests.mutants --again wire                # what survived last time
    python -m tests.mutants --resume wire               # a run that was ended goes on

The exit code is 1 where more than ``MOST_SURVIVORS`` of a room's mutants survive, where
one survives that ``explained.py`` does not explain, and where an explanation explains
nothing any more.
"""

import argparse
import multiprocessing
import signal
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.explained import find_explanation, find_stale
from tests.mutants.kept import NOTICES, UNTRIED, Outcome
from tests.mutants.trying import try_mutants
from tests.support.tree import REPOSITORY

MOST_SURVIVORS = 0.05
"""A share of the mutants of a room."""
FAST = "not slow and not long and not browser and not systemd"


@dataclass(frozen=True, slots=True)
class Room:
    """What is changed together.

    Attributes:
        places: Files and folders.
        tests: The folders and files whose tests should notice.
    """

    places: tuple[str, ...]
    tests: tuple[str, ...]


SUPERVISOR = "supervisor/blazeio_supervisor"
ROOMS = {
    # Not tests/http2: tests/wire speaks HTTP/2 without sockets, in a fraction of the
    # time, and no test of it fails for a deadline.
    "wire": Room(("blazeio/wire",), ("tests/wire", "tests/conformance")),
    "content": Room(("blazeio/content",), ("tests/content",)),
    "client": Room(
        tuple(
            f"blazeio/client/{name}.py"
            for name in (
                "auth",
                "cookies",
                "pool",
                "request",
                "url",
            )
        ),
        ("tests/client",),
    ),
    "states": Room(
        ("blazeio/protocol/http1_states.py", "blazeio/client/states.py"),
        (
            "tests/protocol/test_states.py",
            "tests/client/test_states.py",
            "tests/architecture/test_tables_are_total.py",
        ),
    ),
    "fleet": Room((f"{SUPERVISOR}/fleet",), ("tests/supervisor/fleet",)),
    "sockets": Room((f"{SUPERVISOR}/sockets",), ("tests/supervisor/sockets",)),
}


def find_room(place: str) -> tuple[str, Room]:
    """Return a room by its name, or the part of one by the path of a file or folder."""
    if place in ROOMS:
        return place, ROOMS[place]
    path = str(Path(place))
    if not (REPOSITORY / path).exists():
        sys.exit(f"{place} is neither there nor one of the rooms: {', '.join(ROOMS)}")
    for room in ROOMS.values():
        for each in room.places:
            if path == each or path.startswith(f"{each}/"):
                return path, Room((path,), room.tests)
    sys.exit(f"{place} is in none of the rooms: {', '.join(ROOMS)}")


def judge(name: str, room: Room, words: argparse.Namespace) -> bool:
    """Try every mutant of a room, and show those that survive.

    Returns:
        Whether few enough did, and each is explained.
    """
    spawn = multiprocessing.get_context("spawn")  # pytest runs once in a process
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        found = pool.submit(
            *(try_mutants, list(room.places), list(room.tests), FAST),
            *(words.seconds, words.children, words.again, words.resume),
        ).result()
    for test in found.failed:
        print(f"fails without any change, and was left out: {test}")
    tried = [each for each in found.outcomes if each.became != UNTRIED]
    if not tried:
        print(f"{name}: nothing was tried")
        return False
    survivors = [each for each in tried if each.became not in NOTICES]
    unexplained = [each for each in survivors if find_explanation(each) is None]
    for each in unexplained:
        print(each)
    stale = find_stale(found.outcomes)
    for line in stale:
        print(line)
    files: dict[str, list[Outcome]] = {}
    for each in tried:
        files.setdefault(each.place, []).append(each)
    for place, here in sorted(files.items()):
        print(f"  {_sum_up(place, here)}")
    untried = len(found.outcomes) - len(tried)
    print(_sum_up(name, tried), f"; {untried} not tried" if untried else "", sep="")
    share = len(survivors) / len(tried)
    return not (unexplained or stale or untried) and share <= MOST_SURVIVORS


def _sum_up(name: str, outcomes: list[Outcome]) -> str:
    counts = Counter(each.became for each in outcomes)
    told = ", ".join(f"{count} {became}" for became, count in counts.most_common())
    left = [each for each in outcomes if each.became not in NOTICES]
    explained = sum(find_explanation(each) is not None for each in left)
    share = f"{len(left) / len(outcomes):.1%} survived, {explained} of them explained"
    return f"{name}: {len(outcomes)} mutants: {told}; {share}"


def main() -> None:
    """Read the command line and try what it names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", nargs="*", default=list(ROOMS), metavar="PLACE")
    parser.add_argument("--seconds", type=float, default=7200, help="for each PLACE")
    parser.add_argument("--children", type=int, default=2, help="mutants at once")
    parser.add_argument(
        "--again", action="store_true", help="only those not noticed last time"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on where the last run of the same PLACE was ended",
    )
    words = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that tries them ends
    rooms = [find_room(place) for place in words.places]
    verdicts = [judge(name, room, words) for name, room in rooms]
    sys.exit(0 if all(verdicts) else 1)


if __name__ == "__main__":
    main()
