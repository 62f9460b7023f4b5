"""`FakeTransport`: an asyncio transport without a socket.

It keeps the promises of the real one that protocols lean on; each is checked
against a real socket in ``tests/support/test_transport.py``:
``connection_lost`` comes once and from the loop, never from within ``close``;
a paused transport delivers nothing; ``pause_writing`` and ``resume_writing``
follow the watermarks.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

HIGH_WATER_BYTES = 64 * 1024


class FakeTransport(asyncio.Transport):
    """Hands octets to a protocol and records what it writes.

    Args:
        protocol: Connected at once when given, else by `connect`.
        peername: What ``get_extra_info("peername")`` says.
        sockname: What ``get_extra_info("sockname")`` says.
        extra: Further extra info.

    Attributes:
        written: All octets the peer has received.
        writes: The argument of every ``write``, in order.
        is_stalled: The peer reads nothing: writes pile up in the buffer.
        has_written_eof: ``write_eof`` was called.
        was_aborted: ``abort`` was called.
        is_lost: ``connection_lost`` was called.
        undelivered: Octets fed while reading was paused.
    """

    def __init__(
        self,
        protocol: asyncio.BaseProtocol | None = None,
        *,
        peername: object = ("127.0.0.1", 54321),
        sockname: object = ("127.0.0.1", 8000),
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__({"peername": peername, "sockname": sockname, **(extra or {})})
        self.written = bytearray()
        self.writes: list[bytes] = []
        self.is_stalled = False
        self.has_written_eof = False
        self.was_aborted = False
        self.is_lost = False
        self.undelivered = bytearray()
        self._protocol: asyncio.BaseProtocol | None = None
        self._buffer = bytearray()
        self._high, self._low = HIGH_WATER_BYTES, HIGH_WATER_BYTES // 4
        self._is_closing = False
        self._is_reading = True
        self._is_eof_due = False
        self._has_paused_writer = False
        if protocol is not None:
            self.connect(protocol)

    def connect(self, protocol: asyncio.BaseProtocol) -> None:
        """Give the transport its protocol: ``connection_made`` is called."""
        self._protocol = protocol
        protocol.connection_made(self)

    # What the peer does.

    def feed(self, octets: bytes) -> None:
        """The peer sends ``octets``; kept back while reading is paused."""
        self.undelivered += octets
        self._deliver()

    def feed_eof(self) -> None:
        """The peer sends FIN, seen after all octets were delivered."""
        self._is_eof_due = True
        self._deliver()

    def drain(self, byte_count: int | None = None) -> bytes:
        """The peer reads from what was buffered; ``None`` for all of it."""
        taken = bytes(self._buffer[:byte_count])
        del self._buffer[: len(taken)]
        self.written += taken
        if self._has_paused_writer and len(self._buffer) <= self._low:
            self._has_paused_writer = False
            self._owner.resume_writing()
        if not self._buffer and self._is_closing:
            self._lose_soon(None)
        return taken

    def lose(self, error: Exception | None = None) -> None:
        """The connection breaks: ``connection_lost(error)`` right now."""
        self._is_closing = True
        self._buffer.clear()
        self._call_connection_lost(error)

    def take_written(self) -> bytes:
        """What was written since the last call."""
        taken = bytes(self.written)
        self.written.clear()
        return taken

    # What asyncio.Transport promises.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.has_written_eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        octets = bytes(data)
        self.writes.append(octets)
        if self.is_lost or not octets:
            return
        if not self.is_stalled and not self._buffer:
            self.written += octets
            return
        self._buffer += octets
        if len(self._buffer) > self._high and not self._has_paused_writer:
            self._has_paused_writer = True
            self._owner.pause_writing()

    def writelines(
        self, list_of_data: Iterable[bytes | bytearray | memoryview]
    ) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        self.has_written_eof = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        if not self._buffer:
            self._lose_soon(None)

    def abort(self) -> None:
        self.was_aborted = True
        self._is_closing = True
        self._buffer.clear()
        self._lose_soon(None)

    def is_closing(self) -> bool:
        return self._is_closing

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        if not self._is_closing:
            asyncio.get_running_loop().call_soon(self._deliver)

    def is_reading(self) -> bool:
        return self._is_reading and not self._is_closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._owner

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        self._high = HIGH_WATER_BYTES if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    # How.

    @property
    def _owner(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None, "connect() was not called"
        return self._protocol

    def _deliver(self) -> None:
        while self.undelivered and self.is_reading():
            self._deliver_once()
        if self._is_eof_due and not self.undelivered and self.is_reading():
            self._is_eof_due = False
            self._deliver_eof()

    def _deliver_once(self) -> None:
        owner = self._owner
        if isinstance(owner, asyncio.BufferedProtocol):
            buffer = memoryview(owner.get_buffer(-1))
            count = min(len(buffer), len(self.undelivered))
            assert count > 0, "get_buffer() returned an empty buffer"
            buffer[:count] = self.undelivered[:count]
            del self.undelivered[:count]
            owner.buffer_updated(count)
        else:
            assert isinstance(owner, asyncio.Protocol)
            octets = bytes(self.undelivered)
            self.undelivered.clear()
            owner.data_received(octets)

    def _deliver_eof(self) -> None:
        owner = self._owner
        assert isinstance(owner, asyncio.BufferedProtocol | asyncio.Protocol)
        if not owner.eof_received():
            self.close()

    def _lose_soon(self, error: Exception | None) -> None:
        asyncio.get_running_loop().call_soon(self._call_connection_lost, error)

    def _call_connection_lost(self, error: Exception | None) -> None:
        if not self.is_lost:
            self.is_lost = True
            self._owner.connection_lost(error)
