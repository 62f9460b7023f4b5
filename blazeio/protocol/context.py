"""What the connections of one event loop share; what a supervisor hears of requests.

A worker that is killed says no word. What was in flight, and what was counted, stands
in cells of a memory that outlives it (``RequestTally``): written at once, not at the
end of a turn. That is done for each request, so ``HandlerTask`` has by hand what is
the same for nearly all of them: a method for each would take 1.3 times the
instructions. To write a cell takes as many as ten steps of Python, so a usual response
is one write: how many there were, their octets and their spans are added up in one
number.
"""

import asyncio
import contextvars
import os
import time
from collections.abc import Awaitable, Callable
from random import random
from typing import TYPE_CHECKING, Any, Protocol

from blazeio.content.field_values import serialize_http_date
from blazeio.errors import LocalProtocolError, describe_status, is_final_status
from blazeio.limits import Limits
from blazeio.protocol.carrier import ConnectionOrigin, Trust
from blazeio.protocol.flow import Latch
from blazeio.protocol.kernel import HangupWatcher, WritabilityWatcher
from blazeio.protocol.options import (
    HeaderConfig,
)
from blazeio.protocol.timeouts import NEVER, DeadlineWheel
from blazeio.protocol.toolset import ServedApp
from blazeio.wire.headers import serialize_status_line
from blazeio.wire.request import RequestHead

if TYPE_CHECKING:
    from blazeio.protocol.carrier import SendTransfer, ServerConnection, Transferable
    from blazeio.protocol.http1 import Http1Connection
    from blazeio.protocol.request import BlazeioServerProtocol
    from blazeio.protocol.tls import TlsTransport

USUAL_S = 0.001
"""The span of a usual response is at most so long, seconds."""


class RequestTally:
    """Counts the requests of one server; what is unusual is left to a class of yours.

    A usual response has the status 200, and its request no content; it takes no longer
    than ``USUAL_S`` and has little content.

    Args:
        in_flight: A cell for how many requests are in flight.
        usual: A cell for the batch of usual responses.
        steps: By the size of its content, what a usual response adds to the batch
            beside its span, in seconds: a look there takes a third of the instructions
            of a sum. One with more content is unusual.

    Attributes:
        in_flight: The cell; written as a request begins, not as it ends.
        last_head: Of the request that was named last, or None. Most heads are
            shared by requests alike.
        last_target: Of the same request; None: name the next, whatever its target.
        last_method: Of the same request.
        usual: The cell.
        packed: What is in it: to read it there takes twice the instructions.
        full_at: The batch is full when ``packed`` is so much; yours to set.
        steps: As above.
        usual_bytes: How many there are.
        others: Records usual responses beside this object; None: nothing does.
    """

    __slots__ = (
        "full_at",
        "in_flight",
        "last_head",
        "last_method",
        "last_target",
        "others",
        "packed",
        "steps",
        "usual",
        "usual_bytes",
    )

    def __init__(
        self,
        in_flight: "memoryview[float]",
        usual: "memoryview[float]",
        steps: tuple[float, ...],
    ) -> None:
        self.in_flight = in_flight
        self.last_head: RequestHead | None = None
        self.last_target: str | None = None
        self.last_method = ""
        self.usual = usual
        self.packed = self.full_at = 0.0
        self.steps = steps
        self.usual_bytes = len(steps)
        self.others: Record | None = None

    def name(self, request: "BlazeioServerProtocol") -> None:
        """Name a request that begins; it is not the same as the one before."""
        raise NotImplementedError

    def fold(self) -> None:
        """Add a batch that is full to the sums, and begin the next."""
        raise NotImplementedError

    def record(self, request: "BlazeioServerProtocol") -> None:
        """Count a response that is over and not usual, whole or not."""
        raise NotImplementedError


RECEIVE_BUFFER_BYTES = 256 * 1024
"""There is one buffer per loop, which each connection reads into. With 64 KiB chunked
content takes 1.2x the CPU time."""

CIPHERTEXT_BUFFER_BYTES = 64 * 1024
"""The buffer for enciphered octets, also one per loop. Deciphered, and with the record
that was begun before, they must fit into the receive buffer."""

USUAL_MARK_BYTES = 64 * 1024
"""The high watermark of transports that were told none, of asyncio and of uvloop."""

