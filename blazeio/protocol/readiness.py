"""Seeing that a peer went away while reading from it is paused.

A paused transport sees neither FIN nor RST, because nobody polls its socket.
So, while a connection is paused, its descriptor is also in a side epoll of
ours that asks for nothing but the hang-up (EPOLLRDHUP; ERR and HUP come
unasked), and that epoll's own descriptor is a reader of the event loop.
Measured: 0.2 ms from RST to cancellation; no cost while nobody is paused.
"""

import asyncio
import contextvars
import fcntl
import select
import socket
import struct
import sys
import termios
from collections.abc import Callable, Sequence
from typing import Protocol

_RESET = struct.pack("ii", 1, 0)
"""struct linger: on, for zero seconds."""


def count_unread_bytes(fd: int) -> int:
    """Received and not read by us yet (SIOCINQ)."""
    return _ask(fd, termios.FIONREAD)


def count_unsent_bytes(fd: int) -> int:
    """Written by us and not acknowledged by the peer yet (SIOCOUTQ)."""
    return _ask(fd, termios.TIOCOUTQ)


def poll_for_arrivals(fd: int) -> Callable[[int], Sequence[object]]:
    """Return what tells whether anything has come from the peer: octets, FIN or RST.

    It is called with how long to wait for that, ms, and is true where something has.
    It may be kept for as long as the descriptor is open; to call it takes 0.3 us.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLRDHUP)
    return poll.poll


def reset_at_close(sock: socket.socket) -> None:
    """Let ``close`` send RST and drop what was not sent (socket(7), SO_LINGER)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def _ask(fd: int, what: int) -> int:
    return int.from_bytes(fcntl.ioctl(fd, what, bytes(4)), sys.byteorder)


class HangupListener(Protocol):
    """What the watcher needs of a connection."""

    def on_hangup(self, *, is_reset: bool) -> None:
        """The peer sent FIN, or RST."""
        ...


class HangupWatcher:
    """Watches the sockets of paused connections of one event loop."""

    __slots__ = ("_base", "_epoll", "_loop", "_watched")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._base = contextvars.copy_context()
        self._epoll: select.epoll | None = None  # made on first use
        self._watched: dict[int, HangupListener] = {}

    def list_epolls(self) -> list[int]:
        """Return the descriptor of the side epoll, if there is one by now."""
        return [] if self._epoll is None else [self._epoll.fileno()]

    def watch(self, fd: int, connection: HangupListener) -> None:
        """Call ``connection.on_hangup`` at the peer's FIN, and at its RST."""
        if self._epoll is None:
            self._epoll = select.epoll()
            # not in the context of the handler that happens to be the first
            side = self._epoll.fileno()
            self._base.copy().run(lambda: self._loop.add_reader(side, self._poll))
        if fd not in self._watched:
            self._epoll.register(fd, select.EPOLLRDHUP)
        self._watched[fd] = connection

    def forget(self, fd: int) -> None:
        """Watch no longer."""
        if self._epoll is not None and self._watched.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except OSError:  # closed before us; the kernel has forgotten it
                pass

    def _poll(self) -> None:
        assert self._epoll is not None  # _poll is its reader
        for fd, events in self._epoll.poll(0):
            connection = self._watched.get(fd)
            if connection is None:
                continue  # forgotten by a connection served just before
            if events & (select.EPOLLERR | select.EPOLLHUP):
                self.forget(fd)
                connection.on_hangup(is_reset=True)
            else:
                self._epoll.modify(fd, 0)  # FIN was told; go on watching for RST
                connection.on_hangup(is_reset=False)

    def close(self) -> None:
        """Give the epoll back."""
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
        self._epoll = None
        self._watched.clear()


class WritabilityWatcher:
    """Watches the sockets of one event loop that are written to beside it."""

    __slots__ = ("_base", "_epoll", "_loop", "_waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._base = contextvars.copy_context()
        self._epoll: select.epoll | None = None  # made on first use
        self._waiters: dict[int, asyncio.Future[None]] = {}

    def list_epolls(self) -> list[int]:
        """Return the descriptor of the side epoll, if there is one by now."""
        return [] if self._epoll is None else [self._epoll.fileno()]

    async def writable(self, fd: int) -> None:
        """Return when the socket takes octets, or is broken.

        Args:
            fd: Of one waiter at a time.
        """
        if self._epoll is None:
            self._epoll = select.epoll()
            # not in the context of the handler that happens to be the first
            side = self._epoll.fileno()
            self._base.copy().run(lambda: self._loop.add_reader(side, self._poll))
        waiter = self._waiters[fd] = self._loop.create_future()
        self._epoll.register(fd, select.EPOLLOUT | select.EPOLLONESHOT)
        try:
            await waiter
        finally:
            self._forget(fd, waiter)

    def _poll(self) -> None:
        assert self._epoll is not None  # _poll is its reader
        for fd, _ in self._epoll.poll(0):
            waiter = self._waiters.get(fd)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def _forget(self, fd: int, waiter: asyncio.Future[None]) -> None:
        if self._epoll is None or self._waiters.get(fd) is not waiter:
            return
        del self._waiters[fd]
        try:
            self._epoll.unregister(fd)
        except OSError:  # closed meanwhile; the kernel has forgotten it
            pass

    def close(self) -> None:
        """Give the epoll back."""
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
        self._epoll = None
        self._waiters.clear()


class Shared(Protocol):
    """What the connections of a loop share, as far as it is needed here."""

    hangups: HangupWatcher

    def run_outside(self, work: Callable[..., None], *arguments: object) -> None:
        """Call it without the contextvars of the running handler."""
        ...


class ReadControl:
    """Whether the transport reads; while it does not, the hang-up is watched.

    Args:
        transport: Of the connection.
        shared: What the connections of a loop share.
        watched: The connection, told of the peer's FIN and RST while nothing is read.

    Attributes:
        is_open: The transport reads.
    """

    __slots__ = ("_fd", "_shared", "_transport", "_watched", "is_open")

    def __init__(
        self, transport: asyncio.Transport, shared: Shared, watched: HangupListener
    ) -> None:
        self._transport = transport
        self._shared = shared
        self._watched = watched
        self._fd = -1  # kept while paused: a lost transport no longer knows it
        self.is_open = True

    def pause(self) -> None:
        """Read no more; the peer feels it when its window is full."""
        if self.is_open and not self._transport.is_closing():
            self.is_open = False
            self._transport.pause_reading()
            self._fd = self._fileno()
            self._shared.hangups.watch(self._fd, self._watched)

    def resume(self) -> None:
        """Read again."""
        if not self.is_open:
            self.close()
            if not self._transport.is_closing():
                # within a handler's task: asyncio's transport would read on in
                # its context
                self._shared.run_outside(self._transport.resume_reading)

    def close(self) -> None:
        """The connection is over: watch no longer."""
        if not self.is_open:
            self.is_open = True
            self._shared.hangups.forget(self._fd)

    def unread_bytes(self) -> int:
        """Octets that wait to be read; over TLS enciphered, so never fewer."""
        held: int = self._transport.get_extra_info("held_bytes", 0)
        return held + count_unread_bytes(self._fileno())

    def unsent_bytes(self) -> int:
        """Octets that wait here and in the kernel for the peer to read."""
        waiting = self._transport.get_write_buffer_size()
        return waiting + count_unsent_bytes(self._fileno())

    def reset_at_close(self) -> None:
        """Have the close send RST and drop what was not sent."""
        reset_at_close(self._transport.get_extra_info("socket"))

    def _fileno(self) -> int:
        fileno: int = self._transport.get_extra_info("socket").fileno()
        return fileno
