"""``Gateway``: what those of ASGI and WSGI share, on the loop's side.

``GatewayProtocol``: a connection whose handlers are apps of other interfaces. What is
different from a handler of ours: a disconnect is told and cancels nothing, and work
that goes on after the response holds up neither the next request nor the close. Who
serves only handlers of ours has the plain protocol, and pays for nothing here.

``ChunkWriter``: the pieces of a stream in chunks, from the second on. A loop writes to
the socket as it is told to, and a system call for each of many small pieces costs five
times what we do for it. So what follows a piece within a moment, and without a turn of
the loop, waits for the end of the turn, and leaves in one write. A piece that comes
alone leaves at once, also where the app computes between its pieces and never lets the
loop turn.

The traceback of a fault starts at the app's own frame and goes where those of handlers
go.
"""

import asyncio
import contextvars
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from blazeio.errors import ClientDisconnected
from blazeio.gateways.scope import ConnectionFacts, describe_tls
from blazeio.loggers import get_logger
from blazeio.protocol.carrier import find_scheme
from blazeio.protocol.context import ServerContext
from blazeio.protocol.handler_task import DETACHED
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.timeouts import NEVER
from blazeio.wire.framing import OutgoingMessage
from blazeio.wire.request import RequestHead

if TYPE_CHECKING:
    from blazeio.gateways.http import HttpExchange


class ClientLost(ClientDisconnected, OSError):  # noqa: N818 - a fact
    """The client is gone: what ``send`` raises, as ASGI 2.4 wants an ``OSError``."""


