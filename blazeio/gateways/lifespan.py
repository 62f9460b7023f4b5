"""The lifespan of an ASGI app: one task that starts before the first request and
ends after the last one.

ASGI Lifespan 2.0. The app waits in its task for ``lifespan.startup``, says that it
is complete, and waits for ``lifespan.shutdown``. An app that knows nothing of it
raises; it is served all the same, unless the operator wants a lifespan. One that raises
after it has taken ``lifespan.startup`` does know of it: it is served as well, since the
specification wants that, but what it raised is logged as an error.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from enum import StrEnum
from typing import Any, NoReturn

from blazeio.errors import BlazeioError, LocalProtocolError
from blazeio.gateways.gateway import describe, report_fault
from blazeio.gateways.messages import check_order
from blazeio.gateways.scope import make_lifespan_scope
from blazeio.loggers import get_logger

log = get_logger("blazeio.gateways")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

LIFESPAN_MESSAGES = (
    "lifespan.startup.complete",
    "lifespan.startup.failed",
    "lifespan.shutdown.complete",
    "lifespan.shutdown.failed",
)
STARTING, STARTED, STOPPING, STOPPED = range(4)
LIFESPAN_EXPECTED = {
    STARTING: LIFESPAN_MESSAGES[:2],
    STARTED: (),
    STOPPING: LIFESPAN_MESSAGES[2:],
    STOPPED: (),
}


class LifespanMode(StrEnum):
    """Tell whether an app has to have a lifespan.

    Attributes:
        AUTO: It may.
        ON: It must: an exception ends the start.
        OFF: It is not asked.
    """

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class LifespanFailed(BlazeioError):  # noqa: N818 - a fact, as the message is named
    """The app could not start, or could not stop, and has said why.

    Attributes:
        message: As the app has put it, often a traceback.
    """

    def __init__(self, step: str, message: str) -> None:
        last = message.strip().splitlines()[-1:] or ["it gave no reason"]
        super().__init__(f"the app's {step} has failed: {last[0]}")
        self.message = message


class Lifespan:
    """One app's lifespan in one process, on the running loop.

    Args:
        app: Called once with the scope of the lifespan.
        mode: Whether it has to have one.

    Attributes:
        mode: The same; it counts until ``start``.
        state: What the app has left for its requests.
        is_supported: The app takes part.
    """

    def __init__(self, app: AsgiApp, mode: LifespanMode) -> None:
        self._app = app
        self.mode = mode
        self._step = STARTING
        self._task: asyncio.Task[None] | None = None
        self._received: asyncio.Queue[Message] = asyncio.Queue()
        self._told = asyncio.Event()
        self._failure: LifespanFailed | None = None
        self._error: BaseException | None = None
        self._has_taken = False
        self.state: dict[str, Any] = {}
        self.is_supported = False

    async def start(self) -> None:
        """Ask the app to start; return when it has, or takes no part.

        Raises:
            LifespanFailed: It said that it could not; its cause is what it raised.
            BaseException: What it raised instead, where the lifespan is ``on``.
        """
        if self.mode is LifespanMode.OFF:
            return
        self._received.put_nowait({"type": "lifespan.startup"})
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(), name="lifespan")
        try:
            await self._wait_for_word()
        except asyncio.CancelledError:  # the service ends before the app has started
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=FAILURE_END_S)
            raise
        if self._failure is not None:
            # Starlette says "failed" first and raises afterwards: the exception is
            # worth waiting for, since it becomes the cause of ours.
            await asyncio.wait((self._task,), timeout=FAILURE_END_S)
            raise self._failure from self._error
        if self._step == STARTED:
            self.is_supported = True
            return
        if self.mode is LifespanMode.ON:
            raise self._error or LifespanFailed(
                "startup", "its lifespan ended without startup.complete"
            )
        if self._error is not None and self._has_taken:
            report_fault("the app has not started, and is served", self._error)
        elif self._error is not None:
            what = f"{type(self._error).__name__}{describe(self._error)}"
            log.info("the app takes no part in the lifespan: %s", what)

    async def stop(self) -> None:
        """Ask the app to stop; return when it has.

        Raises:
            LifespanFailed: It said that it could not.
            BaseException: What it raised.
        """
        task = self._task
        if task is None or task.done() or self._step != STARTED:
            return
        self._step = STOPPING
        self._told.clear()
        self._received.put_nowait({"type": "lifespan.shutdown"})
        try:
            await self._wait_for_word()
            await asyncio.wait((task,), timeout=FAILURE_END_S)
        finally:
            task.cancel()
        self._step = STOPPED
        if self._failure is not None:
            raise self._failure from self._error
        if self._error is not None:
            raise self._error

    async def _wait_for_word(self) -> None:
        """Return when the app has said how it went, or its task is over."""
        assert self._task is not None  # start has made it
        word = asyncio.ensure_future(self._told.wait())
        try:
            # Both, since an app that knows nothing of a lifespan says nothing: it
            # raises, or returns.
            await asyncio.wait((word, self._task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            word.cancel()

    async def _run(self) -> None:
        scope = make_lifespan_scope(self.state)
        try:
            await self._app(scope, self._receive, self._send)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            # Cancelled by us, at a stop. Else the app has let out a cancellation of its
            # own, which is its failure and must not pass for ours.
            if task is not None and task.cancelling():
                raise
            self._note_error(error)
        except BaseException as error:
            self._note_error(error)

    def _note_error(self, error: BaseException) -> None:
        self._error = error
        if self._step == STARTED:
            report_fault("the lifespan of the app has ended", error)

    async def _receive(self) -> Message:
        message = await self._received.get()
        self._has_taken = True
        return message

    async def _send(self, message: Message) -> None:
        kind = check_order(message, LIFESPAN_EXPECTED[self._step], LIFESPAN_MESSAGES)
        if kind.endswith("failed"):
            step = kind.split(".")[1]
            text = message.get("message", "")
            if not isinstance(text, str):
                _refuse_text(kind, text)
            self._failure = LifespanFailed(step, text)
        self._step = STARTED if self._step == STARTING else STOPPED
        self._told.set()


FAILURE_END_S = 1.0
"""An app that has said its last word may take this long to end its task."""


def _refuse_text(kind: str, text: object) -> NoReturn:
    raise LocalProtocolError(f"{kind}: the message is {text!r:.80}, no str")
