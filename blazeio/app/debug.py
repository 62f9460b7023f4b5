"""The errors of an app's code: a line for the log, a page for the developer.

The line names the place in the app's code, what is wrong, and what to do about it; the
traceback of the app's own frames follows it. Some mistakes leave no traceback: an
``await`` that was forgotten, a second response, an ``Abort`` that was made and not
raised. They are found here, at no cost for requests that are correct: CPython calls a
hook of ``warnings`` when a coroutine that nobody awaited is freed, and an ``Abort`` has
``__del__``.
"""

import asyncio
import dis
import inspect
import linecache
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from blazeio.app.deliver import HTML, JSON, Deliver
from blazeio.content.field_values import choose_media_type
from blazeio.errors import Abort, LocalProtocolError, find_near
from blazeio.loggers import escape_lines, get_logger
from blazeio.protocol.process import find_task
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.response_writer import TEXT

LONGEST_TEXT = 300
"""How many characters of an error's text are on the line; the traceback has all."""

_TAKES_R = re.compile(
    r"((?:Deliver|Prepare|Simpleserve)\.\w+)\(\) missing [0-9]+ required positional"
)
_NO_ATTRIBUTE = re.compile(r"'BlazeioServerProtocol' object has no attribute '(\w+)'")
_CHANGES_FIELDS = re.compile(
    r"'Headers' object (?:does not support item "
    r"|has no attribute '(?:add|append|extend|pop|set|setdefault|update)')"
)
_FIRST_ARGUMENT = ("Deliver.", "Prepare.", "Request.", "Simpleserve.")
_ANSWERS = frozenset(
    """
    bytes eof file html json no_content prepare redirect reply serve sse stream text
    write write_chunked
    """.split()  # noqa: SIM905 - a table reads better as text
)
"""The names of the functions that begin a response."""


