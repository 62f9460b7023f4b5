"""The listeners of one TCP address: one per slot where that can be.

Where there are fewer than slots (a ``.socket`` unit has one), slots share them:
slot i accepts from the i-th, round and round.
"""

import socket
from collections.abc import Sequence

from msgspec import Struct

from blazeio_supervisor.errors import BindError
from blazeio_supervisor.ipc.messages import ListenerInfo
from blazeio_supervisor.sockets.address import TcpEndpoint
from blazeio_supervisor.sockets.bind import BACKLOG, open_first, open_sibling
from blazeio_supervisor.sockets.reuseport import Queue, draw_evenly, sort_by_order


class TcpGroup(Struct):
    """The sockets of one TCP address, by slot.

    Attributes:
        endpoint: Where it listens; the port that was picked, not 0.
        kept_count: So many of them, the first ones, outlive us.
        is_fixed: None can be added.
        is_ordered: The kernel numbers them as we do, so that it can steer.
        scheme: What is spoken there; "": as everywhere.
        ranks: The place in ``sockets`` of each that listens, as the kernel numbers
            them; empty: in the same order.
    """

    endpoint: TcpEndpoint
    sockets: list[socket.socket]
    kept_count: int = 0
    is_fixed: bool = False
    is_ordered: bool = True
    scheme: str = ""
    ranks: list[int] = []

    def queue_of(self, slot: int, slot_count: int) -> Queue:
        """Return the queue that this slot accepts from."""
        count = len(self.sockets)
        at = slot % count
        terms = ListenerInfo(
            is_shared=count < slot_count,
            is_kept=at < self.kept_count,
            scheme=self.scheme,
        )
        return Queue(self.sockets[at], terms)

    @property
    def own(self) -> list[socket.socket]:
        """The sockets that end with the service."""
        return self.sockets[self.kept_count :]

    def list_ranks(self) -> list[int]:
        """Return the places in ``sockets`` in the order of the kernel's numbers."""
        return self.ranks or list(range(len(self.sockets)))

    def note_lost(self, places: Sequence[int]) -> None:
        """Note that some no longer listen: the kernel has removed them.

        It moves the last one into each hole. With several holes the outcome depends
        on which came first, which nobody has seen.
        """
        ranks = self.list_ranks()
        if 1 < len(places) < len(ranks):
            self.is_ordered = False
        for place in places:
            if place not in ranks:
                continue  # it was lost before, and could not be made anew yet
            at = ranks.index(place)
            ranks[at] = ranks[-1]
            ranks.pop()
        self.ranks = ranks

    def note_renewed(self, place: int) -> None:
        """Note that one listens again: the kernel has it as the last one."""
        self.ranks = [*self.ranks, place]

    def grow(self, count: int, backlog: int = BACKLOG) -> None:
        """Add sockets until there are as many as slots, if any can be added.

        Raises:
            BindError: The kernel refused: another user has made those that are
                there, or there is no room.
        """
        while len(self.sockets) < count and not self.is_fixed:
            self.sockets.append(open_sibling(self.sockets[0], backlog))
            if self.ranks:
                self.ranks = [*self.ranks, len(self.sockets) - 1]


def open_group(
    endpoint: TcpEndpoint, slot_count: int, backlog: int = BACKLOG
) -> TcpGroup:
    """Open one queue for each slot.

    Raises:
        BindError: It cannot be bound; nothing is left open.
    """
    first = open_first(endpoint, backlog)
    host, port = first.getsockname()[:2]
    group = TcpGroup(TcpEndpoint(endpoint.family, host, port), [first])
    try:
        group.grow(slot_count, backlog)
    except BindError:
        for sock in group.sockets:
            sock.close()
        raise
    return group


def inherit_group(
    endpoint: TcpEndpoint, sockets: Sequence[socket.socket], *, is_fixed: bool
) -> TcpGroup:
    """Take over the sockets of one address, all of which outlive us."""
    group = TcpGroup(endpoint, list(sockets), len(sockets), is_fixed)
    if len(sockets) > 1:
        ordered = sort_by_order(sockets)
        group.is_ordered = ordered is not None
        group.sockets = ordered or group.sockets
    else:
        draw_evenly(sockets[0])  # what a larger group before us has left
    return group
