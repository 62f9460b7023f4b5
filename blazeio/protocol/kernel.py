"""What is asked of the kernel beside the event loop, and what stands in for it.

Servers run on Linux. Many develop on macOS, where the framework and its client work by
the fallbacks below: each is chosen here, by what is there and not by a name. They cost
something that development does not need, and each says what.

Of a socket:

* ``ReadControl`` pauses and resumes the reads of a connection.
* ``HangupWatcher``: a paused transport sees neither FIN nor RST, since nobody polls its
  socket. So, while a connection is paused, its descriptor is also in an epoll of ours
  that asks for nothing but the hang-up (EPOLLRDHUP; ERR and HUP come unasked,
  epoll_ctl(2)), and the descriptor of that epoll is a reader of the event loop.
  Measured: 0.2 ms from RST to cancellation; no cost while nothing is paused.
* ``WritabilityWatcher`` waits until a socket takes octets again, for sendfile(2). An
  event loop refuses a writer on a descriptor that a transport has, and a dup of it
  would hold the connection open after its transport was closed. So it uses an epoll of
  ours as well.
* Functions read how much the kernel holds of a socket.

Of a file, without a wait of the loop for a disk: over plain TCP octets go from the file
to the socket by sendfile(2), past the transport. Meanwhile the transport has a high
watermark of 0: it pauses its writers whenever it holds anything. So an open gate says
that it holds nothing, and octets that we give to the socket then come after all that
the transport has written. Over TLS, and by carriers without a socket of their own,
files are read and written in chunks. What is in the page cache is read at once, which
costs less than a thread would (4 KiB: 1 us against 30). What is not, or where a file
system cannot tell, is read in a thread.
"""

import asyncio
import contextvars
import fcntl
import os
import select
import socket
import struct
import sys
import termios
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from blazeio.errors import ClientDisconnected

if TYPE_CHECKING:
    from blazeio.protocol.http1 import Http1Connection
    from blazeio.protocol.request import BlazeioServerProtocol

HAS_EPOLL = hasattr(select, "epoll")
"""Else a paused connection is looked at from time to time: ``SidePoll``."""

HAS_NOWAIT_READS = hasattr(os, "RWF_NOWAIT")
"""preadv2(2) tells what is in the page cache. Else files are read in threads."""

HAS_SENDFILE = HAS_EPOLL and HAS_NOWAIT_READS and hasattr(os, "sendfile")
"""sendfile(2) as Linux has it, with a way to wait for room in the socket. Else files
are read and written in chunks, as over TLS."""

HAS_UNSENT_COUNT = HAS_EPOLL
"""SIOCOUTQ (tcp(7)) tells what the peer has not acknowledged. Else that counts as
nothing: a slow reader is noticed when the transport's own buffer is full."""

NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
"""Else Python has SIGPIPE ignored, as it does by default."""

PEER_HAS_ENDED = getattr(select, "POLLRDHUP", 0)
"""Else poll(2) tells of a FIN by POLLIN alone."""


def end_output(transport: asyncio.Transport) -> None:
    """Send FIN after what was written; cut a connection that the peer has reset.

    The kernel knows of the reset before the loop does: asyncio then raises what its
    shutdown(2) says, ENOTCONN. (uvloop takes it for the loss that it is.)
    """
    try:
        transport.write_eof()
    except OSError:
        transport.abort()


def find_real_path(descriptor: int) -> str:
    """Return the path of an open file, without links.

    Raises:
        OSError: The system does not tell it.
    """
    get_path = getattr(fcntl, "F_GETPATH", None)  # macOS: fcntl(2)
    if get_path is None:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    octets = fcntl.fcntl(descriptor, get_path, bytes(1024))
    return os.fsdecode(octets.partition(b"\0")[0])


_RESET = struct.pack("ii", 1, 0)
"""The struct linger of SO_LINGER: on, for zero seconds."""


def count_unread_bytes(fd: int) -> int:
    """Return how many received octets were not read yet (SIOCINQ, tcp(7))."""
    return _ask(fd, termios.FIONREAD)


def count_unsent_bytes(fd: int) -> int:
    """Return how many written octets the peer has not acknowledged (SIOCOUTQ)."""
    return _ask(fd, termios.TIOCOUTQ) if HAS_UNSENT_COUNT else 0


