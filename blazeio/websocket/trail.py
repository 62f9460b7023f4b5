"""``FrameTrail``: the octets of a client that no message has been taken of yet. Pure.

A WebSocket that goes on in another process takes them along: what the parser has begun
to read, and whole messages that nobody has taken. They are kept as they came, so that
the other process reads them as if it had received them.
"""

from collections import deque
from typing import Final

from blazeio.websocket.frames import FrameBounds

_FIN: Final = 0x80
_CONTROL: Final = 0x08
"""Opcodes of control frames have this bit (RFC 6455 section 5.2)."""


class FrameTrail:
    """What has arrived since the end of the message that was taken last.

    It begins between two frames, where no message is half received. Control frames in
    front of a message are left out: they have been answered.

    Args:
        most_bytes: Where more waits nothing is kept, until all of it was taken.

    Attributes:
        is_whole: ``rest`` is all that was not taken.
    """

    __slots__ = (
        "_base",
        "_bounds",
        "_end",
        "_ends",
        "_head",
        "_is_fragmented",
        "_most",
        "_octets",
        "is_whole",
    )

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._octets = bytearray()
        self._base = self._end = (
            0  # of what was not taken, counted from the first octet
        )
        self._bounds = FrameBounds()
        self._ends: deque[int] = deque()
        self._head = 0
        self._is_fragmented = False
        self.is_whole = True

    def feed(self, octets: bytes) -> None:
        """Take octets as they have arrived."""
        start, at = self._end, 0
        while at < len(octets):
            if self._bounds.is_at_start:
                self._head = octets[at]
            heads = 0 if self._bounds.is_in_payload else 1
            at = self._bounds.skip(octets, at, most_frames=heads)
            if self._bounds.is_at_start:
                self._note_frame(start + at)
        self._end = start + len(octets)
        if self._end - self._base > self._most:
            self.is_whole = False
            self._octets.clear()
        if self.is_whole:
            self._octets += octets
        self._begin_anew()

    def _note_frame(self, end: int) -> None:
        if self._head & _CONTROL:
            return
        self._is_fragmented = not self._head & _FIN
        if not self._is_fragmented:
            self._ends.append(end)

    def _begin_anew(self) -> None:
        """Keep nothing where all messages were taken and none has begun."""
        if self._bounds.is_at_start and not self._is_fragmented and not self._ends:
            self._octets.clear()
            self._base = self._end
            self.is_whole = True

    def take(self) -> None:
        """Note that the next message was taken."""
        end = self._ends.popleft()
        del self._octets[: end - self._base]
        self._base = end
        self._begin_anew()

    def rest(self) -> bytes:
        """Return what the other process has to read again, if ``is_whole``."""
        return bytes(self._octets)
