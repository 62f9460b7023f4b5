"""``PendingOctets``: what has arrived on a connection and was not read as HTTP yet."""

from typing import Final

from msgspec import Struct

WINDOW_BYTES: Final = 16 * 1024
"""The size of the window: of the octets that wait behind a request, those that the
next head is looked for in."""


class PendingOctets(Struct, gc=False):
    """Octets in the order in which they came: a window of them, and the rest apart.

    Without the window each of many pipelined requests would copy all octets behind it,
    and n requests would cost n squared. Python's collector does not track these objects
    (``gc=False``), of which each idle connection has one: they hold nothing but octets.

    Attributes:
        window: Those that are read next.
        has_more: There are others behind them.
    """

    window: bytes = b""
    has_more: bool = False
    _rest: bytes = b""
    _rest_at: int = 0

    def clear(self) -> None:
        """Forget them all."""
        self.window = self._rest = b""
        self._rest_at = 0
        self.has_more = False

    @property
    def size(self) -> int:
        """How many wait."""
        return len(self.window) + len(self._rest) - self._rest_at

    def keep(self, octets: bytes) -> None:
        """Let these wait in the place of the window, in front of the others."""
        if self.has_more:
            if len(octets) < WINDOW_BYTES // 2:
                octets += self.next_window()
        elif len(octets) > 2 * WINDOW_BYTES:
            self._rest, self._rest_at = octets, WINDOW_BYTES
            self.has_more = True
            octets = octets[:WINDOW_BYTES]
        self.window = octets

    def append(self, octets: bytes) -> None:
        """Let these wait behind all others."""
        if self.has_more:
            self._rest, self._rest_at = self._rest[self._rest_at :] + octets, 0
        else:
            self.window += octets

    def next_window(self) -> bytes:
        """Return octets from behind the window, which wait no longer."""
        start, end = self._rest_at, self._rest_at + WINDOW_BYTES
        octets = self._rest[start:end]
        self._rest_at = end
        if end >= len(self._rest):
            self._rest, self._rest_at = b"", 0
            self.has_more = False
        return octets

    def take_all(self) -> bytes:
        """Return all that wait, and forget them."""
        octets = self.window + self._rest[self._rest_at :]
        self.clear()
        return octets
