"""What a worker writes into its row of the scoreboard, for the master to read.

Its beat and what it has to do, the requests that are under way, and its responses: by
status class and time, and by route.
"""

import asyncio
import re
from bisect import bisect_left
from collections.abc import Callable
from time import monotonic  # an app may put another clock into ``time``
from typing import TYPE_CHECKING

from blazeio.protocol.context import RequestTally
from blazeio.protocol.flow import NO_CONTENT
from blazeio.server.server import Server
from blazeio_supervisor.ipc.row_tables import (
    FAILING_COUNT,
    RouteTallies,
    make_key,
)
from blazeio_supervisor.ipc.scoreboard import (
    BATCH,
    BEAT_EVERY_S,
    HALF,
    IN_FLIGHT,
    LATENCY_EDGES_S,
    NO_THREADS,
    ONE,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    REST_EVERY_S,
    USUAL_BYTES,
    LongestRequest,
    Row,
    ThreadLoad,
    first_cell,
    unpack,
)

if TYPE_CHECKING:
    from blazeio.gateways.wsgi import WsgiGateway
    from blazeio.protocol.request import BlazeioServerProtocol


# Counts the responses of one worker into its row, each when it is over.
#
# What is counted stands in the memory that outlives the worker before the next
# response is, so that a worker that is killed takes along none but the one it was
# just counting.
#
# To collect a turn of the loop and sort it into the row together, as was done
# before, costs 1.6x of this for 16 responses in a turn, 2.1x for 4, and 5x for one
# alone: a call at the end of the turn, and the sorting (tests/bench/counting.py).


_STEPS = tuple(float(ONE + size) for size in range(USUAL_BYTES))
"""Made before the fork: workers share what none of them looks at."""


class WorkerTally(RequestTally):
    """Counts responses, and names requests.

    A worker that is killed, or dies of a signal, says no word: what was in flight is
    known from here.

    Args:
        row: This worker's.

    Attributes:
        on_wake: Called before a request is named, where somebody waits for one.
    """

    __slots__ = (
        "_cells",
        "_content_bytes",
        "_count",
        "_row",
        "_span_s",
        "on_wake",
    )

    def __init__(self, row: Row) -> None:
        super().__init__(row.cells[IN_FLIGHT : IN_FLIGHT + 1], row.usual, _STEPS)
        self._cells = row.counted
        self._count = self._content_bytes = self._span_s = 0.0
        self._begin_batch(0)
        self._row = row
        self.on_wake: Callable[[], None] | None = None

    def wake_by_next(self, on_wake: Callable[[], None]) -> None:
        """Call a function when the next request begins, before it runs."""
        self.on_wake = on_wake
        self.last_head = self.last_target = None

    def name(self, request: "BlazeioServerProtocol") -> None:
        """Name a request that begins, unless it is the one that was named last."""
        if self.on_wake is not None:
            on_wake, self.on_wake = self.on_wake, None
            on_wake()
        self.last_head = request.response.head
        target = self.last_target = request.tail
        method = self.last_method = request.method
        number = request.context.request_count
        self._row.name_begun(number, f"{method} {target}")

    def _begin_batch(self, half: int) -> None:
        """Begin another, which goes on from the sums of that half."""
        self.full_at = float(half * HALF + (BATCH - 1) * ONE)
        self.packed = self.usual[0] = float(half * HALF)

    def fold(self) -> None:
        """Add a batch that is full to the sums, and begin the next."""
        batch = unpack(self.packed)
        self._count += batch.count
        self._content_bytes += batch.content_bytes
        self._span_s += batch.span_s
        half = 1 - batch.half
        self._row.write_usual(half, self._count, self._content_bytes, self._span_s)
        self._begin_batch(half)

    def record(self, request: "BlazeioServerProtocol") -> None:
        """Count a response that is over, usual or not, whole or not."""
        response = request.response
        handler_task = request.handler_task
        span_s = handler_task.ended_at - handler_task.begun_at
        cells = self._cells
        first = first_cell(response.status)
        cells[first] += span_s
        cells[first + bisect_left(LATENCY_EDGES_S, span_s)] += 1.0
        cells[RESPONSE_BYTES] += response.content_bytes
        if request.content is not NO_CONTENT:
            cells[REQUEST_BYTES] += request.content.received_bytes

    def close(self) -> None:
        """Count nothing more."""


