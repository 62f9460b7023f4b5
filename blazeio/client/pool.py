"""Which connection serves which request, and what is opened and closed for it.

Pure: no I/O, no clock, no asyncio; what has happened is told by a method, and
what is to be done about it is returned. Connections are opaque.

Laws, at all times:

* There are never more connections, being opened or open, than the bounds.
* Nobody waits while a connection of that origin is idle.
* Whoever asks first is served first, among those whom the same connection could
  serve; across origins where the bound on all connections is what they wait for.
* One that was told lost, or has been idle for too long, serves nobody.
* A failed attempt fails one who waits, the first.

May import: nothing of blazeio but client.settings.
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from msgspec import Struct

from blazeio.client.settings import PoolLimits

_Origin = TypeVar("_Origin", bound=Hashable)
_Connection = TypeVar("_Connection", bound=Hashable)

# RFC 9110 section 9.2.2.
IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))


def may_retry(
    method: str, *, was_reused: bool, has_received: bool, can_repeat: bool
) -> bool:
    """Whether a request that failed with its connection is sent once more.

    RFC 9112 section 9.3.1: a server may close an idle connection while a
    request is on its way. Only where nothing tells that the request was seen,
    and where being seen twice does no harm.

    Args:
        method: Of the request.
        was_reused: The connection had served a request before.
        has_received: An octet of an answer has come.
        can_repeat: Its content is still there to be sent again.
    """
    return was_reused and not has_received and can_repeat and method in IDEMPOTENT


class Ticket(Struct, Generic[_Origin], eq=False):
    """The place in the queue of one who waits for a connection."""

    origin: _Origin
    number: int


class Opening(Struct, Generic[_Origin], eq=False):
    """An attempt to open a connection."""

    origin: _Origin


class Serve(Struct, Generic[_Origin, _Connection], frozen=True):
    """Let the holder of the ticket have the connection."""

    ticket: Ticket[_Origin]
    connection: _Connection


class Fail(Struct, Generic[_Origin], frozen=True):
    """Tell the holder of the ticket why the attempt has failed."""

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


class _Lane(Generic[_Origin, _Connection]):
    """Everything of one origin. ``idle`` has until when each may be used."""

    __slots__ = ("busy", "idle", "openings", "origin", "waiting")

    def __init__(self, origin: _Origin) -> None:
        self.origin = origin
        self.idle: dict[_Connection, float] = {}
        self.busy: set[_Connection] = set()
        self.openings: dict[Opening[_Origin], None] = {}
        self.waiting: dict[Ticket[_Origin], None] = {}

    @property
    def connection_count(self) -> int:
        return len(self.idle) + len(self.busy) + len(self.openings)

    @property
    def is_in_need(self) -> bool:
        """More wait than attempts are under way."""
        return len(self.waiting) > len(self.openings)

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
        self._lanes: dict[_Origin, _Lane[_Origin, _Connection]] = {}
        self._lane_of: dict[_Connection, _Lane[_Origin, _Connection]] = {}
        self._opening_count = 0
        self._asked_count = 0

    def __repr__(self) -> str:
        lanes = "; ".join(map(repr, self._lanes.values()))
        return f"<Pool {lanes or 'empty'}>"

    # Asking

    def take(self, origin: _Origin, now: float) -> _Connection | None:
        """An idle connection, the one that was used last; it is busy then.

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
        self, origin: _Origin, now: float
    ) -> tuple[Ticket[_Origin], Sequence[object]]:
        """Wait for a connection; until served, failed or withdrawn."""
        self._asked_count += 1
        ticket = Ticket(origin, self._asked_count)
        lane = self._lanes.get(origin)
        if lane is None:
            lane = self._lanes[origin] = _Lane(origin)
        actions = self.expire(now)
        self._lanes[origin] = lane  # an empty one has gone with what expired
        lane.waiting[ticket] = None
        if lane.idle:
            connection, _ = lane.idle.popitem()
            return ticket, [*actions, self._serve_first(lane, connection)]
        if lane.is_in_need and self._may_open(lane):
            if self._is_full and (victim := self._longest_idle()) is not None:
                self._forget(victim)
                actions.append(Close(victim))
            if not self._is_full:
                actions.append(self._open(lane))
        return ticket, actions

    def withdraw(self, ticket: Ticket[_Origin]) -> Sequence[object]:
        """Its holder waits no longer; one that was served has no ticket left."""
        lane = self._lanes.get(ticket.origin)
        if lane is None or ticket not in lane.waiting:
            return ()
        del lane.waiting[ticket]
        actions: list[object] = []
        if len(lane.openings) > len(lane.waiting):
            opening, _ = lane.openings.popitem()
            self._opening_count -= 1
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
        del lane.openings[opening]
        self._opening_count -= 1
        self._lane_of[connection] = lane
        return self._place(lane, connection, idle_until)

    def failed(self, opening: Opening[_Origin]) -> Sequence[object]:
        """An attempt has failed."""
        lane = self._lanes[opening.origin]
        del lane.openings[opening]
        self._opening_count -= 1
        actions: list[object] = []
        if lane.waiting:
            ticket = next(iter(lane.waiting))
            del lane.waiting[ticket]
            actions.append(Fail(ticket))
        return self._refilled(lane, actions)

    def give_back(self, connection: _Connection, idle_until: float) -> Sequence[object]:
        """A busy connection can serve the next.

        Args:
            connection: It.
            idle_until: Until when it may be used if nobody takes it before.
        """
        # Hot: runs once per request.
        lane = self._lane_of[connection]
        lane.busy.remove(connection)
        if not lane.waiting and not self._is_full:
            lane.idle[connection] = idle_until
            return ()
        return self._place(lane, connection, idle_until)

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
        """Close, abandon and fail everything."""
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

    def _may_open(self, lane: _Lane[_Origin, _Connection]) -> bool:
        return lane.connection_count < self._limits.connections_per_origin

    def _open(self, lane: _Lane[_Origin, _Connection]) -> Open[_Origin]:
        opening = Opening(lane.origin)
        lane.openings[opening] = None
        self._opening_count += 1
        return Open(opening)

    def _serve_first(
        self, lane: _Lane[_Origin, _Connection], connection: _Connection
    ) -> Serve[_Origin, _Connection]:
        ticket = next(iter(lane.waiting))
        del lane.waiting[ticket]
        lane.busy.add(connection)
        return Serve(ticket, connection)

    def _place(
        self,
        lane: _Lane[_Origin, _Connection],
        connection: _Connection,
        idle_until: float,
    ) -> Sequence[object]:
        """A connection is free: for the first who waits, of whichever origin."""
        starved = self._oldest_in_need() if self._is_full else None
        first = next(iter(lane.waiting), None)
        if starved is not None and starved is not lane:
            oldest = next(iter(starved.waiting))
            if first is None or oldest.number < first.number:
                self._forget(connection)
                return self._refilled(lane, [Close(connection)])
        if first is not None:
            return [self._serve_first(lane, connection)]
        lane.idle[connection] = idle_until
        return ()

    def _refilled(
        self, lane: _Lane[_Origin, _Connection], actions: list[object]
    ) -> list[object]:
        """There may be room now: open for those who wait, the oldest first."""
        while not self._is_full:
            oldest = self._oldest_in_need()
            if oldest is None:
                break
            actions.append(self._open(oldest))
        if not (lane.waiting or lane.connection_count):
            self._lanes.pop(lane.origin, None)
        return actions

    def _oldest_in_need(self) -> _Lane[_Origin, _Connection] | None:
        """The lane whose first waits longest, of those that one more would help."""
        lanes = (
            lane
            for lane in self._lanes.values()
            if lane.is_in_need and self._may_open(lane)
        )
        return min(lanes, key=_first_number, default=None)

    def _longest_idle(self) -> _Connection | None:
        """The connection that is to expire first."""
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
        if not (lane.waiting or lane.connection_count):
            self._lanes.pop(lane.origin, None)


def _first_number(lane: _Lane[_Origin, _Connection]) -> int:
    return next(iter(lane.waiting)).number
