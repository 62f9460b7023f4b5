"""What becomes of an exception that a handler or a middleware let out."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

import msgspec

from blazeio.app.debug import (
    explain,
    locate,
    serve_traceback,
    without_our_frames,
)
from blazeio.app.deliver import JSON, list_fields, names_field
from blazeio.app.middleware import ErrorHandler, ErrorHandlers
from blazeio.content.media_types import choose_media_type
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
    StatusError,
)
from blazeio.loggers import get_logger
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.response_writer import TEXT

log = get_logger("blazeio.app")

_QUIET = (Abort, ClientDisconnected, RemoteProtocolError)
"""What a handler may let out without being at fault."""

_UPSTREAM = (
    ConnectError,
    InvalidResponse,
    RequestTimeout,
    ServerDisconnected,
    StatusError,
)
"""A server that the handler asked, by ``Session``, has failed: a gateway's error
(RFC 9110 sections 15.6.3 and 15.6.5), and nobody's bug here."""

_TYPES = ("text/plain", "application/json")

Fail = Callable[[BlazeioServerProtocol, BaseException], None]


def answer_error(r: BlazeioServerProtocol, error: BaseException) -> None:
    """Answer what a handler or middleware let out.

    Where a response has begun and not ended the connection is aborted, so that
    the client sees that it was cut.

    Raises:
        BaseException: It ends the task itself: see ``Handling.is_ended_by``.
    """
    _deal_with(r, error, _answer)


def answer_error_with_traceback(r: BlazeioServerProtocol, error: BaseException) -> None:
    """The same, where what is a bug is shown to the client: ``App(debug=True)``."""
    _deal_with(r, error, _answer_openly)


def _deal_with(r: BlazeioServerProtocol, error: BaseException, answer: Fail) -> None:
    if r.handler_task.is_ended_by(error):
        raise error
    meant = find_answer(error)
    if meant is not error and not _is_all_quiet(error):
        report(r, error)  # what else is in the group is a bug
    if isinstance(meant, _UPSTREAM):
        what = type(meant).__name__
        log.error("%s %s: %s: %s", r.method, r.tail, what, meant)
    elif not isinstance(meant, _QUIET) or (
        isinstance(meant, Abort) and r.status and not r.response.is_held()
    ):
        report(r, meant)
    if not r.is_alive or isinstance(meant, ClientDisconnected):
        r.carrier.abort()
        return
    if r.response.is_held():
        r.response.take_back()  # nothing of it has left: the error can be answered
    if not r.status:
        answer(r, meant)
    elif not r.response.is_complete:
        r.carrier.abort()


