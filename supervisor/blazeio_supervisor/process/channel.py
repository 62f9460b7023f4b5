"""A message channel between two of our processes, with descriptors.

SOCK_SEQPACKET: message borders are kept, and the death of the peer is seen as
end of file (a datagram pair would stay silent).
"""

import array
import asyncio
import os
import select
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from blazeio_supervisor.process.messages import (
    Message,
    MessageError,
    parse_message,
    serialize_message,
)

_MESSAGE_BYTES = 64 * 1024
_FD_COUNT = 253  # SCM_MAX_FD of the kernel
_FD_BYTES = array.array("i").itemsize

Received = tuple[Message, list[int]]


class Sendable(Protocol):
    """A descriptor that can go beside a message: a socket, or ``Descriptor``."""

    def fileno(self) -> int:
        """Give its number."""

    def dup(self) -> "Sendable":
        """Give another one for the same."""

    def close(self) -> None:
        """Give it back."""


class Descriptor:
    """A descriptor that is no socket.

    Args:
        fd: Owned by this object.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """Give its number."""
        return self._fd

    def dup(self) -> "Descriptor":
        """Give another one for the same file."""
        return Descriptor(os.dup(self._fd))

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


def take_listeners(fds: Sequence[int]) -> list[socket.socket]:
    """Own the listeners that came with a message.

    They are non-blocking already, and are so for all who share them. What is
    set here is Python's own timeout, which an app may have given a default:
    ``accept`` would then wait for the next connection.
    """
    sockets = [socket.socket(fileno=fd) for fd in fds]
    for sock in sockets:
        sock.setblocking(False)
    return sockets


def make_pair() -> tuple[socket.socket, socket.socket]:
    """Make both ends of a channel; neither is inherited over exec."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def receive(sock: socket.socket) -> Received | None:
    """Receive one message and its descriptors; None at end of file.

    The one place where descriptors come in: ``socket.recv_fds`` drops its
    flags, so what it receives would be inherited by every later exec.

    Raises:
        BlockingIOError: Nothing is there yet (non-blocking socket).
        MessageError: The peer's fault: not a message of ours.
    """
    try:
        octets, ancillary = _receive_octets(sock)
    except ConnectionResetError:
        # The peer died with messages of ours unread. That is told once, and
        # before its own last words, which are still there.
        octets, ancillary = _receive_octets(sock)
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % _FD_BYTES])
    if not octets:
        return None
    try:
        return parse_message(octets), fds.tolist()
    except MessageError:
        for fd in fds:
            os.close(fd)
        raise


def _receive_octets(sock: socket.socket) -> tuple[bytes, list[tuple[int, int, bytes]]]:
    while True:
        try:
            octets, ancillary, _, _ = sock.recvmsg(
                _MESSAGE_BYTES,
                socket.CMSG_SPACE(_FD_COUNT * _FD_BYTES),
                socket.MSG_CMSG_CLOEXEC,
            )
        except BlockingIOError:
            if sock.gettimeout() is not None:
                raise
            _wait_for(sock, select.POLLIN)
        else:
            return octets, ancillary


def _wait_for(sock: socket.socket, event: int) -> None:
    """Wait as a blocking socket would.

    Another process that has come by the same descriptor can set O_NONBLOCK.
    """
    poller = select.poll()
    poller.register(sock, event)
    poller.poll()


def send(sock: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Send one message with descriptors; the caller keeps its own copies.

    Raises:
        BlockingIOError: The peer does not read (non-blocking socket).
        BrokenPipeError: The peer is gone.
    """
    ancillary = []
    if fds:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    octets = serialize_message(message)
    while True:
        try:
            sock.sendmsg([octets], ancillary)
        except BlockingIOError:
            if sock.gettimeout() is not None:
                raise
            _wait_for(sock, select.POLLOUT)
        else:
            return


class LoopChannel:
    """A channel end served by an event loop, to a peer that is trusted.

    Args:
        sock: One end of ``make_pair``; owned by this object from now on.
        loop: The running loop.
        on_message: Called with each message and its descriptors, which the
            callee owns.
        on_end: Called once, when the peer closed or died.
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        on_message: Callable[[Message, list[int]], None],
        on_end: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = loop
        self._on_message = on_message
        self._on_end = on_end
        self._outbox: deque[tuple[Message, list[Sendable]]] = deque()
        self.is_open = True
        loop.add_reader(sock.fileno(), self.read)

    @property
    def is_settled(self) -> bool:
        """Whether it is open, and nothing waits to be sent."""
        return self.is_open and not self._outbox

    def fileno(self) -> int:
        """Give the descriptor; what the peer has said is read from there."""
        return self._sock.fileno()

    def send(self, message: Message, sockets: Sequence[Sendable] = ()) -> None:
        """Send now, or when the peer reads again; to a dead peer: nothing."""
        if not self.is_open:
            return
        if self._outbox or not self._sends(message, sockets):
            # What waits keeps dups: the caller may close its own meanwhile.
            self._outbox.append((message, _duplicate(sockets)))
            self._loop.add_writer(self._sock.fileno(), self._flush)

    def _sends(self, message: Message, sockets: Sequence[Sendable]) -> bool:
        try:
            send(self._sock, message, [sock.fileno() for sock in sockets])
        except BlockingIOError:
            return False
        except OSError:
            pass  # the peer is gone: its end of file tells the rest
        return True

    def _flush(self) -> None:
        while self._outbox:
            message, dups = self._outbox[0]
            if not self._sends(message, dups):
                return
            self._outbox.popleft()
            for sock in dups:
                sock.close()
        self._loop.remove_writer(self._sock.fileno())

    def read(self) -> None:
        """Take every message that is there."""
        while self.is_open:
            try:
                received = receive(self._sock)
            except BlockingIOError:
                return
            if received is None:
                self.close()
                self._on_end()
                return
            self._on_message(*received)

    def close(self) -> None:
        """Close this end; the peer sees the end of file."""
        if self.is_open:
            self.is_open = False
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            self._give_back()
            for _, dups in self._outbox:
                for sock in dups:
                    sock.close()
            self._outbox.clear()

    def _give_back(self) -> None:
        self._sock.close()


def _duplicate(sockets: Sequence[Sendable]) -> list[Sendable]:
    """Give all of them once more, or none.

    Raises:
        OSError: There is no room for so many.
    """
    dups: list[Sendable] = []
    try:
        dups.extend(sock.dup() for sock in sockets)
    except OSError:
        for dup in dups:
            dup.close()
        raise
    return dups


def name_socket(sock: socket.socket) -> tuple[int, int]:
    """Return what tells a socket from any other file; see ``is_still``."""
    found = os.fstat(sock.fileno())
    return found.st_dev, found.st_ino


def is_still(sock: socket.socket, name: tuple[int, int]) -> bool:
    """Whether its descriptor is still that socket, and was not closed by others.

    The number of one that was closed may be another file's by now, to which
    nothing of ours must be written.
    """
    try:
        return name_socket(sock) == name
    except OSError:
        return False
