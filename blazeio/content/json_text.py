"""Reading JSON of a peer: octets in, a value out.

RFC 8259 section 8.1: it is UTF-8, and a reader may ignore a byte order mark. Servers
send one all the same, and some send UTF-16.
"""

import codecs
import gc
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

LARGE_BYTES: Final = 32 * 1024
"""From this size on the collector is off while the values are made."""

ValueT = TypeVar("ValueT")

# The mark of UTF-32-LE begins with that of UTF-16-LE.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FIRST_OCTETS: Final = frozenset(mark[:1] for mark, _ in _MARKS)


def read_json(octets: bytes, expected: Any = Any) -> Any:
    """Read JSON as a value of a type.

    Args:
        octets: UTF-8, or what a byte order mark says.
        expected: The type, as ``msgspec`` knows it; default: anything.

    Raises:
        ValueError: The peer's fault: it is no JSON, not of that type, or nested deeper
            than can be read.
        TypeError: ``msgspec`` does not know the type.
    """
    try:
        if octets[:1] in _FIRST_OCTETS:
            octets = _without_mark(octets)
        return decode_without_gc(msgspec.json.decode, octets, type=expected)
    # Some hundred KiB of "[" reach the interpreter's own bound: a fault of the peer.
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def decode_without_gc(
    decode: Callable[..., ValueT], octets: bytes, **options: Any
) -> ValueT:
    """Decode with Python's cyclic collector turned off.

    Every 700 new lists start a collection, and as their number grows, everything that
    the process has is traversed again and again: 900 kB of ``[],`` took 80 ms of the
    loop in a small service, and take 15.

    Args:
        decode: Called with the octets and the options.
    """
    # Where somebody has turned it off, it must stay so afterwards.
    if len(octets) < LARGE_BYTES or not gc.isenabled():
        return decode(octets, **options)
    gc.disable()
    try:
        return decode(octets, **options)
    finally:
        gc.enable()


def _without_mark(octets: bytes) -> bytes:
    for mark, encoding in _MARKS:
        if octets.startswith(mark):
            return octets.decode(encoding).encode()
    return octets
