"""``Server``: accepts, counts and drains the connections of one event loop."""

import asyncio
import functools
import heapq
import itertools
import socket

from blazeio.http2.connection import ALPN, Http2Connection, StreamPool
from blazeio.limits import Limits
from blazeio.loggers import get_logger
from blazeio.protocol.carrier import (
    ConnectionOrigin,
    ResumingConnection,
    SendTransfer,
    ServerConnection,
    Transfer,
    Trust,
)
from blazeio.protocol.context import (
    FAREWELL_S,
    Handler,
    Recorder,
    RequestTally,
    ServerContext,
)
from blazeio.protocol.http1 import Http1Connection
from blazeio.protocol.options import (
    HeaderConfig,
)
from blazeio.protocol.process import most_connections
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.tls import TlsConfig, TlsTransport
from blazeio.protocol.toolset import ServedApp
from blazeio.server.acceptor import ACCEPTS_PER_TURN, Acceptor, ProxyHeaderReader
from blazeio.wire.proxy_protocol import ProxyHeader

log = get_logger("blazeio.server")

SILENCE_S = 1.0
"""When the server is full, a connection is closed that has sent no whole head for so
long, seconds, or has not finished its TLS handshake."""

FULL_LOG_S = 60.0
"""That the server is full is logged at most this often, seconds."""


