"""What an app runs beside requests: hooks, and background tasks.

``Hooks`` has the decorators of an ``App``; ``Lifespan`` runs what they have collected:
start hooks before anything is accepted, background tasks while the app is served, drain
hooks when the server begins to drain, stop hooks after the last request. The hooks of
mounted apps run with those of the app that they are mounted in.
"""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar, overload

from blazeio.app.dispatch import Around, Middlewares
from blazeio.app.endpoints import describe
from blazeio.app.failures import ErrorHandler
from blazeio.app.metrics import AppMetrics
from blazeio.app.service import (
    BroadcastHandler,
    Broadcasts,
    OnceTask,
    OnceTasks,
    name_function,
    parse_schedule,
)
from blazeio.errors import ConfigurationError
from blazeio.loggers import get_logger
from blazeio.protocol.process import find_task, is_cancelled, is_of_keyboard

log = get_logger("blazeio.app")

TASK_END_S = 2.0
"""How long a cancelled background task may clean up, seconds."""

Hook = Callable[[], Awaitable[Any] | Any]
Background = Callable[[], Coroutine[Any, Any, Any]]


class Lifespan:
    """The hooks and background tasks of one app, and of those mounted in it.

    Attributes:
        start_hooks: Run before anything is accepted.
        warm_hooks: Run once, before the workers are forked, if they are.
        drain_hooks: Run when the server begins to drain.
        stop_hooks: Run after the last request.
        metrics: Those that the app declares.
        broadcasts: Messages of all processes of the service.
        once: The tasks of which only one process of the service runs any.
    """

    def __init__(self) -> None:
        self.metrics = AppMetrics()
        self.once = OnceTasks()
        self.broadcasts = Broadcasts()
        self.start_hooks: list[Hook] = []
        self.warm_hooks: list[Hook] = []
        self.drain_hooks: list[Hook] = []
        self.stop_hooks: list[Hook] = []
        self._inner: list[Lifespan] = []
        self._backgrounds: list[Background] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_started = False
        self._is_running = False

    def check(self, inner: "Lifespan") -> None:
        """Check that another app can be included.

        Raises:
            ConfigurationError: Both have a metric or a task of the same name.
        """
        if inner not in self._inner:
            self.metrics.check(inner.metrics)
            self.once.check(inner.once.tasks)

    def include(self, inner: "Lifespan") -> None:
        """Run the hooks and tasks of another app too, within those of this one."""
        # An app may be mounted below two prefixes. It is one app all the same, with one
        # pool of connections, so its hooks run once.
        if inner not in self._inner:
            self.metrics.include(inner.metrics)
            self.once.include(inner.once)
            self.broadcasts.include(inner.broadcasts)
            self._inner.append(inner)

    def walk(self) -> Iterator["Lifespan"]:
        """Yield this one, and those that are included, also deep within."""
        yield self
        for inner in self._inner:
            yield from inner.walk()

    def add_task(self, background: Background) -> None:
        """Run a task from the start to the stop; once started, from now on.

        Raises:
            ConfigurationError: It is no coroutine function without arguments.
        """
        _check_background(background)
        if self._is_running:
            self._begin(background)
        else:
            self._backgrounds.append(background)

    async def start(self) -> None:
        """Run the start hooks, then start the tasks; once until ``stop``.

        Raises:
            Exception: What a hook raised; nothing after it was run.
        """
        if self._is_started:
            return
        await self._start()
        if not self.once.is_leased:
            self.once.start()

    async def _start(self) -> None:
        # Set before the hooks run: if the third one fails, ``stop`` still has to close
        # what the first two have opened.
        self._is_started = True
        self.broadcasts.start()
        for hook in self.start_hooks:
            await _call_to_start(hook)
        for inner in self._inner:
            if not inner._is_started:
                await inner._start()
        # From here on ``add_task`` starts a task at once. The metrics are closed after
        # the hooks, which may still declare some.
        self._is_running = True
        self.metrics.table.is_open = False
        for background in self._backgrounds:
            self._begin(background)

    async def warm(self) -> list[str]:
        """Run the warm hooks; return what went wrong."""
        failures = []
        for each in self.walk():
            for hook in each.warm_hooks:
                try:
                    await _call_to_start(hook)
                except Exception as error:
                    failures.append(f"on_warm {describe(hook)}: {error!r}")
        return failures

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
        self.metrics.table.is_open = True
        # The tasks end first, since they use what the stop hooks close. Each level runs
        # in the reverse order of the start: an inner app may use what the outer one has
        # opened.
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
        tasks = self._tasks | self.once.running
        for task in tasks:
            if not task.cancelling():  # one that runs once is perhaps cleaning up
                task.cancel()
        if not tasks:
            return
        # ``wait`` cancels nothing at its end, unlike ``wait_for``: a task that is in
        # the middle of its clean-up is not hit a second time.
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
        background.close()  # else Python would warn that nobody awaited it
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
    """Tell whether it must end this task: it is cancelled, or SIGINT came."""
    if isinstance(error, asyncio.CancelledError):
        return is_cancelled()
    if isinstance(error, GeneratorExit):
        return find_task() is None  # closed with its loop
    return is_of_keyboard(error)


