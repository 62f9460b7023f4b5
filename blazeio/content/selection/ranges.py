"""Parts of a representation: Range, Content-Range and multipart/byteranges.

RFC 9110 section 14. Where the RFC leaves a choice, the answer is nginx's:

* A set that is malformed is rejected, 416.
* A range of which nothing exists is passed over; where no other is left: 416.
* Ranges that overlap so much that they are more than the whole: the whole.

May import: nothing of blazeio.
"""

import re

from msgspec import Struct

MOST_RANGES = 64
"""Of one request; who asks for more gets the whole (RFC 9110 section 17.15)."""

_SET = re.compile(r"bytes=(?P<ranges>.+)", re.IGNORECASE)
_DIGITS = 18
"""Numbers of more digits are beyond every file: 2**63 has 19."""
_RANGE = re.compile(
    rf"[ ]*(?:(?P<first>[0-9]{{1,{_DIGITS}}})[ ]*-[ ]*(?P<last>[0-9]{{1,{_DIGITS}}})?"
    rf"|-(?P<suffix>[0-9]{{1,{_DIGITS}}}))[ ]*"
)


class ByteRange(Struct, frozen=True):
    """A part that exists.

    Attributes:
        first: Offset of its first octet.
        size: Its octets; at least one.
    """

    first: int
    size: int

    def content_range(self, whole_bytes: int) -> str:
        """The value of Content-Range."""
        return f"bytes {self.first}-{self.first + self.size - 1}/{whole_bytes}"


class RangeNotSatisfiableError(Exception):
    """The set is malformed, or nothing of it exists: 416."""


def decide_ranges(value: str, whole_bytes: int) -> list[ByteRange] | None:
    """Decide which parts answer a Range field.

    Args:
        value: Of the field.
        whole_bytes: Size of the representation.

    Returns:
        The parts, in the order in which they were asked for; None: the whole.

    Raises:
        RangeNotSatisfiableError: See the class.
    """
    match = _SET.fullmatch(value)
    if match is None:
        return None  # another unit must be ignored; of nothing, nginx thinks alike
    members = match["ranges"].split(",", MOST_RANGES)
    if len(members) > MOST_RANGES:
        return None
    ranges = []
    for member in members:
        part = _parse_range(member, whole_bytes)
        if part is not None:
            ranges.append(part)
        elif not whole_bytes:
            return None  # of nothing, the whole is as good as a part
    if not ranges:
        raise RangeNotSatisfiableError
    if sum(part.size for part in ranges) > whole_bytes:
        return None
    return ranges


def _parse_range(member: str, whole_bytes: int) -> ByteRange | None:
    match = _RANGE.fullmatch(member)
    if match is None:
        raise RangeNotSatisfiableError
    if match["suffix"] is not None:
        size = min(int(match["suffix"]), whole_bytes)
        return ByteRange(whole_bytes - size, size) if size else None
    first = int(match["first"])
    last = int(match["last"]) if match["last"] is not None else whole_bytes
    size = min(last, whole_bytes - 1) - first + 1
    return ByteRange(first, size) if size > 0 else None


class Multipart(Struct, frozen=True):
    """The parts of a multipart/byteranges content: RFC 9110 section 14.6.

    Attributes:
        parts: The octets before each part, and the part.
        ending: The octets after the last one.
    """

    parts: list[tuple[bytes, ByteRange]]
    ending: bytes

    @property
    def size_bytes(self) -> int:
        """Of all the content."""
        sizes = (len(before) + part.size for before, part in self.parts)
        return sum(sizes) + len(self.ending)


def compose_multipart(
    ranges: list[ByteRange], whole_bytes: int, media_type: str, boundary: str
) -> Multipart:
    """Frame several parts.

    Args:
        ranges: The parts.
        whole_bytes: Size of the representation.
        media_type: Of the representation.
        boundary: Random, so that no file can hold it by design.
    """
    parts = [
        (
            f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\n"
            f"Content-Range: {part.content_range(whole_bytes)}\r\n\r\n".encode(),
            part,
        )
        for part in ranges
    ]
    return Multipart(parts, f"\r\n--{boundary}--\r\n".encode())
