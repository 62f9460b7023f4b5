"""Messages to the service manager: sd_notify(3), without a library.

One datagram is one message, ``KEY=value`` lines, perhaps with descriptors. The
manual calls the protocol stable. The libraries for it need a compiler, bring their own
libsystemd, or send no descriptors and swallow errors.

Nothing here blocks: a message that the manager has no room for is kept, in
order, until it has.
"""

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import Sequence

from blazeio_supervisor.errors import count_of
from blazeio_supervisor.fleet.actions import Notify, Stage
from blazeio_supervisor.log.formats import escape_line
from blazeio_supervisor.log.setup import note
from blazeio_supervisor.sockets.listeners import Listeners

SETTLE_S = 1.0
"""A manager that is this slow is not waited for."""
FDS_PER_MESSAGE = 253  # the kernel's limit for one SCM_RIGHTS
_MOST_STATUS_CHARS = 1000

Datagram = tuple[bytes, tuple[int, ...]]


def clean(text: str) -> str:
    """Make one line of a text: a line break would begin another variable."""
    return escape_line(" ".join(text.split()))[:_MOST_STATUS_CHARS]


class NotifySocket:
    """Sends messages to the service manager, or to nobody.

    Args:
        address: As ``connect`` takes it; None: there is no manager, and nothing is
            sent.
        loop: Calls back when a full manager has room again.
    """

    def __init__(self, address: str | None, loop: asyncio.AbstractEventLoop) -> None:
        self._address = address
        self._loop = loop
        self._kept: deque[Datagram] = deque()
        self._sock: socket.socket | None = None

    @property
    def has_manager(self) -> bool:
        """Whether there is a manager."""
        return self._address is not None

    @property
    def is_settled(self) -> bool:
        """Whether the kernel has taken every message."""
        return not self._kept

    def send(self, *lines: str, fds: Sequence[int] = ()) -> None:
        """Send one message.

        Args:
            lines: Variables, ``READY=1``.
            fds: Descriptors to send with it, at most ``FDS_PER_MESSAGE``. They may be
                closed as soon as this returns.
        """
        if self._address is not None and lines:
            octets = "\n".join(lines).encode("utf-8", "backslashreplace")
            # Duplicates, since it may be sent much later: a listener may be closed by
            # then.
            self._kept.append((octets, tuple(os.dup(fd) for fd in fds)))
            self._send_kept()

    async def settle(self) -> None:
        """Wait until the manager has read everything, ``SETTLE_S`` at most.

        A message of a process that is gone by then cannot be attributed, and is
        dropped. The manager closes the descriptor that comes with BARRIER when
        it gets there.
        """
        if self._address is None:
            return
        own, theirs = os.pipe()
        self.send("BARRIER=1", fds=[theirs])
        os.close(theirs)
        closed = asyncio.Event()
        self._loop.add_reader(own, closed.set)
        try:
            async with asyncio.timeout(SETTLE_S):
                await closed.wait()
        except TimeoutError:
            pass  # an older manager, or a busy one
        finally:
            self._loop.remove_reader(own)
            os.close(own)

    def close(self) -> None:
        """Close the socket, and drop what could not be sent."""
        self._disconnect()
        for _, fds in self._kept:
            _close_all(fds)
        self._kept.clear()

    def _send_kept(self) -> None:
        while self._kept:
            octets, fds = self._kept[0]
            try:
                socket.send_fds(self._connect(), [octets], fds)
            except BlockingIOError:
                self._loop.add_writer(self._connect().fileno(), self._send_kept)
                return
            except OSError:
                # Nobody listens there any more (ECONNREFUSED). The message is lost,
                # which must not end the service; the next one connects anew, to whoever
                # listens at the path by then.
                self._disconnect()
            _close_all(fds)
            self._kept.popleft()
        if self._sock is not None:
            self._loop.remove_writer(self._sock.fileno())

    def _connect(self) -> socket.socket:
        if self._sock is None:
            # Connected, since only then ``poll`` tells whether the receiver has room;
            # of a datagram socket that is not connected it tells of our own buffer.
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            sock.setblocking(False)
            try:
                sock.connect(self._address or "")
            except OSError:
                sock.close()
                raise
            self._sock = sock
        return self._sock

    def _disconnect(self) -> None:
        if self._sock is not None:
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()
            self._sock = None


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