KEPT_HEAP_BYTES = 2 * 1024 * 1024
"""After an allocation of this size was freed, glibc keeps twice as much of its heap."""

NO_CONTENT_LENGTH = (204, 304)
"""No Content-Length is added: RFC 9110 section 8.6 forbids it in a 204, and in a 304 it
would have to be that of the 200."""

FAREWELL_S = 2.0
"""The streams that a drain ends are told over this span, seconds."""

TASK_NAME = "request"
"""The name of the task of each handler, as a debugger shows it."""

HTTP2_START = b"PRI * HTTP/2.0\r\n"
"""The first line of the preface of HTTP/2 (RFC 9113 section 3.4), by which it is
known. An HTTP/1 parser refuses it."""

Handler = Callable[["BlazeioServerProtocol"], Awaitable[Any]]
MakeHttp2 = Callable[["ConnectionOrigin | None"], asyncio.Protocol]
"""From who is believed about the client to the protocol of a connection."""


class Recorder(Protocol):
    """Is told of each response when it is over: an access log, a counter."""

    def record(self, r: "BlazeioServerProtocol") -> None:
        """Record a response; ``r`` still holds the request and the response."""
        ...

    def close(self) -> None:
        """Give back what it holds: the server is closed."""
        ...


Record = Callable[["BlazeioServerProtocol"], None]


def _call_both(first: Record | None, second: Record) -> Record:
    """Make one function of two, so that a server with one pays for one."""
    if first is None:
        return second

    def record(r: "BlazeioServerProtocol") -> None:
        first(r)
        second(r)

    return record


