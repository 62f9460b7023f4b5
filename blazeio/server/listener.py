"""Accepting: one path for own and for adopted sockets, on every loop.

``create_server`` is not used: it calls ``listen`` with a backlog of its own on
a socket that others may share, and asyncio then takes a whole queue in one
turn. Here a reader on an own dup takes a few connections per turn, so that
those already open are served in between, and other owners of the queue get
their share.
"""

import asyncio
import contextlib
import contextvars
import errno
import os
import select
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from blazeio.errors import ConfigurationError
from blazeio.loggers import get_logger
from blazeio.server.greeting import Greeter

log = get_logger("blazeio.server")

ACCEPTS_PER_TURN = 16
BACKLOG = 2048
RETRY_S = 0.5
"""Without room or descriptors, accepting rests for this long."""

_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def bind(host: str, port: int, backlog: int = BACKLOG) -> socket.socket:
    """A listening TCP socket, for a server that is alone.

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


class Acceptor:
    """Accepts from one listening socket until closed.

    Args:
        sock: Listening and non-blocking; an own dup of it is used. Its flags
            are left alone: they belong to all who share it.
        factory: Makes the protocol of each connection; given its PROXY header,
            if it has one.
        make_room: Asked when somebody waits; says how many may be accepted.
            At none, accepting rests until ``wake``, or until it is worth
            asking again.
        settled: Called when an accepted connection has its protocol, or failed.
        loop: Accepts on this loop.
        greeter: Reads the PROXY headers of the peers that send one.
        batch: Most accepts per turn of the loop.
    """

    def __init__(
        self,
        sock: socket.socket,
        factory: Callable[..., asyncio.BaseProtocol],
        make_room: Callable[[], int],
        settled: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        *,
        greeter: Greeter | None = None,
        batch: int = ACCEPTS_PER_TURN,
    ) -> None:
        # not sock.dup(): it would set the mode that this object believes in,
        # and one made from a bare descriptor believes that it blocks
        self._sock = socket.socket(
            sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno())
        )
        # it is so already; but with a default timeout, set by the app for its
        # own sockets, accept would wait
        self._sock.setblocking(False)
        self._poller = select.poll()
        self._poller.register(self._sock, select.POLLIN)
        self._factory = factory
        self._make_room = make_room
        self._settled = settled
        self._loop = loop
        self._base = contextvars.copy_context()
        self._greeter = greeter
        self._batch = batch
        self._tasks: dict[asyncio.Task[None], socket.socket] = {}
        self._is_tcp = sock.family != socket.AF_UNIX
        if not self._is_tcp:
            # Linux 6.16: to drop a client's descriptor may hold up the loop.
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)
        self._alarm: asyncio.TimerHandle | None = None
        self._is_resting = True
        self.is_closed = False
        self.wake()

    def wake(self) -> None:
        """Accept again, if it was resting."""
        if self._is_resting and not self.is_closed:
            self._is_resting = False
            # woken by a connection that ends, in whatever context it does
            fd = self._sock.fileno()
            self._base.copy().run(lambda: self._loop.add_reader(fd, self._accept_some))

    def _rest_for_a_while(self) -> None:
        self._rest()
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_later(RETRY_S, self.wake, context=self._base)

    def _rest(self) -> None:
        if not self._is_resting:
            self._is_resting = True
            self._loop.remove_reader(self._sock.fileno())

    def _accept_some(self) -> None:
        room = self._make_room()
        if room <= 0:
            self._rest_for_a_while()
        self._unblock()
        for count in range(min(self._batch, room)):
            if self.is_closed or (count and not self._has_more()):
                return
            if not self._accept_one():
                return

    def _has_more(self) -> bool:
        """Whether anything waits: cheaper than an accept that finds nothing.

        Nor does that depend on O_NONBLOCK, see ``_unblock``.
        """
        return bool(self._poller.poll(0))

    def _unblock(self) -> None:
        """Set what whoever shares the socket may have taken off.

        In one that blocks, accept would keep the loop until the next connection
        comes. Costs 0.3 us, once for all that wait.
        """
        try:
            os.set_blocking(self._sock.fileno(), False)
        except OSError:
            pass  # a signal's handler has closed it just now

    def _accept_one(self) -> bool:
        """Accept one; False when no other can be had now."""
        try:
            connection, address = self._sock.accept()
        except BlockingIOError:
            if not self._is_tcp and _is_shut_down(self._sock):
                self.close()
            return False
        except OSError as error:
            return self._may_go_on(error)
        connection.setblocking(False)
        if self._is_tcp:  # uvloop sets it by itself, asyncio since 3.6 too; be sure
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        work = self._connect(connection, address)
        task = self._base.copy().run(self._loop.create_task, work)
        self._tasks[task] = connection
        task.add_done_callback(self._forget)
        return True

    def _may_go_on(self, error: OSError) -> bool:
        if error.errno == errno.EINVAL:  # shut down by whoever shares it
            self.close()
            return False
        if error.errno in _OUT_OF_RESOURCES:
            log.warning("cannot accept: %s; trying again in %s s", error, RETRY_S)
            self._rest_for_a_while()
            return False
        # The error is that of a connection which has failed already (accept(2),
        # "Error handling"): it is gone, and the next one may be well.
        log.debug("a connection failed before it was accepted: %s", error)
        return True

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._settled()

    async def _connect(self, connection: socket.socket, address: Any) -> None:
        factory = self._factory
        if self._greeter is not None and self._greeter.expects(address):
            header = await self._greeter.read(connection, address)
            if header is None:
                return
            factory = partial(factory, header)
        try:
            await self._loop.connect_accepted_socket(factory, connection)
        except OSError:  # reset before we got to it
            connection.close()

    def drain_queue(self) -> None:
        """Accept all that waits now, beyond the batch, until EAGAIN."""
        self._unblock()
        while not self.is_closed and self._has_more() and self._accept_one():
            pass

    @property
    def pending(self) -> int:
        """Connections accepted whose protocol does not exist yet."""
        return len(self._tasks)

    def list_sockets(self) -> list[int]:
        """Return the descriptors of the listener, and of what it has accepted.

        Those that have a protocol by now are not listed.
        """
        return [sock.fileno() for sock in (self._sock, *list(self._tasks.values()))]

    def close(self) -> None:
        """Stop accepting; the socket itself stays as it is for other owners."""
        if self.is_closed:
            return
        self._rest()
        self.is_closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        self._sock.close()


def _is_shut_down(sock: socket.socket) -> bool:
    """Whether a unix socket was shut down: to accept, it only seems empty.

    Its readers would be called in every turn of the loop, for ever.
    """
    poll = select.poll()
    poll.register(sock.fileno(), 0)  # POLLHUP comes unasked
    return any(events & select.POLLHUP for _, events in poll.poll(0))
