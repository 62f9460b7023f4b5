"""Accepting connections: the same way for own and for adopted sockets, on every loop.

``create_server`` is not used: it calls ``listen`` with a backlog of its own on a socket
that others may share, and asyncio then accepts a whole queue in one turn of the loop.
Here a reader on a dup of the socket accepts a few connections per turn, so that open
connections are served in between, and other processes that accept from the same queue
get their share.

A header of the PROXY protocol is read before the connection has a protocol.
"""

import asyncio
import contextlib
import contextvars
import errno
import os
import select
import socket
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from blazeio.content.forwarded import AllowList
from blazeio.errors import ConfigurationError, RemoteProtocolError
from blazeio.loggers import get_logger
from blazeio.protocol.context import ServerContext
from blazeio.wire.proxy_protocol import V2_BYTES, ProxyHeader, parse_proxy_header

# The header of the PROXY protocol
#
# It comes before TLS. So it is read from the bare socket, and not one octet more than
# it has is taken. Peers that may not send one are not asked for it; what they send goes
# to the parser of HTTP, which refuses it.


log = get_logger("blazeio.server")

LOG_EVERY_S = 60.0
"""A misconfigured proxy is logged at most this often, seconds."""


class ProxyHeaderReader:
    """Reads the PROXY headers of the connections of one loop.

    Args:
        context: Its ``Limits.head_timeout_s`` bounds the wait for each header.
        allowed: The peers that have to send one.
    """

    def __init__(self, context: ServerContext, allowed: AllowList) -> None:
        self._context = context
        self._allowed = allowed
        self._waits: set[asyncio.Timeout] = set()
        self._logged_at = -LOG_EVERY_S

    def expects(self, address: Any) -> bool:
        """Tell whether a peer has to send a header.

        Args:
            address: As ``accept`` returned it.
        """
        host = address[0] if isinstance(address, tuple) else ""
        return self._allowed.allows(host)

    async def read(self, connection: socket.socket, address: Any) -> ProxyHeader | None:
        """Read the header of a new connection.

        Returns:
            None: there was none, and the connection is closed.
        """
        limits = self._context.limits
        span_s = min(limits.head_timeout_s, self._context.idle_timeout_s)
        try:
            async with asyncio.timeout(span_s) as wait:
                self._waits.add(wait)
                try:
                    return await self._read(connection)
                finally:
                    self._waits.discard(wait)
        except TimeoutError:
            self._report(address, "none came in time")
        except RemoteProtocolError as error:
            self._report(address, str(error))
        except OSError as error:
            log.debug("%s went away before its PROXY header: %s", address, error)
        connection.close()
        return None

    async def _read(self, connection: socket.socket) -> ProxyHeader:
        octets = b""
        while True:
            try:
                seen = connection.recv(V2_BYTES, socket.MSG_PEEK)
            except BlockingIOError:
                await self._readable(connection)
                continue
            if not seen:
                raise RemoteProtocolError("the connection was closed without one")
            header = parse_proxy_header(octets + seen)
            if header is not None:
                connection.recv(header.end - len(octets))
                return header
            octets += connection.recv(
                len(seen)
            )  # not whole: everything so far is header

    async def _readable(self, connection: socket.socket) -> None:
        loop = self._context.loop
        arrival = loop.create_future()
        fd = connection.fileno()
        loop.add_reader(fd, _wake, arrival)
        try:
            await arrival
        finally:
            loop.remove_reader(fd)

    def shorten_timeout(self, span_s: float) -> None:
        """Wait at most this much longer for headers that have not come yet."""
        by = self._context.loop.time() + span_s
        for wait in self._waits:
            when = wait.when()
            if not wait.expired() and (when is None or by < when):
                wait.reschedule(by)

    def _report(self, address: Any, reason: str) -> None:
        now = self._context.loop.time()
        if now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            message = "closed %s, which must send a PROXY header first: %s"
            log.warning(message, address, reason)


def _wake(arrival: asyncio.Future[None]) -> None:
    if not arrival.done():
        arrival.set_result(None)


ACCEPTS_PER_TURN = 16
BACKLOG = 2048
RETRY_S = 0.5
"""Without room or descriptors, accepting pauses for this long, seconds."""