class GatewayProtocol(BlazeioServerProtocol):
    """One connection, also for what runs on after its response.

    Attributes:
        facts: What its transport says of it.
        when_lost: Called when the connection is lost; None: nobody needs to know.
    """

    __slots__ = ("facts", "when_lost")

    facts: ConnectionFacts
    when_lost: Callable[[], None] | None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self.facts = ConnectionFacts(
            self.carrier.http_version,
            find_scheme(transport),
            _find_peer(transport),
            _find_local(transport),
        )
        self.when_lost = None
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over, by either side."""
        super().connection_lost(exc)
        if self.when_lost is not None:
            self.when_lost()

    def detach(self) -> Callable[[], None] | None:
        """Turn to what comes next; the handler, which has answered, runs on.

        It is counted until it calls what is returned, and returns ``DETACHED``; it
        must not touch the request any more.

        ``Limits.handler_timeout_s`` holds for it as before.

        Returns:
            None where no handler runs.
        """
        task, ends_at = self.handler_task.task, self.handler_task.deadline_at
        end = self.handler_task.detach()
        if end is None or task is None or ends_at == NEVER:
            return end
        return end_in_time(task, ends_at, self.context, end)

    def _stays_for_response(self) -> bool:
        """After a FIN in mid-response: the app was told, what it sends is delivered."""
        return self.handler_task.outlives_carrier


def end_in_time(
    task: asyncio.Task[Any],
    ends_at: float,
    context: ServerContext,
    end: Callable[[], None],
) -> Callable[[], None]:
    """Cancel a task that runs on after its response when its deadline has passed.

    Args:
        task: What runs on.
        ends_at: The deadline, as of ``HandlerTask``.
        context: Of its server.
        end: To be called when it is over.

    Returns:
        To be called instead.
    """
    # A timer of its own: the deadline of ``handler_task`` is that of the connection's
    # next request from now on.
    left_s = max(ends_at - context.wheel.now(), 0.0)
    timer = context.loop.call_later(left_s, task.cancel)

    def end_both() -> None:
        timer.cancel()
        end()

    return end_both


def _find_peer(transport: asyncio.BaseTransport) -> tuple[str, int] | None:
    name = transport.get_extra_info("peername")
    return (name[0], name[1]) if isinstance(name, tuple) else None


def _find_local(transport: asyncio.BaseTransport) -> tuple[str, int | None] | None:
    name = transport.get_extra_info("sockname")
    if isinstance(name, tuple):
        return name[0], name[1]
    if isinstance(name, bytes):  # an abstract one
        return "@" + name[1:].decode(errors="replace"), None
    return (name, None) if name else None


MOMENT_S: Final = 0.0002
"""A piece that comes so soon after the one before may wait for those that follow."""

HELD_BYTES: Final = 16 * 1024
"""So many octets do not wait."""

_SMALL_BYTES: Final = 512
"""Pieces of less are not counted where they wait: a task may give no more of them
before the loop turns than ``HttpExchange.send`` lets it, which is 64."""

_STARTS: Final = tuple(b"%x\r\n" % size for size in range(_SMALL_BYTES))
"""By the size of a chunk that is small, how it begins (RFC 9112 section 7.1)."""


class ChunkWriter:
    """Writes the rest of a response in chunks, whose first piece has left just now.

    Args:
        r: The connection.
        message: The response, of which nothing else writes meanwhile.
        context: Where what waits is written.
    """

    __slots__ = ("_at", "_context", "_held", "_held_bytes", "_message", "_now", "_r")

    def __init__(
        self,
        r: GatewayProtocol,
        message: OutgoingMessage,
        context: contextvars.Context,
    ) -> None:
        self._r = r
        self._message = message
        self._context = context
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._now = now = r.context.now
        self._at = now()

    def write(self, piece: bytes) -> None:
        """Write a piece, now or at the end of this turn; an empty one is none."""
        # Hot: runs once per piece of a stream.
        size = len(piece)
        if not size:
            return
        # Each without the line end behind it, which comes by joining them.
        if size < _SMALL_BYTES:  # 0.6x of the other
            chunk = _STARTS[size] + piece
        else:
            chunk = b"%x\r\n%b" % (size, piece)
        self._message.content_bytes += size
        held = self._held
        now = self._now()
        if now - self._at < MOMENT_S and size < HELD_BYTES:
            if not held:
                self._r.context.loop.call_soon(self.flush, context=self._context)
            held.append(chunk)
            if size >= _SMALL_BYTES:
                self._held_bytes += size
                if self._held_bytes >= HELD_BYTES:
                    self.flush()
        else:
            if held:
                self.flush()
            self._r.transport.write(chunk + b"\r\n")
        self._at = now

    def flush(self) -> None:
        """Write what waits."""
        held = self._held
        if held:
            self._held, self._held_bytes = [], 0
            if not self._r.transport.is_closing():
                held.append(b"")  # the line end of the last one
                self._r.transport.write(b"\r\n".join(held))

    def end(self, piece: bytes) -> None:
        """Write the last piece, which may be empty, and the end of the response."""
        held, self._held = self._held, []
        if held:
            held.append(b"")
        self._r.response.end_chunks(self._message, b"\r\n".join(held), piece)


log = get_logger("blazeio.app")

_OUR_PACKAGE: Final = "blazeio."


class Gateway:
    """Serves requests by an app of another interface.

    Args:
        name: How the app is called in the log.

    Attributes:
        root_path: What a proxy takes away in front of each path.
        apart: The contextvars of what is done at the end of a turn, for all requests.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._answered: list[HttpExchange] = []
        # To detach an app may begin the next request of its connection, whose task
        # would inherit the context variables of whichever request has scheduled the
        # look.
        self.apart = contextvars.copy_context()
        self.root_path = ""

    async def call(
        self, r: GatewayProtocol, exchange: "HttpExchange", root_path: str, prefix: str
    ) -> object:
        """Serve one request of an app that is mounted below a path.

        Args:
            r: The request.
            exchange: Its own.
            root_path: What a proxy took away in front of the path.
            prefix: Where the app is mounted; the path begins with it.

        Returns:
            What ``end`` has returned.
        """
        raise NotImplementedError

    def refuse_tunnel(self, r: GatewayProtocol) -> None:
        """Answer CONNECT, which no app of these interfaces can serve.

        After any 2xx the client, or a proxy between, takes what follows for a tunnel
        (RFC 9110 section 9.3.6), and what it sends there for HTTP is ours to answer. So
        an app that answers all that it is asked must not be, and the connection ends.
        """
        r.reply(b"Not Implemented", 501, headers={"Connection": "close"})

    def note_answered(self, exchange: "HttpExchange") -> None:
        """The response is complete: an app that runs on is detached next turn.

        Most are over by then. One look a turn of the loop serves all that were
        answered in it.
        """
        # Hot: runs once per request.
        answered = self._answered
        if not answered:
            exchange.loop.call_soon(self._detach_running, context=self.apart)
        answered.append(exchange)

    def _detach_running(self) -> None:
        answered, self._answered = self._answered, []
        for exchange in answered:
            if not exchange.has_returned:
                exchange.detach()

    def end(self, exchange: "HttpExchange", asked: str, error: Any = None) -> object:
        """The app is over: see to its response.

        Args:
            exchange: Its request.
            asked: Method and target, for the log.
            error: What it has raised; None: nothing.

        Returns:
            What the handler has to return.
        """
        if error is not None:
            self.report(asked, error)
        elif exchange.is_due:
            self.log_unanswered(asked, has_begun=exchange.has_begun)
        exchange.finish()
        if exchange.end_background is None:
            return None
        exchange.end_background()
        return DETACHED

    def log_unanswered(self, asked: str, *, has_begun: bool = False) -> None:
        """Log that the app has returned and its response is not complete."""
        what = "ended its response" if has_begun else "answered"
        log.error("%s: %s has not %s", asked, self._name, what)

    def report(self, asked: str, error: BaseException) -> None:
        """Log what the app has raised, unless it is that the client is gone."""
        if is_disconnect_fault(error):
            log.debug("%s: the client went away", asked)
        else:
            report_fault(f"{asked}: {self._name}", error)


