"""``ChunkWriter``: the pieces of a stream in chunks, from the second on.

A loop writes to the socket as it is told to, and a system call for each of many small
pieces costs five times what we do for it. So what follows a piece within a moment, and
without a turn of the loop, waits for the end of the turn, and leaves in one write. A
piece that comes alone leaves at once, also where the app computes between its pieces
and never lets the loop turn.
"""

from typing import TYPE_CHECKING, Final

from blazeio.wire.framing import OutgoingMessage

if TYPE_CHECKING:
    import contextvars

    from blazeio.gateways.connection import GatewayProtocol

MOMENT_S: Final = 0.0002
"""A piece that comes so soon after the one before may wait for those that follow."""

HELD_BYTES: Final = 16 * 1024
"""So many octets do not wait."""

_STARTS: Final = tuple(b"%x\r\n" % size for size in range(512))
"""By the size of a chunk that is small, how it begins (RFC 9112 section 7.1)."""


class ChunkWriter:
    """Writes the rest of a response in chunks, whose first piece has left just now.

    Args:
        r: The connection.
        message: The response, of which nothing else writes meanwhile.
        context: Where what waits is written.
    """

    __slots__ = ("_at", "_context", "_held", "_held_bytes", "_message", "_now", "_r")

    def __init__(
        self,
        r: "GatewayProtocol",
        message: OutgoingMessage,
        context: "contextvars.Context",
    ) -> None:
        self._r = r
        self._message = message
        self._context = context
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._now = now = r.context.now
        self._at = now()

    def write(self, piece: bytes) -> None:
        """Write a piece, now or at the end of this turn; an empty one is none."""
        # Hot: runs once per piece of a stream.
        size = len(piece)
        if not size:
            return
        if size < len(_STARTS):  # 0.6x of the other
            chunk = _STARTS[size] + piece + b"\r\n"
        else:
            chunk = b"%x\r\n%b\r\n" % (size, piece)
        self._message.content_bytes += size
        held, now = self._held, self._now()
        if now - self._at < MOMENT_S and size < HELD_BYTES:
            if not held:
                self._r.context.loop.call_soon(self.flush, context=self._context)
            held.append(chunk)
            self._held_bytes += size
            if self._held_bytes >= HELD_BYTES:
                self.flush()
        else:
            if held:
                self.flush()
            self._r.transport.write(chunk)
        self._at = now

    def flush(self) -> None:
        """Write what waits."""
        held = self._held
        if held:
            self._held, self._held_bytes = [], 0
            if not self._r.transport.is_closing():
                self._r.transport.write(b"".join(held))

    def end(self, piece: bytes) -> None:
        """Write the last piece, which may be empty, and the end of the response."""
        held, self._held = self._held, []
        self._r.response.end_chunks(self._message, b"".join(held), piece)
