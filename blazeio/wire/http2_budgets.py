"""What a peer may have us do for nothing: so much at once, and so much a second.

Frames that cost their sender little and us more (RFC 9113 section 10.5) are paid
from a budget. It refills with time, and with what honest clients do: each request
and each DATA frame, in either direction, earns some of it back, since a gRPC client
sends PING and WINDOW_UPDATE for every message.
"""

from blazeio.wire.http2_frames import ErrorCode, Http2ConnectionError


class Budget:
    """A number that is spent, earned, and refilled by the second.

    Args:
        name: What is counted, for the message of GOAWAY.
        most: What it holds, and begins with.
        per_s: What a second adds.
    """

    __slots__ = ("_at", "_left", "_most", "_name", "_per_s")

    def __init__(self, name: str, most: int, per_s: float) -> None:
        self._name = name
        self._most: float = most
        self._per_s = per_s
        self._left: float = most
        self._at: float | None = None

    def spend(self, now: float) -> None:
        """Pay for one.

        Raises:
            Http2ConnectionError: Nothing is left.
        """
        if self._at is not None:
            gained = (now - self._at) * self._per_s
            self._left = min(self._left + gained, self._most)
        self._at = now
        self._left -= 1
        if self._left < 0:
            message = f"too many {self._name}"
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, message)

    def earn(self, count: int = 1) -> None:
        """Get some of it back."""
        if self._left < self._most:
            self._left += count
