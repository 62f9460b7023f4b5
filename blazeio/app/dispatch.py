"""The middlewares of an app; from a request to its handler, and to a response.

One coroutine serves a request: the middlewares before, then the route's handler (or the
fallbacks, or 404), then the middlewares after; the middlewares that are "around"
enclose all but the last. The middlewares of a sub-app run inside those of the app that
it is mounted in. Which of these exist is decided once, when the app starts: what does
not exist costs a request nothing.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any
from urllib.parse import quote

from blazeio.app.debug import watch_for_forgotten_awaits
from blazeio.app.endpoints import check_handler, describe
from blazeio.app.failures import (
    ErrorHandlers,
    Fail,
    answer_by_handlers,
    answer_error,
    answer_error_with_traceback,
    refuse_returned,
    throw,
)
from blazeio.app.route import Scope
from blazeio.app.router import RouteTable
from blazeio.errors import Abort, ConfigurationError
from blazeio.protocol.context import Handler
from blazeio.protocol.request import BlazeioServerProtocol

# Middlewares of an app


CallNext = Callable[[BlazeioServerProtocol], Coroutine[Any, Any, None]]
"""A middleware around others calls this, once, to have the request served."""
Around = Callable[[BlazeioServerProtocol, CallNext], Awaitable[Any]]


class Middlewares:
    """The middlewares of an app, each kind in the order in which it was added.

    Attributes:
        before: Run before every route, found or not.
        fallback: Run where no route is found, instead of 404, until one has answered.
        after: Run when all is over, also after an error or a disconnect.
        around: Run around the others and the route, the first one outermost.
        errors: Answer what they raise.
    """

    __slots__ = ("_is_sealed", "after", "around", "before", "errors", "fallback")

    def __init__(self) -> None:
        self.before: list[Handler] = []
        self.fallback: list[Handler] = []
        self.after: list[Handler] = []
        self.around: list[Around] = []
        self.errors = ErrorHandlers()
        self._is_sealed = False

    def add(self, name: str, function: Callable[..., Any]) -> None:
        """Add a middleware, by the name of its kind.

        Raises:
            ConfigurationError: It is no handler, or the app is already served.
        """
        self.check(function)
        kind = {
            "before_middleware": self.before,
            "handle_all_middleware": self.fallback,
            "after_middleware": self.after,
        }[name]
        kind.append(function)

    def check(self, function: Callable[..., Any]) -> None:
        """Check that a middleware can be added.

        Raises:
            ConfigurationError: It is no handler, or the app is already served.
        """
        check_handler(function)
        self._check_time(function)

    def add_around(self, function: Callable[..., Any]) -> None:
        """Add a middleware that calls what comes after it.

        Raises:
            ConfigurationError: It is none, or the app is already served.
        """
        check_handler(function, called_with=("r", "call_next"))
        self._check_time(function)
        self.around.append(function)

    def _check_time(self, function: Callable[..., Any]) -> None:
        if self._is_sealed:
            message = f"{describe(function)}: the app is served by now, it is too late"
            raise ConfigurationError(message)

    def seal(self) -> None:
        """Refuse further middlewares: the dispatch was composed."""
        self._is_sealed = True
        self.errors.seal()


# Requests without an exact route: parameters, fallbacks, 405 and 404


Enclose = Callable[[Sequence[Scope], Handler], Handler]

_SAFE = "/:@!$&'()*+,;=~"
"""Characters that a path may hold as they are; not a backslash, which browsers take for
a slash."""


def compose_fallback(
    routes: RouteTable,
    fallbacks: Sequence[Handler],
    strict_slashes: bool,
    enclose: Enclose,
) -> Callable[[BlazeioServerProtocol], Handler]:
    """Compose the function that chooses a handler where no exact route was found.

    Args:
        routes: Searched for each request.
        fallbacks: Those of the app itself.
        strict_slashes: The setting of the app itself.
        enclose: Puts the middlewares of the sub-apps of a path around a handler.
    """
    fallback = Fallback(routes, fallbacks, strict_slashes)
    below = [
        (chain[-1], _compose_below(chain, routes, fallbacks, enclose))
        for chain in routes.scopes
    ]
    # a sub-app within another one goes first
    below.sort(key=lambda each: len(each[0].prefix.segments), reverse=True)

    def choose(r: BlazeioServerProtocol) -> Handler:
        found = routes.match(r.method, r.path)
        if found is not None:
            route, r.path_params = found
            return route.serve
        if below:
            segments = r.path.split("/")[1:]
            for scope, serve in below:
                if scope.prefix.covers(segments):
                    return serve
        return fallback

    return choose


def _compose_below(
    chain: Sequence[Scope],
    routes: RouteTable,
    fallbacks: Sequence[Handler],
    enclose: Enclose,
) -> Handler:
    """Return the fallback handler of the innermost app that has one."""
    for scope in chain:
        fallbacks = scope.middlewares.fallback or fallbacks
    return enclose(chain, Fallback(routes, fallbacks, chain[-1].strict_slashes))


class Fallback:
    """A handler for requests that no route serves.

    Args:
        routes: Asked for other methods, and for the path with the other slash.
        fallbacks: Run in turn until one has answered.
        strict_slashes: False: redirect to the path with the other slash.
    """

    __slots__ = ("_fallbacks", "_redirects", "_routes")

    def __init__(
        self, routes: RouteTable, fallbacks: Sequence[Handler], strict_slashes: bool
    ) -> None:
        self._routes = routes
        self._fallbacks = tuple(fallbacks)
        self._redirects = not strict_slashes

    async def __call__(self, r: BlazeioServerProtocol) -> None:
        """Answer with 405 or OPTIONS, redirect, run the fallbacks; else 404."""
        # The order matters: a path that is served with another method exists, so its
        # 405 comes before the fallbacks. A fallback is often the index page of a
        # single-page app, and would answer a POST with 200.
        if r.path == "*":  # OPTIONS of the server itself, RFC 9110 section 9.3.7
            self._tell_methods(r, self._routes.methods_of_all())
        elif methods := self._routes.methods_of(r.path):
            self._answer_other_method(r, methods)
        elif self._redirects and (path := self._other_slash(r)):
            # 308 keeps the method and the content. After a 301 a client may send GET
            # instead of POST (RFC 9110 sections 15.4.2 and 15.4.9).
            place = _with_query(quote(r.root_path + path, _SAFE), r)
            r.reply(b"", 308, b"", {"Location": place})
        elif self._fallbacks:
            await self._fall_back(r)
        else:
            raise Abort("Not Found", 404)

    def _answer_other_method(
        self, r: BlazeioServerProtocol, methods: list[str]
    ) -> None:
        if r.method == "OPTIONS":
            self._tell_methods(r, methods)
        else:
            raise Abort("Method Not Allowed", 405, {"Allow": ", ".join(methods)})

    def _tell_methods(self, r: BlazeioServerProtocol, methods: list[str]) -> None:
        r.reply(b"", 204, b"", {"Allow": ", ".join(methods)})

    def _other_slash(self, r: BlazeioServerProtocol) -> str | None:
        path = r.path[:-1] if r.path.endswith("/") else f"{r.path}/"
        # "//host" would lead to another site; CONNECT has no path.
        if (
            path.startswith("//")
            or not r.path
            or self._routes.match(r.method, path) is None
        ):
            return None
        return path

    async def _fall_back(self, r: BlazeioServerProtocol) -> None:
        for each in self._fallbacks:
            await each(r)
            if r.status:
                return


def _with_query(path: str, r: BlazeioServerProtocol) -> str:
    return f"{path}?{r.query}" if r.query else path


Dispatch = Callable[[BlazeioServerProtocol], Coroutine[Any, Any, None]]
Choose = Callable[[BlazeioServerProtocol], Handler]


def compose_dispatch(
    routes: RouteTable,
    middlewares: Middlewares,
    *,
    strict_slashes: bool = True,
    debug: bool = False,
) -> Dispatch:
    """Compose the coroutine function that serves each request of an app.

    Args:
        routes: Searched for each request: later routes are found too.
        middlewares: Read once, now; so are those of sub-apps.
        strict_slashes: False: a path that lacks a slash at its end, or has one too
            many, is redirected.
        debug: Show the traceback of a bug to the client.
    """
    fail = answer_error_with_traceback if debug else answer_error
    watch_for_forgotten_awaits()
    middlewares.seal()
    for chain in routes.scopes:
        chain[-1].middlewares.seal()

    def enclose(scopes: Sequence[Scope], handler: Handler) -> Handler:
        """Put the middlewares of sub-apps around a handler, the innermost first."""
        within = [middlewares, *(each.middlewares for each in scopes)]
        while len(within) > 1:
            # The outermost app is never popped, since its middlewares are put around
            # the whole dispatch. But its error handlers are asked last for what fails
            # in here: the "after" middlewares of a sub-app have to see the status.
            errors = [each.errors for each in reversed(within) if each.errors]
            handler = _enclose(within.pop(), handler, fail, errors)
        return handler

    routes.seal(lambda route: enclose(route.scopes, route.serve))
    choose_other = compose_fallback(
        routes, middlewares.fallback, strict_slashes, enclose
    )
    if middlewares.around or middlewares.errors:
        dispatch = _compose_all(routes, choose_other, middlewares, fail)
    elif not middlewares.before:
        dispatch = _compose_plain(routes, choose_other, fail)
    else:
        before = _compose_chain(middlewares.before)
        dispatch = _compose_with_before(routes, choose_other, before, fail)
    return _compose_with_after(dispatch, middlewares.after, fail)


# Hot: one of these runs once per request. They find the handler as RouteTable.find
# does: a call of it would cost more than its two lookups.


# BaseException is caught in all of them: ``sys.exit()`` in a handler is a bug of one
# request, and must not end a process that serves others. What has to end the task, a
# cancellation or ^C, is raised again by ``fail``.
def _compose_plain(routes: RouteTable, choose_other: Choose, fail: Fail) -> Dispatch:
    by_method, any_method = routes.by_method, routes.any_method

    async def dispatch(r: BlazeioServerProtocol) -> None:
        try:
            handler = by_method.get(r.method, any_method).get(r.path)
            left = await (handler or choose_other(r))(r)
            if left is not None:
                refuse_returned(r, left, fail)
        except BaseException as error:
            fail(r, error)

    return dispatch


def _compose_with_before(
    routes: RouteTable, choose_other: Choose, before: Handler, fail: Fail
) -> Dispatch:
    by_method, any_method = routes.by_method, routes.any_method

    async def dispatch(r: BlazeioServerProtocol) -> None:
        try:
            await before(r)
            if r.response.is_complete:
                return  # it has answered: nothing is left to do
            handler = by_method.get(r.method, any_method).get(r.path)
            left = await (handler or choose_other(r))(r)
            if left is not None:
                refuse_returned(r, left, fail)
        except BaseException as error:
            fail(r, error)

    return dispatch


def _compose_all(
    routes: RouteTable, choose_other: Choose, middlewares: Middlewares, fail: Fail
) -> Dispatch:
    """Compose the dispatch of an app with "around" middlewares or error handlers."""
    by_method, any_method = routes.by_method, routes.any_method

    async def serve(r: BlazeioServerProtocol) -> Any:
        handler = by_method.get(r.method, any_method).get(r.path)
        return await (handler or choose_other(r))(r)

    handler = _compose_around(middlewares, serve)
    errors = [middlewares.errors] if middlewares.errors else []
    return _answer_errors(handler, fail, errors)


def _compose_around(middlewares: Middlewares, handler: Handler) -> Handler:
    # "before" runs within "around": a timer or a transaction that is around the request
    # includes it.
    handler = _compose_chain([*middlewares.before, handler])
    for each in reversed(middlewares.around):
        handler = _put_around(each, handler)
    return handler


def _put_around(around: Around, inner: Handler) -> Handler:
    async def call_next(r: BlazeioServerProtocol) -> None:
        left = await inner(r)
        if left is not None:
            refuse_returned(r, left, throw)

    call_next.__qualname__ = "call_next"  # for the text about a forgotten ``await``

    async def serve(r: BlazeioServerProtocol) -> Any:
        return await around(r, call_next)

    return serve


def _compose_with_after(
    dispatch: Dispatch, after: Sequence[Handler], fail: Fail
) -> Dispatch:
    for each in after:  # the first one is innermost, so that it runs first
        dispatch = _put_after(dispatch, each, fail)
    return dispatch


def _put_after(inner: Dispatch, after: Handler, fail: Fail) -> Dispatch:
    async def dispatch(r: BlazeioServerProtocol) -> None:
        try:
            await inner(r)
        finally:  # also when a disconnect cancels: what ``before`` has opened is closed
            try:
                await after(r)
            except BaseException as error:
                fail(r, error)

    return dispatch


def _compose_chain(handlers: Sequence[Handler]) -> Handler:
    """Compose handlers that run one after the other, until one has answered."""
    if len(handlers) == 1:
        return handlers[0]
    chain = tuple(handlers)

    async def serve(r: BlazeioServerProtocol) -> Any:
        for each in chain:
            left = await each(r)
            if r.response.is_complete:
                return None
        return left  # what the last one, the handler, has returned

    return serve


# Around the routes of a sub-app


def _enclose(
    middlewares: Middlewares,
    handler: Handler,
    fail: Fail,
    errors: Sequence[ErrorHandlers],
) -> Handler:
    handler = _compose_around(middlewares, handler)
    if not middlewares.after and not middlewares.errors:
        return handler
    answered = _answer_errors(handler, fail, errors)
    return _compose_with_after(answered, middlewares.after, fail)


def _answer_errors(
    handler: Handler, fail: Fail, errors: Sequence[ErrorHandlers]
) -> Dispatch:
    """Answer errors before the "after" middlewares run, so that they see the status.

    Args:
        handler: What may raise.
        fail: Sends the usual response to an error.
        errors: The app's error handlers, the innermost first.
    """

    async def serve(r: BlazeioServerProtocol) -> None:
        try:
            left = await handler(r)
            if left is not None:
                refuse_returned(r, left, fail)
        except BaseException as error:
            fail(r, error)

    async def serve_with_handlers(r: BlazeioServerProtocol) -> None:
        caught = None
        try:
            left = await handler(r)
            if left is not None:
                refuse_returned(r, left, throw)
        except BaseException as error:
            caught = error
        if (
            caught is not None
        ):  # outside of "except", so that its error is not chained to this one
            try:
                await answer_by_handlers(r, caught, errors, fail)
            finally:
                del caught  # its traceback refers to this frame, which refers to it

    return serve_with_handlers if errors else serve