# The beat: the loop runs, and what it has to do.


_REST_AFTER_S = 1.0  # without a request
_NAME_LONGEST_EVERY_S = 1.0  # it takes a look at every connection


class Heartbeat:
    """Writes, while the loop runs, that it does.

    Args:
        row: This worker's.
        server: Is looked at for each beat, and has its requests counted and named.
        gateways: Of WSGI apps, which have threads.
        loop: The running loop.
    """

    def __init__(
        self,
        row: Row,
        server: Server,
        gateways: "list[WsgiGateway]",
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._row = row
        self._server = server
        self._gateways = gateways
        self._loop = loop
        self._tally = WorkerTally(row)
        self._timer: asyncio.TimerHandle | None = None
        self._seen_requests = 0
        self._asked_at = 0.0
        self._named_longest_at = 0.0
        self._longest: BlazeioServerProtocol | None = None
        server.count_requests(self._tally)

    def begin(self, on_beat: Callable[[], object]) -> None:
        """Beat from now on.

        Args:
            on_beat: Called at each beat, since a timer of its own would wake an idle
                process once more.
        """
        self._on_beat = on_beat
        self._asked_at = monotonic()
        self._beat(self._asked_at)

    def _beat(self, due_at: float) -> None:
        now = monotonic()
        self.count()
        self._row.beat(now, max(0.0, now - due_at))
        self._on_beat()
        if now >= self._named_longest_at + _NAME_LONGEST_EVERY_S:
            self._named_longest_at = now
            self._longest = find_longest(self._server)
            self._row.name_longest(name_longest(self._longest))
        elif self._longest is not None and not self._longest.handler_task.is_running:
            self._longest = None
            self._row.name_longest(None)
        self._beat_in(REST_EVERY_S if self._may_rest(now) else BEAT_EVERY_S, now)

    def _beat_in(self, span_s: float, now: float) -> None:
        self._timer = self._loop.call_later(span_s, self._beat, now + span_s)

    def _may_rest(self, now: float) -> bool:
        """Whether nobody has asked for a while; then the next request wakes it."""
        server = self._server
        if server.in_flight or server.request_count != self._seen_requests:
            self._seen_requests = server.request_count
            self._asked_at = now
        rests = now - self._asked_at >= _REST_AFTER_S
        if rests and self._tally.on_wake is None:
            # The flag is set after the beat and taken back before the next request
            # begins, so the master never waits for a beat that will not come.
            self._row.rest(True)
            self._tally.wake_by_next(self._wake)
        return rests

    def _wake(self) -> None:
        """Beat as ever: a request begins, and may block the loop at once."""
        now = monotonic()
        self._asked_at = now
        # Beat first, then take the flag back: in between the master sees a young beat
        # of a worker that rests, and not an old one of a worker that does not.
        self._row.beat(now, 0.0)
        self._row.rest(False)
        if self._timer is not None:
            self._timer.cancel()
        self._beat_in(BEAT_EVERY_S, now)

    def count(self) -> None:
        """Write what the server has to do now."""
        server, gateways = self._server, self._gateways
        is_full = server.is_full
        if gateways:
            # All are asked, since each of them looks for itself.
            now = monotonic()
            are_held = [each.are_threads_held(now) for each in gateways]
            is_full = is_full or all(are_held)
        self._row.count(
            server.in_flight,
            server.connection_count,
            server.request_count,
            is_full,
            server.background_count,
            count_threads(gateways),
            server.http2_count,
        )


def find_longest(server: Server) -> "BlazeioServerProtocol | None":
    """Return the request that has been under way for the longest time."""
    running = server.running if server.in_flight else []
    return running[0] if running else None


def name_longest(r: "BlazeioServerProtocol | None") -> LongestRequest | None:
    """Return what the scoreboard says of it."""
    if r is None:
        return None
    path = r.tail.partition("?")[0]  # a query may hold secrets
    return LongestRequest(f"{r.method} {path}", r.handler_task.begun_at)


def count_threads(gateways: "list[WsgiGateway]") -> ThreadLoad:
    """Count the threads of WSGI apps, and what waits for them."""
    if not gateways:
        return NO_THREADS
    return ThreadLoad(
        sum(each.threads for each in gateways),
        sum(each.busy for each in gateways),
        sum(each.waiting for each in gateways),
    )


# Responses by their route, where new code may be taken back for its errors.


ROUTE_COUNT = 1_000
"""Routes that are told apart, and paths whose route is remembered."""
_PATH_CHARS = 200
_VALUE = re.compile(r"[0-9]|.{33}")
"""What is found in a part of a path that is a value, and no name."""


class _Route:
    """What is known of one route.

    Attributes:
        key: In the row.
        answered_at: Where its good answers are counted; None: there is no room.
        failed: How often it has failed.
        text: How its failures are named; "" before the first.
        failing_at: Its place among those that fail most; None: it has none.
    """

    __slots__ = ("answered_at", "failed", "failing_at", "key", "text")

    def __init__(self, key: int) -> None:
        self.key = key
        self.answered_at: int | None = None
        self.failed = 0
        self.text = ""
        self.failing_at: int | None = None


class RouteCounter:
    """Counts by route which responses are good, and which are errors, in the row.

    It is there only where a reload may be rolled back for errors.

    Args:
        table: Of this worker's row.
    """

    __slots__ = ("_by_path", "_failing", "_routes", "_table")

    def __init__(self, table: RouteTallies) -> None:
        self._table = table
        self._routes: dict[int, _Route] = {}
        self._by_path: dict[tuple[str, str], _Route] = {}
        self._failing: list[_Route] = []

    def record(self, r: "BlazeioServerProtocol") -> None:
        """Count a response that is over; what the client did wrong is neither."""
        status = r.response.status
        if status < 200 or 400 <= status < 500:
            return
        route = self._by_path.get((r.method, r.path)) or self._find(r)
        if status >= 500:
            self._count_failure(route, r)
        elif route.answered_at is not None:
            self._table.count_answered(route.answered_at)

    def close(self) -> None:
        """Count nothing more."""

    def _find(self, r: "BlazeioServerProtocol") -> _Route:
        """Find the route of a request whose path is a new one."""
        path = r.route or generalize(r.path)
        key = make_key(r.method, path)
        route = self._routes.get(key)
        if route is None:
            route = _Route(key)
            if len(self._routes) < ROUTE_COUNT:
                self._routes[key] = route
                route.answered_at = self._table.add_answered(key)
        if len(self._by_path) >= ROUTE_COUNT:
            self._by_path.clear()
        self._by_path[r.method, r.path] = route
        return route

    def _count_failure(self, route: _Route, r: "BlazeioServerProtocol") -> None:
        route.failed += 1
        if not route.text:
            handler = r.context.app.name_handler(r.method, r.path)
            route.text = f"{r.method} {r.route or r.path} in {handler}"
        if route.failing_at is None:
            self._give_place(route)
        if route.failing_at is not None:
            self._table.write_failing(
                route.failing_at, route.key, route.failed, route.text
            )

    def _give_place(self, route: _Route) -> None:
        """Give a route a place, if need be that of one that fails less."""
        if len(self._failing) < FAILING_COUNT:
            route.failing_at = len(self._failing)
            self._failing.append(route)
            return
        least = min(self._failing, key=lambda each: each.failed)
        if least.failed < route.failed:
            route.failing_at, least.failing_at = least.failing_at, None
            self._failing[self._failing.index(least)] = route


def generalize(path: str) -> str:
    """Return what stands for a path where the app says no routes: ``/users/*``."""
    parts = path[:_PATH_CHARS].split("/")
    return "/".join("*" if _VALUE.search(part) else part for part in parts)
