"""How each route is answered, in a worker's row of the scoreboard.

A worker counts it only where new code may be taken back for its errors: then it can
be said which routes fail that have answered before. Two tables of a fixed size::

    answered  key, count          of the first ANSWERED_COUNT routes that answer well
    failing   key, count, text    of the FAILING_COUNT routes that fail most

The key of a route is made of its method and path, so that it is the same in every
process, of old code and of new. What has no room is not counted.
"""

import struct
from collections.abc import Callable
from zlib import crc32

from msgspec import Struct

ANSWERED_COUNT = 56
"""Routes whose good answers are counted."""
FAILING_COUNT = 5
"""Routes whose errors are counted."""
ROUTE_TEXT_BYTES = 144
"""Of the text that says which route fails; a longer one is cut."""
_ANSWERED = struct.Struct("dd")
_FAILING = struct.Struct(f"dd{ROUTE_TEXT_BYTES}s")
_FAILING_AT = ANSWERED_COUNT * _ANSWERED.size
ROUTES_BYTES = _FAILING_AT + FAILING_COUNT * _FAILING.size
"""Of both tables."""

Check = Callable[[float], float]


class RouteReading(Struct, frozen=True):
    """One route of one worker.

    Attributes:
        key: As of ``make_key``.
        answered: Responses with a status below 400.
        failed: Those with a status of 500 or above.
        text: Which route it is; "" where none is in the table of those that fail.
    """

    key: int
    answered: int = 0
    failed: int = 0
    text: str = ""


def make_key(method: str, path: str) -> int:
    """Make the key of a route; never 0, which stands for none."""
    return crc32(f"{method} {path}".encode("utf-8", "replace")) + 1


class RouteTallies:
    """Both tables, as their writer or their reader.

    Args:
        octets: Where they are, ``ROUTES_BYTES`` of them.
    """

    __slots__ = ("_cells", "_count", "_octets")

    def __init__(self, octets: memoryview) -> None:
        self._octets = octets
        self._cells = octets.cast("d")
        self._count = 0

    def release(self) -> None:
        """Let go of the memory."""
        self._cells.release()
        self._octets.release()

    def add_answered(self, key: int) -> int | None:
        """Give a route a place for its good answers; None: there is no room."""
        if self._count == ANSWERED_COUNT:
            return None
        place = 2 * self._count
        self._count += 1
        self._cells[place] = key
        return place + 1

    def count_answered(self, place: int) -> None:
        """Count a good answer of the route with this place."""
        self._cells[place] += 1.0

    def write_failing(self, place: int, key: int, count: int, text: str) -> None:
        """Write how often a route has failed.

        Args:
            place: Below ``FAILING_COUNT``.
            key: Of the route.
            count: How often.
            text: Which route it is.
        """
        octets = text.encode("utf-8", "replace")
        at = _FAILING_AT + place * _FAILING.size
        _FAILING.pack_into(self._octets, at, key, count, octets)

    def read(self, check: Check) -> list[RouteReading]:
        """Read all routes that are counted.

        Args:
            check: Returns a value that a worker can mean, or 0.
        """
        answered = {
            int(check(key)): int(check(count))
            for key, count in _ANSWERED.iter_unpack(self._octets[:_FAILING_AT])
            if key
        }
        failing = {
            int(check(key)): (int(check(count)), octets)
            for key, count, octets in _FAILING.iter_unpack(self._octets[_FAILING_AT:])
            if key
        }
        found = []
        for key in answered.keys() | failing.keys():
            count, octets = failing.get(key, (0, b""))
            text = octets.rstrip(b"\0").decode("utf-8", "replace")
            found.append(RouteReading(key, answered.get(key, 0), count, text))
        return found
