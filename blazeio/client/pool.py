"""Which connection serves which request, and what is opened and closed for it.

Pure: no I/O, no clock, no asyncio; what has happened is told by a method, and
what is to be done about it is returned. Connections are opaque.

Laws, at all times:

* There are never more connections, being opened or open, than the bounds.
* Nobody waits while a connection of that origin is idle, but who needs a new one.
* Whoever asks first is served first, among those whom the same connection could
  serve; across origins where the bound on all connections is what they wait for.
* One that was told lost, or has been idle for too long, serves nobody. Whoever was
  served by one that the server had closed waits again, at the same place.
* A failed attempt fails the one for whom it was begun, if they still wait.
* One that only reads past the rest of a response is closed where somebody waits
  for the room that it takes.
* After ``shut`` nothing is opened, and whoever asks is failed.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import inf
from typing import Generic, TypeVar

from msgspec import Struct

from blazeio.errors import ConfigurationError

_Origin = TypeVar("_Origin", bound=Hashable)
_Connection = TypeVar("_Connection", bound=Hashable)

# RFC 9110 sections 9.2.1 and 9.2.2.
SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
IDEMPOTENT = SAFE | {"PUT", "DELETE"}
MOST_RETRIES = 1
"""Of one request. Section 9.2.2 of the same: an automatic retry that has failed is
not retried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """The bounds of a session's connections.

    Attributes:
        connections: Most of them, open or being opened; who asks then waits.
        connections_per_origin: The same, for each scheme, host and port.
        idle_s: How long one is kept that nobody uses, seconds; less where the
            server says so by Keep-Alive.

    Raises:
        ConfigurationError: One of them cannot be.
    """

    connections: int = 100
    connections_per_origin: int = 100
    idle_s: float = 15.0

    def __post_init__(self) -> None:
        for name, least in (
            ("connections", 1),
            ("connections_per_origin", 1),
            ("idle_s", 0),
        ):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not least <= value < inf:
                message = f"pool {name}={value!r}: expected a number >= {least}"
                raise ConfigurationError(message)


def may_retry(method: str, status: int, *, was_reused: bool, can_repeat: bool) -> bool:
    """Whether a request is sent once more, whose connection brought no answer.

    Only where being seen twice does no harm: the server may have done it, and
    closed before the head of its response was whole (RFC 9110 section 9.2.2). A
    408 on a kept connection says no more than that this was idle for too long
    (section 15.5.9); on a new one it is an answer.

    Args:
        method: Of the request.
        status: Of its response; 0: the head was not whole.
        was_reused: The connection had served a request before.
        can_repeat: The content of the request is still there to be sent again.
    """
    is_unanswered = not status or (status == 408 and was_reused)
    return is_unanswered and can_repeat and method in IDEMPOTENT


class Ticket(Struct, Generic[_Origin], eq=False):
    """The place in the queue of one who waits for a connection.

    Attributes:
        origin: Who is to be connected to.
        number: Of the place; less is before.
        needs_new: Only a connection that has never been used will do.
        opening: The attempt that was begun for it; None: none is under way.
    """

    origin: _Origin
    number: int
    needs_new: bool = False
    opening: "Opening[_Origin] | None" = None


class Opening(Struct, Generic[_Origin], eq=False):
    """An attempt to open a connection.

    Attributes:
        origin: Who is connected to.
        ticket: For whom it was begun; its outcome may serve another.
    """

    origin: _Origin
    ticket: Ticket[_Origin]


class ServeRequest(Struct, Generic[_Origin, _Connection], frozen=True):
    """Let the holder of the ticket have the connection."""

    ticket: Ticket[_Origin]
    connection: _Connection


class Fail(Struct, Generic[_Origin], frozen=True):
    """Tell the holder of the ticket that there will be no connection."""

    ticket: Ticket[_Origin]


class Open(Struct, Generic[_Origin], frozen=True):
    """Open a connection; tell ``opened`` or ``failed``."""

    opening: Opening[_Origin]


class Abandon(Struct, Generic[_Origin], frozen=True):
    """Give the attempt up; nothing more is told of it."""

    opening: Opening[_Origin]


class Close(Struct, Generic[_Connection], frozen=True):
    """Close the connection; nothing more is told of it."""

    connection: _Connection


