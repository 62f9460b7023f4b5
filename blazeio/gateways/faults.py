"""What an app of another interface got wrong, and what is nobody's fault.

A traceback starts at the app's own frame and goes where those of handlers go.
"""

import asyncio
from types import TracebackType

from blazeio.errors import ClientDisconnected
from blazeio.loggers import get_logger

log = get_logger("blazeio.app")

_OUR_PACKAGE = "blazeio."


class ClientLost(ClientDisconnected, OSError):  # noqa: N818 - a fact
    """The client is gone: what ``send`` raises, as ASGI 2.4 wants an ``OSError``."""


def is_disconnect_fault(error: BaseException | None) -> bool:
    """Tell whether it says that the client is gone, or follows from that.

    Frameworks catch ``ClientLost`` and raise one of their own; then ours is the
    context of theirs.
    """
    seen: set[int] = set()
    # A chain can be a ring: ``raise first from second``, where the second was raised
    # while the first was handled.
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, BaseExceptionGroup):
            return all(is_disconnect_fault(each) for each in error.exceptions)
        if isinstance(error, ClientLost):
            return True
        error = error.__cause__ or error.__context__
    return False


def report_fault(what: str, error: BaseException) -> None:
    """Log an exception of an app, with its traceback, once.

    Args:
        what: What has failed, on one line.
        error: As the app has let it out.
    """
    log.error(
        "%s: %s%s",
        what,
        type(error).__name__,
        _describe(error),
        exc_info=(type(error), error, _from_app_frame(error.__traceback__)),
    )


def _describe(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return ": what it awaited was cancelled, or it cancelled itself"
    try:
        line = str(error).strip().partition("\n")[0]
    except Exception:
        return ": its text cannot be shown"
    return f": {line[:300]}" if line else ""


def _from_app_frame(traceback: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins with the app; all of it where none does."""
    first = traceback
    while first is not None and _is_ours(first):
        first = first.tb_next
    return first or traceback


def _is_ours(traceback: TracebackType) -> bool:
    name: str = traceback.tb_frame.f_globals.get("__name__", "")
    return name.startswith(_OUR_PACKAGE)
