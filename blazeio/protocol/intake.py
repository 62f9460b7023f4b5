"""The socket side of one connection: pausing reads, and what the kernel holds."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from blazeio.protocol import kernel
from blazeio.protocol.readiness import HangupWatcher, Watched
from blazeio.protocol.tls_transport import TlsTransport


class Shared(Protocol):
    """What the connections of a loop share, as far as it is needed here."""

    hangups: HangupWatcher

    def apart(self, work: Callable[..., None], *arguments: object) -> None:
        """Call it without the contextvars of the running handler."""
        ...


class Intake:
    """Whether the transport reads; while it does not, the hang-up is watched.

    Attributes:
        is_open: The transport reads.
    """

    __slots__ = ("_fd", "_shared", "_transport", "is_open")

    def __init__(self, transport: asyncio.Transport, shared: Shared) -> None:
        self._transport = transport
        self._shared = shared
        self._fd = -1  # kept while paused: a lost transport no longer knows it
        self.is_open = True

    def pause(self, connection: Watched) -> None:
        """Read no more; the peer feels it when its window is full."""
        if self.is_open and not self._transport.is_closing():
            self.is_open = False
            self._transport.pause_reading()
            self._fd = self._fileno()
            self._shared.hangups.watch(self._fd, connection)

    def resume(self) -> None:
        """Read again."""
        if not self.is_open:
            self.close()
            if not self._transport.is_closing():
                # within a handler's task: asyncio's transport would read on in
                # its context
                self._shared.apart(self._transport.resume_reading)

    def close(self) -> None:
        """The connection is over: watch no longer."""
        if not self.is_open:
            self.is_open = True
            self._shared.hangups.forget(self._fd)

    def unread_bytes(self) -> int:
        """Octets that wait to be read; over TLS enciphered, so never fewer."""
        transport = self._transport
        held = transport.held_bytes if isinstance(transport, TlsTransport) else 0
        return held + kernel.unread_bytes(self._fileno())

    def unsent_bytes(self) -> int:
        """Octets that wait here and in the kernel for the peer to read."""
        waiting = self._transport.get_write_buffer_size()
        return waiting + kernel.unsent_bytes(self._fileno())

    def reset_at_close(self) -> None:
        """Have the close send RST and drop what was not sent."""
        kernel.reset_at_close(self._transport.get_extra_info("socket"))

    def _fileno(self) -> int:
        fileno: int = self._transport.get_extra_info("socket").fileno()
        return fileno
