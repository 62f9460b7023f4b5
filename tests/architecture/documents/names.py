"""The tables of what there is on ``r`` and in ``io``, made from docstrings.

A name gets its row by its docstring alone. Listed here are links to other pages, which
a docstring cannot have, and the sections of names that are not where their kind puts
them.
"""

import asyncio
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Final

import blazeio
from blazeio import BlazeioError, BlazeioServerProtocol

SECTIONS_OF_R: Final = {
    "reading": {
        "ayield",
        "current_length",
        "ensure_reading",
        "handle_chunked",
        "pull",
        "read",
        "request",
        "trailers",
    },
    "the connection": {
        "draining",
        "is_alive",
        "on_shutdown",
        "peer_closed",
        "take_over",
        "transport",
    },
    "what stands behind it": {
        "carrier",
        "content",
        "context",
        "handler_task",
        "response",
    },
    "answering": {"status"},
}
"""What is not here is called, and then answers, or is what was asked."""

PAGES_OF_R: Final = {
    "client": "[proxies](../how-to/proxies.md)",
    "id": "[tracing](../how-to/tracing.md)",
    "path_params": "[routing](routing.md)",
    "root_path": "[proxies](../how-to/proxies.md)",
    "take_over": "[streams](../how-to/streams.md)",
    "tls": "[TLS](../how-to/tls.md)",
    "url_for": "[routing](routing.md)",
}

SECTIONS_OF_IO: Final = {"client": "the client", "errors": "errors"}
"""By the room that a name is from; the rest serves."""

PAGES_OF_IO: Final = {
    "App": "[routing](routing.md), [behind proxies](../how-to/proxies.md), "
    "[access log](access-log.md), [TLS](../how-to/tls.md), [HTTP/2](http2.md)",
    "BlazeioServerProtocol": "[the request](request.md)",
    "ClientWebSocket": "[streams](../how-to/streams.md)",
    "CookieSessions": "[pages](../how-to/pages.md)",
    "Cors": "[routing](routing.md)",
    "EventStream": "[streams](../how-to/streams.md)",
    "Form": "[forms and uploads](../how-to/forms.md)",
    "Limits": "[limits](limits.md)",
    "Request": "[routing](routing.md), [forms](../how-to/forms.md)",
    "RequestIdFilter": "[tracing](../how-to/tracing.md)",
    "Session": "[the client](client.md)",
    "Simpleserve": "[static files](../how-to/static.md)",
    "Templates": "[pages](../how-to/pages.md)",
    "TlsSettings": "[TLS](../how-to/tls.md)",
    "Tracing": "[tracing](../how-to/tracing.md)",
    "Upload": "[forms and uploads](../how-to/forms.md)",
    "WebSocket": "[streams](../how-to/streams.md)",
    "asgi": "[ASGI and WSGI](../how-to/asgi-wsgi.md)",
    "security_headers": "[routing](routing.md)",
}

_MACHINERY = frozenset(dir(asyncio.BufferedProtocol))
_LONGEST_DEFAULT = 16
_LISTS = re.compile(r"\n\n(?:Args|Attributes|Raises|Returns|Yields):\n")


def list_of_r(section: str) -> Iterator[tuple[str, str]]:
    """List how each name of a section of ``r`` is written, and what it is."""
    known = read_attributes(BlazeioServerProtocol)
    for name in dir(BlazeioServerProtocol):
        if name.startswith("_") or name in _MACHINERY:
            continue
        value = getattr(BlazeioServerProtocol, name)
        if _find_section_of_r(name, value) == section:
            text = known.get(name) or describe(value)
            yield f"`{_write_call(name, value)}`", _link(text, PAGES_OF_R.get(name))


def _find_section_of_r(name: str, value: object) -> str:
    for section, names in SECTIONS_OF_R.items():
        if name in names:
            return section
    return "answering" if callable(value) else "what was asked"


def _write_call(name: str, value: object) -> str:
    if not callable(value):
        return f"r.{name}"
    _, *params = inspect.signature(value).parameters.values()
    call = f"r.{name}({', '.join(map(_write_param, params))})"
    return f"await {call}" if inspect.iscoroutinefunction(value) else call


def _write_param(param: inspect.Parameter) -> str:
    if param.kind is inspect.Parameter.VAR_KEYWORD:
        return f"**{param.name}"
    if param.default is inspect.Parameter.empty:
        return param.name
    default = repr(param.default)
    return f"{param.name}={default if len(default) <= _LONGEST_DEFAULT else '...'}"


def list_of_io(section: str) -> Iterator[tuple[str, str]]:
    """List how each name of a section of ``io`` is written, and what it is."""
    for name in blazeio.__all__:
        value = getattr(blazeio, name)
        if _find_section_of_io(value) == section:
            yield f"`io.{name}`", _link(describe(value), PAGES_OF_IO.get(name))


def _find_section_of_io(value: object) -> str:
    if isinstance(value, type) and issubclass(value, BlazeioError):
        return "errors"
    return SECTIONS_OF_IO.get(value.__module__.split(".")[1], "serving")


def _link(text: str, pages: str | None) -> str:
    return f"{text.removesuffix('.')}. See {pages}." if pages else text


def describe(value: object) -> str:
    """Return what a docstring says at its beginning, as one line of Markdown.

    Those are its first two paragraphs of words, before its lists.
    """
    text = re.split(r"\n\n(?:Args|Attributes|Raises|Returns|Yields):\n", _read(value))[
        0
    ]
    told = [
        each
        for each in text.split("\n\n")
        if not each.startswith((" ", "::")) and not each.endswith("::")
    ]
    return to_markdown(" ".join(told[:2]))


def _read(value: object) -> str:
    return inspect.getdoc(value) or ""


def read_attributes(of: type) -> Mapping[str, str]:
    """Read what the docstring of a class says of each attribute, as Markdown."""
    text = _read(of).partition("Attributes:")[2]
    entries = re.findall(r"^    (\w+): (.+(?:\n     .+)*)", text, re.MULTILINE)
    return {name: to_markdown(entry) for name, entry in entries}


def to_markdown(text: str) -> str:
    """Write the text of a docstring on one line of Markdown."""
    return re.sub(r"\s+", " ", text).strip().replace("``", "`")