_TASK_NAME = "accept"  # else one is made up from a counter
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def bind(host: str, port: int, backlog: int = BACKLOG) -> socket.socket:
    """Bind a listening TCP socket, for a server that is alone.

    Raises:
        ConfigurationError: The address cannot be bound; says which, and why.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind((host, port))
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        message = f"cannot bind {host}:{port}: {error.strerror or error}"
        raise ConfigurationError(message) from error
    return sock


_SO_PASSRIGHTS = 83
"""Whether a unix socket takes descriptors; Python has no name for it."""


_Begun = tuple[Coroutine[Any, None, object], socket.socket]
"""What makes the transport of an accepted socket, and that socket."""


class _OfUvloop(socket.socket):
    """An accepted socket of which libuv has the descriptor, and does all the work.

    To ``socket.socket`` it is none: an object with a descriptor is made with a
    ``getsockname``, and takes 2 % of a request on a connection of its own. uvloop asks
    for no more than the descriptor, and takes that away at the end.
    """

    __slots__ = ("_descriptor",)

    # Of socket.socket, which does not declare them
    _io_refs: int
    _closed: bool

    def __init__(self, family: int, kind: int, proto: int, descriptor: int) -> None:
        self._io_refs, self._closed = 0, False
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the descriptor; -1 once it is closed, or taken away."""
        return self._descriptor

    def detach(self) -> int:
        """Give the descriptor away."""
        descriptor, self._descriptor = self._descriptor, -1
        return descriptor

    def close(self) -> None:
        """Close the descriptor."""
        descriptor = self.detach()
        if descriptor >= 0:
            os.close(descriptor)


def _make_class(
    listener: socket.socket, base: type[socket.socket]
) -> type[socket.socket]:
    """Make the class of accepted sockets: they know their family and type.

    A socket makes an enum of each whenever it is asked, which a loop does three times:
    10 % of a request on a connection of its own.
    """
    known = {"__slots__": (), "family": listener.family, "type": listener.type}
    return type("AcceptedSocket", (base,), known)