def without_our_frames(traceback: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that is the app's code; else all of it."""
    ours = traceback
    while ours is not None and _is_ours(ours.tb_frame, "blazeio.app."):
        ours = ours.tb_next
    return ours or traceback


def locate(error: BaseException, otherwise: str) -> str:
    """Name the function of the app in which an error happened, with file and line.

    Args:
        error: As a handler has raised it.
        otherwise: Returned where no code of the app took part.
    """
    traceback, found = error.__traceback__, None
    while traceback is not None:
        frame = traceback.tb_frame
        if found is None and not _is_ours(frame, "blazeio."):
            found = _name(frame.f_code, frame.f_globals, traceback.tb_lineno)
        elif frame.f_code.co_name == "call_next" and _is_ours(frame, "blazeio."):
            found = None  # that was a middleware; what it is around has failed
        traceback = traceback.tb_next
    return found or otherwise


def name_app_frame(frame: FrameType | None) -> str | None:
    """Name the function of the app that runs now, below the framework's."""
    while frame is not None and not _is_ours(frame, "blazeio.protocol.handler_task"):
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
    """Say on one line what is wrong, and what to do where that is known."""
    if isinstance(error, SystemExit):
        return f"sys.exit({error.code!r}) ends no service: raise io.Abort(text, status)"
    if isinstance(error, asyncio.CancelledError):
        return "what it awaited was cancelled, or it cancelled itself"
    if isinstance(error, Abort):  # returned, not raised
        return f"{error!r} cannot be sent: a response has already begun"
    text = _first_line(error)
    if isinstance(error, TypeError | AttributeError) and "coroutine" in text:
        return f"{text}; {_find_unawaited(error)}"
    missing = _NO_ATTRIBUTE.match(text)
    if missing is not None and isinstance(error, AttributeError):
        return f"{text}: {_find_meant(missing[1])}"
    if _CHANGES_FIELDS.match(text):
        way_out = "`r.add_header(name, value)` adds a field to the response"
        return f"{text}: these fields were received; {way_out}"
    call = _find_call_without_r(error, text)
    if call is not None:
        return f"r is missing: {call} takes it first, write `await io.{call}(r, ...)`"
    if isinstance(error, LocalProtocolError) and "already begun" in text:
        return f"{text}; {_find_both_answers(error)}"
    return text


def _find_meant(name: str) -> str:
    """Say what was meant by an attribute that ``r`` does not have."""
    from blazeio.app.request import Request  # with the forms: a worker starts without

    if name in vars(Deliver):
        return f"write `await io.Deliver.{name}(r, ...)`"
    if near := find_near(name, dir(BlazeioServerProtocol), 0.75):
        return f"did you mean r.{near[0]}?"
    if near := find_near(name, [each for each in vars(Request) if each[0] != "_"]):
        return f"did you mean io.Request.{near[0]}(r)?"
    return "keep what is yours in `r.store`, a dict"


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
    """Say where ``await`` is missing: a coroutine was used as its result."""
    for frame in _frames(error):
        for value in frame.f_locals.values():
            if (
                inspect.iscoroutine(value)
                and inspect.getcoroutinestate(value) == inspect.CORO_CREATED
            ):
                call = value.__qualname__
                value.close()  # else Python would warn, too
                prefix = "io." if call.startswith(_FIRST_ARGUMENT) else ""
                return f"write `await {prefix}{call}(...)`"
    return "write `await` before the call that made it"


def _frames(error: BaseException) -> Iterator[FrameType]:
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _find_both_answers(error: BaseException) -> str:
    """Say where a second response was begun, and where the first may have been.

    Nothing is recorded while all is well. The calls that begin a response are searched
    in the functions that were running, before the line that they had reached.
    """
    second, places = "", []
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if not _is_ours(frame, "blazeio."):
            code, names = frame.f_code, frame.f_globals
            second = _name(code, names, traceback.tb_lineno)
            # ``tb_lasti`` is the instruction that has raised: in this call of the
            # function nothing after it has run, apart from a loop.
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


# Forgotten awaits: ``io.Deliver.json(r, data)`` as a statement of its own
#
# The coroutine is made and dropped, so that nobody answers the request: Python would
# warn once for each place, and the client would get an empty 204. The interpreter calls
# a hook in ``warnings`` for each coroutine that nobody awaited, when it is freed; it is
# recorded there, so that a correct request pays nothing.


if TYPE_CHECKING:
    from types import CoroutineType

    Unawaited = CoroutineType[Any, Any, Any]

log = get_logger("blazeio.app")

_HOOK = "_warn_unawaited_coroutine"
"""CPython looks this name up in ``warnings``; other interpreters only warn."""

_SENDING = frozenset(
    """
    bytes call_next comment eof file handler html json no_content prepare redirect
    send serve sse stream text write write_chunked writer
    """.split()  # noqa: SIM905 - a table reads better as text
)
"""The coroutines of the framework that send something. One that only reads is missed by
its result anyway.
"""

_OF_R = ("BlazeioPayloadUtils.", "BlazeioServerProtocol.", "ExtraToolset.")


def watch_for_forgotten_awaits() -> None:
    """Record forgotten awaits in this process from now on; may be repeated."""
    tell_python = getattr(warnings, _HOOK, None)
    if tell_python is None or isinstance(tell_python, _Watch):
        return
    setattr(warnings, _HOOK, _Watch(tell_python))
    Abort.when_unraised = note_unraised


def note_unraised(abort: Abort) -> None:
    """Record an ``Abort`` that was made in a handler and not raised.

    Called by its ``__del__``, where the line that made it still runs.
    """
    task, frame = find_task(), sys._getframe(1)
    while task is not None and frame is not None:
        for r in frame.f_locals.values():
            if isinstance(r, BlazeioServerProtocol) and r.handler_task.runs_in(task):
                _tell_unraised(r, abort)
                return
        frame = frame.f_back  # type: ignore[assignment]


def _tell_unraised(r: BlazeioServerProtocol, abort: Abort) -> None:
    place = name_app_frame(sys._getframe(1))
    if place is None:  # the handler is over; what it has returned is reported there
        return
    r.handler_task.note_forgotten(is_sending=False)
    log.error(
        "%s %s: %r was made and not raised in %s, so it did nothing: write `raise`",
        r.method,
        r.tail,
        abort,
        place,
    )


class _Watch:
    """Called by the interpreter for coroutines that nobody awaited.

    Args:
        tell_python: The hook that was there before; it warns.
    """

    def __init__(self, tell_python: "Callable[[Unawaited], None]") -> None:
        self._tell_python = tell_python

    def __call__(self, coroutine: "Unawaited") -> None:
        """Record it where it should have answered a request; else warn."""
        r = _find_request(coroutine)
        if r is None:
            self._tell_python(coroutine)
            return
        if not _is_bare_end(coroutine):
            is_ours = _module_of(coroutine).startswith("blazeio.")
            r.handler_task.note_forgotten(is_sending=is_ours)
        call = coroutine.__qualname__
        for each in _OF_R:
            call = call.replace(each, "r.")
        call = f"io.{call}" if call.startswith(("Deliver.", "Prepare.")) else call
        place = name_app_frame(sys._getframe(1))
        log.error(
            "%s %s: %s was called without await in %s, so it did nothing: write "
            "`await %s(...)`",
            r.method,
            r.tail,
            call,
            place or r.context.app.name_handler(r.method, r.path),
            call,
        )


def _find_request(
    coroutine: "Unawaited",
) -> BlazeioServerProtocol | None:
    """Return the request that it should have answered, in whose handler it was made."""
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
        if r is not None and r.handler_task.runs_in(task):
            return r
    return None


def _module_of(coroutine: "Unawaited") -> str:
    frame = coroutine.cr_frame
    name: str = "" if frame is None else frame.f_globals.get("__name__", "")
    return name


def _r_of(value: object) -> BlazeioServerProtocol | None:
    """Return the request of an ``EventStream`` or a ``WebSocket``."""
    if not type(value).__module__.startswith("blazeio."):
        return None
    r = getattr(value, "r", None)
    return r if isinstance(r, BlazeioServerProtocol) else None


def _is_bare_end(coroutine: "Unawaited") -> bool:
    """Tell whether it is ``r.eof()``, which is called at the end anyway."""
    frame = coroutine.cr_frame
    if frame is None or frame.f_code.co_name != "eof":
        return False
    return not (frame.f_locals.get("data") or frame.f_locals.get("trailers"))


# The traceback of a bug as a response: ``App(debug=True)``


TYPES = {"text/plain": TEXT, "application/json": JSON, "text/html": HTML}
HEADERS = {
    "Cache-Control": "no-store",
    # The page shows what a client has sent. It is escaped; should an escape be missing,
    # nothing of it can run or be loaded.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}
LINES_AROUND = 3
SECRET = ("authorization", "cookie", "proxy-authorization")
"""Header fields whose values are not shown."""

STYLE = """
body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em }
h1 { font-size: 1.4em; white-space: pre-wrap } h2 { font-size: 1.1em }
pre { background: #f4f4f4; overflow-x: auto; padding: .6em }
mark { background: #ffd7d7; display: inline-block; min-width: 100% }
th { text-align: left; padding-right: 1em; vertical-align: top } .at { color: #555 }
"""


def serve_traceback(
    r: BlazeioServerProtocol, error: BaseException, frames: TracebackType | None
) -> None:
    """Respond with 500 and the traceback: a page, JSON or text, by Accept.

    Args:
        r: The request.
        error: What the handler raised.
        frames: The part of its traceback to show.
    """
    told = traceback.TracebackException(type(error), error, frames, compact=True)
    media_type = choose_media_type(r.headers.get("accept"), tuple(TYPES))
    if media_type == "text/html":
        text = "".join(_page(r, told))
    elif media_type == "application/json":
        lines = escape_lines("".join(told.format()))
        text = msgspec.json.encode({"error": _title(told), "traceback": lines}).decode()
    else:
        text = escape_lines("".join(told.format()))  # a terminal may show it
    r.reply(text.encode(), 500, TYPES[media_type], {**HEADERS, "Vary": "Accept"})


def escape(text: str) -> str:
    """Escape a text for HTML, and show characters that are invisible."""
    from html import escape as escape_html  # it has a dictionary of 2,000 entities

    return escape_html(escape_lines(text))


def _title(told: traceback.TracebackException) -> str:
    return escape_lines("".join(told.format_exception_only()).strip())


def _page(
    r: BlazeioServerProtocol, told: traceback.TracebackException
) -> Iterator[str]:
    title = escape(_title(told))
    yield f"<!doctype html>\n<html lang=en><meta charset=utf-8><title>{title}</title>"
    yield f"<style>{STYLE}</style>\n<h1>{title}</h1>\n"
    yield f"<p><code>{escape(f'{r.method} {r.tail}')}</code></p>\n"
    yield from _told(told)
    yield "<h2>Request</h2>\n<table>\n"
    for name, value in r.headers.items():
        # A screenshot of the page, or its text in a bug report, must not let others in.
        shown = "(not shown)" if name.lower() in SECRET else value
        yield f"<tr><th>{escape(name)}<td><code>{escape(shown)}</code>\n"
    yield "</table>\n<p>Shown because of <code>App(debug=True)</code>.</p>\n</html>\n"


def _told(told: traceback.TracebackException) -> Iterator[str]:
    for each, why in _chain(told):
        if why:
            yield f"<h2>{why} {escape(_title(each))}</h2>\n"
        for frame in each.stack:
            yield _frame(frame)
        for one in each.exceptions or ():  # those of a group
            yield f"<h2>In it {escape(_title(one))}</h2>\n<blockquote>"
            yield from _told(one)
            yield "</blockquote>\n"


def _chain(
    told: traceback.TracebackException,
) -> Iterator[tuple[traceback.TracebackException, str]]:
    """Iterate over an exception and its causes, each with how it led on."""
    following: traceback.TracebackException | None = told
    why = ""
    while following is not None:
        yield following, why
        if following.__cause__ is not None:
            following, why = following.__cause__, "Caused by"
        elif following.__suppress_context__:
            return
        else:
            following, why = following.__context__, "While handling"


def _frame(frame: traceback.FrameSummary) -> str:
    place = f"{frame.filename}:{frame.lineno}"
    lines = "\n".join(_lines_around(frame.filename, frame.lineno or 0))
    return (
        f"<p><b>{escape(frame.name)}</b> <span class=at>{escape(place)}</span></p>\n"
        f"<pre>{lines}</pre>\n"
    )


def _lines_around(path: str, number: int) -> Iterator[str]:
    first = max(1, number - LINES_AROUND)
    for at in range(first, number + LINES_AROUND + 1):
        line = linecache.getline(path, at)
        if line:
            shown = escape(f"{at:5}  {line.rstrip()}")
            yield f"<mark>{shown}</mark>" if at == number else shown
