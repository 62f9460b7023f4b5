"""``Serving``: the handler's task, its answer, and what comes after it."""

from typing import TYPE_CHECKING

from blazeio.errors import (
    ClientDisconnected,
    FieldInput,
    LocalProtocolError,
    ProtocolError,
)
from blazeio.limits import READ_PAST_BYTES
from blazeio.loggers import get_logger
from blazeio.protocol.context import Handler
from blazeio.protocol.flow import NO_CONTENT
from blazeio.protocol.http1 import NO_PARAMS, Receiving
from blazeio.protocol.payload import NO_HEADERS
from blazeio.protocol.response_writer import TEXT
from blazeio.protocol.states import CONTENT, HEAD, RAW
from blazeio.protocol.timeouts import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from blazeio.protocol.flow import WriteGate
    from blazeio.protocol.handover import Successor

log = get_logger("blazeio.protocol")


class Serving(Receiving):
    """From the handler's first step to the next request. A base of the protocol.

    Where it is given away it is the whole protocol, which mypy cannot know here.
    """

    __slots__ = ("_successor",)

    _successor: "Successor | None"

    if TYPE_CHECKING:
        eof_received: Callable[[], bool]
        gate: WriteGate

    async def _serve(self, handler: Handler) -> None:
        """Run the handler; the whole of one request's task."""
        try:
            await handler(self)  # type: ignore[arg-type]
        except BaseException as error:  # a cancellation, or a handler's own
            await self._fail(error)
        else:
            self._finish()

    async def _fail(self, error: BaseException) -> None:
        """The handler was cancelled, or let out what nothing has answered."""
        handling = self.handling
        if handling.is_forked and handling.is_ended_by(error):
            raise error  # the connection is not this process's to cut
        if handling.is_shutting_down and self.has_shutdown_hook:
            await self._bid_farewell()
            return
        is_late = handling.is_late
        if is_late and self.answer.is_complete:
            self._finish()  # what came after the answer is cut, no more
            return
        is_ended = handling.is_ended_by(error)
        self._end_handling()
        if is_late and self.is_alive and not self.answer.status:
            self._refuse(ProtocolError("the request took too long to answer", 503))
            return
        self.abort()
        self._record()
        if is_ended:
            raise error
        if not isinstance(error, ClientDisconnected):
            self._report(error)

    def _report(self, error: BaseException) -> None:
        """Log what nobody has answered: of a raw handler, or of a farewell."""
        log.error(
            "%s: %s in %s: the connection is cut",
            f"{self.method} {self.tail}".strip() or "a connection",
            type(error).__name__,
            self.context.name_handler(self.method, self.path),
            exc_info=error,
        )

    async def _bid_farewell(self) -> None:
        hook, self._farewell = self._farewell, None
        self.handling.stay()
        assert hook is not None  # has_shutdown_hook
        await self._serve(hook)

    def _end_handling(self) -> None:
        self.handling.end()
        if self.patience.handler_ends_at != NEVER:
            self.patience.excuse_handler()
        if not self.is_alive:
            self.context.detached.discard(self)

    def _finish(self) -> None:
        """The handler is over: end the response, then turn to what comes next."""
        # Hot: runs once per request; _end_handling and may_persist by hand.
        self.handling.end()
        if self.patience.handler_ends_at != NEVER:
            self.patience.excuse_handler()
        if self._phase == RAW or not self.is_alive:
            self._finish_without_http()
            return
        answer = self.answer
        if not (answer.is_complete or self._completes()):
            return
        recorder = self.context.recorder
        if recorder is not None:
            recorder.record(self)  # type: ignore[arg-type]
        persists = answer.is_persistent
        if answer.message is not None:
            persists = answer.may_persist()
        if self._phase == CONTENT:
            self._finish_content(persists=persists)
        elif persists:
            self._next_request(self.handling.ended_at)
        else:
            self._close_after_answer()

    def _finish_without_http(self) -> None:
        """The client is gone, or spoke something else at last."""
        self._record()
        if not self.is_alive:
            self.context.detached.discard(self)
            return
        if self._successor is not None:
            # what comes yet is dropped here
            self.transport.set_protocol(self)  # type: ignore[arg-type]
        self._close_in_stages()

    def _completes(self) -> bool:
        """End a response whose handler did not; False: it could not be."""
        answer, message = self.answer, self.answer.message
        handling = self.handling
        if handling.has_forgotten_to_send or (
            message is None and handling.has_forgotten
        ):
            return self._answer_fault()  # it was logged as it was noted
        is_held = message is not None and not message.is_begun
        try:
            if self.gate.is_taken:
                reason = "the handler is over while another task still writes for it"
                raise LocalProtocolError(reason)
            if message is None:
                self.reply(b"", 204)
            else:
                answer.send(b"", is_last=True)
        except LocalProtocolError as error:
            name = self.context.name_handler(self.method, self.path)
            log.error("%s %s: %s: %s", self.method, self.tail, name, error)
            if is_held:
                answer.take_back()
            return self._answer_fault()
        return True

    def _answer_fault(self) -> bool:
        """Answer 500 where nothing has left yet, else cut; whether it was said."""
        if self.answer.is_held():
            self.answer.take_back()
        if not self.answer.status:
            self.reply(b"Internal Server Error", 500)
            return True
        self.abort()
        self._record()
        return False

    def _record(self) -> None:
        """The response is over, whole or not; a raw handler has none."""
        recorder = self.context.recorder
        if recorder is not None and (self.method or self.answer.status):
            recorder.record(self)  # type: ignore[arg-type]

    def _finish_content(self, *, persists: bool) -> None:
        """The handler left content unread: read past a little, else close."""
        if not persists or self._owes_continue or self._is_far_from_whole():
            self._close_in_stages()
            return
        limits = self.context.limits
        self.patience.end_phase_in(limits.linger_timeout_s)
        most_bytes = min(limits.linger_bytes, READ_PAST_BYTES)
        self._linger_bytes = self.content.received_bytes + most_bytes
        self.content.discard()
        self.read_control.resume()

    def _next_request(self, now: float) -> None:
        # Hot: runs once per request; back to the blank record it starts from.
        self.headers = NO_HEADERS
        if self.store:
            self.store = {}
        if self.path_params:
            self.path_params = NO_PARAMS
        if self.content is not NO_CONTENT:
            self._forget_content()
        self._farewell = None
        self._phase = HEAD
        self.patience.end_phase_at(now + self.context.idle_timeout_s)
        octets = self._remainder
        if octets:
            self._remainder = b""
            # we are in the task of the request before: its contextvars end here
            self.context.run_outside(self._receive_head, octets)
        if self._has_fin:
            self.eof_received()  # once more: what it means depends on the request
        elif not self.read_control.is_open and (
            self._phase == HEAD or self._has_room()
        ):
            self.read_control.resume()

    # Answering

    def reply(
        self,
        body: bytes,
        status: int = 200,
        content_type_line: bytes = TEXT,
        headers: FieldInput | None = None,
    ) -> None:
        """Send a whole response in one write, with its Content-Length.

        Args:
            body: The content.
            status: 200 to 599.
            content_type_line: A serialized field line, or b"" for none.
            headers: Further fields.

        Raises:
            ClientDisconnected: The peer is gone.
            LocalProtocolError: A response has begun, or a field is malformed.
        """
        if not self.is_alive:
            raise ClientDisconnected("the client went away")
        if self._phase == CONTENT:
            self.note_early_answer()
        self.answer.send_whole(body, status, content_type_line, headers)

    def note_early_answer(self) -> None:
        """Give the connection up where content is due that will not be read past."""
        if self._phase == CONTENT and (
            self._owes_continue or self._is_far_from_whole()
        ):
            self.answer.give_up_connection()

    def _is_far_from_whole(self) -> bool:
        due_bytes = self.content.due_bytes
        return due_bytes > min(self.context.limits.linger_bytes, READ_PAST_BYTES)

    def begin_response(
        self, headers: FieldInput | None, status: int, *, compress: bool = False
    ) -> None:
        """Decide head, coding and framing; see ``prepare``."""
        if compress:
            likes = self.headers.get("accept-encoding")
            message = self.answer.begin_encoded(headers, status, likes)
        else:
            message = self.answer.begin(headers, status)
        self.context.loop.call_soon(self.answer.flush_head, message)

    def _refuse(self, error: ProtocolError) -> None:
        """Answer an error before there is a handler; then close in stages."""
        if self._phase == HEAD:  # nor is it a part of the request before
            self.method = self.tail = self.path = self.query = ""
            self.handling.pass_over()
            self.answer.forget_request()
        self.answer.refuse(error)
        self._record()
        self._close_in_stages()
