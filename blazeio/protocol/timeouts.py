"""Deadlines: one timer per event loop, and what a connection waits for.

``DeadlineWheel``: a connection is entered once and stays entered. When its entry comes
due and its deadline has moved on meanwhile (the usual case: every request moves it), it
is entered again. So a request costs one store and one comparison, not a timer; a timer
per connection and request would cost 0.6 us, and an armed uvloop timer keeps 0.4 KB
alive per idle connection.

``ConnectionTimeouts`` has all of one connection's behind one entry:

* That of its state: for a head, an idle connection, a half-closed client, a close in
  stages. One at a time.
* Content that is due must keep arriving, octets that we wrote must keep being read:
  each is a ``MinRate``, there only while it is demanded.

The deadline of a handler is on ``HandlerTask``: it holds whatever becomes of the
connection.

Times are those of ``loop.time()``: monotonic seconds.
"""

import asyncio
import contextvars
import heapq
import time
from collections.abc import Callable
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Protocol

from blazeio.protocol.flow import NO_CONTENT, ContentStream

if TYPE_CHECKING:
    from blazeio.protocol.context import ServerContext

TICK_S = 0.05
"""Deadlines are kept to this precision, never early."""


NEVER = float("inf")


class Expiring(Protocol):
    """Something with a deadline; both attributes start as NEVER.

    Attributes:
        deadline_at: When it has to act; set by itself or by ``DeadlineWheel.set``.
        entered_at: When the wheel looks at it next; set by the wheel.
    """

    deadline_at: float
    entered_at: float

    def deadline_passed(self, now: float) -> None:
        """Act on the deadline; may set a new one."""
        ...