def find_answer(error: BaseException) -> BaseException:
    """Find what a group of exceptions comes to, as a TaskGroup raises one.

    An Abort in it is the answer. A group of nothing but what is nobody's bug here is
    the first of these: what a client or another server got wrong, last that the
    client went away. Any other exception is returned as it is.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = list(_leaves(error))
    for kind in (Abort, RemoteProtocolError, *_UPSTREAM, ClientDisconnected):
        found = next((each for each in leaves if isinstance(each, kind)), None)
        if found is not None and (kind is Abort or _is_all_quiet(error)):
            return found
    return error


def list_leaves(error: BaseException) -> list[BaseException]:
    """List the exceptions of a group; of another one, itself."""
    return list(_leaves(error))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _is_all_quiet(error: BaseException) -> bool:
    return all(isinstance(each, (*_QUIET, *_UPSTREAM)) for each in _leaves(error))


def refuse_returned(r: BlazeioServerProtocol, value: object, fail: Fail) -> None:
    """A handler has returned something: in other frameworks that is the answer.

    Where it has answered, this is no harm; else it waits for what nobody sends.
    """
    if inspect.iscoroutine(value):
        value.close()  # or Python would warn, too
    if r.status or not r.is_alive:
        return
    if inspect.iscoroutine(value):
        call = value.__qualname__
        message = f"it returned {call}(...) without await: write `await {call}(...)`"
    elif isinstance(value, BaseException):
        message = f"it returned {value!r:.80} and answered nothing: write `raise`"
    else:
        message = (
            f"it returned {type(value).__name__} and answered nothing, and what is "
            "returned is not sent: write `await io.Deliver.json(r, ...)`, text or html"
        )
    fail(r, LocalProtocolError(message))


def find_status(error: BaseException) -> int:
    """The status that an error is answered with."""
    if isinstance(error, RequestTimeout):
        return 504
    if isinstance(error, _UPSTREAM):
        return 502
    if isinstance(error, RemoteProtocolError):
        return error.status_hint
    return error.status if isinstance(error, Abort) else 500


def _answer(r: BlazeioServerProtocol, error: BaseException) -> None:
    if isinstance(error, _UPSTREAM):
        status = find_status(error)
        _send(r, "Gateway Timeout" if status == 504 else "Bad Gateway", status)
        return
    if isinstance(error, RemoteProtocolError):
        _send(r, str(error), error.status_hint, {"Connection": "close"})
        return
    if isinstance(error, Abort):
        try:
            if error.json is None:
                _send(r, str(error.message), error.status, error.headers)
            else:
                content = msgspec.json.encode(error.json)
                r.reply(content, error.status, JSON, error.headers)
            return
        except Exception as malformed:  # its status, headers or JSON
            malformed.__cause__ = error
            report(r, malformed.with_traceback(error.__traceback__))
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


def report(r: BlazeioServerProtocol, error: BaseException) -> None:
    """Log a bug: what was asked for, the place, and the app's own frames."""
    name = r.context.name_handler(r.method, r.path)
    text = explain(error)
    log.error(
        "%s %s: %s in %s%s",
        r.method,
        r.tail,
        type(error).__name__,
        locate(error, name),
        f": {text}" if text else "",
        exc_info=(type(error), error, without_our_frames(error.__traceback__)),
    )


# What an app's own handlers of errors answer.


async def answer_by_handlers(
    r: BlazeioServerProtocol,
    error: BaseException,
    handlers: Sequence[ErrorHandlers],
    fail: Fail,
) -> None:
    """Have the app's handler answer an error; the usual answer where it has none.

    Args:
        r: The request.
        error: What its handler or a middleware let out.
        handlers: Of the sub-app first, then of those around it.
        fail: Gives the usual answer.

    Raises:
        BaseException: It ends the task itself: see ``Handling.is_ended_by``.
    """
    meant = _find_meant(error)
    handler, is_expected = None, False
    if _can_be_answered(r, error, meant):
        handler, is_expected = _find(meant, handlers)
    if handler is None or (not is_expected and fail is not answer_error):
        fail(r, error)  # App(debug=True) shows what is a bug
        return
    if r.response.is_held():
        r.response.take_back()
    if isinstance(meant, RemoteProtocolError):
        r.response.give_up_connection()  # what follows cannot be read
    second: BaseException | None = None
    try:
        left = await handler(r, meant)
        if left is not None:
            refuse_returned(r, left, throw)
    except BaseException as raised:
        second = raised
    is_left = second in (meant, error)  # raised again: not for this handler
    if is_left or (second is None and not r.status and r.is_alive):
        fail(r, error)
        return
    if not is_expected:
        report(r, error)
    if second is not None:
        fail(r, second)


def _find_meant(error: BaseException) -> BaseException:
    meant = find_answer(error)
    leaves = list_leaves(meant)
    return leaves[0] if len(leaves) == 1 else meant  # a TaskGroup of one that failed


def _can_be_answered(
    r: BlazeioServerProtocol, error: BaseException, meant: BaseException
) -> bool:
    return not (
        r.handler_task.is_ended_by(error)
        or not r.is_alive
        or isinstance(meant, ClientDisconnected)
        or (r.status and not r.response.is_held())
    )


def _find(
    error: BaseException, handlers: Sequence[ErrorHandlers]
) -> tuple[ErrorHandler | None, bool]:
    status = find_status(error)
    for each in handlers:
        found = each.find(error, status)
        if found is not None:
            handler, is_expected = found
            quiet = isinstance(error, Abort | RemoteProtocolError)
            return handler, is_expected or quiet
    return None, False


def throw(r: BlazeioServerProtocol, error: BaseException) -> NoReturn:
    """Raise it where it happened; ``Fail`` for what is within a middleware."""
    raise error
