import pytest

from blazeio_supervisor.master.guarded_server import (
    NoRoomError,
    OpenConnection,
    Shares,
    choose_displaced,
)

SHARES = Shares(count=4, peer_count=2)


def occupants(text: str) -> list[OpenConnection]:
    """A letter for each: whose it is; a capital one is asking."""
    return [OpenConnection(each.lower(), each.islower()) for each in text]


@pytest.mark.parametrize(
    ("now", "peer", "victim"),
    [
        ("", "a", None),
        ("ab", "a", None),
        ("aab", "a", 0),  # its own share, whatever is free
        ("Aab", "a", 1),
        ("bbac", "d", 0),  # who has the most gives the oldest
        ("cabb", "d", 2),
        ("AAbB", "c", 2),  # who has as much, but asks, keeps it
    ],
)
def test_silence_gives_way(now: str, peer: str, victim: int | None) -> None:
    assert choose_displaced(SHARES, occupants(now), peer) == victim


@pytest.mark.parametrize(("now", "peer"), [("AA", "a"), ("AAbb", "a"), ("AABB", "c")])
def test_what_is_being_answered_never_gives_way(now: str, peer: str) -> None:
    with pytest.raises(NoRoomError):
        choose_displaced(SHARES, occupants(now), peer)
