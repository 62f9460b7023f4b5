"""From ``r`` to its handler, and from whatever that raises to an answer.

One coroutine serves a request: the middlewares before, then the route's handler
(or the fallbacks, or 404), the middlewares after; around all but the last are those
that call what is next. Those of a sub-app run within
those of the app it is mounted in. Which of these exist is decided once, when
the app starts: what is not there costs nothing.

May import: blazeio.app.dispatch, blazeio.app.routing, blazeio.errors,
blazeio.protocol.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from blazeio.app.dispatch.error_answers import answer_by_handlers, throw
from blazeio.app.dispatch.failures import (
    Fail,
    answer_error,
    answer_error_with_traceback,
    refuse_returned,
)
from blazeio.app.dispatch.forgotten import watch_for_forgotten_awaits
from blazeio.app.dispatch.misses import compose_misses
from blazeio.app.routing.error_handlers import ErrorHandlers
from blazeio.app.routing.middlewares import Around, Middlewares
from blazeio.app.routing.route import Scope
from blazeio.app.routing.routes import RouteTable
from blazeio.protocol.context import Handler
from blazeio.protocol.request import BlazeioServerProtocol

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
        routes: Looked into for each request: later routes are found too.
        middlewares: Looked into once, now; so are those of sub-apps.
        strict_slashes: False: a path that only lacks a slash at its end, or has
            one too many, is redirected.
        debug: Show what is a bug to the client.
    """
    fail = answer_error_with_traceback if debug else answer_error
    watch_for_forgotten_awaits()
    middlewares.seal()
    for chain in routes.scopes:
        chain[-1].middlewares.seal()

    def enclose(scopes: Sequence[Scope], handler: Handler) -> Handler:
        """Put around a handler what the sub-apps want, the innermost first."""
        within = [middlewares, *(each.middlewares for each in scopes)]
        while len(within) > 1:
            errors = [each.errors for each in reversed(within) if each.errors]
            handler = _enclose(within.pop(), handler, fail, errors)
        return handler

    routes.seal(lambda route: enclose(route.scopes, route.serve))
    choose_other = compose_misses(routes, middlewares.fallback, strict_slashes, enclose)
    if middlewares.around or middlewares.errors:
        dispatch = _compose_all(routes, choose_other, middlewares, fail)
    elif not middlewares.before:
        dispatch = _compose_plain(routes, choose_other, fail)
    else:
        before = _compose_chain(middlewares.before)
        dispatch = _compose_with_before(routes, choose_other, before, fail)
    return _compose_with_after(dispatch, middlewares.after, fail)


# Hot: one of these runs once per request. Finding the handler is RouteTable.find
# by hand: the call would cost more than the two lookups.


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
            if r.answer.is_complete:
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
    """Where middlewares are around, or the app answers errors itself."""
    by_method, any_method = routes.by_method, routes.any_method

    async def serve(r: BlazeioServerProtocol) -> Any:
        handler = by_method.get(r.method, any_method).get(r.path)
        return await (handler or choose_other(r))(r)

    handler = _compose_around(middlewares, serve)
    errors = [middlewares.errors] if middlewares.errors else []
    return _answer_errors(handler, fail, errors)


def _compose_around(middlewares: Middlewares, handler: Handler) -> Handler:
    handler = _compose_chain([*middlewares.before, handler])
    for each in reversed(middlewares.around):
        handler = _put_around(each, handler)
    return handler


def _put_around(around: Around, inner: Handler) -> Handler:
    async def call_next(r: BlazeioServerProtocol) -> None:
        left = await inner(r)
        if left is not None:
            refuse_returned(r, left, throw)

    call_next.__qualname__ = "call_next"  # as it is told where nobody awaits it

    async def serve(r: BlazeioServerProtocol) -> Any:
        return await around(r, call_next)

    return serve


def _compose_with_after(
    dispatch: Dispatch, after: Sequence[Handler], fail: Fail
) -> Dispatch:
    for each in after:  # the first one innermost: so it runs first
        dispatch = _put_after(dispatch, each, fail)
    return dispatch


def _put_after(inner: Dispatch, after: Handler, fail: Fail) -> Dispatch:
    async def dispatch(r: BlazeioServerProtocol) -> None:
        try:
            await inner(r)
        finally:  # a disconnect cancels: what was opened before is closed here
            try:
                await after(r)
            except BaseException as error:
                fail(r, error)

    return dispatch


def _compose_chain(handlers: Sequence[Handler]) -> Handler:
    """One after the other, until one has answered."""
    if len(handlers) == 1:
        return handlers[0]
    chain = tuple(handlers)

    async def serve(r: BlazeioServerProtocol) -> Any:
        for each in chain:
            left = await each(r)
            if r.answer.is_complete:
                return None
        return left  # of the last one, which is the handler

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
    """Those that run after see the status of an error: it is answered here.

    Args:
        handler: What may raise.
        fail: Gives the usual answer.
        errors: Asked before, the innermost first.
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
        if caught is not None:  # outside: what a handler raises is no consequence
            try:
                await answer_by_handlers(r, caught, errors, fail)
            finally:
                del caught  # its traceback has this frame, which has it

    return serve_with_handlers if errors else serve
