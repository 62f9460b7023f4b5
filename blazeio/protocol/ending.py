"""``Endings``: how a connection ends.

At once, by RST, where an answer is cut short: a FIN would say that it is whole.
In stages, where the peer may still be sending: our last answer must not be
destroyed by a reset. Or plainly, where the peer has nothing more to say.
"""

import asyncio
from typing import TYPE_CHECKING

from blazeio.errors import ProtocolError, RemoteProtocolError
from blazeio.loggers import get_logger
from blazeio.protocol.context import Handler
from blazeio.protocol.flow import Latch
from blazeio.protocol.states import CLOSED, HEAD, LINGER

if TYPE_CHECKING:
    from collections.abc import Callable

    from blazeio.protocol.context import ServerContext
    from blazeio.protocol.flow import ContentStream
    from blazeio.protocol.handler_task import HandlerTask
    from blazeio.protocol.readiness import ReadControl
    from blazeio.protocol.response_writer import ResponseWriter
    from blazeio.protocol.timeouts import ConnectionTimeouts

log = get_logger("blazeio.protocol")


class Endings:
    """The ways out, and what calls for them: deadlines, the drain, the server.

    A base of the protocol that holds what decides between them.

    Attributes:
        is_alive: False once the peer is gone.
    """

    __slots__ = (
        "_behind",
        "_behind_at",
        "_farewell",
        "_has_fin",
        "_linger_bytes",
        "_peer_closed",
        "_phase",
        "_remainder",
        "is_alive",
    )

    _farewell: Handler | None
    _has_fin: bool
    _linger_bytes: int
    _peer_closed: Latch | None
    _phase: int
    _remainder: bytes
    _behind: bytes
    _behind_at: int
    is_alive: bool

    if TYPE_CHECKING:
        answer: ResponseWriter
        content: ContentStream
        context: ServerContext
        handling: HandlerTask
        read_control: ReadControl
        method: str
        patience: ConnectionTimeouts
        transport: asyncio.Transport
        _refuse: Callable[[ProtocolError], None]
        _content_is_lost: Callable[[], None]

    # Seen by handlers

    @property
    def peer_closed(self) -> Latch:
        """The peer sent FIN: it will send no more, but may read.

        True once it has; ``await r.peer_closed`` sleeps until then.
        """
        if self._peer_closed is None:
            self._peer_closed = Latch(is_set=self._has_fin)
        return self._peer_closed

    @property
    def draining(self) -> Latch:
        """The server drains: this answer will be the last of its connection.

        True once it does; ``await r.draining`` sleeps until then.
        """
        return self.context.draining

    def on_shutdown(self, hook: Handler) -> None:
        """Leave word for the end of the service: for a response without an end.

        When the server drains, and idle connections are closed by now, the
        handler is cancelled and ``await hook(r)`` has the last word: it may
        write, then the response is ended properly. It holds for this request.
        """
        self._farewell = hook
        if self.context.loop.time() >= self.context.shutdown_hooks_from:
            self.context.loop.call_soon(self.run_shutdown_hook)

    # Asked for by the server

    @property
    def is_idle(self) -> bool:
        """Kept alive, and nothing of a next request has arrived."""
        return self._phase == HEAD and not self._remainder and bool(self.method)

    def close_idle(self) -> None:
        """Make room for somebody else."""
        if self.is_idle:
            self._close()

    def silence_s(self, now: float) -> float:
        """Say for how long there has been no whole head; below 0: one is served."""
        if self._phase != HEAD or self.handling.is_running:
            return -1.0
        head_timeout_s = self.context.limits.head_timeout_s
        return now - self.patience.phase_ends_at + head_timeout_s

    def close_silent(self) -> None:
        """Make room for somebody else, as if the time for the head were over."""
        self.phase_is_over()

    def drain(self) -> None:
        """The server drains: an idle connection gets its last stretch."""
        if not self.handling.is_running and self._phase == HEAD:
            self.patience.end_phase_within(self.context.idle_timeout_s)

    @property
    def has_shutdown_hook(self) -> bool:
        """A handler that still streams has left word for the end."""
        return (
            self._farewell is not None
            and self.is_alive
            and self.handling.is_running
            and not self.answer.is_complete
        )

    def run_shutdown_hook(self) -> None:
        """End the handler; what it left with ``on_shutdown`` has the last word."""
        if self.has_shutdown_hook and not self.handling.is_shutting_down:
            self.handling.leave()

    def cancel(self) -> None:
        """Cancel the handler, if one runs, and cut the connection."""
        if self.answer.is_complete or self._phase == CLOSED:
            self.handling.cancel()
        self.abort()  # of an answer that is not complete, the loss cancels the task

    # Called for by a deadline

    def reader_is_slow(self) -> None:
        """For ``ConnectionTimeouts``: the peer does not read what it asked for."""
        self._disconnected("the client does not read what it asked for")

    def content_is_slow(self) -> None:
        """For ``ConnectionTimeouts``: the handler sees it, as 408."""
        self.content.fail(RemoteProtocolError("the content came too slowly", 408))
        self._content_is_lost()
        if not self.handling.is_running:
            self._close_in_stages()

    def handler_is_late(self) -> None:
        """Cancel it, also where its answer is complete, or the peer gone."""
        self.handling.time_out()

    def phase_is_over(self) -> None:
        """For ``ConnectionTimeouts``: what was waited for did not come."""
        if self._phase == HEAD and self._remainder:
            self._refuse(RemoteProtocolError("the request head took too long", 408))
        elif not self.handling.is_running:
            self._close()
        elif self._has_fin and not self.answer.status:
            self._disconnected("the half-closed client waited in vain")

    # The ways out

    def abort(self) -> None:
        """End the connection at once, by RST: the peer sees that it was cut.

        A FIN would say that content until the close is whole.
        """
        if self.is_alive:
            self.is_alive = False
            self.read_control.resume()
            self.read_control.reset_at_close()
            self.transport.abort()

    def _disconnected(self, reason: str) -> None:
        """The peer cannot or will not take the answer: cut, and so cancel.

        ``connection_lost``, one turn later, is the only place that cancels: a
        second cancellation would break into the handler's cleanup.
        """
        log.debug("%r: %s", self, reason)
        self.abort()

    def _close_after_answer(self) -> None:
        """Close; in stages unless the client asked for it and is silent."""
        is_theirs = not self.answer.is_persistent
        if self._has_fin or (
            is_theirs and not self._remainder and self.read_control.is_open
        ):
            self._close()
        else:
            self._close_in_stages()

    def _close_in_stages(self) -> None:
        if self._has_fin or not self.transport.can_write_eof():
            self._close()
            return
        limits = self.context.limits
        self._phase = LINGER
        self._linger_bytes = limits.linger_bytes
        self._remainder = self._behind = b""
        self.patience.end_phase_in(limits.linger_timeout_s)
        self.read_control.resume()
        self.transport.write_eof()

    def _receive_late(self, nbytes: int) -> None:
        """Octets that come while we linger are dropped, up to a bound."""
        self._linger_bytes -= nbytes
        if self._linger_bytes < 0:
            self._close()

    def _close(self) -> None:
        self.read_control.resume()
        if self.transport.get_write_buffer_size():
            self.patience.start_reading()  # or a stalled reader would keep it for ever
        self.transport.close()
