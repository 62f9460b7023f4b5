"""``HandlerTask``: the life of one request, from its head to the end of its handler.

It runs the handler in a task of its own, watches its deadline, and cancels it where
its client goes away. When the handler is over the response is ended here, recorded,
and the carrier is told to turn to what comes next. What a handler raises, and nothing
above has answered, ends here as well.

A handler may raise everything that Python has: ``SystemExit`` comes of argparse,
``asyncio.CancelledError`` of a task that it awaits. None of that may end the process
or the loop; only what was meant for the task itself goes on.
"""

import asyncio
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from blazeio.errors import ClientDisconnected, LocalProtocolError, ProtocolError
from blazeio.loggers import get_logger
from blazeio.protocol.context import TASK_NAME, USUAL_S, Handler, ServerContext
from blazeio.protocol.flow import NO_CONTENT, ContentStream
from blazeio.protocol.process import find_task, is_cancelled, is_of_keyboard
from blazeio.protocol.timeouts import NEVER
from blazeio.wire.request import NO_HEAD, RequestHead

if TYPE_CHECKING:
    from blazeio.protocol.carrier import Successor
    from blazeio.protocol.request import BlazeioServerProtocol

log = get_logger("blazeio.protocol")

DETACHED: Final = object()
"""What a handler returns that was detached: its request is over already."""

RETRY_AFTER_S = 1
"""How long a client is asked to wait by a server that has too many requests."""