class _OriginPool(Generic[_Origin, _Connection]):
    """Everything of one origin.

    Attributes:
        idle: Until when each may be used.
        busy: Those that serve somebody, or are lingering.
        lingering: Those of them that read past the rest of a response.
        openings: Attempts under way.
        waiting: By the number of their tickets, ascending.
    """

    __slots__ = ("busy", "idle", "lingering", "openings", "origin", "waiting")

    def __init__(self, origin: _Origin) -> None:
        self.origin = origin
        self.idle: dict[_Connection, float] = {}
        self.busy: set[_Connection] = set()
        self.lingering: dict[_Connection, None] = {}
        self.openings: dict[Opening[_Origin], None] = {}
        self.waiting: OrderedDict[Ticket[_Origin], None] = OrderedDict()

    @property
    def connection_count(self) -> int:
        return len(self.idle) + len(self.busy) + len(self.openings)

    @property
    def is_in_need(self) -> bool:
        """More wait than attempts are under way."""
        return len(self.waiting) > len(self.openings)

    @property
    def is_empty(self) -> bool:
        return not (self.waiting or self.connection_count)

    def enqueue(self, ticket: Ticket[_Origin]) -> None:
        """Let it wait; one that has waited before, where its number belongs."""
        waiting = self.waiting
        last = next(reversed(waiting), None)
        waiting[ticket] = None
        if last is None or last.number < ticket.number:
            return
        older = list(takewhile(lambda each: each.number < ticket.number, waiting))
        waiting.move_to_end(ticket, last=False)
        for each in reversed(older):
            waiting.move_to_end(each, last=False)

    def find_first(self, *, is_new: bool) -> Ticket[_Origin] | None:
        """Find who is to be served by a connection.

        Args:
            is_new: It has never been used.
        """
        accepting = (each for each in self.waiting if is_new or not each.needs_new)
        return next(accepting, None)

    def __repr__(self) -> str:
        counts = {
            "idle": self.idle,
            "busy": self.busy,
            "opening": self.openings,
            "waiting": self.waiting,
        }
        told = [f"{len(held)} {name}" for name, held in counts.items() if held]
        return f"{self.origin}: {', '.join(told)}"


