"""From an exception of a handler or a middleware to a response.

``Abort`` is a response that the app wants. What the client did wrong has a 4xx; another
server's failure (``Session``) is 502 or 504; everything else is a bug: it is logged
with the app's own frames, and answered with 500. Error handlers of the app
(``@web.on_error``) go first. Where a response has already begun, the connection is cut,
so that the client sees that it is not whole.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NoReturn

import msgspec

from blazeio.app.debug import (
    explain,
    locate,
    serve_traceback,
    without_our_frames,
)
from blazeio.app.deliver import JSON, list_fields, names_field
from blazeio.app.endpoints import check_handler, describe
from blazeio.content.field_values import choose_media_type
from blazeio.errors import (
    Abort,
    ClientDisconnected,
    ConfigurationError,
    ConnectError,
    FieldInput,
    InvalidResponse,
    LocalProtocolError,
    RemoteProtocolError,
    RequestError,
    RequestTimeout,
    ServerDisconnected,
    StatusError,
)
from blazeio.loggers import get_logger
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.response_writer import TEXT

log = get_logger("blazeio.app")

# Error handlers of an app


ErrorHandler = Callable[[BlazeioServerProtocol, Any], Awaitable[Any]]

ANY_BUG = (Exception, BaseException)
"""A handler of these classes gets unforeseen errors: they are bugs all the same."""

_OWN = (Abort, RemoteProtocolError, RequestError, *ANY_BUG)
"""The status of an error is more specific than these classes, and less specific than
classes that an app derives from them."""

_ANSWERED = (Abort, RemoteProtocolError)
"""These are responses, and no bugs: a handler of Exception does not get them."""


class ErrorHandlers:
    """The error handlers of one app, by the class of an error or by its status."""

    __slots__ = ("_by_status", "_by_type", "_is_sealed")

    def __init__(self) -> None:
        self._by_type: dict[type[BaseException], ErrorHandler] = {}
        self._by_status: dict[int, ErrorHandler] = {}
        self._is_sealed = False

    def __bool__(self) -> bool:
        return bool(self._by_type or self._by_status)

    def add(self, what: type[BaseException] | int, handler: ErrorHandler) -> None:
        """Add a handler.

        Raises:
            ConfigurationError: It is no handler, ``what`` is neither an exception nor a
                status of an error, there is a handler for it already, or it is too
                late.
        """
        check_handler(handler, called_with=("r", "error"))
        if self._is_sealed:
            message = f"{describe(handler)}: the app is served by now, it is too late"
            raise ConfigurationError(message)
        if isinstance(what, type) and issubclass(what, BaseException):
            if issubclass(what, ClientDisconnected):
                reason = "nobody is left to be answered; after_middleware cleans up"
                raise ConfigurationError(f"on_error({what.__name__}): {reason}")
            first = self._by_type.setdefault(what, handler)
            name = what.__name__
        elif isinstance(what, int) and 400 <= what <= 599:
            first = self._by_status.setdefault(what, handler)
            name = str(what)
        else:
            reason = "expected a class of exceptions, or a status, 400 to 599"
            raise ConfigurationError(f"on_error({what!r:.80}): {reason}")
        if first is not handler:
            message = (
                f"on_error({name}): {describe(handler)} collides with {describe(first)}"
            )
            raise ConfigurationError(message)

    def seal(self) -> None:
        """Refuse further handlers: the dispatch was composed."""
        self._is_sealed = True

    def find(
        self, error: BaseException, status: int
    ) -> tuple[ErrorHandler, bool] | None:
        """Find the handler of an error: that of its nearest class, or of its status.

        Args:
            error: What was raised.
            status: The status that it would be answered with.

        Returns:
            The handler, and whether it is for this very kind of error, so that it is no
            bug; None: there is none.
        """
        for kind in type(error).__mro__:
            # The classes are searched from the error's own to ``Exception``. There an
            # Abort stops: it is a response that the app wants, and a handler for bugs
            # must not replace it.
            if kind in ANY_BUG and isinstance(error, _ANSWERED):
                break
            if kind in _OWN and status in self._by_status:
                return self._by_status[status], False
            if kind in self._by_type:
                return self._by_type[kind], kind not in ANY_BUG
        found = self._by_status.get(status)
        return None if found is None else (found, False)


# From an exception to a response


_QUIET = (Abort, ClientDisconnected, RemoteProtocolError)
"""What a handler may raise without a bug in it."""

_UPSTREAM = (
    ConnectError,
    InvalidResponse,
    RequestTimeout,
    ServerDisconnected,
    StatusError,
)
"""A server that the handler has asked by ``Session`` has failed: an error of a gateway
(RFC 9110 sections 15.6.3 and 15.6.5), and no bug here."""

_TYPES = ("text/plain", "application/json")

Fail = Callable[[BlazeioServerProtocol, BaseException], None]


def answer_error(r: BlazeioServerProtocol, error: BaseException) -> None:
    """Answer what a handler or middleware has raised.

    Where a response has begun and not ended the connection is aborted, so that the
    client sees that it was cut.

    Raises:
        BaseException: It ends the task itself: see ``HandlerTask.is_ended_by``.
    """
    _answer_or_raise(r, error, _answer)


def answer_error_with_traceback(r: BlazeioServerProtocol, error: BaseException) -> None:
    """Answer it, and show a bug to the client: ``App(debug=True)``."""
    _answer_or_raise(r, error, _answer_with_traceback)


def _answer_or_raise(
    r: BlazeioServerProtocol, error: BaseException, answer: Fail
) -> None:
    if r.handler_task.is_ended_by(error):
        raise error
    meant = find_answer(error)
    # An Abort that one task of a TaskGroup raises is the response, even if another task
    # failed by a bug at the same time. That bug would never be seen if it was not
    # reported here.
    if meant is not error and not _has_no_bug(error):
        report(r, error)  # the other exceptions of the group are bugs
    if isinstance(meant, _UPSTREAM):
        what = type(meant).__name__
        log.error("%s %s: %s: %s (id %s)", r.method, r.tail, what, meant, r.id)
    elif not isinstance(meant, _QUIET) or (
        isinstance(meant, Abort) and r.status and not r.response.is_held()
    ):
        report(r, meant)
    if not r.is_alive or isinstance(meant, ClientDisconnected):
        r.carrier.abort()
        return
    if r.response.is_held():
        r.response.take_back()  # nothing was sent yet: the error can be answered
    if not r.status:
        answer(r, meant)
    elif not r.response.is_complete:
        r.carrier.abort()


def find_answer(error: BaseException) -> BaseException:
    """Return the exception that stands for a group, such as a TaskGroup raises.

    An Abort in it is the response. A group without a bug is represented by the first of
    these: what the client or another server did wrong, and last that the client went
    away. Any other exception is returned as it is.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = list(_leaves(error))
    for kind in (Abort, RemoteProtocolError, *_UPSTREAM, ClientDisconnected):
        found = next((each for each in leaves if isinstance(each, kind)), None)
        if found is not None and (kind is Abort or _has_no_bug(error)):
            return found
    return error


