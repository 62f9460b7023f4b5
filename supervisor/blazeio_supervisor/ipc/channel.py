"""A message channel between two of our processes, with descriptors.

SOCK_SEQPACKET: message borders are kept, and the death of the peer is seen as
end of file (a datagram pair would stay silent).
"""

import array
import asyncio
import fcntl
import os
import select
import signal
import socket
import struct
import termios
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from blazeio_supervisor.ipc.messages import Message
from blazeio_supervisor.ipc.packing import (
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
        """Return its number."""

    def dup(self) -> "Sendable":
        """Return another one for the same."""

    def close(self) -> None:
        """Close it."""


class Descriptor:
    """A descriptor that is not a socket.

    Args:
        fd: Owned by this object.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """Return its number."""
        return self._fd

    def dup(self) -> "Descriptor":
        """Return another one for the same file."""
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
        # The peer died with messages of ours unread. This error comes once, and
        # before its own last messages, which are still there.
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

    @property
    def has_unread(self) -> bool:
        """Whether the peer, which may be busy, has not read all that was sent."""
        if not self.is_open:
            return False
        # Of a unix socket that is what lies in the queue of its peer.
        left = fcntl.ioctl(self._sock, termios.TIOCOUTQ, bytes(_INT.size))
        return bool(self._outbox) or _INT.unpack(left) != (0,)

    def fileno(self) -> int:
        """Return the descriptor; messages of the peer are read from there."""
        return self._sock.fileno()

    def send(self, message: Message, sockets: Sequence[Sendable] = ()) -> None:
        """Send now, or when the peer reads again; nothing to a dead peer."""
        if not self.is_open:
            return
        if self._outbox or not self._sends(message, sockets):
            # What waits keeps dups: the caller may close its own meanwhile.
            self._outbox.append((message, _duplicate(sockets)))
            self._loop.add_writer(self._sock.fileno(), self._flush)

    def offer(self, message: Message) -> bool:
        """Send now, or not at all: nothing may wait for it; return whether it was."""
        if not self.is_open or self._outbox:
            return False
        return self._sends(message, ())

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
        """Receive every message that is there."""
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
    """Duplicate all of them, or none.

    Raises:
        OSError: The process cannot have so many descriptors.
    """
    dups: list[Sendable] = []
    try:
        dups.extend(sock.dup() for sock in sockets)
    except OSError:
        for dup in dups:
            dup.close()
        raise
    return dups


# The master's end of a channel to a forkserver or worker: hostile input.
#
# Both run foreign code, so here is the one place where octets and descriptors of
# theirs come in. What a child sends is read a bounded number of messages a turn,
# so that no flood keeps the master from anything else; the first message that is
# malformed, too large, or brings descriptors ends the reading, and its sender is
# refused. SCM_CREDENTIALS names the sender of each message: the end of a channel can be
# inherited, or taken from a sibling of the same user by ``pidfd_getfd``, and no child
# has to answer for what another process has sent.


MESSAGE_BYTES = 96 * 1024
"""A longer message is refused; the longest that is honest has some 64 KiB."""
MESSAGES_PER_TURN = 32
"""How many messages of one child are read in one turn of the loop; the others wait for
the next one."""
MOST_UNREAD = 64
"""Orders that wait for a child that does not read, behind the kernel's buffer."""
MOST_REST = 128
"""How many unread messages of a child that has died are still read; the rest is
dropped."""
FOREIGN_PAUSE_S = 1.0
"""After a turn full of messages by others than the child, nothing is read."""

_FD_COUNT = 253  # SCM_MAX_FD of the kernel
_FD = array.array("i").itemsize
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_INT = struct.Struct("i")
_ROOM = socket.CMSG_SPACE(_FD_COUNT * _FD) + socket.CMSG_SPACE(_CREDENTIALS.size)

FromChildT = TypeVar("FromChildT", bound=Message)


class ChildFault(Exception):  # noqa: N818 - the child's, not ours
    """A child did what none of ours does; the text says what that is."""


def receive_octets(sock: socket.socket, most: int) -> tuple[bytes, int | None] | None:
    """Receive what a child has sent, a message or a piece of a stream.

    Args:
        sock: The master's end.
        most: The most octets to receive.

    Returns:
        The octets, and the pid of who sent them where the socket passes that;
        None at the end of file.

    Raises:
        BlockingIOError: Nothing is there yet.
        ChildFault: Descriptors came along (they are closed), or more than
            ``most`` octets in one message.
    """
    try:
        octets, ancillary, flags, _ = _receive(sock, most)
    except ConnectionResetError:
        # The peer died with messages of ours unread. This error comes once, and
        # before its own last messages, which are still there.
        octets, ancillary, flags, _ = _receive(sock, most)
    fds = array.array("i")
    sender = None
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % _FD])
        elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            sender = _CREDENTIALS.unpack(content)[0]
    if fds:
        close_aside([_Fd(fd) for fd in fds])
    if fds or flags & socket.MSG_CTRUNC:
        raise ChildFault(f"it sent {len(fds)} descriptors, which nobody expects")
    if flags & socket.MSG_TRUNC:
        raise ChildFault(f"it sent more than {most:,} octets in one message")
    if not octets and not ancillary:
        return None
    return octets, sender


