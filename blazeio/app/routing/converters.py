"""What a path parameter may be, and the value a handler gets for it.

May import: nothing of blazeio. Pure.
"""

import re
import uuid
from collections.abc import Callable
from typing import Any

from msgspec import Struct

_DIGITS = re.compile(r"[0-9]{1,300}")
_DECIMAL = re.compile(r"-?[0-9]{1,300}(?:\.[0-9]{1,300})?")
_UUID = re.compile(r"(?i:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})")


class Converter(Struct, frozen=True, eq=False):
    """One kind of path parameter.

    Attributes:
        name: As it stands behind the colon of ``{id:int}``.
        rank: Where several kinds accept a segment, the lowest goes first.
        python_type: Of the values.
        convert: From a segment to its value; None: it is none.
    """

    name: str
    rank: int
    python_type: type
    convert: Callable[[str], Any]


def _to_int(segment: str) -> int | None:
    # Without a sign: a handler that counts from the end of a list for
    # /items/-1 would be a surprise. 300 digits fit a float; int() refuses 4,300.
    return int(segment) if _DIGITS.fullmatch(segment) else None


def _to_float(segment: str) -> float | None:
    # With one, for coordinates; without exponents, "nan" and "inf".
    return float(segment) if _DECIMAL.fullmatch(segment) else None


def _to_uuid(segment: str) -> uuid.UUID | None:
    return uuid.UUID(segment) if _UUID.fullmatch(segment) else None


def _to_str(segment: str) -> str | None:
    return segment or None


REST = Converter("path", 4, str, str)
"""All that follows, with its slashes; it may be empty."""

CONVERTERS = {
    each.name: each
    for each in (
        Converter("int", 0, int, _to_int),
        Converter("uuid", 1, uuid.UUID, _to_uuid),
        Converter("float", 2, float, _to_float),
        Converter("str", 3, str, _to_str),
        REST,
    )
}
"""By name, the most particular first."""