def list_leaves(error: BaseException) -> list[BaseException]:
    """List the exceptions of a group; of another exception, itself."""
    return list(_leaves(error))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _has_no_bug(error: BaseException) -> bool:
    return all(isinstance(each, (*_QUIET, *_UPSTREAM)) for each in _leaves(error))


def refuse_returned(r: BlazeioServerProtocol, value: object, fail: Fail) -> None:
    """Report a value that a handler has returned, which other frameworks would send.

    Where the handler has answered, it does no harm; else there is no response.
    """
    if inspect.iscoroutine(value):
        value.close()  # else Python would warn, too
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
    """Return the status that an error is answered with."""
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
        # Where the framing is broken, nobody knows where the next request begins: to
        # read on would be request smuggling (RFC 9112 section 11.2).
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
            # The traceback is that of the Abort, so that the log names the line of the
            # app that has made it, and not ours that could not send it.
            malformed.__cause__ = error
            report(r, malformed.with_traceback(error.__traceback__))
    _send_bug(r)


def _answer_with_traceback(r: BlazeioServerProtocol, error: BaseException) -> None:
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
    """Send what went wrong in the form that the client accepts: text, or JSON."""
    fields = list_fields(headers)
    if names_field(fields, "content-type"):  # then the message is sent as it is
        r.reply(message.encode(errors="replace"), status, b"", fields)
        return
    # The form was chosen by Accept, and a 404 may be cached without any further field
    # (RFC 9110 sections 12.5.5 and 15.1).
    fields.append(("Vary", "Accept"))
    if choose_media_type(r.headers.get("accept"), _TYPES) == "application/json":
        content = msgspec.json.encode({"error": _encodable(message)})
        r.reply(content, status, JSON, fields)
    else:
        r.reply(message.encode(errors="replace"), status, TEXT, fields)


