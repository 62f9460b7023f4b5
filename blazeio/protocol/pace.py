"""Whether octets keep moving: the demand behind both progress deadlines."""


class Pace:
    """At least ``least_bytes`` must move in each window.

    Pure: the caller says what time it is and how much has moved so far, on any
    scale that only grows while octets move.

    Args:
        window_s: Length of one window, seconds.
        bytes_per_s: The rate demanded, over one window.
        now: Monotonic seconds.
        moved_bytes: What has moved so far.

    Attributes:
        judged_at: When the present window ends.
    """

    __slots__ = ("_least_bytes", "_mark", "_window_s", "judged_at")

    def __init__(
        self, window_s: float, bytes_per_s: float, now: float, moved_bytes: int
    ) -> None:
        self._window_s = window_s
        self._least_bytes = window_s * bytes_per_s
        self._mark = moved_bytes
        self.judged_at = now + window_s

    def keeps_up(self, now: float, moved_bytes: int) -> bool:
        """Whether it does; at the end of a window the next one begins."""
        if now < self.judged_at:
            return True
        moved = moved_bytes - self._mark
        self._mark = moved_bytes
        self.judged_at = now + self._window_s
        return moved >= self._least_bytes
