"""What an app runs beside requests: hooks, and tasks tied to the server's life.

May import: blazeio.app.dispatch, blazeio.app.routing, blazeio.errors.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from blazeio.app.routing.endpoints import describe
from blazeio.errors import ConfigurationError
from blazeio.loggers import get_logger
from blazeio.protocol.handler_task import (
    find_task,
    is_cancelled,
    is_of_keyboard,
)

log = get_logger("blazeio.app")

TASK_END_S = 2.0
"""A cancelled background task may clean up for this long."""

Hook = Callable[[], Awaitable[Any] | Any]
Background = Callable[[], Coroutine[Any, Any, Any]]


class Lifespan:
    """The hooks and background tasks of one app, and of those mounted in it.

    Attributes:
        start_hooks: Run before anything is accepted.
        drain_hooks: Run when the server begins to drain.
        stop_hooks: Run after the last request.
    """

    def __init__(self) -> None:
        self.start_hooks: list[Hook] = []
        self.drain_hooks: list[Hook] = []
        self.stop_hooks: list[Hook] = []
        self._inner: list[Lifespan] = []
        self._backgrounds: list[Background] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_started = False
        self._is_running = False

    def include(self, inner: "Lifespan") -> None:
        """Have the life of another app too; within this one."""
        if inner not in self._inner:
            self._inner.append(inner)

    def add_task(self, background: Background) -> None:
        """Run it from the start to the stop; started already: from now on, once.

        Raises:
            ConfigurationError: It is no coroutine function without arguments.
        """
        _check_background(background)
        if self._is_running:
            self._begin(background)
        else:
            self._backgrounds.append(background)

    async def start(self) -> None:
        """Run the start hooks, then begin the tasks; once until ``stop``.

        Raises:
            Exception: What a hook raised; nothing after it was run.
        """
        if self._is_started:
            return
        self._is_started = True
        for hook in self.start_hooks:
            await _call_to_start(hook)
        for inner in self._inner:
            await inner.start()
        self._is_running = True
        for background in self._backgrounds:
            self._begin(background)

    async def drain(self) -> None:
        """Run the drain hooks."""
        for hook in self.drain_hooks:
            await _call_safely(hook, "on_drain")
        for inner in self._inner:
            await inner.drain()

    async def stop(self) -> None:
        """End the tasks, then run the stop hooks, the last one first; once."""
        if not self._is_started:
            return
        self._is_started = self._is_running = False
        await self._end_tasks()
        for inner in reversed(self._inner):
            await inner.stop()
        for hook in reversed(self.stop_hooks):
            await _call_safely(hook, "on_stop")

    def _begin(self, background: Background) -> None:
        task = asyncio.get_running_loop().create_task(
            _run(background), name=f"background {describe(background)}"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_tasks(self) -> None:
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=TASK_END_S)
        for task in late:
            log.warning(
                "%s goes on %g s after it was cancelled; it is left alone",
                task.get_name(),
                TASK_END_S,
            )


async def _run(background: Background) -> None:
    try:
        await background()
    except BaseException as error:
        if _ends_task(error):
            raise
        log.exception("background task %s died", describe(background))


def _check_background(background: Any) -> None:
    if inspect.iscoroutine(background):
        name = background.__qualname__
        background.close()  # or Python would warn that nobody awaited it
        message = f"add_task({name}()): give the function itself, without ()"
        raise ConfigurationError(message)
    if not inspect.iscoroutinefunction(background):
        message = f"{describe(background)} must be defined with `async def`"
        raise ConfigurationError(message)
    try:
        inspect.signature(background).bind()
    except TypeError as error:
        message = f"{describe(background)} is called without arguments: {error}"
        raise ConfigurationError(message) from error


async def _call(hook: Hook) -> None:
    result = hook()
    if inspect.isawaitable(result):
        await result


async def _call_to_start(hook: Hook) -> None:
    try:
        await _call(hook)
    except Exception:
        raise
    except BaseException as error:
        if _ends_task(error):
            raise
        shown = repr(error)
        message = f"the on_start hook {describe(hook)} has failed: {shown}"
        raise ConfigurationError(message) from error


async def _call_safely(hook: Hook, kind: str) -> None:
    try:
        await _call(hook)
    except BaseException as error:
        if _ends_task(error):
            raise
        log.exception("%s hook %s failed", kind, describe(hook))


def _ends_task(error: BaseException) -> bool:
    """Whether it is no error of what was called: we were cancelled, or ^C came."""
    if isinstance(error, asyncio.CancelledError):
        return is_cancelled()
    if isinstance(error, GeneratorExit):
        return find_task() is None  # closed with its loop
    return is_of_keyboard(error)
