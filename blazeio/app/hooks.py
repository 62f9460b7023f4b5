"""``Hooks``: what an app does around all its requests, and around its life."""

from collections.abc import Callable
from typing import TypeVar

from blazeio.app.lifespan import Background, Hook, Lifespan
from blazeio.app.routing.error_handlers import ErrorHandler
from blazeio.app.routing.middlewares import Around, Middlewares
from blazeio.errors import ConfigurationError

HookT = TypeVar("HookT", bound=Hook)
BackgroundT = TypeVar("BackgroundT", bound=Background)
AroundT = TypeVar("AroundT", bound=Around)
ErrorHandlerT = TypeVar("ErrorHandlerT", bound=ErrorHandler)


class Hooks:
    """The decorators of an ``App`` that add no routes; a base of it."""

    def __init__(self) -> None:
        self._middlewares = Middlewares()
        self._lifespan = Lifespan()

    def middleware(self, function: AroundT) -> AroundT:
        """Put a middleware around all that serves a request: ``@web.middleware``.

        ::

            @web.middleware
            async def timed(r, call_next):
                begun = time.monotonic()
                try:
                    await call_next(r)
                finally:
                    log.info("%s took %.3f s", r.path, time.monotonic() - begun)

        It runs for each request, found or not, around ``before_middleware``, the
        route and the fallbacks; the first one is outermost. What these raise, an
        ``Abort`` too, comes through ``call_next``, and is answered when it leaves
        the outermost: ``after_middleware`` sees the status. One that answers by
        itself does not call ``call_next``.

        Raises:
            ConfigurationError: It is no ``async def`` that takes ``r`` and
                ``call_next``, or the app is served by now.
        """
        self._middlewares.add_around(function)
        return function

    def on_error(
        self, *kinds: type[BaseException] | int
    ) -> Callable[[ErrorHandlerT], ErrorHandlerT]:
        """Answer errors of these classes, or of these statuses: ``@web.on_error(404)``.

        The handler, ``async def handler(r, error)``, answers as a route does. The
        nearest class of an error counts; then its status, which is that of an
        ``Abort``, 4xx for content that cannot be read, 502 and 504 for another
        server's failures, and 500 for a bug. ``Exception`` is any bug, and not
        ``Abort``. What is a bug is logged all the same, unless a handler is for
        its own class. A handler that raises the error again leaves it to the usual
        answer. What a handler of a route has answered itself is no error.

        Args:
            kinds: Classes of exceptions, and statuses from 400 to 599.

        Raises:
            ConfigurationError: One is neither, two handlers are for the same one,
                or the app is served by now.
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

    def on_drain(self, hook: HookT) -> HookT:
        """Call a function, async or not, when the server begins to drain.

        From then on each answer is the last of its connection, and nothing waits
        for the hook: it may tell streams to end (see ``r.draining`` too).
        """
        self._lifespan.drain_hooks.append(hook)
        return hook

    def on_stop(self, hook: HookT) -> HookT:
        """Call a function, async or not, after the last request was answered.

        The hooks run in the reverse order; what one raises is logged, and the
        others run.
        """
        self._lifespan.stop_hooks.append(hook)
        return hook

    def add_task(self, function: BackgroundT) -> BackgroundT:
        """Run a coroutine function in the background, as long as the app is served.

        It begins after the ``on_start`` hooks (under a supervisor: in each
        worker, after the fork) and is cancelled before the ``on_stop`` hooks,
        with 2 seconds to clean up. What it raises is logged and ends it alone.
        Added while the app is served, it begins at once.

        Raises:
            ConfigurationError: It is no ``async def`` without arguments.
        """
        self._lifespan.add_task(function)
        return function
