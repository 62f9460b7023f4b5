"""From ``r`` to its handler, and from whatever that raises to an answer.

One coroutine serves a request: middleware before, then the route's handler (or
the fallback, or 404), middleware after. Which of these exist is decided once,
when the app starts: what is not there costs nothing.

May import: blazeio.app.routes, blazeio.errors, blazeio.protocol.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from blazeio.app.routes import RouteTable
from blazeio.errors import (
    Abort,
    ClientDisconnected,
    LocalProtocolError,
    RemoteProtocolError,
)
from blazeio.protocol.answer import TEXT
from blazeio.protocol.context import Handler
from blazeio.protocol.server import BlazeioServerProtocol

log = logging.getLogger("blazeio.app")

_QUIET = (Abort, ClientDisconnected, RemoteProtocolError)
"""What a handler may let out without being at fault."""

Dispatch = Callable[[BlazeioServerProtocol], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class Middlewares:
    """Those that an app has.

    Attributes:
        before: Runs before every route, found or not.
        fallback: Runs where no route is, instead of 404.
        after: Runs when all is over, also after an error or a disconnect.
    """

    before: Handler | None = None
    fallback: Handler | None = None
    after: Handler | None = None


def compose_dispatch(routes: RouteTable, middlewares: Middlewares) -> Dispatch:
    """Compose the coroutine function that serves each request of an app.

    Args:
        routes: Looked into for each request: later routes are found too.
        middlewares: Looked into once, now.
    """
    choose_other = _compose_miss(routes, middlewares.fallback)
    if middlewares.before is None:
        dispatch = _compose_plain(routes, choose_other)
    else:
        dispatch = _compose_with_before(routes, choose_other, middlewares.before)
    if middlewares.after is None:
        return dispatch
    return _compose_with_after(dispatch, middlewares.after)


# Hot: one of these runs once per request. Finding the handler is RouteTable.find
# by hand: the call would cost more than the two lookups.


def _compose_plain(
    routes: RouteTable, choose_other: Callable[[BlazeioServerProtocol], Handler]
) -> Dispatch:
    by_method, any_method = routes.by_method, routes.any_method

    async def dispatch(r: BlazeioServerProtocol) -> None:
        try:
            handler = by_method.get(r.method, any_method).get(r.path)
            await (handler or choose_other(r))(r)
        except (Exception, asyncio.CancelledError) as error:
            answer_error(r, error)

    return dispatch


def _compose_with_before(
    routes: RouteTable,
    choose_other: Callable[[BlazeioServerProtocol], Handler],
    before: Handler,
) -> Dispatch:
    by_method, any_method = routes.by_method, routes.any_method

    async def dispatch(r: BlazeioServerProtocol) -> None:
        try:
            await before(r)
            handler = by_method.get(r.method, any_method).get(r.path)
            await (handler or choose_other(r))(r)
        except (Exception, asyncio.CancelledError) as error:
            answer_error(r, error)

    return dispatch


def _compose_with_after(inner: Dispatch, after: Handler) -> Dispatch:
    async def dispatch(r: BlazeioServerProtocol) -> None:
        try:
            await inner(r)
        finally:  # a disconnect cancels: what was opened before is closed here
            try:
                await after(r)
            except (Exception, asyncio.CancelledError) as error:
                answer_error(r, error)

    return dispatch


def _compose_miss(
    routes: RouteTable, fallback: Handler | None
) -> Callable[[BlazeioServerProtocol], Handler]:
    def choose_other(r: BlazeioServerProtocol) -> Handler:
        methods = routes.methods_of(r.path)
        if methods:
            raise Abort("Method Not Allowed", 405, {"Allow": ", ".join(methods)})
        if fallback is None:
            raise Abort("Not Found", 404)
        return fallback

    return choose_other


def answer_error(r: BlazeioServerProtocol, error: BaseException) -> None:
    """Answer what a handler or middleware let out.

    Where a response has begun and not ended the connection is aborted, so that
    the client sees that it was cut.

    Raises:
        asyncio.CancelledError: When the request itself was cancelled.
    """
    if isinstance(error, asyncio.CancelledError) and _is_cancelled():
        raise error
    if not isinstance(error, _QUIET) or (isinstance(error, Abort) and r.status):
        _report(r, error)
    if not r.is_alive or isinstance(error, ClientDisconnected):
        r.abort()
    elif not r.status:
        _answer(r, error)
    elif not r.answer.is_complete:
        r.abort()


def _is_cancelled() -> bool:
    # A handler that awaited a cancelled task of its own is not cancelled itself.
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _answer(r: BlazeioServerProtocol, error: BaseException) -> None:
    if isinstance(error, RemoteProtocolError):
        message = str(error).encode(errors="replace")
        r.reply(message, error.status_hint, TEXT, {"Connection": "close"})
        return
    if isinstance(error, Abort):
        try:
            message = str(error.message).encode(errors="replace")
            r.reply(message, error.status, TEXT, error.headers)
            return
        except LocalProtocolError as malformed:  # its status or headers
            malformed.__cause__ = error
            _report(r, malformed)
    r.reply(b"Internal Server Error", 500)


def _report(r: BlazeioServerProtocol, error: BaseException) -> None:
    what = type(error).__name__
    log.error(
        "%s %s: %s in the handler",
        r.method,
        r.tail,
        what,
        exc_info=(type(error), error, _without_our_frames(error.__traceback__)),
    )


def _without_our_frames(traceback: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that the user wrote; all of it where none is."""
    ours = traceback
    while ours is not None and ours.tb_frame.f_globals.get("__name__") == __name__:
        ours = ours.tb_next
    return ours or traceback