class Acceptor:
    """Accepts from one listening socket until closed.

    Args:
        sock: Listening and non-blocking; a dup of it is used. Its flags are not
            changed: they belong to all processes that share it.
        factory: Makes the protocol of each connection; called with its PROXY header, if
            it has one.
        make_room: Called when a connection waits; returns how many may be accepted. At
            0, accepting pauses until ``wake``, or until it is worth asking again.
        settled: Called when an accepted connection has its protocol, or has failed.
        loop: Accepts on this loop.
        proxy_headers: Reads the PROXY headers of the peers that send one.
        batch: Most accepts per turn of the loop.

    Attributes:
        is_paused: It waits for ``wake``.
        is_closed: It accepts no more.
    """

    def __init__(
        self,
        sock: socket.socket,
        factory: Callable[..., asyncio.BaseProtocol],
        make_room: Callable[[], int],
        settled: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        *,
        proxy_headers: ProxyHeaderReader | None = None,
        batch: int = ACCEPTS_PER_TURN,
    ) -> None:
        # Not sock.dup(): it would set the mode that this object believes in, and an
        # object made from a bare descriptor believes that it blocks.
        self._sock = socket.socket(
            sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno())
        )
        # It is non-blocking already; but with a default timeout, which the app may set
        # for its own sockets, accept would wait.
        self._sock.setblocking(False)
        self._family, self._type = sock.family, sock.type
        self._poller = select.poll()
        self._poller.register(self._sock, select.POLLIN)
        self._factory = factory
        self._make_room = make_room
        self._settled = settled
        self._loop = loop
        self._base = contextvars.copy_context()
        self._proxy_headers = proxy_headers
        self._batch = batch
        self._tasks: dict[object, socket.socket] = {}
        self._begun: dict[asyncio.Future[Any], _Begun] = {}
        self._fresh: list[asyncio.Future[Any]] = []
        self._is_tcp = sock.family != socket.AF_UNIX
        is_uvloop = type(loop).__module__.partition(".")[0] == "uvloop"
        self._sets_nodelay = self._is_tcp and not is_uvloop
        base = _OfUvloop if is_uvloop and proxy_headers is None else socket.socket
        self._class = _make_class(self._sock, base)
        # What another loop waits for may need a task.
        known = asyncio.BaseEventLoop.connect_accepted_socket
        own = getattr(type(loop), "connect_accepted_socket", None)
        self._takes_steps = proxy_headers is None and (is_uvloop or own is known)
        if not self._is_tcp:
            # Linux 6.16: closing a descriptor that a client has sent may block.
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)
        self._resume_timer: asyncio.TimerHandle | None = None
        self.is_paused = True
        self.is_closed = False
        self.wake()

    def wake(self) -> None:
        """Accept again, if accepting is paused."""
        if self.is_paused and not self.is_closed:
            self.is_paused = False
            # In the acceptor's own context: wake() runs in that of a closed connection.
            fd = self._sock.fileno()
            self._base.copy().run(lambda: self._loop.add_reader(fd, self._accept_some))

    def _pause_for_a_while(self) -> None:
        self._pause_accepting()
        if self._resume_timer is not None:
            self._resume_timer.cancel()
        self._resume_timer = self._loop.call_later(
            RETRY_S, self.wake, context=self._base
        )

    def _pause_accepting(self) -> None:
        if not self.is_paused:
            self.is_paused = True
            self._loop.remove_reader(self._sock.fileno())

    def _accept_some(self) -> None:
        room = self._make_room()
        if room <= 0:
            self._pause_for_a_while()
        self._unblock()
        try:
            for count in range(min(self._batch, room)):
                if self.is_closed or (count and not self._has_more()):
                    break
                if not self._accept_one():
                    break
        finally:
            self._settle_soon()

    def _has_more(self) -> bool:
        """Tell whether a connection waits: takes less than an accept that finds none.

        It does not depend on O_NONBLOCK either; see ``_unblock``.
        """
        return bool(self._poller.poll(0))

    def _unblock(self) -> None:
        """Set O_NONBLOCK again: a process that shares the socket may clear it.

        In a blocking socket, accept would stop the loop until the next connection
        comes. Takes 0.3 us, once for all connections that wait.
        """
        try:
            os.set_blocking(self._sock.fileno(), False)
        except OSError:
            pass  # a signal handler has just closed it

    def _accept_one(self) -> bool:
        """Accept one connection; return False when no other can be accepted now."""
        try:
            # sock.accept asks the listener for its family and type as well.
            fd, address = self._sock._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            if not self._is_tcp and _is_shut_down(self._sock):
                self.close()
            return False
        except OSError as error:
            return self._may_accept_more(error)
        # Hot: runs once per connection. Both loops make it non-blocking, and uvloop
        # sets TCP_NODELAY: two system calls that need not be made twice. asyncio sets
        # it only where the socket was made with IPPROTO_TCP, which few are.
        connection = self._class(self._family, self._type, self._sock.proto, fd)
        if self._sets_nodelay:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._takes_steps:
            self._begin(connection)
        else:
            self._begin_task(connection, address)
        return True

    def _begin(self, connection: socket.socket) -> None:
        """Have the loop make a transport, without a task.

        A task is registered twice with all others, by weak references: 6 % of a request
        on a connection of its own. All that the loop's coroutine waits for is a future
        that it has set by the next turn, before ``_settle`` runs.
        """
        # Hot: runs once per connection.
        work = self._loop.connect_accepted_socket(self._factory, connection)
        try:
            future: asyncio.Future[Any] = work.send(None)
        except BaseException as error:
            self._has_ended(error, connection)
            return
        # As asyncio.Task does: the future has to know that it is waited for.
        future._asyncio_future_blocking = False
        self._begun[future] = work, connection
        self._fresh.append(future)

    def _settle_soon(self) -> None:
        """Settle what was begun, in the next turn: after the loop has made it all."""
        if self._fresh:
            fresh, self._fresh = self._fresh, []
            self._loop.call_soon(self._settle, fresh)

    def _settle(self, futures: Sequence[asyncio.Future[Any]]) -> None:
        """These have their protocols now."""
        for future in futures:
            if not future.done():  # of a loop that takes longer
                future.add_done_callback(self._settle_one)
                continue
            work, connection = self._begun.pop(future)
            try:
                later: asyncio.Future[Any] = work.send(None)
            except StopIteration:
                continue
            except BaseException as error:
                self._has_ended(error, connection)
                continue
            later._asyncio_future_blocking = False
            self._begun[later] = work, connection
            later.add_done_callback(self._settle_one)
        self._settled()

    def _settle_one(self, future: asyncio.Future[Any]) -> None:
        self._settle([future])

    def _has_ended(self, error: BaseException, connection: socket.socket) -> None:
        """A transport was not made; the loop is told why."""
        connection.close()
        if isinstance(error, StopIteration | asyncio.CancelledError | OSError):
            return  # the loop ends, or the client went away before it was accepted
        if not isinstance(error, Exception):
            raise error
        said = {"message": "a connection was not made", "exception": error}
        self._loop.call_exception_handler(said)

    def _begin_task(self, connection: socket.socket, address: Any) -> None:
        """Have the loop make a transport, in a task: a PROXY header may come first."""
        work = self._connect(connection, address)
        base, loop = self._base.copy(), self._loop
        if loop.get_task_factory() is None:
            task = asyncio.Task(work, loop=loop, name=_TASK_NAME, context=base)
        else:  # an app's own, which may not take a context
            task = base.run(loop.create_task, work)
        self._tasks[task] = connection
        task.add_done_callback(self._forget)

    def _may_accept_more(self, error: OSError) -> bool:
        if (
            error.errno == errno.EINVAL
        ):  # another process that shares it has shut it down
            self.close()
            return False
        if error.errno in _OUT_OF_RESOURCES:
            log.warning("cannot accept: %s; trying again in %s s", error, RETRY_S)
            self._pause_for_a_while()
            return False
        # The error belongs to a connection that has failed already (accept(2), "Error
        # handling"): it is gone, and the next one may be fine.
        log.debug("a connection failed before it was accepted: %s", error)
        return True

    def _forget(self, arrival: object) -> None:
        self._tasks.pop(arrival, None)
        self._settled()

    async def _connect(self, connection: socket.socket, address: Any) -> None:
        factory = self._factory
        if self._proxy_headers is not None and self._proxy_headers.expects(address):
            connection.setblocking(False)  # it is read before it has a transport
            header = await self._proxy_headers.read(connection, address)
            if header is None:
                return
            factory = partial(factory, header)
        try:
            await self._loop.connect_accepted_socket(factory, connection)
        except BaseException as error:
            connection.close()
            if not isinstance(error, OSError):  # reset before it was accepted
                raise

    def drain_queue(self) -> None:
        """Accept everything that waits now, beyond the batch, until EAGAIN."""
        self._base.copy().run(self._accept_all)

    def _accept_all(self) -> None:
        self._unblock()
        try:
            while not self.is_closed and self._has_more() and self._accept_one():
                pass
        finally:
            self._settle_soon()

    @property
    def pending(self) -> int:
        """How many accepted connections have no protocol yet."""
        pending = len(self._tasks)
        if self._begun:
            # One that has its protocol is counted by that, and forgotten a turn later.
            pending += sum(not future.done() for future in self._begun)
        return pending

    def list_sockets(self) -> list[int]:
        """Return the descriptors of the listener, and of connections it has accepted.

        Those that have a protocol are not listed.
        """
        arrivals = [connection for _, connection in self._begun.values()]
        arrivals += self._tasks.values()
        return [each.fileno() for each in (self._sock, *arrivals)]

    def close(self) -> None:
        """Stop accepting; the socket itself stays as it is for other owners."""
        if self.is_closed:
            return
        self._pause_accepting()
        self.is_closed = True
        if self._resume_timer is not None:
            self._resume_timer.cancel()
        self._sock.close()


def _is_shut_down(sock: socket.socket) -> bool:
    """Tell whether a unix socket was shut down: for accept it only seems to be empty.

    Its reader would be called in every turn of the loop, for ever.
    """
    poll = select.poll()
    poll.register(sock.fileno(), 0)  # POLLHUP is always reported
    return any(events & select.POLLHUP for _, events in poll.poll(0))