def poll_for_arrivals(fd: int) -> Callable[[int], Sequence[object]]:
    """Return a function that tells whether octets, FIN or RST have come from the peer.

    It is called with how long to wait for them, in milliseconds, and returns something
    true when they have come. It may be kept for as long as the descriptor is open; a
    call takes 0.3 us.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN | PEER_HAS_ENDED)
    return poll.poll


def reset_at_close(sock: socket.socket) -> None:
    """Let the close of a socket send RST and drop what was not sent (socket(7))."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def _ask(fd: int, what: int) -> int:
    return int.from_bytes(fcntl.ioctl(fd, what, bytes(4)), sys.byteorder)


class HangupListener(Protocol):
    """A connection whose socket is watched."""

    def on_hangup(self, *, is_reset: bool) -> None:
        """The peer has sent FIN, or RST."""
        ...


class SideEpoll:
    """An epoll of ours, whose own descriptor is a reader of the event loop.

    It is made when it is first needed.

    Args:
        loop: The event loop.
        on_ready: Called in a turn of the loop where the epoll has events.
    """

    __slots__ = ("_base", "_epoll", "_loop", "_on_ready")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_ready: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._on_ready = on_ready
        self._base = contextvars.copy_context()
        self._epoll: select.epoll | None = None

    def list_descriptors(self) -> list[int]:
        """Return its descriptor, if it was made by now."""
        return [] if self._epoll is None else [self._epoll.fileno()]

    def register(self, fd: int, events: int) -> None:
        """Watch a socket for events of epoll_ctl(2)."""
        if self._epoll is None:
            self._epoll = select.epoll()
            # A reader runs in the context of who adds it: not in that of a handler.
            side = self._epoll.fileno()
            self._base.copy().run(lambda: self._loop.add_reader(side, self._on_ready))
        self._epoll.register(fd, events)

    def modify(self, fd: int, events: int) -> None:
        """Watch a socket for other events from now on."""
        if self._epoll is not None:
            self._epoll.modify(fd, events)

    def unregister(self, fd: int) -> None:
        """Stop watching a socket, which may be closed by now."""
        if self._epoll is not None:
            try:
                self._epoll.unregister(fd)
            except OSError:
                pass  # it was closed before; the kernel has forgotten it

    def poll(self) -> list[tuple[int, int]]:
        """Return the sockets that have events now, each with its events."""
        return [] if self._epoll is None else self._epoll.poll(0)

    def close(self) -> None:
        """Close it; it is made again when it is needed."""
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
        self._epoll = None


LOOK_EVERY_S = 0.25
"""How often ``SidePoll`` looks at its sockets, seconds."""


class SidePoll:
    """``SideEpoll`` where there is no epoll: it looks at the sockets by poll(2).

    A FIN is not seen behind octets that wait to be read, and a reset up to
    ``LOOK_EVERY_S`` late.
    """

    __slots__ = ("_base", "_loop", "_on_ready", "_poll", "_timer", "_watched")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_ready: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._on_ready = on_ready
        self._base = contextvars.copy_context()
        self._poll = select.poll()
        self._watched: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None

    def list_descriptors(self) -> list[int]:
        """Return nothing: it has no descriptor of its own."""
        return []

    def register(self, fd: int, events: int) -> None:
        """Watch a socket for events of poll(2)."""
        self._poll.register(fd, events)
        self._watched.add(fd)
        if self._timer is None:
            self._look_later()

    def modify(self, fd: int, events: int) -> None:
        """Watch a socket for other events from now on."""
        if fd in self._watched:
            self._poll.modify(fd, events)

    def unregister(self, fd: int) -> None:
        """Stop watching a socket, which may be closed by now."""
        if fd in self._watched:
            self._watched.discard(fd)
            self._poll.unregister(fd)

    def poll(self) -> list[tuple[int, int]]:
        """Return the sockets that have events now, each with its events."""
        return self._poll.poll(0)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self) -> None:
        self._timer = self._base.copy().run(
            self._loop.call_later, LOOK_EVERY_S, self._look
        )

    def _look(self) -> None:
        self._timer = None
        if self._watched:
            self._on_ready()
            self._look_later()


