"""The common frame, without detours: a whole message, uncompressed, in one read.

``websockets`` reads and writes every frame; what it takes for that, 3.2 us for an
echo of 64 octets, is more than all else that we do for it. So a frame that is
alone in a read, whole, masked, and a whole message of text or octets is read
here, and such a one is written here; every other goes the long way. For that,
it must be known where frames begin: ``FrameBounds`` keeps count.

May import: nothing of blazeio.
"""

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
    """

    __slots__ = ("_head", "_missing_bytes")

    def __init__(self) -> None:
        self._head = b""
        self._missing_bytes = 0

    @property
    def is_at_start(self) -> bool:
        """The next octet is the first of a frame."""
        return self._missing_bytes == 0 and not self._head

    def pass_over(self, octets: bytes) -> None:
        """These octets are read elsewhere."""
        position = self._missing_bytes
        if position > len(octets):
            self._missing_bytes -= len(octets)
            return
        octets = self._head + octets[position:]
        self._head, position = b"", 0
        while position < len(octets):
            size = _frame_bytes(octets, position)
            if size is None:
                self._head = octets[position:]
                break
            position += size
        self._missing_bytes = max(position - len(octets), 0)


def _frame_bytes(octets: bytes, start: int) -> int | None:
    """The size of a frame with its head; None while its head is not whole."""
    if len(octets) - start < 2:
        return None
    length = octets[start + 1] & 0x7F
    head = 2 + (4 if octets[start + 1] & _MASKED else 0)
    if length < _LENGTH_16:
        return head + length
    width = 2 if length == _LENGTH_16 else 8
    if len(octets) - start < 2 + width:
        return None
    return head + width + int.from_bytes(octets[start + 2 : start + 2 + width])
