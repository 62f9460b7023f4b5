"""How long one exchange is waited for: the deadlines of its connection.

That of the phase (for a head, for content, for the end of an idle connection), that
of the writing, and that of all; the wheel looks at the earliest.
"""

from typing import TYPE_CHECKING

from blazeio.client.connections.exchange import HEAD, Exchange
from blazeio.errors import HeadTimeout, ReadTimeout, TotalTimeout, WriteTimeout
from blazeio.protocol.timeouts import NEVER

if TYPE_CHECKING:
    from blazeio.client.context import ClientContext
    from blazeio.client.requests.url import Origin
    from blazeio.errors import BlazeioError
    from blazeio.protocol.flow import ContentStream


class ExchangeDeadlines:
    """A base of ``ClientConnection``.

    Attributes:
        deadline_at: For the wheel.
        entered_at: The wheel's own.
    """

    __slots__ = ("_phase_ends_at", "_write_ends_at", "deadline_at", "entered_at")

    _phase_ends_at: float
    _write_ends_at: float
    deadline_at: float
    entered_at: float

    if TYPE_CHECKING:
        _content: ContentStream
        _context: ClientContext
        _exchange: Exchange | None
        _phase: int
        origin: Origin

        def abort(self, error: BlazeioError | None = None) -> None:
            """End it at once; its exchange is told why."""

    def await_head(self) -> None:
        """The request is whole: its answer is due."""
        # Hot: runs once per request.
        exchange = self._exchange
        if exchange is None or self._phase != HEAD:
            return
        span_s = exchange.timeouts.head_s
        self._end_phase_in(span_s, exchange.total_at)

    def hold_to_total(self) -> None:
        """Only the deadline of all counts for now."""
        exchange = self._exchange
        if exchange is not None:
            self._end_phase_in(None, exchange.total_at)

    def deadline_passed(self, now: float) -> None:
        """For the wheel."""
        exchange = self._exchange
        if exchange is None:
            if self._phase_ends_at <= now:
                self.abort()  # idle for too long, or drained for too long
        elif exchange.total_at <= now:
            message = f"the request took longer than {exchange.timeouts.total_s} s"
            self.abort(TotalTimeout(message))
        elif self._write_ends_at <= now:
            message = (
                f"nothing of the request was read for {exchange.timeouts.write_s} s"
            )
            self.abort(WriteTimeout(message))
        elif self._phase_ends_at <= now:
            self._answer_is_late(exchange)
        self._rearm()

    def _answer_is_late(self, exchange: Exchange) -> None:
        timeouts = exchange.timeouts
        if self._phase == HEAD:
            message = f"{self.origin} did not begin to answer for {timeouts.head_s} s"
            self.abort(HeadTimeout(message))
        elif self._content.is_awaited:
            message = f"{self.origin} sent nothing for {timeouts.read_s} s"
            self.abort(ReadTimeout(message))
        else:
            self._phase_ends_at = NEVER  # it is the reader who is slow

    def _end_phase_in(self, span_s: float | None, total_at: float) -> None:
        # Hot: runs once per request, and once per wait for content.
        wheel = self._context.wheel
        ends_at = NEVER if span_s is None else wheel.now() + span_s
        self._phase_ends_at = ends_at
        if ends_at > total_at:
            ends_at = total_at
        if ends_at > self._write_ends_at:
            ends_at = self._write_ends_at
        self.deadline_at = ends_at
        if ends_at < self.entered_at:
            wheel.set(self, ends_at)

    def _rearm(self) -> None:
        total_at = NEVER if self._exchange is None else self._exchange.total_at
        ends_at = min(self._phase_ends_at, self._write_ends_at, total_at)
        self._context.wheel.set(self, ends_at)