class HandlerTask:
    """The task of a request's handler: at most one at a time.

    Args:
        request: Of the carrier; used again for each of its requests.
        context: Of the server; running requests are counted there.

    Attributes:
        request: Whose handler it runs.
        begun_at: When the last one began, monotonic seconds.
        ended_at: When the last one ended, monotonic seconds.
        is_shutting_down: It was cancelled so that its shutdown hook can run.
        is_late: It was cancelled since its deadline has passed.
        is_cut: It was cancelled with its carrier, which is gone for good.
        has_left_http: What it reads and writes is another protocol.
        deadline_at: When the handler has to be over; for the wheel.
        entered_at: The wheel's own.
    """

    __slots__ = (
        "_context",
        "_forgot_sending",
        "_forgotten_in",
        "_is_cancel_due",
        "_is_cleaning",
        "_is_unusual",
        "_shutdown_hook",
        "_successor",
        "_task",
        "begun_at",
        "deadline_at",
        "ended_at",
        "entered_at",
        "has_left_http",
        "is_cut",
        "is_late",
        "is_shutting_down",
        "request",
    )

    def __init__(
        self, request: "BlazeioServerProtocol", context: ServerContext
    ) -> None:
        self.request = request
        self._context = context
        self._task: asyncio.Task[None] | None = None
        self._shutdown_hook: Handler | None = None
        self._successor: Successor | None = None
        self._forgotten_in: asyncio.Task[Any] | None = None
        self._forgot_sending = False
        self._is_cancel_due = self._is_cleaning = self._is_unusual = False
        self.has_left_http = False
        self.is_cut = self.is_late = self.is_shutting_down = False
        self.begun_at = self.ended_at = 0.0
        self.deadline_at = self.entered_at = NEVER

    @property
    def is_running(self) -> bool:
        """Whether a handler is at work."""
        return self._task is not None

    @property
    def task(self) -> asyncio.Task[Any] | None:
        """The task of the handler that is at work."""
        return self._task

    def runs_in(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether this is the task of the handler that is at work."""
        return task is not None and self._task is task

    @property
    def is_forked(self) -> bool:
        """Whether this is a process that a handler has forked."""
        return os.getpid() != self._context.pid

    # Told by the carrier

    def start_with_content(self, head: RequestHead, content: ContentStream) -> None:
        """Begin a request with content, which the carrier feeds as it arrives."""
        request = self.request
        request.content = content
        request.transfer_encoding = "chunked" if head.is_chunked else None
        self.start(head)

    def start(self, head: RequestHead) -> None:
        """Begin a request: run the app's handler for it."""
        # Hot: runs once per request; BlazeioServerProtocol._load and
        # ResponseWriter.reset by hand.
        request = self.request
        request.method = head.method
        request.tail = head.target
        request.path = head.path
        request.query = head.query
        request.headers = head.headers
        request.content_length = head.content_length
        response = request.response
        if not response.is_plain:
            response.forget()
        response.head = head
        response.is_plain = head.is_plain
        response.is_complete = False
        response.content_bytes = 0
        response.status = 0
        context = self._context
        handler = context.handler
        if context.bounds_requests:
            handler = self._apply_limits(handler)
        context.in_flight = in_flight = context.in_flight + 1
        context.request_count += 1
        self.begun_at = context.now()  # 0.04 us
        if context.loop.get_task_factory() is None:
            # This is what loop.create_task does. A functools.partial with the arguments
            # that are always the same takes 0.06 us more. Without a name asyncio makes
            # one from a counter, which takes 0.15 us. The context is a copy of the
            # server's: the caller, a transport or the task before, has one of its own.
            #
            # Not eager_start (Python 3.12): the first step would run within the read of
            # the request. It takes 13 % fewer instructions, and 1.0 to 1.6 us of 9 less
            # for a request alone. But by wrk with 64 connections it gains nothing on a
            # quiet machine and loses 10 to 20 % on a busy one, since the client is
            # woken more often; and a handler that computes before its first await
            # delays the reads of the same turn.
            self._task = asyncio.Task(
                self._run(handler),
                loop=context.loop,
                name=TASK_NAME,
                context=context.base.copy(),
            )
        else:
            self._start_by_factory(handler)
        tally = context.tally
        if tally is not None:
            tally.in_flight[0] = in_flight
            # A head that came before is the same object, or at least its target; "/"
            # always is.
            if head is not tally.last_head and (
                head.target is not tally.last_target or head.method != tally.last_method
            ):
                tally.name(request)

    def _apply_limits(self, handler: Handler) -> Handler:
        """Set the deadline; return the handler, or another where too many run."""
        context = self._context
        limits = context.limits
        if limits.handler_timeout_s is not None:
            self.start_deadline(limits.handler_timeout_s)
        if limits.in_flight is not None and context.in_flight >= limits.in_flight:
            return turn_away
        return handler

    def _start_by_factory(self, handler: Handler) -> None:
        """Make the task by the app's own factory, which may not take a context."""
        base = self._context.base.copy()
        work = self._run(handler)
        self._task = base.run(self._context.loop.create_task, work)

    def start_raw(self, handler: Handler) -> None:
        """Run a handler that speaks no HTTP, for as long as it takes."""
        self.has_left_http = self._is_unusual = True
        self._context.in_flight += 1
        self._context.request_count += 1
        self.begun_at = self._context.now()
        self._start_by_factory(handler)

    def forget(self) -> None:
        """Hold nothing of a request that is over: many connections are idle."""
        self._shutdown_hook = None
        self.request._forget()

    def refuse_head(self, error: ProtocolError) -> None:
        """Answer what is not a request: no handler runs, and it takes no time."""
        self.request._load(NO_HEAD)
        self.begun_at = self.ended_at = self._context.now()
        self.refuse(error)

    def leave_http(self, successor: "Successor | None") -> None:
        """The request has become a connection of another protocol.

        How long a request may take says nothing of a connection.

        Args:
            successor: Who reads the octets; None: the handler.
        """
        self.has_left_http = self._is_unusual = True
        self._successor = successor
        self.stop_deadline()

    def octets_have_ended(self) -> None:
        """The peer will send no more octets of the other protocol."""
        if self._successor is None:
            self.request.content.end()
        else:
            self._successor.eof_received()

    def carrier_is_lost(self) -> None:
        """The request has lost its carrier: a handler that has not answered is cut."""
        if self._successor is not None:
            self._successor.connection_lost()
        if self._task is None:
            if self.entered_at != NEVER:
                self._context.wheel.forget(self)
            return
        request = self.request
        self._context.detached.add(request)
        if not (request.response.is_complete or self.outlives_carrier):
            self.cancel()

    @property
    def outlives_carrier(self) -> bool:
        """Whether the handler runs on when its carrier is lost.

        One that waits for octets is told by an error, and needs no cancellation.
        """
        request = self.request
        if request.response.status == 101:
            reader = self._successor or request.content
            if reader.is_awaited:
                return True
        options = self._context.app.find_options(request.method, request.path)
        return options.on_disconnect == "finish"

    # The deadline

    def start_deadline(self, span_s: float) -> None:
        """Have the handler end within so many seconds from now, or be cancelled."""
        wheel = self._context.wheel
        wheel.set(self, wheel.now() + span_s)

    def stop_deadline(self) -> None:
        """Let the handler take as long as it likes."""
        # The wheel finds nothing due here, and looks at the next.
        self.deadline_at = NEVER

    def deadline_passed(self, now: float) -> None:
        """Called by the wheel, also where the response is complete or the peer gone."""
        if self._task is not None:
            self.is_late = self._is_unusual = True
            self.cancel()

    # The end of the service

    def set_shutdown_hook(self, hook: Handler) -> None:
        """Call this when the server drains; see ``r.on_shutdown``."""
        self._shutdown_hook = hook
        self._is_unusual = True
        loop = self._context.loop
        if loop.time() >= self._context.shutdown_hooks_from:
            loop.call_soon(self.run_shutdown_hook)

    @property
    def has_shutdown_hook(self) -> bool:
        """Whether a handler that still streams has a hook for the end."""
        return (
            self._shutdown_hook is not None
            and self._task is not None
            and self.request.is_alive
            and not self.request.response.is_complete
        )

    def run_shutdown_hook(self) -> None:
        """Cancel the handler; its shutdown hook then runs in its task."""
        if self.has_shutdown_hook and not self.is_shutting_down:
            self.is_shutting_down = self._is_unusual = True
            self.cancel()

    # What happens in the task

    async def _run(self, handler: Handler) -> None:
        """Run the handler; this is all of the request's task."""
        try:
            left = await handler(self.request)
        except BaseException as error:  # a cancellation, or a handler's own
            await self._fail(error)
        else:
            if left is not DETACHED:
                self._finish()

    def _end(self) -> None:
        """The handler is over, however it ended."""
        context = self._context
        self._task = None
        self.ended_at = context.now()
        self.deadline_at = NEVER
        context.in_flight -= 1
        if context.when_changed is not None:
            context.when_changed()
        self._shutdown_hook = None
        self._is_unusual = self.has_left_http
        self.is_late = self.is_shutting_down = False

    def _finish(self) -> None:
        """End the response, then have the carrier turn to what comes next."""
        # Hot: runs once per request; _end and RequestTally.record by hand.
        context = self._context
        self._task = None
        self.ended_at = ended_at = context.now()
        self.deadline_at = NEVER
        context.in_flight -= 1
        if context.when_changed is not None:
            context.when_changed()
        request = self.request
        if self._is_unusual:
            self._shutdown_hook = None
            self._is_unusual = self.has_left_http
            self.is_late = self.is_shutting_down = False
        if self._is_unusual or not request.is_alive:
            self._finish_beside_http()
            return
        response = request.response
        if not (response.is_complete or self._completes()):
            return
        record = context.record
        if record is not None:
            tally = context.tally
            if tally is not None:
                span_s = ended_at - self.begun_at
                size = response.content_bytes
                if (
                    response.status == 200
                    and span_s <= USUAL_S
                    and size < tally.usual_bytes
                    and request.content is NO_CONTENT
                ):
                    packed = tally.packed + span_s + tally.steps[size]
                    tally.packed = tally.usual[0] = packed
                    if packed >= tally.full_at:
                        tally.fold()
                    record = tally.others
            if record is not None:
                record(request)
        request.carrier.request_is_over()

    def _finish_beside_http(self) -> None:
        """The client is gone, or another protocol was spoken at last."""
        self.record()
        if self.request.is_alive:
            self.request.carrier.close()
        else:
            self._leave_detached()

    def _leave_detached(self) -> None:
        """Nothing refers to a request that has no carrier and no handler."""
        self._context.detached.discard(self.request)
        self._context.wheel.forget(self)
        self.request.carrier.gate.forget_frames()
        self.request.carrier.lost_request_is_over()

    def detach(self) -> Callable[[], None] | None:
        """Turn to what comes next; the handler, which has answered, runs on.

        It is counted until it calls what is returned, and has to return ``DETACHED``.
        It must not touch the request any more, which is another one by then.

        Returns:
            None where no handler runs.
        """
        if self._task is None:
            return None
        end = self._context.begin_background(self._task)
        self._finish()
        return end

    async def _fail(self, error: BaseException) -> None:
        """The handler was cancelled, or has raised what nothing above has answered."""
        is_ended = self.is_ended_by(error)
        if self.is_forked and is_ended:
            raise error  # the connection is not this process's to cut
        if self.is_shutting_down and self.has_shutdown_hook:
            await self._run_shutdown_hook()
            return
        request = self.request
        is_late = self.is_late
        if is_late and request.response.is_complete:
            self._finish()  # only what came after the response is cut
            return
        self._end()
        if not request.is_alive:
            self._leave_detached()
        elif is_late and not request.response.status:
            self.refuse(ProtocolError("the request took too long to answer", 503))
            return
        request.carrier.abort()
        self.record()
        if not is_ended and not isinstance(error, ClientDisconnected):
            self._report(error)
        request.carrier.gate.forget_frames()
        if is_ended:
            if isinstance(error, asyncio.CancelledError):
                error.__traceback__ = None  # as ``WriteGate.forget_frames``
            try:
                raise error
            finally:
                del error  # its traceback has this frame

    def refuse(self, error: ProtocolError) -> None:
        """Answer an error in the place of a handler; it is the last response."""
        self.request.response.refuse(error)
        self.record()
        self.request.carrier.close()

    async def _run_shutdown_hook(self) -> None:
        hook, self._shutdown_hook = self._shutdown_hook, None
        assert hook is not None  # has_shutdown_hook
        if self._task is not None:
            self._task.uncancel()  # the cancellation has done what it was for
        await self._run(hook)

    def _completes(self) -> bool:
        """End a response that its handler has not ended; return whether it could be."""
        request = self.request
        response = request.response
        message = response.message
        if self.has_forgotten_to_send or (message is None and self.has_forgotten):
            return self._answer_fault()  # it was logged as it was noted
        is_held = message is not None and not message.is_begun
        try:
            if response.gate.is_taken:
                reason = "the handler is over while another task still writes for it"
                raise LocalProtocolError(reason)
            if message is None:
                request.reply(b"", 204)
            else:
                response.send(b"", is_last=True)
        except LocalProtocolError as error:
            name = self._context.app.name_handler(request.method, request.path)
            log.error("%s %s: %s: %s", request.method, request.tail, name, error)
            if is_held:
                response.take_back()
            return self._answer_fault()
        return True

    def _answer_fault(self) -> bool:
        """Answer 500 where nothing has left, else cut; return whether it answered."""
        request = self.request
        if request.response.is_held():
            request.response.take_back()
        if not request.response.status:
            request.reply(b"Internal Server Error", 500)
            return True
        request.carrier.abort()
        self.record()
        return False

    def record(self) -> None:
        """Tell the recorders of a response, whole or not; a raw handler has none."""
        request = self.request
        record = self._context.record
        if record is not None and (request.method or request.response.status):
            record(request)

    def _report(self, error: BaseException) -> None:
        """Log an error that nothing has answered: of a raw handler, of a hook."""
        request = self.request
        log.error(
            "%s: %s in %s: the connection is cut",
            f"{request.method} {request.tail}".strip() or "a connection",
            type(error).__name__,
            self._context.app.name_handler(request.method, request.path),
            exc_info=error,
        )

    # What ends it

    def is_ended_by(self, error: BaseException) -> bool:
        """Whether an error is meant to end the handler's task.

        It is so for our own cancellation, for the close of the coroutine by a loop that
        is over, for a ^C, and in a process that the handler has forked. Any other error
        is the handler's.
        """
        if self.is_forked:
            return isinstance(error, SystemExit | KeyboardInterrupt)
        if isinstance(error, asyncio.CancelledError):
            was_told = self.is_cut or self.is_late or self.is_shutting_down
            return was_told and is_cancelled()
        if isinstance(error, GeneratorExit):
            return not self.runs_in(find_task())
        return is_of_keyboard(error)

    def note_forgotten(self, *, is_sending: bool) -> None:
        """Note that a coroutine was not awaited, in the task that runs now.

        Args:
            is_sending: The coroutine was one of ours that sends. Else it is the app's,
                and may have been meant for something else.
        """
        self._forgot_sending = is_sending or (
            self.has_forgotten and self._forgot_sending
        )
        self._forgotten_in = find_task()

    @property
    def has_forgotten(self) -> bool:
        """Whether a coroutine was not awaited in this very task, which is over now."""
        return self._forgotten_in is not None and self._forgotten_in is find_task()

    @property
    def has_forgotten_to_send(self) -> bool:
        """Whether a part of the response is missing therefore."""
        return self.has_forgotten and self._forgot_sending

    @contextmanager
    def cleaning(self) -> Iterator[None]:
        """Hold one cancellation back until the handler has left the block.

        An error may tell the handler of a loss, which cancels it a turn later. The
        cancellation would break into the cleanup that the error has begun. A second
        cancellation, by a deadline or the end of the service, is not held back.
        """
        if self._is_cleaning or not self.runs_in(find_task()):
            yield
            return
        self._is_cleaning = True
        try:
            yield
        finally:
            is_due = self._is_cancel_due
            self._is_cancel_due = self._is_cleaning = False
            if is_due:
                self.cancel()

    def cancel(self) -> None:
        """Cancel the handler; one that has not begun begins before.

        A coroutine that never begins never reaches the code that counts its end.
        """
        task = self._task
        if task is None:
            return
        if not (self.is_late or self.is_shutting_down):
            self.is_cut = True
        if self._is_cleaning and not self._is_cancel_due:
            self._is_cancel_due = True
            return
        work = task.get_coro()
        is_fresh = (
            inspect.iscoroutine(work)
            and inspect.getcoroutinestate(work) == inspect.CORO_CREATED
        )
        if is_fresh:
            self._context.loop.call_soon(task.cancel)
        else:
            task.cancel()


async def turn_away(r: "BlazeioServerProtocol") -> None:
    """Answer 503: ``Limits.in_flight`` other requests are being served."""
    message = b"too many requests are being served; try again"
    r.reply(message, 503, headers={"Retry-After": RETRY_AFTER_S})
