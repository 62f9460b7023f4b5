"""What becomes of an exception that a handler or a middleware let out.

May import: blazeio.app, blazeio.errors, blazeio.protocol.
"""

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType

import msgspec

from blazeio.app.deliver import JSON
from blazeio.app.dispatch.accept import choose_media_type
from blazeio.app.dispatch.debug_page import serve_traceback
from blazeio.app.fields import list_fields, names_field
from blazeio.errors import (
    Abort,
    ClientDisconnected,
    ConnectError,
    FieldInput,
    InvalidResponse,
    LocalProtocolError,
    RemoteProtocolError,
    RequestTimeout,
    ServerDisconnected,
)
from blazeio.protocol.answer import TEXT
from blazeio.protocol.server import BlazeioServerProtocol

log = logging.getLogger("blazeio.app")

_QUIET = (Abort, ClientDisconnected, RemoteProtocolError)
"""What a handler may let out without being at fault."""

_UPSTREAM = (ConnectError, InvalidResponse, RequestTimeout, ServerDisconnected)
"""A server that the handler asked, by ``Session``, has failed: a gateway's error
(RFC 9110 sections 15.6.3 and 15.6.5), and nobody's bug here."""

_TYPES = ("text/plain", "application/json")

Fail = Callable[[BlazeioServerProtocol, BaseException], None]


def answer_error(r: BlazeioServerProtocol, error: BaseException) -> None:
    """Answer what a handler or middleware let out.

    Where a response has begun and not ended the connection is aborted, so that
    the client sees that it was cut.

    Raises:
        asyncio.CancelledError: When the request itself was cancelled.
    """
    _deal_with(r, error, _answer)


def answer_error_with_traceback(r: BlazeioServerProtocol, error: BaseException) -> None:
    """The same, where what is a bug is shown to the client: ``App(debug=True)``."""
    _deal_with(r, error, _answer_openly)


def _deal_with(r: BlazeioServerProtocol, error: BaseException, answer: Fail) -> None:
    if isinstance(error, asyncio.CancelledError) and is_cancelled():
        raise error
    if isinstance(error, _UPSTREAM):
        what = type(error).__name__
        log.error("%s %s: %s: %s", r.method, r.tail, what, error)
    elif not isinstance(error, _QUIET) or (isinstance(error, Abort) and r.status):
        _report(r, error)
    if not r.is_alive or isinstance(error, ClientDisconnected):
        r.abort()
    elif not r.status:
        answer(r, error)
    elif not r.answer.is_complete:
        r.abort()


def refuse_returned(r: BlazeioServerProtocol, value: object, fail: Fail) -> None:
    """A handler has returned something: in other frameworks that is the answer.

    Where it has answered, this is no harm; else it waits for what nobody sends.
    """
    if r.status or not r.is_alive:
        return
    message = (
        f"it returned {type(value).__name__} and answered nothing, and what is "
        "returned is not sent: write `await io.Deliver.json(r, ...)`, text or html"
    )
    fail(r, LocalProtocolError(message))


def is_cancelled() -> bool:
    """Whether the running task itself was cancelled, not one that it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _answer(r: BlazeioServerProtocol, error: BaseException) -> None:
    if isinstance(error, RequestTimeout):
        _send(r, "Gateway Timeout", 504)
        return
    if isinstance(error, _UPSTREAM):
        _send(r, "Bad Gateway", 502)
        return
    if isinstance(error, RemoteProtocolError):
        _send(r, str(error), error.status_hint, {"Connection": "close"})
        return
    if isinstance(error, Abort):
        try:
            _send(r, str(error.message), error.status, error.headers)
            return
        except LocalProtocolError as malformed:  # its status or headers
            malformed.__cause__ = error
            _report(r, malformed)
    _send(r, "Internal Server Error", 500)


def _answer_openly(r: BlazeioServerProtocol, error: BaseException) -> None:
    if isinstance(error, (*_QUIET, *_UPSTREAM)):
        _answer(r, error)
    else:
        serve_traceback(r, error, without_our_frames(error.__traceback__))


def _send(
    r: BlazeioServerProtocol,
    message: str,
    status: int,
    headers: FieldInput | None = None,
) -> None:
    """Send what went wrong as the client likes it: as text, or as JSON."""
    fields = list_fields(headers)
    if names_field(fields, "content-type"):  # it is neither, but what that says
        r.reply(message.encode(errors="replace"), status, b"", fields)
        return
    fields.append(("Vary", "Accept"))
    if choose_media_type(r.headers.get("accept"), _TYPES) == "application/json":
        content = msgspec.json.encode({"error": _speakable(message)})
        r.reply(content, status, JSON, fields)
    else:
        r.reply(message.encode(errors="replace"), status, TEXT, fields)


def _speakable(message: str) -> str:
    return message.encode(errors="replace").decode()  # lone surrogates are no UTF-8


def _report(r: BlazeioServerProtocol, error: BaseException) -> None:
    what = type(error).__name__
    log.error(
        "%s %s: %s in the handler",
        r.method,
        r.tail,
        what,
        exc_info=(type(error), error, without_our_frames(error.__traceback__)),
    )


def without_our_frames(traceback: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that the user wrote; all of it where none is."""
    ours = traceback
    while ours is not None and _is_ours(ours):
        ours = ours.tb_next
    return ours or traceback


def _is_ours(traceback: TracebackType) -> bool:
    name: str = traceback.tb_frame.f_globals.get("__name__", "")
    return name.startswith("blazeio.app.")