def _receive(
    sock: socket.socket, most: int
) -> tuple[bytes, list[tuple[int, int, bytes]], int, object]:
    flags = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
    return sock.recvmsg(most, _ROOM, flags)


class _Fd:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def close(self) -> None:
        os.close(self._fd)


def close_aside(owned: Sequence["_Fd | socket.socket"]) -> None:
    """Close descriptors in a thread, or sockets in which such may lie unread.

    To close what somebody else has made may wait: for the data of a socket with
    SO_LINGER, or for whoever serves a FUSE file system.
    """

    def close_all() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        for each in owned:
            try:
                each.close()
            except OSError:
                pass  # the last word of a file that is written to; it is closed

    threading.Thread(target=close_all, name="close", daemon=True).start()


class ChildChannel(LoopChannel, Generic[FromChildT]):
    """The master's end, served by its loop; never blocks it.

    Args:
        sock: The own end of ``make_child_pair``; owned by this object. Nothing is
            read before ``start``.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._outbox = deque()
        self._pause: asyncio.TimerHandle | None = None
        self._foreign_count = 0
        self._has_more = False
        self._is_drained = False
        self.is_open = True

    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        parse: Callable[[bytes], FromChildT],
        on_message: Callable[[FromChildT, int], None],
        on_fault: Callable[[str], None],
        on_end: Callable[[], None],
        is_sender: Callable[[int], bool],
        on_foreign: Callable[[int], None],
        most_unread: int = MOST_UNREAD,
    ) -> None:
        """Read from now on.

        Args:
            loop: The running loop.
            parse: Reads one message of such a child.
            on_message: Called with each message and the pid that has sent it; may
                raise ``ChildFault``.
            on_fault: Called once, with what the child did; nothing more is read.
            on_end: Called once, when the child closed its end or died.
            is_sender: Returns whether this pid is the child's; True while its pid is
                not known. What others have sent is dropped.
            on_foreign: Called with the pid of such another one, of many the first.
            most_unread: See ``MOST_UNREAD``.
        """
        self._loop = loop
        self._parse = parse
        self._on_child_message = on_message
        self._on_fault = on_fault
        self._on_end = on_end
        self._is_sender = is_sender
        self._on_foreign = on_foreign
        self._most_unread = most_unread
        loop.add_reader(self._sock.fileno(), self.read)

    def send(self, message: Message, sockets: Sequence[Sendable] = ()) -> None:
        """Send now, or when the child reads again; nothing to a dead one."""
        if len(self._outbox) >= self._most_unread:
            self._refuse("it does not read its orders")
        super().send(message, sockets)

    def read(self) -> None:
        """Receive what is there, up to ``MESSAGES_PER_TURN``."""
        for _ in range(MESSAGES_PER_TURN):
            self._take_one()
            if not self._has_more:
                return

    def read_rest(self) -> None:
        """Receive what a dead child has left unread, then close."""
        for _ in range(MOST_REST):
            self._take_one()
            if not self._has_more:
                break
        self.close()

    def _drop_foreign(self, sender: int) -> None:
        """Drop one message of another process; after many, pause the reading."""
        self._foreign_count += 1
        if self._foreign_count == 1:
            self._on_foreign(sender)
        elif self._foreign_count == MESSAGES_PER_TURN and self.is_open:
            self._has_more = False
            self._loop.remove_reader(self._sock.fileno())
            self._pause = self._loop.call_later(FOREIGN_PAUSE_S, self._read_again)

    def _read_again(self) -> None:
        self._foreign_count = 0
        if self.is_open:
            self._loop.add_reader(self._sock.fileno(), self.read)

    def _take_one(self) -> None:
        self._has_more = False
        if not self.is_open:
            return
        try:
            received = receive_octets(self._sock, MESSAGE_BYTES)
            if received is None:
                self._is_drained = True
                self.close()
                self._on_end()
                return
            self._has_more = True
            octets, sender = received
            if sender is None or not self._is_sender(sender):
                self._drop_foreign(sender or 0)
            else:
                self._on_child_message(self._parse(octets), sender)
        except BlockingIOError:
            pass
        except (ChildFault, MessageError) as fault:
            self._refuse(str(fault))
        except OSError as error:
            self._refuse(f"its channel fails: {error.strerror}")

    def _refuse(self, reason: str) -> None:
        self._has_more = False
        if self.is_open:
            self.close()
            self._on_fault(reason)

    def _give_back(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        if self._is_drained:
            self._sock.close()
        else:
            # What lies unread may hold descriptors, which are closed with it.
            close_aside([self._sock])