def find_facts(r: GatewayProtocol) -> ConnectionFacts:
    """Say what the connection of a request is."""
    # Hot: runs once per request of a WSGI app, or behind a trusted proxy.
    origin, facts = r.carrier.origin, r.facts
    if origin is None and r.response.head.minor:
        return facts
    version = r.carrier.http_version
    if origin is None:
        return ConnectionFacts(version, facts.scheme, facts.client, facts.server)
    client = origin.find_client(r.headers)
    peer = (client.host, client.port) if client.host else None
    return ConnectionFacts(version, client.scheme, peer, facts.server)


def find_head(r: GatewayProtocol) -> RequestHead:
    """Return the head of a request, as a middleware has left it."""
    head = r.response.head
    if (
        r.method is head.method
        and r.path is head.path
        and r.tail is head.target
        and r.query is head.query
        and r.headers is head.headers
    ):
        return head
    return replace(
        head,
        method=r.method,
        path=r.path,
        target=r.tail,
        query=r.query,
        headers=r.headers,
    )


def find_tls(r: GatewayProtocol) -> dict[str, Any]:
    """Return the extension ``tls`` by its name; nothing where there is no TLS."""
    tls = r.transport.get_extra_info("ssl_object")
    return {} if tls is None else {"tls": describe_tls(tls)}


def is_disconnect_fault(error: BaseException | None) -> bool:
    """Tell whether it says that the client is gone, or follows from that.

    Frameworks catch ``ClientLost`` and raise one of their own; then ours is the
    context of theirs.
    """
    seen: set[int] = set()
    # A chain can be a ring: ``raise first from second``, where the second was raised
    # while the first was handled.
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, BaseExceptionGroup):
            return all(is_disconnect_fault(each) for each in error.exceptions)
        if isinstance(error, ClientLost):
            return True
        error = error.__cause__ or error.__context__
    return False


def report_fault(what: str, error: BaseException) -> None:
    """Log an exception of an app, with its traceback, once.

    Args:
        what: What has failed, on one line.
        error: As the app has let it out.
    """
    log.error(
        "%s: %s%s",
        what,
        type(error).__name__,
        describe(error),
        exc_info=(type(error), error, _from_app_frame(error.__traceback__)),
    )


def describe(error: BaseException) -> str:
    """Return what stands behind the type of an exception, in one line."""
    if isinstance(error, asyncio.CancelledError):
        return ": what it awaited was cancelled, or it cancelled itself"
    try:
        line = str(error).strip().partition("\n")[0]
    except Exception:
        return ": its text cannot be shown"
    return f": {line[:300]}" if line else ""


def _from_app_frame(traceback: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins with the app; all of it where none does."""
    first = traceback
    while first is not None and _is_ours(first):
        first = first.tb_next
    return first or traceback


def _is_ours(traceback: TracebackType) -> bool:
    name: str = traceback.tb_frame.f_globals.get("__name__", "")
    return name.startswith(_OUR_PACKAGE)