class ServerContext:
    """What the connections of one server on one loop share.

    Attributes:
        handler: Called with ``r`` for each request, in a task of its own.
        app: What requests ask the app.
        pid: Of the process that serves. A process that a handler forks has another.
        record: Called with ``r`` for each response when it is over; None: nobody wants
            to know.
        tally: Counts requests in memory that outlives this process; None: nothing does.
        make_http2: Makes the protocol of a connection of HTTP/2; None: it is not
            spoken.
        raw_handler: Called with ``r`` for each connection, whose octets are no HTTP.
            None: HTTP is spoken.
        receive_view: The loop's receive buffer. No view of it may outlive one
            ``buffer_updated`` call.
        ciphertext_view: The loop's buffer for enciphered octets. No view of it may
            outlive one call either.
        now: Returns the time of requests and deadlines, monotonic seconds.
        connections: Every open connection, over TLS once its handshake is done.
        handshakes: Those whose TLS handshake is not done.
        detached: Requests whose connection is lost while their handler runs on.
        background: Tasks of handlers that run on after their responses, of apps of
            other interfaces.
        is_uvloop: The loop is uvloop's: it calls protocols in the contextvars that
            their transport was made in, asyncio in those of whoever has written last,
            or closed; and its ``writelines`` copies nothing.
        base: The contextvars that every request, and every call of the transport,
            starts from; see ``run_outside``.
        sets_marks: A transport has to be told how much it may hold: else it has the
            bound that asyncio and uvloop give to each.
        bounds_requests: ``limits`` say how long a handler may take, or how many run.
        in_flight: Requests begun and not yet over.
        request_count: Requests begun, ever.
        http2_count: How many of them came by HTTP/2.
        is_draining: Each response has ``Connection: close``.
        renewals: So many of the next ones have it, too: their clients shall connect
            anew.
        draining: Set once the server drains; it can be awaited.
        shutdown_hooks_from: When streams without an end are ended, loop time.
        transferable: Connections that may go on in another process.
        send_transfer: Sends one there; None: there is no such process.
        heads: The fields that each response has.
        root_path: What a proxy has taken away in front of each path.
        trust: Which peers are believed about the client; None: none is.
        when_changed: Called when a request is over, while a drain waits for that.
        when_closed: Called when a connection is over.
        is_closed: The server is closed: a connection that still comes is cut.
        idle_timeout_s: How long an idle connection is kept now.
    """

    __slots__ = (
        "_close_recorders",
        "_farewell_s",
        "_plain_starts",
        "_second",
        "_starts",
        "app",
        "background",
        "base",
        "bounds_requests",
        "ciphertext_view",
        "connections",
        "detached",
        "draining",
        "handler",
        "handshakes",
        "hangups",
        "heads",
        "http2_count",
        "idle_timeout_s",
        "in_flight",
        "is_closed",
        "is_draining",
        "is_uvloop",
        "limits",
        "loop",
        "make_http2",
        "now",
        "pid",
        "raw_handler",
        "receive_view",
        "record",
        "renewals",
        "request_count",
        "root_path",
        "send_transfer",
        "sets_marks",
        "shutdown_hooks_from",
        "tally",
        "transferable",
        "trust",
        "wheel",
        "when_changed",
        "when_closed",
        "writability",
    )

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        loop: asyncio.AbstractEventLoop,
        raw_handler: Handler | None = None,
    ) -> None:
        self.pid = os.getpid()
        self.handler = handler
        self.raw_handler = raw_handler
        self.make_http2: MakeHttp2 | None = None
        self.limits = limits
        self.bounds_requests = (
            limits.handler_timeout_s is not None or limits.in_flight is not None
        )
        self.loop = loop
        self.receive_view = memoryview(bytearray(RECEIVE_BUFFER_BYTES))
        keep_heap()
        self.wheel = DeadlineWheel(loop)
        self.now = self.wheel.now
        self.hangups = HangupWatcher(loop)
        self.writability = WritabilityWatcher(loop)
        self.ciphertext_view = memoryview(bytearray(CIPHERTEXT_BUFFER_BYTES))
        self.connections: set[ServerConnection] = set()
        self.handshakes: set[TlsTransport] = set()
        self.detached: set[BlazeioServerProtocol] = set()
        self.base = contextvars.copy_context()
        self.is_uvloop = type(loop).__module__ == "uvloop"
        self.sets_marks = limits.high_water_bytes != USUAL_MARK_BYTES or not (
            self.is_uvloop or isinstance(loop, asyncio.BaseEventLoop)
        )
        self.background: set[asyncio.Task[Any]] = set()
        self.in_flight = 0
        self.request_count = self.http2_count = 0
        self.is_draining = False
        self.renewals = 0
        self.draining = Latch()
        self.shutdown_hooks_from = NEVER
        self._farewell_s = FAREWELL_S
        self.transferable: set[Transferable] = set()
        self.send_transfer: SendTransfer | None = None
        self.is_closed = False
        self.idle_timeout_s = limits.keep_alive_timeout_s
        self.record: Record | None = None
        self._close_recorders: list[Callable[[], None]] = []
        self.tally: RequestTally | None = None
        self.trust: Trust | None = None
        self.heads = HeaderConfig()
        self.root_path = ""
        self.app = ServedApp()
        self.when_changed: Callable[[], None] | None = None
        self.when_closed: Callable[[], None] | None = None
        self._second = 0
        self._starts: dict[int, bytes] = {}
        self._plain_starts: dict[int, bytes] = {}

    def run_outside(self, work: Callable[..., None], *arguments: object) -> None:
        """Call something outside of the running handler's contextvars.

        What registers with the event loop takes the caller's contextvars along:
        a reader that a handler's task adds runs in that task's context for ever,
        and so does all that it calls. A copy, since a context cannot be entered
        twice, and so that nothing of one call is seen by the next.
        """
        self.base.copy().run(work, *arguments)

    def begin_background(self, task: asyncio.Task[Any]) -> Callable[[], None]:
        """Count the task of a handler that runs on after its response.

        Returns:
            A function to be called at the end of the task.
        """
        self.background.add(task)
        self.in_flight += 1

        def end() -> None:
            self.background.discard(task)
            self.in_flight -= 1
            if self.when_changed is not None:
                self.when_changed()

        return end

    def find_content_bound(self, head: RequestHead) -> int | None:
        """Return the most octets of a request's content: by its route, or by limits."""
        of_route = self.app.find_options(head.method, head.path).content_bytes
        return self.limits.content_bytes if of_route is None else of_route

    def turn_to_http2(self, connection: "Http1Connection", octets: bytes) -> bool:
        """Hand a connection over to HTTP/2; whether that is what its client began.

        Args:
            connection: On which nothing was served yet.
            octets: All that has arrived.
        """
        if self.make_http2 is None or not octets.startswith(HTTP2_START):
            return False
        connection.timeouts.close()
        self.connections.discard(connection)
        successor = self.make_http2(connection.origin)
        transport = connection.transport
        transport.set_protocol(successor)
        successor.connection_made(transport)
        successor.data_received(octets)
        return True

    def record_responses(self, recorder: Recorder) -> None:
        """Add a recorder; before the first connection."""
        self.record = _call_both(self.record, recorder.record)
        if self.tally is not None:
            self.tally.others = _call_both(self.tally.others, recorder.record)
        self._close_recorders.append(recorder.close)

    def count_requests(self, tally: RequestTally) -> None:
        """Count all requests there; before the first connection."""
        self.tally = tally
        tally.others = self.record
        self.record = _call_both(self.record, tally.record)

    def know_clients(self) -> None:
        """Let each connection find out its client; before the first connection."""
        if self.trust is None:
            self.trust = Trust()

    def head_start(self, status: int) -> bytes:
        """Return status line, Date and Server; made once a second per status.

        Raises:
            LocalProtocolError: ``status`` is not that of a final response.
        """
        if int(time.time()) != self._second:
            self._begin_second()
        try:
            start = self._starts.get(status)
        except TypeError:  # unhashable: a caller has given headers as the status
            start = None
        if start is None:
            if not is_final_status(status):
                raise LocalProtocolError(describe_status(status))
            start = b"%b%b%b" % (
                serialize_status_line(status),
                self.date_line(),
                self.heads.write_lines(),
            )
            self._starts[status] = start
        return start

    def plain_start(self, status: int) -> bytes | None:
        """Return ``head_start(status)`` for a response that has a Content-Length.

        Returns:
            None where it has none, and where it is the last one of its connection.

        Raises:
            LocalProtocolError: ``status`` is not that of a final response.
        """
        # Hot: runs once per response; time.time() takes 40 ns. A timer of one second
        # instead would wake an idle process for ever.
        if int(time.time()) != self._second:
            self._begin_second()
        try:
            start = self._plain_starts.get(status)
        except TypeError:  # unhashable: a caller has given headers as the status
            start = None
        if start is None and not (
            self.is_draining or self.renewals or status in NO_CONTENT_LENGTH
        ):
            start = self._plain_starts[status] = self.head_start(status)
        return start

    def _begin_second(self) -> None:
        """Forget what has the Date of another second."""
        self._second = int(time.time())
        self._starts.clear()
        self._plain_starts.clear()

    def date_line(self) -> bytes:
        """Return the field line of Date; b"" where responses have none."""
        return b"Date: %b\r\n" % self.date() if self.heads.has_date else b""

    def date(self) -> bytes:
        """Return the IMF-fixdate of now (RFC 9110 section 5.6.7)."""
        return serialize_http_date(time.time()).encode("ascii")

    def start_draining(self, idle_s: float, farewell_s: float = FAREWELL_S) -> None:
        """Make each response the last one of its connection from now on.

        Args:
            idle_s: How long an idle connection is still kept.
            farewell_s: Over which span the clients of streams are told.
        """
        self.is_draining = True
        self._plain_starts.clear()
        self.draining.set()
        self.shutdown_hooks_from = min(
            self.shutdown_hooks_from, self.loop.time() + idle_s
        )
        self.idle_timeout_s = min(idle_s, self.idle_timeout_s)
        self._farewell_s = farewell_s

    def renew_connections(self, count: int) -> None:
        """Make so many of the next responses the last ones of their connections."""
        self.renewals = count
        self._plain_starts.clear()

    def delay_farewell(self, place: int, count: int) -> float:
        """Return when one of the streams that the drain ends is told, seconds from now.

        Each has its share of the span, and within it a moment by chance: as many
        clients come back in each second, also where several workers end together.
        """
        return self._farewell_s * (place + random()) / count

    def close(self) -> None:
        """Give back timers, epolls and the recorder."""
        self.is_closed = True
        self.wheel.close()
        self.hangups.close()
        self.writability.close()
        for close in self._close_recorders:
            close()


def keep_heap() -> None:
    """Let freed memory be used again, and not go back to the kernel each time.

    Each read of a large body is copied into a new object of up to
    RECEIVE_BUFFER_BYTES. glibc maps such an object, or trims its heap when the object
    is freed, until a larger mapped object was freed once (mallopt(3): M_MMAP_THRESHOLD
    is dynamic). Without this it depends on the layout of the heap; at worst a GiB of
    chunks takes 200,000 page faults and 0.64 CPU seconds instead of 0.18. With another
    allocator this is one allocation that is never touched.
    """
    bytes(KEPT_HEAP_BYTES)