# The notices of the planner as messages of sd_notify(3).
#
# Nothing is decided here; without a manager nothing is sent.


class SystemdNotifier:
    """Reports the state of the service to the service manager.

    Args:
        address: Of the manager; None: there is none.
        loop: The master's.
    """

    def __init__(self, address: str | None, loop: asyncio.AbstractEventLoop) -> None:
        self.notifier = NotifySocket(address, loop)

    def notify(self, notice: Notify) -> None:
        """Send one notice as one message, so that it is seen whole."""
        lines = [] if notice.stage is None else _describe_stage(notice.stage)
        if notice.status is not None:
            lines.append(f"STATUS={clean(notice.status)}")
        if notice.is_alive:
            lines.append("WATCHDOG=1")
        if notice.extend_s is not None:
            lines.append(f"EXTEND_TIMEOUT_USEC={round(notice.extend_s * 1e6)}")
        self.notifier.send(*lines)

    def store(self, name: str, sockets: Sequence[socket.socket]) -> None:
        """Store sockets in the manager for the next start, under one name."""
        # In the order of the slots, though it does not help: the manager returns them
        # in an order of its own, so the next start finds out which queue is which
        # (``sort_by_order``).
        for at in range(0, len(sockets), FDS_PER_MESSAGE):
            fds = [sock.fileno() for sock in sockets[at : at + FDS_PER_MESSAGE]]
            self.notifier.send("FDSTORE=1", f"FDNAME={name}", fds=fds)

    def forget(self, name: str) -> None:
        """Remove all sockets of this name from the store."""
        self.notifier.send("FDSTOREREMOVE=1", f"FDNAME={name}")

    def fail(self, reason: str, number: int | None) -> None:
        """Report why the service ends before it has served.

        Args:
            reason: One line.
            number: The kernel's error, when one is the cause.
        """
        lines = [f"STATUS=failed: {clean(reason)}"]
        if number is not None:
            lines.append(f"ERRNO={number}")
        self.notifier.send(*lines)

    async def end(self) -> None:
        """Wait until the manager has read everything, then close the socket."""
        await self.notifier.settle()
        self.notifier.close()


def _describe_stage(stage: Stage) -> list[str]:
    match stage:
        case Stage.READY:
            # MAINPID: the unit may have started a wrapper that has forked us. Where it
            # takes messages of all its processes (NotifyAccess=all), this says which
            # one is the main process.
            return ["READY=1", f"MAINPID={os.getpid()}"]
        case Stage.RELOADING:
            # The clock that the manager has, too (CLOCK_MONOTONIC, sd_notify(3)): it
            # tells this reload from an earlier one. Without it, in the same message, a
            # reload of Type=notify-reload fails at its timeout (tried with systemd 254
            # to 262).
            return ["RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"]
        case Stage.STOPPING:
            return ["STOPPING=1"]
        case Stage.BOOTING:
            return []


# Having the service manager keep the listeners, so that they outlive a restart.


class FdStore:
    """The listeners in the file descriptor store of the service manager.

    Args:
        notifier: Sends messages to the manager.
        listeners: What is stored.
        room: For how many descriptors it has room; 0: there is no store.
    """

    def __init__(
        self, notifier: SystemdNotifier, listeners: Listeners, room: int
    ) -> None:
        self._notifier = notifier
        self._listeners = listeners
        self._room = room

    def keep(self) -> None:
        """Store the listeners that are not stored yet, and remove unused ones."""
        for name in self._listeners.give_up_stored():
            self._notifier.forget(name)
        for name, sockets in self._listeners.mark_kept(self._room):
            self._notifier.store(name, sockets)
        left = self._listeners.count_own()
        if self._room and left:
            text = (
                f"{count_of(left, 'listener')} will not outlive a restart: "
                f"the unit's FileDescriptorStoreMax= is {self._room}"
            )
            note("not_stored", text, "WARNING")
