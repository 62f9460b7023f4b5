"""Talking to the service manager: sd_notify(3), by hand.

One datagram is one message, ``KEY=value`` lines, perhaps with descriptors. Its
protocol is stable; a library for it would bring a compiler or swallow errors.

Nothing here blocks: a message that the manager has no room for is kept, in
order, until it has.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Sequence

from blazeio_supervisor.escaping import escape_line

SETTLE_S = 1.0
"""A manager that is this slow is not waited for."""
FDS_PER_MESSAGE = 253  # the kernel's limit for one SCM_RIGHTS
_MOST_STATUS_CHARS = 1000

Datagram = tuple[bytes, tuple[int, ...]]


def clean(text: str) -> str:
    """Make one line of a text: a line break would begin another variable."""
    return escape_line(" ".join(text.split()))[:_MOST_STATUS_CHARS]


class Notifier:
    """Sends messages to the service manager, or to nobody.

    Args:
        address: As ``connect`` takes it; None: there is no manager, and every
            message is void.
        loop: Tells when a full manager has room again.
    """

    def __init__(self, address: str | None, loop: asyncio.AbstractEventLoop) -> None:
        self._address = address
        self._loop = loop
        self._kept: deque[Datagram] = deque()
        self._sock: socket.socket | None = None

    @property
    def is_heard(self) -> bool:
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
            fds: Go with it; at most ``FDS_PER_MESSAGE``. They may be closed as
                soon as this returns.
        """
        if self._address is not None and lines:
            octets = "\n".join(lines).encode("utf-8", "backslashreplace")
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
        """Let go of the socket, and of what could not be sent."""
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
                self._disconnect()  # it has gone; the next one may find another
            _close_all(fds)
            self._kept.popleft()
        if self._sock is not None:
            self._loop.remove_writer(self._sock.fileno())

    def _connect(self) -> socket.socket:
        if self._sock is None:
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
