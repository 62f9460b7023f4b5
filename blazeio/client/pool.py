"""The rules of the connection pool: who is served by which connection, what is opened.

Pure: no I/O, no clock, no asyncio. A method tells what has happened; it returns the
actions that follow. ``connection_pool.ConnectionPool`` carries them out. Connections
are opaque here.

These laws hold at all times:

* There are never more connections, open or being opened, than the bounds allow.
* A request waits only while no connection of its origin is idle, or while it needs a
  new one.
* Requests are served in the order in which they came, among those that the same
  connection could serve. Where the bound on all connections is what they wait for, that
  is true across origins.
* A connection that was reported as lost, or was idle for too long, serves nobody. A
  request that was given a connection which the server had closed waits again, at the
  same place.
* A failed attempt to connect fails the request for which it was begun, if that still
  waits.
* A connection that is only being drained is closed when a request waits for its room.
* After ``close_all`` nothing is opened, and every request fails.
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
"""How often one request is sent again. RFC 9110 section 9.2.2: an automatic retry that
has failed is not retried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """The bounds of a session's connections.

    Attributes:
        connections: How many may be open or being opened; a request that finds no room
            waits.
        connections_per_origin: The same for each scheme, host and port.
        idle_s: How long an idle connection is kept, seconds; less where the server says
            so by Keep-Alive.

    Raises:
        ConfigurationError: A bound is not possible.
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
    """Tell whether a request is sent once more when its connection brought no response.

    It is sent again only where being processed twice does no harm: the server may have
    done it, and closed the connection before the head of its response was whole (RFC
    9110 section 9.2.2). A 408 on a reused connection only says that the connection was
    idle for too long (section 15.5.9); on a new one it is a response.

    Args:
        method: The method of the request.
        status: The status of the response; 0: its head was not whole.
        was_reused: The connection had served a request before.
        can_repeat: The content of the request is still there to be sent again.
    """
    is_unanswered = not status or (status == 408 and was_reused)
    return is_unanswered and can_repeat and method in IDEMPOTENT


class Ticket(Struct, Generic[_Origin], eq=False):
    """The place of a waiting request in the queue.

    Attributes:
        origin: Who is to be connected to.
        number: A lower number is served earlier.
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
        ticket: The request it was begun for; its connection may serve another one.
    """

    origin: _Origin
    ticket: Ticket[_Origin]


class ServeRequest(Struct, Generic[_Origin, _Connection], frozen=True):
    """Give the connection to the request that holds the ticket."""

    ticket: Ticket[_Origin]
    connection: _Connection


class Fail(Struct, Generic[_Origin], frozen=True):
    """Tell the request that holds the ticket that there will be no connection."""

    ticket: Ticket[_Origin]


class Open(Struct, Generic[_Origin], frozen=True):
    """Open a connection, then call ``opened`` or ``failed``."""

    opening: Opening[_Origin]


class Abandon(Struct, Generic[_Origin], frozen=True):
    """Give up the attempt; neither ``opened`` nor ``failed`` is called."""

    opening: Opening[_Origin]


class Close(Struct, Generic[_Connection], frozen=True):
    """Close the connection; the pool has forgotten it."""

    connection: _Connection


class _OriginPool(Generic[_Origin, _Connection]):
    """The connections and the waiting requests of one origin.

    Attributes:
        idle: Idle connections, with the time until which each may be used.
        busy: Connections that serve a request, or are being drained.
        lingering: Those of ``busy`` that are being drained.
        openings: Attempts under way.
        waiting: Tickets by their numbers, ascending.
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
    def needs_connection(self) -> bool:
        """Whether more requests wait than attempts are under way."""
        return len(self.waiting) > len(self.openings)

    @property
    def is_empty(self) -> bool:
        return not (self.waiting or self.connection_count)

    def enqueue(self, ticket: Ticket[_Origin]) -> None:
        """Let a request wait, at the place of its number."""
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
        """Return the ticket that a connection serves next; None: nobody waits for it.

        Args:
            is_new: The connection has never been used.
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
        limits: Their bounds.
    """

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._by_origin: dict[_Origin, _OriginPool[_Origin, _Connection]] = {}
        self._origin_of: dict[_Connection, _OriginPool[_Origin, _Connection]] = {}
        self._opening_count = 0
        self._asked_count = 0
        self._is_shut = False

    def __repr__(self) -> str:
        pools = "; ".join(map(repr, self._by_origin.values()))
        return f"<Pool {pools or 'empty'}>"

    # What a request asks for

    def take(self, origin: _Origin, now: float) -> _Connection | None:
        """Take the idle connection that was used last; it is busy from now on.

        Returns:
            None where no connection is idle; then ``ask``.
        """
        # Hot: runs once per request.
        of_origin = self._by_origin.get(origin)
        if of_origin is None or not of_origin.idle:
            return None
        connection, until = of_origin.idle.popitem()
        if until <= now:
            of_origin.idle[connection] = until
            return None
        of_origin.busy.add(connection)
        return connection

    def ask(
        self, origin: _Origin, now: float, *, needs_new: bool = False
    ) -> tuple[Ticket[_Origin], Sequence[object]]:
        """Wait for a connection, until the ticket is served, failed or withdrawn.

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
        """Wait again at the same place: the connection had been closed by the server.

        Args:
            ticket: The ticket that was served.
            connection: The connection that was given; it is lost.
            now: Monotonic seconds.
        """
        if self._is_shut:
            return [Fail(ticket)]
        if connection in self._origin_of:
            self._forget(connection)
        return self._enqueue(ticket, now)

    def withdraw(self, ticket: Ticket[_Origin]) -> Sequence[object]:
        """Stop waiting; does nothing for a ticket that was served."""
        of_origin = self._by_origin.get(ticket.origin)
        if of_origin is None or ticket not in of_origin.waiting:
            return ()
        del of_origin.waiting[ticket]
        actions: list[object] = []
        if len(of_origin.openings) > len(of_origin.waiting):
            opening = ticket.opening or next(reversed(of_origin.openings))
            self._end_opening(of_origin, opening)
            actions.append(Abandon(opening))
        return self._open_for_waiting(of_origin, actions)

    # What happens to connections

    def opened(
        self, opening: Opening[_Origin], connection: _Connection, idle_until: float
    ) -> Sequence[object]:
        """Take the connection of an attempt that has succeeded.

        Args:
            opening: The attempt.
            connection: The new connection.
            idle_until: Until when it may be used if nobody takes it before.
        """
        of_origin = self._by_origin[opening.origin]
        self._end_opening(of_origin, opening)
        self._origin_of[connection] = of_origin
        return self._place(of_origin, connection, idle_until, is_new=True)

    def failed(self, opening: Opening[_Origin]) -> Sequence[object]:
        """Forget an attempt that has failed; its request fails, too."""
        of_origin = self._by_origin[opening.origin]
        self._end_opening(of_origin, opening)
        actions: list[object] = []
        ticket = opening.ticket
        if ticket in of_origin.waiting:
            del of_origin.waiting[ticket]
            actions.append(Fail(ticket))
        return self._open_for_waiting(of_origin, actions)

    def release(self, connection: _Connection, idle_until: float) -> Sequence[object]:
        """Take back a busy connection that can serve another request.

        Args:
            connection: The connection; one that was lost is ignored.
            idle_until: Until when it may be used if nobody takes it before.
        """
        # Hot: runs once per request.
        of_origin = self._origin_of.get(connection)
        if of_origin is None:
            return ()
        of_origin.busy.remove(connection)
        if of_origin.lingering:
            of_origin.lingering.pop(connection, None)
        if (
            not of_origin.waiting
            # not by ``_is_full``: a call, 1 % of a small request
            and len(self._origin_of) + self._opening_count < self._limits.connections
        ):
            of_origin.idle[connection] = idle_until
            return ()
        return self._place(of_origin, connection, idle_until, is_new=False)

    def linger(self, connection: _Connection) -> Sequence[object]:
        """Note that a busy connection is only being drained from now on.

        It is given back when that is over, unless its room is needed before.
        """
        of_origin = self._origin_of.get(connection)
        if of_origin is None:
            return ()
        if of_origin.needs_connection or (
            self._is_full and self._find_oldest_waiting() is not None
        ):
            return self._replace(of_origin, connection)
        of_origin.lingering[connection] = None
        return ()

    def lost(self, connection: _Connection) -> Sequence[object]:
        """Forget a connection that is closed, or must be, whatever it was doing."""
        of_origin = self._origin_of.get(connection)
        if of_origin is None:
            return ()
        self._forget(connection)
        return self._open_for_waiting(of_origin, [])

    def expire(self, now: float) -> list[object]:
        """Close connections that have been idle for too long."""
        expired = [
            connection
            for of_origin in self._by_origin.values()
            for connection, until in of_origin.idle.items()
            if until <= now
        ]
        for connection in expired:
            self._forget(connection)
        return [Close(connection) for connection in expired]

    def close_all(self) -> Sequence[object]:
        """Close all connections, abandon all attempts, fail all requests; for good."""
        self._is_shut = True
        actions: list[object] = [Close(connection) for connection in self._origin_of]
        for of_origin in self._by_origin.values():
            actions += map(Abandon, of_origin.openings)
            actions += map(Fail, of_origin.waiting)
        self._by_origin.clear()
        self._origin_of.clear()
        self._opening_count = 0
        return actions

    # Decisions

    @property
    def _is_full(self) -> bool:
        count = len(self._origin_of) + self._opening_count
        return count >= self._limits.connections

    def _may_open(self, of_origin: _OriginPool[_Origin, _Connection]) -> bool:
        return of_origin.connection_count < self._limits.connections_per_origin

    def _enqueue(self, ticket: Ticket[_Origin], now: float) -> list[object]:
        """Let a request wait, for an existing connection or for a new one."""
        actions = self.expire(now)
        of_origin = self._by_origin.get(ticket.origin)
        if of_origin is None:
            of_origin = self._by_origin[ticket.origin] = _OriginPool(ticket.origin)
        of_origin.enqueue(ticket)
        if of_origin.idle and not ticket.needs_new:
            connection, _ = of_origin.idle.popitem()
            return [*actions, self._serve(of_origin, ticket, connection)]
        if of_origin.needs_connection:
            victim = self._find_to_close(of_origin)
            if victim is not None:
                self._forget(victim)
                actions.append(Close(victim))
        return self._open_for_waiting(of_origin, actions)

    def _find_to_close(
        self, of_origin: _OriginPool[_Origin, _Connection]
    ) -> _Connection | None:
        """Return the connection to close so that another can be opened; None: none."""
        if not self._may_open(of_origin):
            own = of_origin.lingering or of_origin.idle
            return next(iter(own), None)
        if not self._is_full:
            return None
        for each in self._by_origin.values():
            if each.lingering:
                return next(iter(each.lingering))
        return self._find_longest_idle()

    def _open(self, of_origin: _OriginPool[_Origin, _Connection]) -> Open[_Origin]:
        """Begin an attempt, for the first request that has none."""
        ticket = next(each for each in of_origin.waiting if each.opening is None)
        opening = ticket.opening = Opening(of_origin.origin, ticket)
        of_origin.openings[opening] = None
        self._opening_count += 1
        return Open(opening)

    def _end_opening(
        self, of_origin: _OriginPool[_Origin, _Connection], opening: Opening[_Origin]
    ) -> None:
        del of_origin.openings[opening]
        opening.ticket.opening = None
        self._opening_count -= 1

    def _serve(
        self,
        of_origin: _OriginPool[_Origin, _Connection],
        ticket: Ticket[_Origin],
        connection: _Connection,
    ) -> ServeRequest[_Origin, _Connection]:
        del of_origin.waiting[ticket]
        of_origin.busy.add(connection)
        return ServeRequest(ticket, connection)

    def _place(
        self,
        of_origin: _OriginPool[_Origin, _Connection],
        connection: _Connection,
        idle_until: float,
        *,
        is_new: bool,
    ) -> Sequence[object]:
        """Give a free connection to the oldest waiting request, or keep it idle."""
        starved = self._find_oldest_waiting() if self._is_full else None
        first = of_origin.find_first(is_new=is_new)
        if starved is not None and starved is not of_origin:
            oldest = next(iter(starved.waiting))
            if first is None or oldest.number < first.number:
                return self._replace(of_origin, connection)
        if first is not None:
            return [self._serve(of_origin, first, connection)]
        if (
            of_origin.needs_connection
        ):  # they wait for a new connection, and a bound is reached
            return self._replace(of_origin, connection)
        of_origin.idle[connection] = idle_until
        return ()

    def _replace(
        self, of_origin: _OriginPool[_Origin, _Connection], connection: _Connection
    ) -> Sequence[object]:
        """Close a connection, so that a new one can be opened in its place."""
        self._forget(connection)
        return self._open_for_waiting(of_origin, [Close(connection)])

    def _open_for_waiting(
        self, of_origin: _OriginPool[_Origin, _Connection], actions: list[object]
    ) -> list[object]:
        """Open connections for waiting requests, the oldest first, if there is room."""
        while not self._is_full:
            oldest = self._find_oldest_waiting()
            if oldest is None:
                break
            actions.append(self._open(oldest))
        if of_origin.is_empty:
            self._by_origin.pop(of_origin.origin, None)
        return actions

    def _find_oldest_waiting(self) -> _OriginPool[_Origin, _Connection] | None:
        """Return the origin, with room for more, whose first request waits longest."""
        pools = (
            of_origin
            for of_origin in self._by_origin.values()
            if of_origin.needs_connection and self._may_open(of_origin)
        )
        return min(pools, key=_first_number, default=None)

    def _find_longest_idle(self) -> _Connection | None:
        """Return the idle connection that expires first."""
        idle: Iterable[tuple[float, _Connection]] = (
            (until, connection)
            for of_origin in self._by_origin.values()
            for connection, until in of_origin.idle.items()
        )
        first = min(idle, key=lambda each: each[0], default=None)
        return None if first is None else first[1]

    def _forget(self, connection: _Connection) -> None:
        of_origin = self._origin_of.pop(connection)
        of_origin.idle.pop(connection, None)
        of_origin.busy.discard(connection)
        of_origin.lingering.pop(connection, None)
        if of_origin.is_empty:
            self._by_origin.pop(of_origin.origin, None)


def _first_number(of_origin: _OriginPool[_Origin, _Connection]) -> int:
    return next(iter(of_origin.waiting)).number