def make_side(
    loop: asyncio.AbstractEventLoop, on_ready: Callable[[], None]
) -> SideEpoll | SidePoll:
    """Make what watches sockets beside the event loop."""
    return SideEpoll(loop, on_ready) if HAS_EPOLL else SidePoll(loop, on_ready)


class HangupWatcher:
    """Watches the sockets of paused connections of one event loop."""

    __slots__ = ("_epoll", "_watched")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._epoll = make_side(loop, self._poll)
        self._watched: dict[int, HangupListener] = {}

    def list_epolls(self) -> list[int]:
        """Return the descriptor of the epoll, if there is one by now."""
        return self._epoll.list_descriptors()

    def watch(self, fd: int, connection: HangupListener) -> None:
        """Call ``connection.on_hangup`` at the peer's FIN, and at its RST."""
        if fd not in self._watched:
            self._epoll.register(fd, PEER_HAS_ENDED)
        self._watched[fd] = connection

    def forget(self, fd: int) -> None:
        """Stop watching a socket."""
        if self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def _poll(self) -> None:
        for fd, events in self._epoll.poll():
            connection = self._watched.get(fd)
            if connection is None:
                continue  # forgotten by a connection served just before
            if events & (select.POLLERR | select.POLLHUP):
                self.forget(fd)
                connection.on_hangup(is_reset=True)
            else:
                # The FIN is told once; 0 still brings ERR and HUP, which are a RST.
                self._epoll.modify(fd, 0)
                connection.on_hangup(is_reset=False)

    def close(self) -> None:
        """Close the epoll."""
        self._epoll.close()
        self._watched.clear()


