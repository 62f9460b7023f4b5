"""Where a race, the kernel or an RFC decides, the code says so.

The number is no aim of its own: it falls when code is added that says nothing of its
reasons. Comments that repeat the code are no way to raise it.
"""

import pytest

from tests.architecture.comment_density import find_share, measure_rooms

LEAST = 10.0
OTHERS: dict[str, tuple[float, str]] = {
    "blazeio.wire": (20.0, "each line is decided by a section of an RFC"),
    "blazeio.gateways": (
        9.0,
        "what an app may send and must be told is ASGI's and PEP 3333's to say; the "
        "races of its threads and tasks are commented as elsewhere",
    ),
}
"""Rooms with another bar, each with the reason."""
ROOMS = measure_rooms()


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_says_why(room: str) -> None:
    least, _ = OTHERS.get(room, (LEAST, ""))
    share = find_share(ROOMS[room])
    assert share >= least, (
        f"{room}: {share:.1f} lines of reasons for each 100 lines of code, of at least "
        f"{least:g}: see python -m tests.architecture.comment_density"
    )


def test_the_rooms_with_another_bar_are_there() -> None:
    assert OTHERS.keys() <= ROOMS.keys()