class Server:
    """Serves connections accepted from any number of sockets.

    Args:
        handler: Called with ``r`` for each request, in a task of its own.
        limits: The bounds of every connection.
        loop: The loop that serves; must be the running one when used.
        raw_handler: Called with ``r`` for each connection instead of HTTP: it reads by
            ``r.request()`` and writes by ``r.writer``.
        trust: Who is believed about the client; None: nobody.
        access_log: Called for each response; closed with the server.
        heads: The fields of each response.
        root_path: The prefix that a proxy removes from each path.
        tls: The TLS settings, where ``accept_from`` gets no others.
        app: What requests ask the app; None: there is none.
        request_class: The class of ``r``.
        http2: Speak HTTP/2 with whoever begins it, or agrees to it by ALPN.
    """

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        loop: asyncio.AbstractEventLoop,
        raw_handler: Handler | None = None,
        *,
        trust: Trust | None = None,
        access_log: Recorder | None = None,
        tls: TlsConfig | None = None,
        app: ServedApp | None = None,
        heads: HeaderConfig | None = None,
        root_path: str = "",
        request_class: type[BlazeioServerProtocol] = BlazeioServerProtocol,
        http2: bool = True,
    ) -> None:
        self._request_class = request_class
        self._tls = tls
        self.context = ServerContext(handler, limits, loop, raw_handler)
        self._streams = StreamPool(self.context, request_class)
        self._alpn_protocols = ["http/1.1"]
        if http2 and raw_handler is None:
            self.context.make_http2 = self._new_http2
            self._alpn_protocols.insert(0, ALPN)
        self.context.trust = trust
        if app is not None:
            self.context.app = app
        self.context.heads = heads or HeaderConfig()
        self.context.root_path = root_path
        if access_log is not None:
            self.context.know_clients()  # each line has the client's address
            self.record_responses(access_log)
        self._proxy_headers: ProxyHeaderReader | None = None
        if trust is not None and trust.proxy_protocol_allow_ips:
            self._proxy_headers = ProxyHeaderReader(
                self.context, trust.proxy_protocol_allow_ips
            )
        self.context.when_closed = self._count_changed
        self._loop = loop
        self._most = limits.connections or most_connections()
        self._full_logged_at = -FULL_LOG_S
        self._acceptors: list[Acceptor] = []
        self._has_changed = asyncio.Event()

    def record_responses(self, recorder: Recorder) -> None:
        """Call one more recorder for each response; before the first connection.

        It is closed with the server.
        """
        self.context.record_responses(recorder)

    def count_requests(self, tally: RequestTally) -> None:
        """Count all requests in memory that outlives them; before the first of them."""
        self.context.count_requests(tally)

    def _new_connection(self, header: ProxyHeader | None = None) -> Http1Connection:
        return Http1Connection(self.context, header, self._request_class)

    def _new_http2(self, origin: ConnectionOrigin | None) -> Http2Connection:
        return Http2Connection(self._streams, origin)

    def _new_over_tls(
        self, header: ProxyHeader | None, agreed: str | None
    ) -> Http1Connection | Http2Connection:
        if agreed != ALPN:
            return self._new_connection(header)
        trust = self.context.trust
        return self._new_http2(
            None if trust is None else ConnectionOrigin(trust, header)
        )

    def accept_from(
        self,
        sock: socket.socket,
        *,
        batch: int = ACCEPTS_PER_TURN,
        tls: TlsConfig | None = None,
        is_plain: bool = False,
    ) -> Acceptor:
        """Accept from a listening socket, through a dup of it.

        Args:
            sock: Listening and non-blocking.
            batch: Most accepts per turn of the loop.
            tls: The TLS settings; None: the server's own, if any.
            is_plain: Plain HTTP, also where the server has TLS settings.
        """

        tls = None if is_plain else tls or self._tls
        if tls is not None:
            tls.offer(self._alpn_protocols)

        def new_tls(header: ProxyHeader | None = None) -> TlsTransport:
            assert tls is not None  # else it is not used
            new_app = functools.partial(self._new_over_tls, header)
            return TlsTransport(self.context, tls, new_app)

        acceptor = Acceptor(
            sock,
            self._new_connection if tls is None else new_tls,
            self._make_room,
            self._count_changed,
            self._loop,
            proxy_headers=self._proxy_headers,
            batch=batch,
        )
        # A closed one may still have accepted connections without a protocol.
        self._acceptors = [a for a in self._acceptors if a.pending or not a.is_closed]
        self._acceptors.append(acceptor)
        return acceptor

    async def serve(self, connection: socket.socket) -> Http1Connection:
        """Serve a connection that exists already; return once it is being served.

        It is plain HTTP without a PROXY header, whatever ``accept_from`` does.

        Args:
            connection: Connected and non-blocking; owned by the server from now on.

        Returns:
            The connection, which is in ``context.connections`` until it is closed.
        """
        _, protocol = await self._loop.connect_accepted_socket(
            self._new_connection, connection
        )
        return protocol

    def send_connections(self, send: SendTransfer) -> None:
        """Let connections go to another process from the drain on.

        Args:
            send: Sends one of them, as ``SendTransfer`` says.
        """
        self.context.send_transfer = send

    async def resume(self, connection: socket.socket, transfer: Transfer) -> None:
        """Serve a connection that comes from another process; see ``transfer``.

        Args:
            connection: Connected and non-blocking; owned by the server from now on.
            transfer: What came along with it.
        """
        await self._loop.connect_accepted_socket(
            lambda: ResumingConnection(self._new_connection(), transfer), connection
        )

    @property
    def speaks_tls(self) -> bool:
        """Whether it has TLS settings of its own."""
        return self._tls is not None

    @property
    def is_full(self) -> bool:
        """Whether no connection is accepted now, since the bound is reached."""
        return self.connection_count >= self._most

    def _make_room(self) -> int:
        """Return how many more connections may be open; at 0, close an idle one first.

        Where none is idle, one is closed that has sent no whole head for a while.
        """
        room = self._most - self.connection_count
        if room > 0:
            return room
        if any(a.pending for a in self._acceptors):
            return 0  # those without a protocol may be counted twice, for a moment
        if self._loop.time() - self._full_logged_at >= FULL_LOG_S:
            self._full_logged_at = self._loop.time()
            log.warning(
                "%s connections are open, the most: accepting rests", self._most
            )
        idle = (c for c in self.context.connections if c.is_idle)
        closed = list(itertools.islice(idle, ACCEPTS_PER_TURN))
        for connection in closed:
            connection.close_idle()
        if not closed:
            self._close_silent()
        return 0

    def _close_silent(self) -> None:
        """Close the oldest connections that have sent no request for a while."""
        context = self.context
        now = context.wheel.now()
        holders: list[ServerConnection | TlsTransport] = [
            *context.connections,
            *context.handshakes,
        ]
        silent = [(each.silence_s(now), each) for each in holders]
        silent = [found for found in silent if found[0] >= SILENCE_S]
        oldest = heapq.nlargest(ACCEPTS_PER_TURN, silent, key=lambda found: found[0])
        for _, each in oldest:
            each.close_silent()

    def _count_changed(self) -> None:
        # Hot: runs twice per connection; to count all of them takes 0.7 us, a generator
        # for ``any`` 0.3.
        for each in self._acceptors:
            if each.is_paused:
                self._wake_acceptors()
                break
        if self.context.when_changed is not None:  # the drain waits
            self._has_changed.set()

    def _wake_acceptors(self) -> None:
        if not self.is_full:
            for acceptor in self._acceptors:
                acceptor.wake()

    def stop_accepting(self, *, take_queue: bool = False) -> None:
        """Close all acceptors; with ``take_queue``, accept first what waits."""
        for acceptor in self._acceptors:
            if take_queue:
                acceptor.drain_queue()
            acceptor.close()
        self._has_changed.set()

    @property
    def in_flight(self) -> int:
        """Requests begun and not yet over."""
        return self.context.in_flight

    @property
    def background_count(self) -> int:
        """How many of those in flight have answered and run on."""
        return len(self.context.background)

    @property
    def connection_count(self) -> int:
        """Open connections, with those in a TLS handshake or just being accepted."""
        context = self.context
        count = len(context.connections) + len(context.handshakes)
        for each in self._acceptors:
            count += each.pending
        return count

    @property
    def http2_count(self) -> int:
        """How many of the requests came by HTTP/2."""
        return self.context.http2_count

    @property
    def request_count(self) -> int:
        """Requests begun since the start."""
        return self.context.request_count

    @property
    def running(self) -> list[BlazeioServerProtocol]:
        """Return the requests whose handlers run, the oldest first."""
        context = self.context
        found = list(context.detached)
        for connection in list(context.connections):
            found += connection.list_running()
        return sorted(found, key=lambda r: r.handler_task.begun_at)

    def list_sockets(self) -> list[int]:
        """Return the descriptors of all listeners and connections.

        For a process that was forked from this one: a connection stays open for the
        peer as long as the child holds its descriptor.
        """
        context = self.context
        found = [fd for each in list(self._acceptors) for fd in each.list_sockets()]
        open_ones = list(context.connections)
        found += [_find_descriptor(each.transport) for each in open_ones]
        found += [_find_descriptor(each) for each in list(context.handshakes)]
        return [fd for fd in found if fd >= 0]

    def list_epolls(self) -> list[int]:
        """Return the descriptors of the epolls beside that of the loop."""
        context = self.context
        return context.hangups.list_epolls() + context.writability.list_epolls()

    @property
    def is_draining(self) -> bool:
        """Whether responses have ``Connection: close`` by now."""
        return self.context.is_draining

    def start_draining(self, idle_s: float, farewell_s: float = FAREWELL_S) -> None:
        """Go on serving, but each connection for the last time.

        The next response of a connection has ``Connection: close``; a connection that
        stays idle is closed after ``idle_s`` seconds, not at once, since a request may
        be under way to it. After the same span, the shutdown hooks of responses without
        an end are called.

        Args:
            idle_s: How long an idle connection stays open.
            farewell_s: The hooks are called over this span, so that not all clients
                reconnect at once.
        """
        self.context.start_draining(idle_s, farewell_s)
        self._loop.call_later(idle_s, self._run_shutdown_hooks)
        for connection in list(self.context.connections):
            connection.drain()
        if self.context.send_transfer is not None:
            for each in list(self.context.transferable):
                each.transfer()
        if self._proxy_headers is not None:
            self._proxy_headers.shorten_timeout(idle_s)

    def renew_connections(self, count: int) -> None:
        """Have clients connect anew, to whichever process accepts them then.

        Of HTTP/1.1, each connection that is used next ends with its response, which
        says so; of HTTP/2, the end of a connection is announced at once.

        Args:
            count: How many at most, of either version.
        """
        context = self.context
        context.renew_connections(count)
        kept = (
            each
            for each in context.connections
            if isinstance(each, Http2Connection) and each.is_open
        )
        for connection in list(itertools.islice(kept, count)):
            connection.drain()

    def _run_shutdown_hooks(self) -> None:
        tasks = [r.handler_task for r in self.running]
        tasks = [task for task in tasks if task.has_shutdown_hook]
        for place, task in enumerate(tasks):
            delay_s = self.context.delay_farewell(place, len(tasks))
            self._loop.call_later(delay_s, task.run_shutdown_hook)

    async def drained(self) -> None:
        """Return when no connection is open and no handler runs."""
        self.context.when_changed = self._has_changed.set
        while self.connection_count or self.in_flight:
            self._has_changed.clear()
            await self._has_changed.wait()  # then check again
        self.context.when_changed = None

    async def drained_within(self, span_s: float) -> bool:
        """Wait for ``drained``, at most this many seconds; return whether it is."""
        try:
            async with asyncio.timeout(span_s):
                await self.drained()
        except TimeoutError:
            return False
        return True

    def cancel(self) -> None:
        """Cancel every handler that still runs; cut every connection."""
        context = self.context
        for connection in list(context.connections):
            connection.cancel()
        for request in list(context.detached):
            request.handler_task.cancel()
        for task in list(context.background):
            task.cancel()
        for handshake in list(context.handshakes):
            handshake.abort()
        if self._proxy_headers is not None:
            self._proxy_headers.shorten_timeout(0)

    def close(self) -> None:
        """Stop accepting, cut open connections, release everything."""
        self.stop_accepting()
        self.cancel()
        self.context.close()


def _find_descriptor(transport: asyncio.BaseTransport) -> int:
    """Return the descriptor of a transport's socket; -1 when it is closed."""
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else int(sock.fileno())
