"""The task of the handler that serves one request, or one raw connection."""

import asyncio
import inspect
import opcode
import os
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from blazeio.protocol.context import TASK_NAME, Handler, ServerContext

if TYPE_CHECKING:
    from blazeio.protocol.request import BlazeioServerProtocol

_RAISE = opcode.opmap["RAISE_VARARGS"]


def is_cancelled() -> bool:
    """Whether the running task itself was cancelled, not one that it awaited."""
    task = find_task()
    return task is not None and task.cancelling() > 0


def find_task() -> "asyncio.Task[object] | None":
    """Return the task that runs here; None outside of one, or without a loop."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def is_of_keyboard(error: BaseException) -> bool:
    """Whether it is the ^C of somebody who runs the loop without our signals.

    Python's own handler of SIGINT raises in whatever code runs at that moment,
    asyncio's ``Runner`` at the second signal. One that code has raised by itself
    is an error as any other.
    """
    if not isinstance(error, KeyboardInterrupt):
        return False
    if threading.current_thread() is not threading.main_thread():
        return False
    innermost = _find_innermost(error.__traceback__)
    if innermost is None:
        return True
    frame = innermost.tb_frame
    if frame.f_globals.get("__name__") == "asyncio.runners":
        return True
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return False
    return frame.f_code.co_code[innermost.tb_lasti] != _RAISE


def _find_innermost(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback


RETRY_AFTER_S = 1
"""What an overloaded server asks a client to wait."""


class HandlerTask:
    """At most one task at a time; counted from its beginning to its end.

    Attributes:
        begun_at: When the last one began, monotonic seconds.
        ended_at: When the last one ended, likewise.
        is_shutting_down: It was cancelled for a farewell; until ``end``.
        is_late: It was cancelled since it took too long; until ``end``.
        is_cut: It was cancelled with its connection, which is over for good.
    """

    __slots__ = (
        "_context",
        "_forgot_sending",
        "_forgotten_in",
        "_is_cancel_due",
        "_is_cleaning",
        "_task",
        "begun_at",
        "ended_at",
        "is_cut",
        "is_late",
        "is_shutting_down",
    )

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._task: asyncio.Task[None] | None = None
        self._forgotten_in: asyncio.Task[Any] | None = None
        self._forgot_sending = False
        self._is_cancel_due = self._is_cleaning = False
        self.is_cut = self.is_late = self.is_shutting_down = False
        self.begun_at = self.ended_at = 0.0

    @property
    def is_running(self) -> bool:
        """Whether a handler is at work."""
        return self._task is not None

    @property
    def task(self) -> asyncio.Task[Any] | None:
        """That of the handler that is at work."""
        return self._task

    def runs_in(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether this is the task of the handler that is at work."""
        return task is not None and self._task is task

    @property
    def is_forked(self) -> bool:
        """Whether this is a process that a handler has forked."""
        return os.getpid() != self._context.pid

    def is_ended_by(self, error: BaseException) -> bool:
        """Whether this ends the handler's task, and is no error of the handler.

        It is our own cancellation, the closing of its coroutine by a loop that
        is over, a ^C, or the end of a process that the handler has forked.
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
        """What should have answered was not awaited, in the task that runs now.

        Args:
            is_sending: It was a call of ours that sends; else, one of the app's,
                which may have been meant for something else.
        """
        self._forgot_sending = is_sending or (
            self.has_forgotten and self._forgot_sending
        )
        self._forgotten_in = find_task()

    @property
    def has_forgotten(self) -> bool:
        """Whether that was so in this very task, which is over now."""
        return self._forgotten_in is not None and self._forgotten_in is find_task()

    @property
    def has_forgotten_to_send(self) -> bool:
        """Whether a part of what was to be sent is missing therefore."""
        return self.has_forgotten and self._forgot_sending

    @contextmanager
    def cleaning(self) -> Iterator[None]:
        """Hold one cancellation back until the handler has cleaned up in the block.

        An error may tell the handler of a loss that cancels it a turn later: the
        cancellation would break into the cleanup that the error has begun. A second
        one, by a deadline or the end of the service, is not held back.
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

    def choose(self) -> Handler:
        """The app's handler; or, at ``Limits.in_flight``, one that turns away."""
        context = self._context
        most = context.limits.in_flight
        if most is None or context.in_flight < most:
            return context.handler
        return turn_away

    def begin(self, work: Coroutine[None, None, None]) -> None:
        """Run it in a task; ``end`` must be called when it is over."""
        # Hot: runs once per request.
        context = self._context
        context.in_flight += 1
        context.request_count += 1
        self.begun_at = context.now()  # 0.04 us
        loop = context.loop
        # Whoever calls, the task before or the transport, has a context of its own.
        base = context.base.copy()
        if loop.get_task_factory() is None:
            # As loop.create_task; with a functools.partial for what is the same each
            # time it costs 0.06 us more, and without a name, which is then made up
            # from a counter, 0.15.
            self._task = asyncio.Task(work, loop=loop, name=TASK_NAME, context=base)
        else:  # not every factory takes a context
            self._task = base.run(loop.create_task, work)

    def end(self) -> None:
        """The work is over, however it ended."""
        # Hot: runs once per request.
        context = self._context
        self._task = None
        self.ended_at = context.now()
        context.in_flight -= 1
        if context.when_changed is not None:
            context.when_changed()
        if self.is_late or self.is_shutting_down:
            self.is_late = self.is_shutting_down = False

    def pass_over(self) -> None:
        """What has arrived is no request: nothing runs, and it takes no time."""
        self.begun_at = self.ended_at = self._context.now()

    def time_out(self) -> None:
        """Cancel it, since it took too long."""
        if self._task is not None:
            self.is_late = True
            self.cancel()

    def leave(self) -> None:
        """Cancel it, for a farewell to be said in its task."""
        if self._task is not None:
            self.is_shutting_down = True
            self.cancel()

    def stay(self) -> None:
        """Within the task: the cancellation has done what it was for."""
        if self._task is not None:
            self._task.uncancel()

    def cancel(self) -> None:
        """Cancel it, but let it begin: else its end would never be counted."""
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
    """Handle a request while ``Limits.in_flight`` others are being served."""
    message = b"too many requests are being served; try again"
    r.reply(message, 503, headers={"Retry-After": RETRY_AFTER_S})
