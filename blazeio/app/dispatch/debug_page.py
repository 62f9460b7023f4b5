"""The traceback of a bug as an answer, for whoever develops: ``App(debug=True)``.

May import: blazeio.app, blazeio.protocol.
"""

import linecache
import traceback
from collections.abc import Iterator
from html import escape as escape_html
from types import TracebackType

import msgspec

from blazeio.app.deliver import HTML, JSON
from blazeio.app.dispatch.accept import choose_media_type
from blazeio.escaping import escape_lines
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.response_writer import TEXT

TYPES = {"text/plain": TEXT, "application/json": JSON, "text/html": HTML}
HEADERS = {
    "Cache-Control": "no-store",
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
    """Answer 500 with the traceback: a page, JSON or text, by Accept.

    Args:
        r: The request.
        error: What the handler let out.
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
        text = escape_lines("".join(told.format()))  # a terminal shows it, perhaps
    r.reply(text.encode(), 500, TYPES[media_type], {**HEADERS, "Vary": "Accept"})


def escape(text: str) -> str:
    """Write a text for HTML, with what cannot be seen in it."""
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
        shown = "(not shown)" if name.lower() in SECRET else value
        yield f"<tr><th>{escape(name)}<td><code>{escape(shown)}</code>\n"
    yield "</table>\n<p>Shown because of <code>App(debug=True)</code>.</p>\n</html>\n"


def _told(told: traceback.TracebackException) -> Iterator[str]:
    for each, why in _chain(told):
        if why:
            yield f"<h2>{why} {escape(_title(each))}</h2>\n"
        for frame in each.stack:
            yield _frame(frame)
        for one in each.exceptions or ():  # of a group, such as a TaskGroup raises
            yield f"<h2>In it {escape(_title(one))}</h2>\n<blockquote>"
            yield from _told(one)
            yield "</blockquote>\n"


def _chain(
    told: traceback.TracebackException,
) -> Iterator[tuple[traceback.TracebackException, str]]:
    """The exception, then those it came of, each with how."""
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
