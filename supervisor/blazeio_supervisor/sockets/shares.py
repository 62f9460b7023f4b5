"""Who gets a place at a small server: a bound in all, and a share for each peer.

A place is held by a request that is being answered. A connection without one is
silent, whether nothing, half a head or a former request came by it; it keeps its
place until somebody else needs one. So silence, however much of it, keeps
nobody out. Pure.
"""

from collections import Counter
from collections.abc import Hashable, Sequence

from msgspec import Struct


class Shares(Struct, frozen=True):
    """The bounds.

    Attributes:
        count: Connections in all.
        peer_count: Connections of one peer.
    """

    count: int
    peer_count: int


class Occupant(Struct, frozen=True):
    """A connection that is open.

    Attributes:
        peer: Whose it is: a user id, or an address.
        is_silent: No request of it is being answered.
    """

    peer: Hashable
    is_silent: bool


class NoPlaceError(Exception):
    """Every place that the newcomer could have is held by a request."""


def find_victim(
    shares: Shares, occupants: Sequence[Occupant], peer: Hashable
) -> int | None:
    """Find the connection that gives way to a new one.

    At its own share a peer displaces its own oldest silent connection; at the
    bound in all, that of the peer that has the most.

    Args:
        shares: The bounds.
        occupants: The open connections, the oldest first.
        peer: Whose the new one is.

    Returns:
        The index of an occupant; None: there is room.

    Raises:
        NoPlaceError: None of those that could give way is silent.
    """
    counts = Counter(each.peer for each in occupants)
    if counts[peer] >= shares.peer_count:
        candidates = [peer]
    elif len(occupants) >= shares.count:
        candidates = [each for each, _ in counts.most_common()]
    else:
        return None
    for candidate in candidates:
        for index, occupant in enumerate(occupants):
            if occupant.is_silent and occupant.peer == candidate:
                return index
    raise NoPlaceError