def _send_bug(r: BlazeioServerProtocol) -> None:
    """Send 500 with the request's id, by which the operator finds it in the log."""
    fields = [("X-Request-ID", r.id), ("Vary", "Accept")]
    message = "Internal Server Error"
    if choose_media_type(r.headers.get("accept"), _TYPES) == "application/json":
        content = msgspec.json.encode({"error": message, "request_id": r.id})
        r.reply(content, 500, JSON, fields)
    else:
        r.reply(f"{message} (id {r.id})".encode(), 500, TEXT, fields)


def _encodable(message: str) -> str:
    return message.encode(
        errors="replace"
    ).decode()  # lone surrogates are not valid in UTF-8


def report(r: BlazeioServerProtocol, error: BaseException) -> None:
    """Log a bug: the request, the place, and the app's own frames."""
    name = r.context.app.name_handler(r.method, r.path)
    text = explain(error)
    log.error(
        "%s %s: %s in %s%s (id %s)",
        r.method,
        r.tail,
        type(error).__name__,
        locate(error, name),
        f": {text}" if text else "",
        r.id,
        exc_info=(type(error), error, without_our_frames(error.__traceback__)),
    )


# Error handlers of the app


async def answer_by_handlers(
    r: BlazeioServerProtocol,
    error: BaseException,
    handlers: Sequence[ErrorHandlers],
    fail: Fail,
) -> None:
    """Call the app's handler for an error; send the usual response where it has none.

    Args:
        r: The request.
        error: What the handler or a middleware has raised.
        handlers: Of the sub-app first, then of those around it.
        fail: Sends the usual response.

    Raises:
        BaseException: It ends the task itself: see ``HandlerTask.is_ended_by``.
    """
    meant = _find_meant(error)
    handler, is_expected = None, False
    if _can_be_answered(r, error, meant):
        handler, is_expected = _find(meant, handlers)
    if handler is None or (not is_expected and fail is not answer_error):
        fail(r, error)  # App(debug=True) shows a bug
        return
    if r.response.is_held():
        # The handler answers, and a response must not have begun then.
        r.response.take_back()
    if isinstance(meant, RemoteProtocolError):
        r.response.give_up_connection()  # the rest of the connection cannot be read
    second: BaseException | None = None
    try:
        left = await handler(r, meant)
        if left is not None:
            refuse_returned(r, left, throw)
    except BaseException as raised:
        second = raised
    is_left = second in (meant, error)  # raised again: the usual response
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
    return (
        leaves[0] if len(leaves) == 1 else meant
    )  # a TaskGroup of which one task failed


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
    """Raise an error where it happened; the ``Fail`` of what is inside a middleware."""
    raise error