class Pool(Generic[_Origin, _Connection]):
    """The connections of one session.

    Args:
        limits: Its bounds.
    """

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._lanes: dict[_Origin, _OriginPool[_Origin, _Connection]] = {}
        self._lane_of: dict[_Connection, _OriginPool[_Origin, _Connection]] = {}
        self._opening_count = 0
        self._asked_count = 0
        self._is_shut = False

    def __repr__(self) -> str:
        lanes = "; ".join(map(repr, self._lanes.values()))
        return f"<Pool {lanes or 'empty'}>"

    # Asking

    def take(self, origin: _Origin, now: float) -> _Connection | None:
        """Take an idle connection, the one that was used last; it is busy then.

        Returns:
            None where there is none: ``ask`` for one.
        """
        # Hot: runs once per request.
        lane = self._lanes.get(origin)
        if lane is None or not lane.idle:
            return None
        connection, until = lane.idle.popitem()
        if until <= now:
            lane.idle[connection] = until
            return None
        lane.busy.add(connection)
        return connection

    def ask(
        self, origin: _Origin, now: float, *, needs_new: bool = False
    ) -> tuple[Ticket[_Origin], Sequence[object]]:
        """Wait for a connection; until served, failed or withdrawn.

        Args:
            origin: Who is to be connected to.
            now: Monotonic seconds.
            needs_new: Only a connection that has never been used will do.
        """
        self._asked_count += 1
        ticket = Ticket(origin, self._asked_count, needs_new)
        if self._is_shut:
            return ticket, [Fail(ticket)]
        return ticket, self._enqueue(ticket, now)

    def refuse(
        self, ticket: Ticket[_Origin], connection: _Connection, now: float
    ) -> Sequence[object]:
        """Wait again, at the same place: the server had closed what it was served.

        Args:
            ticket: Of one that was served and has used nothing of it.
            connection: What it was served; it is lost.
            now: Monotonic seconds.
        """
        if self._is_shut:
            return [Fail(ticket)]
        if connection in self._lane_of:
            self._forget(connection)
        return self._enqueue(ticket, now)

    def withdraw(self, ticket: Ticket[_Origin]) -> Sequence[object]:
        """Its holder waits no longer; one that was served has no ticket left."""
        lane = self._lanes.get(ticket.origin)
        if lane is None or ticket not in lane.waiting:
            return ()
        del lane.waiting[ticket]
        actions: list[object] = []
        if len(lane.openings) > len(lane.waiting):
            opening = ticket.opening or next(reversed(lane.openings))
            self._end_opening(lane, opening)
            actions.append(Abandon(opening))
        return self._refilled(lane, actions)

    # What has become of connections

    def opened(
        self, opening: Opening[_Origin], connection: _Connection, idle_until: float
    ) -> Sequence[object]:
        """An attempt has succeeded.

        Args:
            opening: The attempt.
            connection: Its outcome.
            idle_until: Until when it may be used if nobody takes it before.
        """
        lane = self._lanes[opening.origin]
        self._end_opening(lane, opening)
        self._lane_of[connection] = lane
        return self._place(lane, connection, idle_until, is_new=True)

    def failed(self, opening: Opening[_Origin]) -> Sequence[object]:
        """An attempt has failed."""
        lane = self._lanes[opening.origin]
        self._end_opening(lane, opening)
        actions: list[object] = []
        ticket = opening.ticket
        if ticket in lane.waiting:
            del lane.waiting[ticket]
            actions.append(Fail(ticket))
        return self._refilled(lane, actions)

    def give_back(self, connection: _Connection, idle_until: float) -> Sequence[object]:
        """A busy connection can serve the next; one that was lost serves nobody.

        Args:
            connection: It.
            idle_until: Until when it may be used if nobody takes it before.
        """
        # Hot: runs once per request.
        lane = self._lane_of.get(connection)
        if lane is None:
            return ()
        lane.busy.remove(connection)
        if lane.lingering:
            lane.lingering.pop(connection, None)
        if not lane.waiting and not self._is_full:
            lane.idle[connection] = idle_until
            return ()
        return self._place(lane, connection, idle_until, is_new=False)

    def linger(self, connection: _Connection) -> Sequence[object]:
        """A busy connection only reads past the rest of a response from now on.

        It is given back when that is over, unless its room is needed before.
        """
        lane = self._lane_of.get(connection)
        if lane is None:
            return ()
        if lane.is_in_need or (self._is_full and self._oldest_in_need() is not None):
            return self._replaced(lane, connection)
        lane.lingering[connection] = None
        return ()

    def lost(self, connection: _Connection) -> Sequence[object]:
        """It is closed, or must be; whatever it was doing."""
        lane = self._lane_of.get(connection)
        if lane is None:
            return ()
        self._forget(connection)
        return self._refilled(lane, [])

    def expire(self, now: float) -> list[object]:
        """Close what has been idle for too long."""
        expired = [
            connection
            for lane in self._lanes.values()
            for connection, until in lane.idle.items()
            if until <= now
        ]
        for connection in expired:
            self._forget(connection)
        return [Close(connection) for connection in expired]

    def shut(self) -> Sequence[object]:
        """Close, abandon and fail everything, for good."""
        self._is_shut = True
        actions: list[object] = [Close(connection) for connection in self._lane_of]
        for lane in self._lanes.values():
            actions += map(Abandon, lane.openings)
            actions += map(Fail, lane.waiting)
        self._lanes.clear()
        self._lane_of.clear()
        self._opening_count = 0
        return actions

    # Deciding

    @property
    def _is_full(self) -> bool:
        count = len(self._lane_of) + self._opening_count
        return count >= self._limits.connections

    def _may_open(self, lane: _OriginPool[_Origin, _Connection]) -> bool:
        return lane.connection_count < self._limits.connections_per_origin

    def _enqueue(self, ticket: Ticket[_Origin], now: float) -> list[object]:
        """Let it wait, for a connection that is there or for one that is opened."""
        actions = self.expire(now)
        lane = self._lanes.get(ticket.origin)
        if lane is None:
            lane = self._lanes[ticket.origin] = _OriginPool(ticket.origin)
        lane.enqueue(ticket)
        if lane.idle and not ticket.needs_new:
            connection, _ = lane.idle.popitem()
            return [*actions, self._serve(lane, ticket, connection)]
        if lane.is_in_need:
            victim = self._find_victim(lane)
            if victim is not None:
                self._forget(victim)
                actions.append(Close(victim))
        return self._refilled(lane, actions)

    def _find_victim(
        self, lane: _OriginPool[_Origin, _Connection]
    ) -> _Connection | None:
        """Find what is closed to make room for a lane; None: nothing, or no need."""
        if not self._may_open(lane):
            own = lane.lingering or lane.idle
            return next(iter(own), None)
        if not self._is_full:
            return None
        for each in self._lanes.values():
            if each.lingering:
                return next(iter(each.lingering))
        return self._find_longest_idle()

    def _open(self, lane: _OriginPool[_Origin, _Connection]) -> Open[_Origin]:
        """Begin an attempt, for the first who has none."""
        ticket = next(each for each in lane.waiting if each.opening is None)
        opening = ticket.opening = Opening(lane.origin, ticket)
        lane.openings[opening] = None
        self._opening_count += 1
        return Open(opening)

    def _end_opening(
        self, lane: _OriginPool[_Origin, _Connection], opening: Opening[_Origin]
    ) -> None:
        del lane.openings[opening]
        opening.ticket.opening = None
        self._opening_count -= 1

    def _serve(
        self,
        lane: _OriginPool[_Origin, _Connection],
        ticket: Ticket[_Origin],
        connection: _Connection,
    ) -> ServeRequest[_Origin, _Connection]:
        del lane.waiting[ticket]
        lane.busy.add(connection)
        return ServeRequest(ticket, connection)

    def _place(
        self,
        lane: _OriginPool[_Origin, _Connection],
        connection: _Connection,
        idle_until: float,
        *,
        is_new: bool,
    ) -> Sequence[object]:
        """A connection is free: for the first who waits, of whichever origin."""
        starved = self._oldest_in_need() if self._is_full else None
        first = lane.find_first(is_new=is_new)
        if starved is not None and starved is not lane:
            oldest = next(iter(starved.waiting))
            if first is None or oldest.number < first.number:
                return self._replaced(lane, connection)
        if first is not None:
            return [self._serve(lane, first, connection)]
        if lane.is_in_need:  # of a new one, and a bound is what they wait for
            return self._replaced(lane, connection)
        lane.idle[connection] = idle_until
        return ()

    def _replaced(
        self, lane: _OriginPool[_Origin, _Connection], connection: _Connection
    ) -> Sequence[object]:
        """Close it; one is opened in its place."""
        self._forget(connection)
        return self._refilled(lane, [Close(connection)])

    def _refilled(
        self, lane: _OriginPool[_Origin, _Connection], actions: list[object]
    ) -> list[object]:
        """There may be room now: open for those who wait, the oldest first."""
        while not self._is_full:
            oldest = self._oldest_in_need()
            if oldest is None:
                break
            actions.append(self._open(oldest))
        if lane.is_empty:
            self._lanes.pop(lane.origin, None)
        return actions

    def _oldest_in_need(self) -> _OriginPool[_Origin, _Connection] | None:
        """The lane whose first waits longest, of those that one more would help."""
        lanes = (
            lane
            for lane in self._lanes.values()
            if lane.is_in_need and self._may_open(lane)
        )
        return min(lanes, key=_first_number, default=None)

    def _find_longest_idle(self) -> _Connection | None:
        """Find the connection that is to expire first."""
        idle: Iterable[tuple[float, _Connection]] = (
            (until, connection)
            for lane in self._lanes.values()
            for connection, until in lane.idle.items()
        )
        first = min(idle, key=lambda each: each[0], default=None)
        return None if first is None else first[1]

    def _forget(self, connection: _Connection) -> None:
        lane = self._lane_of.pop(connection)
        lane.idle.pop(connection, None)
        lane.busy.discard(connection)
        lane.lingering.pop(connection, None)
        if lane.is_empty:
            self._lanes.pop(lane.origin, None)


def _first_number(lane: _OriginPool[_Origin, _Connection]) -> int:
    return next(iter(lane.waiting)).number