def find_clock(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """Return the fastest function that tells ``loop.time()``.

    That of asyncio and uvloop is ``time.monotonic``; uvloop's tells the time at which
    the present turn of the loop has begun. A call of asyncio's loop takes 67 ns, a call
    of the clock 36. A clock that a test has put in the place of ``time.monotonic``, as
    freezegun does, is none of uvloop's.
    """
    is_known = type(loop).__module__ == "uvloop" or (
        getattr(type(loop), "time", None) is asyncio.BaseEventLoop.time
    )
    has_own = "time" in getattr(loop, "__dict__", ())  # a test has put it there
    is_clock = isinstance(time.monotonic, BuiltinFunctionType)
    return time.monotonic if is_known and is_clock and not has_own else loop.time


class DeadlineWheel:
    """Calls ``deadline_passed`` of what was entered, once its deadline has passed.

    Attributes:
        now: Returns the time that deadlines are compared with, monotonic seconds.
    """

    __slots__ = ("_base", "_due", "_entries", "_loop", "_timer", "_timer_at", "now")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._base = contextvars.copy_context()
        self.now = find_clock(loop)
        self._entries: dict[float, set[Expiring]] = {}
        self._due: list[float] = []  # heap of the keys of _entries
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER

    def set(self, connection: Expiring, deadline_at: float) -> None:
        """Set or move the deadline of a connection; NEVER lifts it."""
        connection.deadline_at = deadline_at
        if deadline_at < connection.entered_at:
            self.enter(connection)

    def forget(self, connection: Expiring) -> None:
        """Keep no reference to a connection, which is over."""
        connection.deadline_at = NEVER
        entries = self._entries.get(connection.entered_at)
        if entries is not None:
            entries.discard(connection)
        connection.entered_at = NEVER

    def enter(self, connection: Expiring) -> None:
        """Look at a connection when its deadline is due, and not before."""
        look_at = (int(connection.deadline_at / TICK_S) + 1) * TICK_S
        entered_at = connection.entered_at
        if look_at == entered_at:
            return
        if entered_at != NEVER:
            entries = self._entries.get(entered_at)
            if entries is not None:
                entries.discard(connection)
        connection.entered_at = look_at
        entries = self._entries.get(look_at)
        if entries is None:
            self._entries[look_at] = {connection}
            heapq.heappush(self._due, look_at)
            self._arm()
        else:
            entries.add(connection)

    def _arm(self) -> None:
        first_at = self._due[0]
        if first_at >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = first_at
        # The timer acts for all connections, whichever handler has armed it.
        self._timer = self._loop.call_at(first_at, self._fire, context=self._base)

    def _fire(self) -> None:
        self._timer, self._timer_at = None, NEVER
        # uvloop rounds its timers to milliseconds, and may call a little early.
        now = self._loop.time() + 0.001
        try:
            while self._due and self._due[0] <= now:
                connections = self._entries[self._due[0]]
                if connections:
                    self._visit(connections.pop(), now)
                else:
                    del self._entries[heapq.heappop(self._due)]
        finally:  # an error of one must not stop the deadlines of all others
            if self._due:
                self._arm()

    def _visit(self, connection: Expiring, now: float) -> None:
        connection.entered_at = NEVER
        if connection.deadline_at <= now:
            connection.deadline_at = NEVER
            connection.deadline_passed(now)
        if connection.deadline_at < connection.entered_at:
            self.enter(connection)

    def close(self) -> None:
        """Forget all deadlines; no call follows."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, NEVER
        self._entries.clear()
        self._due.clear()


class MinRate:
    """A least rate: so many octets must move in each window of time.

    It is pure. The caller tells the time, and how much has moved so far, on any scale
    that grows only while octets move.

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
        """Whether octets move fast enough; after a window the next one begins."""
        if now < self.judged_at:
            return True
        moved = moved_bytes - self._mark
        self._mark = moved_bytes
        self.judged_at = now + self._window_s
        return moved >= self._least_bytes


class TimeoutOwner(Protocol):
    """The connection, which acts when it has waited long enough."""

    def on_state_timeout(self) -> None:
        """What the connection waits for in its state has not come."""
        ...

    def on_content_timeout(self) -> None:
        """Content that is due came more slowly than the least rate."""
        ...

    def on_reading_timeout(self) -> None:
        """The peer reads what we wrote more slowly than the least rate."""
        ...


class Unsent(Protocol):
    """What waits for the peer to read it."""

    def unsent_bytes(self) -> int:
        """Count the octets; on any scale that falls as they leave."""
        ...


class _Nobody:
    """Stands for a connection that is over, so that its timeouts do not hold it."""

    def on_state_timeout(self) -> None:
        """Do nothing, as for all of these."""

    on_content_timeout = on_reading_timeout = on_state_timeout

    def unsent_bytes(self) -> int:
        """Nothing waits."""
        return 0


_NOBODY = _Nobody()


class ConnectionTimeouts:
    """The timeouts of one connection.

    Args:
        owner: The connection.
        unsent: Tells how much waits to be read by the peer.
        context: Has the limits, and the wheel.

    Attributes:
        state_ends_at: Until when the connection waits for what its state is about,
            monotonic seconds; NEVER for no end.
        deadline_at: The earliest of all; kept for the wheel.
        entered_at: The wheel's own.
    """

    __slots__ = (
        "_content",
        "_incoming",
        "_limits",
        "_outgoing",
        "_owner",
        "_unsent",
        "_wheel",
        "deadline_at",
        "entered_at",
        "state_ends_at",
    )

    def __init__(
        self, owner: TimeoutOwner, unsent: Unsent, context: "ServerContext"
    ) -> None:
        self._owner = owner
        self._unsent = unsent
        self._content = NO_CONTENT
        self._limits = context.limits
        self._wheel = context.wheel
        self._incoming: MinRate | None = None
        self._outgoing: MinRate | None = None
        self.state_ends_at = NEVER
        self.deadline_at = NEVER
        self.entered_at = NEVER

    def begin(self, span_s: float) -> None:
        """Wait for so many seconds from now, for the first time."""
        # Hot: runs once per connection; end_state_at and DeadlineWheel.set by hand.
        wheel = self._wheel
        self.state_ends_at = self.deadline_at = wheel.now() + span_s
        if self.deadline_at < NEVER:
            wheel.enter(self)

    def end_state_in(self, span_s: float) -> None:
        """Wait for so many seconds from now."""
        self.end_state_at(self._wheel.now() + span_s)

    def end_state_at(self, ends_at: float) -> None:
        """Wait until then.

        To wait without an end, set ``state_ends_at`` to NEVER: the wheel finds
        nothing due and goes on to the next.
        """
        # Hot: runs once per request; _rearm by hand for the usual case, 1.5x.
        self.state_ends_at = ends_at
        if self._incoming is None and self._outgoing is None:
            self.deadline_at = ends_at
            if ends_at < self.entered_at:
                self._wheel.set(self, ends_at)
        else:
            self._rearm()

    def end_state_within(self, span_s: float) -> None:
        """Wait for so many seconds, or less where the end is earlier already."""
        self.state_ends_at = min(self.state_ends_at, self._wheel.now() + span_s)
        self._rearm()

    def start_content(self, content: ContentStream) -> None:
        """Have this content keep coming from now on; it may have had to before."""
        if self._incoming is None:
            self._content = content
            self._incoming = self._new_min_rate(content.received_bytes)
            self._rearm()

    def stop_content(self) -> None:
        """No content is due: it is whole, or we do not read it."""
        self._incoming = None
        self._content = NO_CONTENT

    def start_reading(self) -> None:
        """Have the peer keep reading what we wrote; it may have had to before."""
        if self._outgoing is None:
            self._outgoing = self._new_min_rate(-self._unsent.unsent_bytes())
            self._rearm()

    def stop_reading(self) -> None:
        """The transport has sent enough."""
        self._outgoing = None

    def close(self) -> None:
        """The connection is over: nothing is waited for."""
        # Hot: runs once per connection; it is left by whom it belongs to.
        self._incoming = self._outgoing = None
        self._owner = self._unsent = _NOBODY
        self.state_ends_at = NEVER
        self._wheel.forget(self)

    def deadline_passed(self, now: float) -> None:
        """Called by the wheel."""
        owner = self._owner
        if self._outgoing and not self._outgoing.keeps_up(
            now, -self._unsent.unsent_bytes()
        ):
            owner.on_reading_timeout()
            return
        if self._incoming and not self._incoming.keeps_up(
            now, self._content.received_bytes
        ):
            self.stop_content()
            owner.on_content_timeout()
        if self.state_ends_at <= now:
            self.state_ends_at = NEVER
            owner.on_state_timeout()
        self._rearm()

    def _new_min_rate(self, moved_bytes: int) -> MinRate:
        limits = self._limits
        return MinRate(
            limits.progress_window_s,
            limits.progress_bytes_per_s,
            self._wheel.now(),
            moved_bytes,
        )

    def _rearm(self) -> None:
        deadline_at = self.state_ends_at
        if self._incoming is not None:
            deadline_at = min(deadline_at, self._incoming.judged_at)
        if self._outgoing is not None:
            deadline_at = min(deadline_at, self._outgoing.judged_at)
        self._wheel.set(self, deadline_at)
