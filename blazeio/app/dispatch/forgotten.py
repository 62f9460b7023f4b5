"""An ``await`` that was forgotten: ``io.Deliver.json(r, data)`` on a line of its own.

The coroutine is made and thrown away, so that the request is answered by nobody.
Python would warn, once for each place, and the client would get an empty 204. The
interpreter tells ``warnings`` of each coroutine that nobody awaited, as it is freed;
that is where it is noted here, so that a request pays nothing for it.
"""

import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from blazeio.app.dispatch.mistakes import name_place
from blazeio.errors import Abort
from blazeio.loggers import get_logger
from blazeio.protocol.handler_task import find_task
from blazeio.protocol.request import BlazeioServerProtocol

if TYPE_CHECKING:
    from types import CoroutineType

    Unawaited = CoroutineType[Any, Any, Any]

log = get_logger("blazeio.app")

_HOOK = "_warn_unawaited_coroutine"
"""CPython looks this up in ``warnings``; elsewhere its own warning is all there is."""

_SENDING = frozenset(
    """
    bytes call_next comment eof file handler html json no_content prepare redirect
    send serve sse stream text write write_chunked writer
    """.split()  # noqa: SIM905 - a table reads better as text
)
"""Our coroutines that send something; what those that read give is missed anyway."""

_OF_R = ("BlazeioPayloadUtils.", "ExtraToolset.", "Answering.", "Serving.")


def watch_for_forgotten_awaits() -> None:
    """Have them noted in this process, from now on; asked again, do nothing."""
    tell_python = getattr(warnings, _HOOK, None)
    if tell_python is None or isinstance(tell_python, _Watch):
        return
    setattr(warnings, _HOOK, _Watch(tell_python))
    Abort.when_unraised = note_unraised


def note_unraised(abort: Abort) -> None:
    """Note an ``Abort`` that was made in a handler, and thrown away.

    Within its ``__del__``, where the line that made it still runs.
    """
    task, frame = find_task(), sys._getframe(1)
    while task is not None and frame is not None:
        for r in frame.f_locals.values():
            if isinstance(r, BlazeioServerProtocol) and r.handling.is_done_by(task):
                _tell_unraised(r, abort)
                return
        frame = frame.f_back  # type: ignore[assignment]


def _tell_unraised(r: BlazeioServerProtocol, abort: Abort) -> None:
    place = name_place(sys._getframe(1))
    if place is None:  # its handler is over: what it has returned is told there
        return
    r.handling.note_forgotten(is_sending=False)
    log.error(
        "%s %s: %r was made and not raised in %s, so it did nothing: write `raise`",
        r.method,
        r.tail,
        abort,
        place,
    )


class _Watch:
    """Stands where the interpreter tells of coroutines that nobody awaited.

    Args:
        tell_python: Warns as before.
    """

    def __init__(self, tell_python: "Callable[[Unawaited], None]") -> None:
        self._tell_python = tell_python

    def __call__(self, coroutine: "Unawaited") -> None:
        """Note it, where it should have answered a request; else warn."""
        r = _find_request(coroutine)
        if r is None:
            self._tell_python(coroutine)
            return
        if not _is_bare_end(coroutine):
            is_ours = _module_of(coroutine).startswith("blazeio.")
            r.handling.note_forgotten(is_sending=is_ours)
        call = coroutine.__qualname__
        for each in _OF_R:
            call = call.replace(each, "r.")
        call = f"io.{call}" if call.startswith(("Deliver.", "Prepare.")) else call
        place = name_place(sys._getframe(1))
        log.error(
            "%s %s: %s was called without await in %s, so it did nothing: write "
            "`await %s(...)`",
            r.method,
            r.tail,
            call,
            place or r.context.name_handler(r.method, r.path),
            call,
        )


def _find_request(
    coroutine: "Unawaited",
) -> BlazeioServerProtocol | None:
    """The request that it should have answered, in whose handler it was made."""
    frame, task = coroutine.cr_frame, find_task()
    if frame is None or task is None:
        return None
    if (
        _module_of(coroutine).startswith("blazeio.")
        and frame.f_code.co_name not in _SENDING
    ):
        return None
    for value in frame.f_locals.values():
        r = value if isinstance(value, BlazeioServerProtocol) else _r_of(value)
        if r is not None and r.handling.is_done_by(task):
            return r
    return None


def _module_of(coroutine: "Unawaited") -> str:
    frame = coroutine.cr_frame
    name: str = "" if frame is None else frame.f_globals.get("__name__", "")
    return name


def _r_of(value: object) -> BlazeioServerProtocol | None:
    """Of an ``EventStream`` or a ``WebSocket``, whose ``send`` was not awaited."""
    if not type(value).__module__.startswith("blazeio."):
        return None
    r = getattr(value, "r", None)
    return r if isinstance(r, BlazeioServerProtocol) else None


def _is_bare_end(coroutine: "Unawaited") -> bool:
    """Whether it is ``r.eof()``, which comes by itself when the handler is over."""
    frame = coroutine.cr_frame
    if frame is None or frame.f_code.co_name != "eof":
        return False
    return not frame.f_locals.get("data")
