"""The common frame, without detours: a whole message, uncompressed, in one read.

``websockets`` reads and writes every frame; what it takes for that, 3.2 us for an
echo of 64 octets, is more than all else that we do for it. So a frame that is
alone in a read, whole, masked, and a whole message of text or octets is read
here, and such a one is written here; every other goes the long way. For that,
it must be known where frames begin: ``FrameBounds`` keeps count.

May import: nothing of blazeio.
"""

import sys
from typing import Final

from websockets.frames import Opcode

try:
    from websockets.speedups import apply_mask
except ImportError:  # no C on this platform
    from websockets.utils import apply_mask

TEXT: Final = 0x80 | Opcode.TEXT
BINARY: Final = 0x80 | Opcode.BINARY
_MASKED: Final = 0x80
_LENGTH_16, _LENGTH_64 = 126, 127


def read_plain_frame(octets: bytes) -> str | bytes | None:
    """Read a frame; None where it is not the common one, or not alone.

    Text that is no UTF-8 is not the common one either.

    Args:
        octets: From the beginning of a frame.
    """
    # Hot: runs once per message; RFC 6455 section 5.2.
    size = len(octets)
    if size < 6:
        return None
    first, length, start = octets[0], octets[1] - _MASKED, 6
    if length == _LENGTH_16 and size >= 8:
        start = 8
        length = int.from_bytes(octets[2:4])
        if length < _LENGTH_16:
            return None  # not the shortest way to say it
    elif not 0 <= length < _LENGTH_16:
        return None
    if size != start + length:
        return None
    if first == TEXT:
        try:
            return apply_mask(octets[start:], octets[start - 4 : start]).decode()
        except UnicodeDecodeError:
            return None
    if first == BINARY:
        return apply_mask(octets[start:], octets[start - 4 : start])
    return None


def write_plain_frame(message: str | bytes | bytearray | memoryview) -> bytes:
    """Write a whole message as one frame, as servers do: without a mask."""
    # Hot: runs once per message.
    if isinstance(message, str):
        first, data = TEXT, message.encode()
    else:  # bytes(5) would be five octets
        first, data = BINARY, bytes(memoryview(message))
    size = len(data)
    if size < _LENGTH_16:
        return b"%c%c%b" % (first, size, data)
    if size < 65536:
        return b"%c%c%b%b" % (first, _LENGTH_16, size.to_bytes(2), data)
    return b"%c%c%b%b" % (first, _LENGTH_64, size.to_bytes(8), data)


class FrameBounds:
    """Where the next frame begins, in octets that come as they come.

    Attributes:
        is_at_start: The next octet is the first of a frame.
        frame_count: Heads of frames passed over, ever.
    """

    __slots__ = ("_head", "_missing_bytes", "frame_count")

    def __init__(self) -> None:
        self._head = b""
        self._missing_bytes = 0
        self.frame_count = 0

    @property
    def is_at_start(self) -> bool:
        """The next octet is the first of a frame."""
        return self._missing_bytes == 0 and not self._head

    def pass_over(
        self,
        octets: bytes,
        at: int = 0,
        *,
        most_bytes: int = sys.maxsize,
        most_frames: int = sys.maxsize,
    ) -> int:
        """Pass over octets that are read elsewhere.

        Args:
            octets: What has arrived.
            at: Offset of the first of them.
            most_bytes: Of this call.
            most_frames: Of which the head is read in this call.

        Returns:
            The offset just after.
        """
        stop = min(len(octets), at + most_bytes)
        last = self.frame_count + most_frames
        while at < stop:
            if self._missing_bytes:
                step = min(self._missing_bytes, stop - at)
                self._missing_bytes -= step
                at += step
            elif self.frame_count >= last:
                break
            else:
                at = self._pass_over_head(octets, at, stop)
        return at

    def _pass_over_head(self, octets: bytes, at: int, stop: int) -> int:
        held = self._head
        head = held + octets[at : min(stop, at + _LONGEST_HEAD_BYTES)]
        sizes = _frame_bytes(head)
        if sizes is None:
            self._head = head
            return stop
        head_bytes, payload_bytes = sizes
        self._head = b""
        self._missing_bytes = payload_bytes
        self.frame_count += 1
        return at + head_bytes - len(held)


_LONGEST_HEAD_BYTES: Final = 14


def _frame_bytes(head: bytes) -> tuple[int, int] | None:
    """The sizes of a frame's head and payload; None while its head is not whole."""
    if len(head) < 2:
        return None
    length = head[1] & 0x7F
    size = 2 + (4 if head[1] & _MASKED else 0)
    if length >= _LENGTH_16:
        width = 2 if length == _LENGTH_16 else 8
        size += width
        length = int.from_bytes(head[2 : 2 + width])
    return (size, length) if len(head) >= size else None
