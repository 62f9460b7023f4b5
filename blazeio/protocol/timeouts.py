"""How long one connection is waited for: all its deadlines behind one entry.

* The phase deadline: for a head, an idle connection, a half-closed client, a
  close in stages. One at a time.
* The handler's: it holds until the handler is over, whatever becomes of its
  answer and of the connection.
* Content that is due must keep arriving, octets that we wrote must keep being
  read: each a ``Pace``, there only while it is demanded.

The wheel looks at the earliest of them.
"""

from typing import Protocol

from blazeio.limits import Limits
from blazeio.protocol.deadlines import NEVER, DeadlineWheel
from blazeio.protocol.flow import NO_CONTENT, ContentStream
from blazeio.protocol.intake import Intake
from blazeio.protocol.pace import Pace


class Owner(Protocol):
    """The connection: acts when patience ends."""

    def phase_is_over(self) -> None:
        """The phase deadline has passed."""
        ...

    def content_is_slow(self) -> None:
        """Content that was due came slower than demanded."""
        ...

    def reader_is_slow(self) -> None:
        """What we wrote is read slower than demanded."""
        ...

    def handler_is_late(self) -> None:
        """The handler's deadline has passed."""
        ...


class Patience:
    """The deadlines of one connection.

    Attributes:
        phase_ends_at: The phase deadline, monotonic seconds; NEVER for none.
        deadline_at: The earliest of all; kept for the wheel.
        entered_at: The wheel's own.
        handler_ends_at: The handler's deadline, likewise.
    """

    __slots__ = (
        "_content",
        "_incoming",
        "_intake",
        "_limits",
        "_outgoing",
        "_owner",
        "_wheel",
        "deadline_at",
        "entered_at",
        "handler_ends_at",
        "phase_ends_at",
    )

    def __init__(
        self, owner: Owner, intake: Intake, limits: Limits, wheel: DeadlineWheel
    ) -> None:
        self._owner = owner
        self._intake = intake
        self._content = NO_CONTENT
        self._limits = limits
        self._wheel = wheel
        self._incoming: Pace | None = None
        self._outgoing: Pace | None = None
        self.phase_ends_at = NEVER
        self.handler_ends_at = NEVER
        self.deadline_at = NEVER
        self.entered_at = NEVER

    def end_phase_in(self, span_s: float) -> None:
        """Set the phase deadline, from now."""
        self.end_phase_at(self._wheel.now() + span_s)

    def end_phase_at(self, ends_at: float) -> None:
        """Set the phase deadline.

        To lift it, set ``phase_ends_at`` to NEVER: the wheel finds nothing due
        and goes on to the next.
        """
        # Hot: runs once per request; _rearm by hand for the usual case, 1.5x.
        self.phase_ends_at = ends_at
        if self._incoming is None and self._outgoing is None:
            self.deadline_at = ends_at
            if ends_at < self.entered_at:
                self._wheel.set(self, ends_at)
        else:
            self._rearm()

    def end_phase_within(self, span_s: float) -> None:
        """The same, where it is not earlier already."""
        self.phase_ends_at = min(self.phase_ends_at, self._wheel.now() + span_s)
        self._rearm()

    def end_handler_in(self, span_s: float) -> None:
        """Set the handler's deadline; there is none of a phase meanwhile."""
        self.phase_ends_at = NEVER
        self.handler_ends_at = self._wheel.now() + span_s
        self._rearm()

    def excuse_handler(self) -> None:
        """The handler is over."""
        self.handler_ends_at = NEVER
        self._rearm()

    def demand_content(self, content: ContentStream) -> None:
        """This content is due from now on; goes on if it was before."""
        if self._incoming is None:
            self._content = content
            self._incoming = self._new_pace(content.received_bytes)
            self._rearm()

    def excuse_content(self) -> None:
        """No content is due: it is whole, or we do not read it."""
        self._incoming = None
        self._content = NO_CONTENT

    def demand_reading(self) -> None:
        """The peer has to read what we wrote; goes on if it had to before."""
        if self._outgoing is None:
            self._outgoing = self._new_pace(-self._intake.unsent_bytes())
            self._rearm()

    def excuse_reading(self) -> None:
        """The transport has sent enough."""
        self._outgoing = None

    def end_all_but_handler(self) -> None:
        """The connection is over: a handler that runs on keeps its deadline."""
        self._incoming = self._outgoing = None
        self.phase_ends_at = NEVER
        self._wheel.forget(self)
        if self.handler_ends_at != NEVER:
            self._rearm()

    def deadline_passed(self, now: float) -> None:
        """Called by the wheel."""
        owner = self._owner
        if self._outgoing and not self._outgoing.keeps_up(
            now, -self._intake.unsent_bytes()
        ):
            owner.reader_is_slow()
            return
        if self._incoming and not self._incoming.keeps_up(
            now, self._content.received_bytes
        ):
            self.excuse_content()
            owner.content_is_slow()
        if self.handler_ends_at <= now:
            self.handler_ends_at = NEVER
            owner.handler_is_late()
        if self.phase_ends_at <= now:
            self.phase_ends_at = NEVER
            owner.phase_is_over()
        self._rearm()

    def _new_pace(self, moved_bytes: int) -> Pace:
        limits = self._limits
        return Pace(
            limits.progress_window_s,
            limits.progress_bytes_per_s,
            self._wheel.now(),
            moved_bytes,
        )

    def _rearm(self) -> None:
        deadline_at = min(self.phase_ends_at, self.handler_ends_at)
        if self._incoming is not None:
            deadline_at = min(deadline_at, self._incoming.judged_at)
        if self._outgoing is not None:
            deadline_at = min(deadline_at, self._outgoing.judged_at)
        self._wheel.set(self, deadline_at)
