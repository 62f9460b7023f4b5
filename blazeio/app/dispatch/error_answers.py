"""What an app's own handlers of errors answer."""

from collections.abc import Sequence
from typing import NoReturn

from blazeio.app.dispatch.failures import (
    Fail,
    answer_error,
    find_answer,
    find_status,
    list_leaves,
    refuse_returned,
    report,
)
from blazeio.app.routing.error_handlers import ErrorHandler, ErrorHandlers
from blazeio.errors import Abort, ClientDisconnected, RemoteProtocolError
from blazeio.protocol.request import BlazeioServerProtocol


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
    if r.answer.is_held():
        r.answer.take_back()
    if isinstance(meant, RemoteProtocolError):
        r.answer.give_up_connection()  # what follows cannot be read
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
        r.handling.is_ended_by(error)
        or not r.is_alive
        or isinstance(meant, ClientDisconnected)
        or (r.status and not r.answer.is_held())
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
