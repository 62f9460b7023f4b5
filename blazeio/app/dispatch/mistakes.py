"""An error of an app on one line: where it happened, what is wrong, what to do.

The traceback of the user's code stands below it; the line is for who reads a log,
and for what a traceback does not say, as that ``r`` was left out.
"""

import asyncio
import dis
import inspect
import re
from collections.abc import Iterator
from difflib import get_close_matches
from types import CodeType, FrameType, TracebackType

from blazeio.errors import Abort, LocalProtocolError
from blazeio.protocol.request import BlazeioServerProtocol

LONGEST_TEXT = 300
"""Characters of an error's own text on the line; the traceback has all of it."""

_TAKES_R = re.compile(
    r"((?:Deliver|Prepare|Simpleserve)\.\w+)\(\) missing [0-9]+ required positional"
)
_NO_ATTRIBUTE = re.compile(r"'BlazeioServerProtocol' object has no attribute '(\w+)'")
_FIRST_ARGUMENT = ("Deliver.", "Prepare.", "Request.", "Simpleserve.")
_ANSWERS = frozenset(
    """
    bytes eof file html json no_content prepare redirect reply serve sse stream text
    write write_chunked
    """.split()  # noqa: SIM905 - a table reads better as text
)
"""The names of what begins a response."""


def without_our_frames(traceback: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that the user wrote; all of it where none is."""
    ours = traceback
    while ours is not None and _is_ours(ours.tb_frame, "blazeio.app."):
        ours = ours.tb_next
    return ours or traceback


def locate(error: BaseException, otherwise: str) -> str:
    """Name the function of the user in which it happened, with file and line.

    Args:
        error: As a handler has let it out.
        otherwise: Where no code of the user has a part in it.
    """
    traceback, found = error.__traceback__, None
    while traceback is not None:
        frame = traceback.tb_frame
        if found is None and not _is_ours(frame, "blazeio."):
            found = _name(frame.f_code, frame.f_globals, traceback.tb_lineno)
        elif frame.f_code.co_name == "call_next" and _is_ours(frame, "blazeio."):
            found = None  # that was a middleware, and what it is around has failed
        traceback = traceback.tb_next
    return found or otherwise


def name_place(frame: FrameType | None) -> str | None:
    """Name the function of the user that runs now, up to where ours called it."""
    while frame is not None and not _is_ours(frame, "blazeio.protocol.serving"):
        if not _is_ours(frame, "blazeio."):
            return _name(frame.f_code, frame.f_globals, frame.f_lineno)
        frame = frame.f_back
    return None


def _name(code: CodeType, names: dict[str, object], line: int | None) -> str:
    module = names.get("__name__", "?")
    return f"{module}.{code.co_qualname} ({code.co_filename}:{line})"


def _is_ours(frame: FrameType, room: str) -> bool:
    name: str = frame.f_globals.get("__name__", "")
    return name.startswith(room)


def explain(error: BaseException) -> str:
    """Say on one line what is wrong, and the way out where we know one."""
    if isinstance(error, SystemExit):
        return f"sys.exit({error.code!r}) ends no service: raise io.Abort(text, status)"
    if isinstance(error, asyncio.CancelledError):
        return "what it awaited was cancelled, or it cancelled itself"
    if isinstance(error, Abort):  # as an answer it is not told
        return f"{error!r} cannot be sent: a response has already begun"
    text = _first_line(error)
    if isinstance(error, TypeError | AttributeError) and "coroutine" in text:
        return f"{text}; {_find_unawaited(error)}"
    missing = _NO_ATTRIBUTE.match(text)
    if missing is not None and isinstance(error, AttributeError):
        near = get_close_matches(missing[1], dir(BlazeioServerProtocol), 1, 0.75)
        keep = "keep what is yours in `r.store`, a dict"
        return f"{text}: {f'did you mean r.{near[0]}?' if near else keep}"
    call = _find_call_without_r(error, text)
    if call is not None:
        return f"r is missing: {call} takes it first, write `await io.{call}(r, ...)`"
    if isinstance(error, LocalProtocolError) and "already begun" in text:
        return f"{text}; {_find_both_answers(error)}"
    return text


def _first_line(error: BaseException) -> str:
    try:
        text = str(error).strip()
    except Exception:
        return "its text cannot be shown"
    line = text.partition("\n")[0]
    return line if len(line) <= LONGEST_TEXT else line[:LONGEST_TEXT] + "..."


def _find_call_without_r(error: BaseException, text: str) -> str | None:
    if isinstance(error, TypeError):
        found = _TAKES_R.match(text)
        if found is not None:
            return found[1]
    for frame in _frames(error):
        call = frame.f_code.co_qualname
        if not call.startswith(_FIRST_ARGUMENT) or not _is_ours(frame, "blazeio."):
            continue
        given = frame.f_locals.get("r")
        if given is not None and not isinstance(given, BlazeioServerProtocol):
            return call
        return call if given is None and "Request." not in call else None
    return None


def _find_unawaited(error: BaseException) -> str:
    """Say where ``await`` is missing: a coroutine was used as what it would give."""
    for frame in _frames(error):
        for value in frame.f_locals.values():
            if (
                inspect.iscoroutine(value)
                and inspect.getcoroutinestate(value) == inspect.CORO_CREATED
            ):
                call = value.__qualname__
                value.close()  # or Python would warn, too
                prefix = "io." if call.startswith(_FIRST_ARGUMENT) else ""
                return f"write `await {prefix}{call}(...)`"
    return "write `await` before the call that made it"


def _frames(error: BaseException) -> Iterator[FrameType]:
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _find_both_answers(error: BaseException) -> str:
    """Where a second answer was begun, and where the first may have been.

    Nothing is noted while all is well. Looked for are the calls that answer, in the
    functions that were under way, in front of the place that they had come to.
    """
    second, places = "", []
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if not _is_ours(frame, "blazeio."):
            code, names = frame.f_code, frame.f_globals
            second = _name(code, names, traceback.tb_lineno)
            lines = sorted(_lines_that_answer(code, traceback.tb_lasti))
            places += [_name(code, names, line) for line in lines]
        traceback = traceback.tb_next
    first = " or ".join(places[:3]) or (
        "the same place in a loop, in a middleware, or in a function that was called"
    )
    return f"the second is at {second}, the first was at {first}"


def _lines_that_answer(code: CodeType, before: int) -> set[int]:
    found, here = set(), None
    for each in dis.get_instructions(code):
        line = each.positions.lineno if each.positions is not None else None
        if each.offset >= before:
            here = line
            break
        if each.argval in _ANSWERS and each.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            found.add(line)
    return {line for line in found if line is not None and line != here}