# The decorators of an ``App``


HookT = TypeVar("HookT", bound=Hook)
BroadcastHandlerT = TypeVar("BroadcastHandlerT", bound=BroadcastHandler)
BackgroundT = TypeVar("BackgroundT", bound=Background)
AroundT = TypeVar("AroundT", bound=Around)
ErrorHandlerT = TypeVar("ErrorHandlerT", bound=ErrorHandler)


class Hooks:
    """The decorators of an ``App`` that add no routes; its base class."""

    def __init__(self) -> None:
        self._middlewares = Middlewares()
        self._lifespan = Lifespan()

    @property
    def metrics(self) -> AppMetrics:
        """Declares counters, gauges and histograms of the app.

        ::

            orders = web.metrics.counter("orders_total", "Orders.", labels=("kind",))
            orders.labels("book").inc()

        Under a supervisor they are added up over all workers, and ``--metrics-bind``
        shows them: see docs/how-to/app-metrics.md.
        """
        return self._lifespan.metrics

    def middleware(self, function: AroundT) -> AroundT:
        """Put a middleware around each request: ``@web.middleware``.

        ::

            @web.middleware
            async def timed(r, call_next):
                begun = time.monotonic()
                try:
                    await call_next(r)
                finally:
                    log.info("%s took %.3f s", r.path, time.monotonic() - begun)

        It runs for each request, found or not, around ``before_middleware``, the route
        and the fallbacks; the first one is outermost. What these raise, an ``Abort``
        too, passes through ``call_next``, and is answered when it leaves the outermost
        one; ``after_middleware`` sees the status. A middleware that answers by itself
        does not call ``call_next``.

        Raises:
            ConfigurationError: It is no ``async def`` that takes ``r`` and
                ``call_next``, or the app is already served.
        """
        self._middlewares.add_around(function)
        return function

    def on_error(
        self, *kinds: type[BaseException] | int
    ) -> Callable[[ErrorHandlerT], ErrorHandlerT]:
        """Handle errors by their class or status: ``@web.on_error(404)``.

        The handler, ``async def handler(r, error)``, answers as a route does. The
        nearest class of an error is used; then its status, which is that of an
        ``Abort``, 4xx for content that cannot be read, 502 and 504 for failures of
        another server, and 500 for a bug. ``Exception`` means any bug, and not
        ``Abort``. A bug is logged all the same, unless a handler is for its own class.
        A handler that raises the error again leaves it to the usual response. An error
        after a route has answered is not handled.

        Args:
            kinds: Classes of exceptions, and statuses from 400 to 599.

        Raises:
            ConfigurationError: One is neither, two handlers are for the same one, or
                the app is already served.
        """
        if not kinds:
            raise ConfigurationError("on_error(): write @web.on_error(404), or a class")

        def decorate(handler: ErrorHandlerT) -> ErrorHandlerT:
            for kind in kinds:
                self._middlewares.errors.add(kind, handler)
            return handler

        return decorate

    def on_start(self, hook: HookT) -> HookT:
        """Call a function, async or not, before the first request is accepted.

        Under a supervisor: in each worker, after the fork, before READY.
        """
        self._lifespan.start_hooks.append(hook)
        return hook

    def on_warm(self, hook: HookT) -> HookT:
        """Call a function, async or not, before the workers are forked.

        Under a supervisor that imports the app once for all workers: there, after the
        import, in an event loop that is closed afterwards. What it makes is shared by
        all workers: compiled templates, caches, lazy imports; not connections, threads
        or tasks. Otherwise it is not called.
        """
        self._lifespan.warm_hooks.append(hook)
        return hook

    @property
    def warm_hook_count(self) -> int:
        """The number of ``on_warm`` hooks, those of mounted apps too."""
        return sum(len(each.warm_hooks) for each in self._lifespan.walk())

    async def warm_hooks(self) -> list[str]:
        """Run the ``on_warm`` hooks; return what went wrong, a line for each."""
        return await self._lifespan.warm()

    def on_drain(self, hook: HookT) -> HookT:
        """Call a function, async or not, when the server begins to drain.

        From then on each response is the last of its connection. Nothing waits for the
        hook: it may tell streams to end (see ``r.draining`` too).
        """
        self._lifespan.drain_hooks.append(hook)
        return hook

    def on_stop(self, hook: HookT) -> HookT:
        """Call a function, async or not, after the last request was answered.

        The hooks run in reverse order. An exception is logged, and the others run.
        """
        self._lifespan.stop_hooks.append(hook)
        return hook

    def add_outer_hooks(
        self, on_start: Sequence[Hook] = (), on_stop: Sequence[Hook] = ()
    ) -> None:
        """Add hooks around all others, as whoever serves the app has them.

        Args:
            on_start: Called before every other ``on_start`` hook, in this order.
            on_stop: Called after every other ``on_stop`` hook, in this order.
        """
        self._lifespan.start_hooks[:0] = on_start
        self._lifespan.stop_hooks[:0] = reversed(on_stop)

    @overload
    def add_task(
        self,
        function: BackgroundT,
        *,
        once: bool = False,
        every: str | float | None = None,
        at: str | None = None,
        name: str | None = None,
    ) -> BackgroundT: ...
    @overload
    def add_task(
        self,
        function: None = None,
        *,
        once: bool = False,
        every: str | float | None = None,
        at: str | None = None,
        name: str | None = None,
    ) -> Callable[[BackgroundT], BackgroundT]: ...
    def add_task(
        self,
        function: Any = None,
        *,
        once: bool = False,
        every: str | float | None = None,
        at: str | None = None,
        name: str | None = None,
    ) -> Any:
        """Run a coroutine function in the background, while the app is served.

        ``@web.add_task`` and ``@web.add_task(once=True, every="15m")`` are the two ways
        to write it. It starts after the ``on_start`` hooks (under a supervisor: in each
        worker, after the fork) and is cancelled before the ``on_stop`` hooks, with 2
        seconds to clean up. An exception is logged and ends this task only. Added while
        the app is served, it starts at once.

        Args:
            function: An ``async def`` without arguments.
            once: Run it in one worker only, and in another one when that ends: see
                docs/how-to/tasks.md. It is added before the app is served.
            every: Of a task that runs once: run it again so long after the last run
                began: seconds, or ``"30s"``, ``"15m"``, ``"1h30m"``, ``"1d"``.
            at: Likewise, each day at this time of the machine: ``"03:00"``.
            name: Of a task that runs once: by which it is known over reloads; None:
                that of the function.

        Raises:
            ConfigurationError: It is no ``async def`` without arguments, or the
                schedule cannot be read.
        """
        if function is None:
            return functools.partial(
                self.add_task, once=once, every=every, at=at, name=name
            )
        schedule = parse_schedule(every, at)
        if not once:
            if schedule.is_repeated or name is not None:
                text = "every=, at= and name= are for tasks that run once: once=True"
                raise ConfigurationError(f"add_task({describe(function)}): {text}")
            self._lifespan.add_task(function)
            return function
        _check_background(function)
        task = OnceTask(name or name_function(function), function, schedule)
        self._lifespan.once.add(task)
        return function

    @property
    def once_tasks(self) -> OnceTasks:
        """The tasks that run once; a supervisor starts and stops them."""
        return self._lifespan.once

    @property
    def broadcasts(self) -> Broadcasts:
        """What ``broadcast`` works with; ``dropped`` counts what had no room."""
        return self._lifespan.broadcasts

    def broadcast(self, message: Any) -> bool:
        """Send a message to every process of the service, also to this one.

        Under a supervisor: to each worker that serves. It may be called in any thread,
        and waits for nothing. See docs/how-to/broadcast.md.

        Args:
            message: What MessagePack has: text, octets, numbers, lists, dicts; at most
                32 KiB of it.

        Returns:
            False: it was dropped, and only this process gets it. Another thread than
            the loop's is told True before that is known.

        Raises:
            ValueError: It is too long, or no such value.
        """
        return self._lifespan.broadcasts.send(message)

    def on_broadcast(self, handler: BroadcastHandlerT) -> BroadcastHandlerT:
        """Call a function, async or not, with each message of ``broadcast``.

        One message is handled after the other; an exception is logged.

        Raises:
            ConfigurationError: It does not take one argument.
        """
        self._lifespan.broadcasts.add(handler)
        return handler

    # Running them

    async def init(self) -> None:
        """Run the ``on_start`` hooks in order, then start the tasks; once.

        Raises:
            Exception: What a hook raised; the hooks after it did not run.
        """
        await self._lifespan.start()

    async def stop_hooks(self) -> None:
        """End the tasks, then run the ``on_stop`` hooks in reverse; once."""
        await self._lifespan.stop()

    async def drain_hooks(self) -> None:
        """Run the ``on_drain`` hooks in order; a server that drains calls it once."""
        await self._lifespan.drain()