class WritabilityWatcher:
    """Watches the sockets of one event loop that are written to beside it."""

    __slots__ = ("_epoll", "_loop", "_waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = make_side(loop, self._poll)
        self._waiters: dict[int, asyncio.Future[None]] = {}

    def list_epolls(self) -> list[int]:
        """Return the descriptor of the epoll, if there is one by now."""
        return self._epoll.list_descriptors()

    async def writable(self, fd: int) -> None:
        """Return when the socket takes octets, or is broken.

        Args:
            fd: Of one waiter at a time.
        """
        waiter = self._waiters[fd] = self._loop.create_future()
        self._epoll.register(fd, select.EPOLLOUT | select.EPOLLONESHOT)
        try:
            await waiter
        finally:
            if self._waiters.get(fd) is waiter:
                del self._waiters[fd]
                self._epoll.unregister(fd)

    def _poll(self) -> None:
        for fd, _ in self._epoll.poll():
            waiter = self._waiters.get(fd)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def close(self) -> None:
        """Close the epoll."""
        self._epoll.close()
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
        """Read no more; the peer stops sending when its window is full."""
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
                # Within a handler's task asyncio's transport would go on to read in
                # the context of that task.
                self._shared.run_outside(self._transport.resume_reading)

    def close(self) -> None:
        """Stop watching: the connection is over."""
        if not self.is_open:
            self.is_open = True
            self._shared.hangups.forget(self._fd)

    def unread_bytes(self) -> int:
        """Return how many octets wait to be read; over TLS with their framing."""
        held: int = self._transport.get_extra_info("held_bytes", 0)
        return held + count_unread_bytes(self._fileno())

    def unsent_bytes(self) -> int:
        """Return how many octets wait, here and in the kernel, for the peer to read."""
        waiting = self._transport.get_write_buffer_size()
        return waiting + count_unsent_bytes(self._fileno())

    def reset_at_close(self) -> None:
        """Let the close send RST and drop what was not sent."""
        reset_at_close(self._transport.get_extra_info("socket"))

    def _fileno(self) -> int:
        fileno: int = self._transport.get_extra_info("socket").fileno()
        return fileno


async def read_pages(file: int, first: int, size: int) -> bytes:
    """Read a part of a file; less than asked for where the file ends.

    Args:
        file: Descriptor of a regular file.
        first: Offset.
        size: Most octets.
    """
    if is_cached(file, first, size):
        return os.pread(file, size, first)
    return await asyncio.to_thread(os.pread, file, size, first)


async def bring_into_cache(file: int, first: int, size: int) -> None:
    """Read a part of a file into the page cache, so that it is sent without a wait."""
    if not is_cached(file, first, size):
        await asyncio.to_thread(os.pread, file, size, first)


def is_cached(file: int, first: int, size: int) -> bool:
    """Whether a part seems to be in the page cache: its first and last octet are.

    The kernel's read-ahead fills what is between. Where it did not, the loop waits for
    the disk once.
    """
    if not HAS_NOWAIT_READS:
        return False
    octet = bytearray(1)
    try:
        os.preadv(file, [octet], first, os.RWF_NOWAIT)
        os.preadv(file, [octet], first + size - 1, os.RWF_NOWAIT)
    except OSError:  # not cached; or it cannot be told, as on tmpfs and over a network
        return False
    return True


STEP_BYTES = 512 * 1024
"""The most octets of one sendfile(2): other connections wait for 0.1 ms meanwhile."""
WHOLE_BYTES = 64 * 1024
"""A part of at most this size is read, and leaves in one write with its head."""


async def send_file(
    r: "BlazeioServerProtocol", file: int, first: int, size: int, chunk_bytes: int
) -> bool:
    """Send a part of a file as content of a response with a Content-Length.

    Args:
        r: The request; its response was prepared.
        file: Descriptor of a regular file.
        first: Offset of the first octet.
        size: How many octets, within what is left of the Content-Length.
        chunk_bytes: Octets per read, where the file has to be read.

    Returns:
        False where the file has shrunk, and ended before.

    Raises:
        ClientDisconnected: The peer is gone.
        LocalProtocolError: More than the declared Content-Length.
    """
    if size > WHOLE_BYTES and r.carrier.can_sendfile:
        message = r.response.message
        assert message is not None  # it was prepared
        message.check(size)
        return await r.carrier.sendfile(file, first, size)
    return await _send_chunks(r, file, first, size, chunk_bytes)


async def _send_chunks(
    r: "BlazeioServerProtocol", file: int, first: int, size: int, chunk_bytes: int
) -> bool:
    end = first + size
    while first < end:
        octets = await read_pages(file, first, min(chunk_bytes, end - first))
        if not octets:
            return False
        first += len(octets)
        await r.write(octets)
    return True


async def send_past_transport(
    connection: "Http1Connection", file: int, first: int, size: int
) -> bool:
    """Send octets of a file by sendfile(2), for ``RequestCarrier.sendfile``."""
    r = connection.request
    message = r.response.message
    assert message is not None  # it was prepared
    transport = connection.transport
    transport.set_write_buffer_limits(high=0)
    try:
        r.response.flush_head(message)
        await r.buffer_overflow_manager()
        return await _copy(connection, file, first, first + size)
    finally:
        if not transport.is_closing():
            high_bytes = r.context.limits.high_water_bytes
            transport.set_write_buffer_limits(high=high_bytes)


async def _copy(connection: "Http1Connection", file: int, first: int, end: int) -> bool:
    r = connection.request
    sock = r.transport.get_extra_info("socket").fileno()
    while first < end:
        step = min(STEP_BYTES, end - first)
        await bring_into_cache(file, first, step)
        if r.transport.is_closing():
            await r.give_way()
        try:
            count = os.sendfile(sock, file, first, step)
        except BlockingIOError:
            await _writable(connection, sock)
            continue
        except (ConnectionError, TimeoutError) as error:
            # The transport finds out by itself, in the next turn of the loop.
            await asyncio.sleep(0)
            raise ClientDisconnected("the client went away") from error
        if not count:
            return False
        first += count
        r.response.count_beside(count)
        if first == end:
            break
        if count < step:
            # The socket's buffer is full: another call would only say so.
            await _writable(connection, sock)
        else:
            await asyncio.sleep(0)  # others have their turn: the peer may be as fast
    return True


async def _writable(connection: "Http1Connection", sock: int) -> None:
    """Sleep while the kernel's buffer is full; the peer has to read meanwhile."""
    connection.timeouts.start_reading()
    await connection.request.context.writability.writable(sock)
    connection.timeouts.stop_reading()
