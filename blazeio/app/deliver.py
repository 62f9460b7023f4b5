"""``Deliver``: whole responses in one write, and streams. ``Prepare``: heads.

May import: blazeio.errors, blazeio.protocol.
"""

import re
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any, cast
from urllib.parse import quote

import msgspec

from blazeio.errors import FieldInput, LocalProtocolError
from blazeio.protocol.answer import TEXT
from blazeio.protocol.server import BlazeioServerProtocol

R = BlazeioServerProtocol
Octets = bytes
Pieces = AsyncIterable[str | bytes] | Iterable[str | bytes]

JSON = b"Content-Type: application/json\r\n"
HTML = b"Content-Type: text/html; charset=utf-8\r\n"
OCTETS = "application/octet-stream"
EVENTS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx would keep the events until its buffer is full
}

REDIRECTS = (301, 302, 303, 307, 308)
# What a URI may hold as it is (RFC 3986 section 2), "%" since it may be quoted.
_URI_CHARACTERS = "%!#$&'()*+,/:;=?@[]~"

# What ends a line of an event stream (the HTML standard, section 9.2.5).
_LINE_END = re.compile(r"\r\n|\r|\n")

_encode = msgspec.json.Encoder().encode


class Deliver:
    """Send a response. Each is a coroutine that takes ``r`` first.

    Each raises LocalProtocolError, with nothing sent, when a response has
    begun or the status or a header field is malformed; and ClientDisconnected
    when the client is gone. A Content-Type among ``headers`` goes before the
    usual one.
    """

    @staticmethod
    async def json(
        r: R,
        data: Any,
        status: int = 200,
        headers: FieldInput | None = None,
    ) -> None:
        """Send data as JSON.

        Args:
            r: The request to answer.
            data: What msgspec encodes: the built-in types, dataclasses, attrs,
                Structs, datetimes, UUIDs, enums, decimals.
            status: 200 to 599.
            headers: Further header fields.

        Raises:
            TypeError: A part of ``data`` is none of these; nothing was sent.
        """
        r.reply(_encode(data), status, JSON, headers)
        if not r.gate.is_open:
            await r.buffer_overflow_manager()

    @staticmethod
    async def text(
        r: R,
        text: str | Octets,
        status: int = 200,
        headers: FieldInput | None = None,
    ) -> None:
        """Send plain text; str is UTF-8."""
        body = text.encode() if isinstance(text, str) else text
        r.reply(body, status, TEXT, headers)
        if not r.gate.is_open:
            await r.buffer_overflow_manager()

    @staticmethod
    async def html(
        r: R,
        html: str | Octets,
        status: int = 200,
        headers: FieldInput | None = None,
    ) -> None:
        """Send an HTML page; str is UTF-8."""
        body = html.encode() if isinstance(html, str) else html
        r.reply(body, status, HTML, headers)
        if not r.gate.is_open:
            await r.buffer_overflow_manager()

    @staticmethod
    async def redirect(
        r: R,
        path: str,
        status: int = 302,
        headers: FieldInput | None = None,
    ) -> None:
        """Send the client elsewhere.

        Args:
            r: The request to answer.
            path: A path or a URI; what a URI cannot hold is percent-encoded.
            status: 301, 302, 303, 307 or 308.
            headers: Further header fields.
        """
        if status not in REDIRECTS:
            message = f"redirect with status {status}: expected one of {REDIRECTS}"
            raise LocalProtocolError(message)
        location = ("Location", quote(path, safe=_URI_CHARACTERS))
        r.reply(b"", status, b"", [location, *_pairs(headers)])

    @staticmethod
    async def no_content(r: R, headers: FieldInput | None = None) -> None:
        """Say that all went well, with 204 and no content."""
        r.reply(b"", 204, b"", headers)

    @staticmethod
    async def stream(
        r: R,
        pieces: Pieces,
        status: int = 200,
        headers: FieldInput | None = None,
        *,
        content_type: str = OCTETS,
        compress: bool = False,
    ) -> None:
        """Send content piece by piece, as it is made.

        An async generator is closed when the client goes away. To a HEAD
        request nothing of it is asked for.

        Args:
            r: The request to answer.
            pieces: Async iterable or iterable of bytes or str (UTF-8).
            status: 200 to 599.
            headers: Further header fields; with a Content-Length the content is
                not chunked.
            content_type: Of the content.
            compress: As of ``r.prepare``: each piece for itself.
        """
        fields = _fields(headers, {"Content-Type": content_type})
        await r.prepare(fields, status, compress=compress)
        await _write_all(r, pieces)

    @staticmethod
    async def sse(
        r: R, events: AsyncIterable[Any], headers: FieldInput | None = None
    ) -> None:
        """Send server-sent events, each as it is made.

        Args:
            r: The request to answer.
            events: The data of each: a str, or what ``json`` takes.
            headers: Further header fields.
        """
        await r.prepare(_fields(headers, EVENTS))
        await _write_all(r, events, serialize_event)

    @staticmethod
    async def bytes(
        r: R,
        data: Octets,
        status: int = 200,
        headers: FieldInput | None = None,
        *,
        content_type: str = OCTETS,
    ) -> None:
        """Send octets as they are."""
        r.reply(data, status, b"", _fields(headers, {"Content-Type": content_type}))
        if not r.gate.is_open:
            await r.buffer_overflow_manager()


class Prepare:
    """Send the head of a response; ``r.write`` its content. See ``r.prepare``."""

    @staticmethod
    async def text(
        r: R,
        headers: FieldInput | None = None,
        status: int = 200,
        content_type: str = "text/plain; charset=utf-8",
    ) -> None:
        """Prepare a response of plain text."""
        await r.prepare(_fields(headers, {"Content-Type": content_type}), status)

    @staticmethod
    async def json(
        r: R,
        headers: FieldInput | None = None,
        status: int = 200,
        content_type: str = "application/json",
    ) -> None:
        """Prepare a response of JSON."""
        await r.prepare(_fields(headers, {"Content-Type": content_type}), status)


def serialize_event(data: Any) -> str:
    """Write the data of one server-sent event: a str, or what msgspec encodes."""
    text = data if isinstance(data, str) else _encode(data).decode()
    lines = _LINE_END.split(text)
    return "".join([*(f"data: {line}\n" for line in lines), "\n"])


async def _write_all(r: R, pieces: Any, serialize: Any = None) -> None:
    try:
        if r.method == "HEAD":
            return
        if not isinstance(pieces, AsyncIterable):
            for piece in pieces:
                await r.write(piece)
            return
        async for piece in pieces:
            await r.write(piece if serialize is None else serialize(piece))
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()


def _fields(
    headers: FieldInput | None, usual: Mapping[str, str]
) -> list[tuple[Any, Any]]:
    """The caller's fields, and of the usual ones those that it does not name."""
    pairs = list(_pairs(headers))
    names = {
        (name if isinstance(name, str) else name.decode("latin-1")).lower()
        for name, _ in pairs
    }
    kept = [(name, value) for name, value in usual.items() if name.lower() not in names]
    return kept + pairs


def _pairs(headers: FieldInput | None) -> Iterable[tuple[Any, Any]]:
    if headers is None:
        return ()
    if isinstance(headers, Mapping):
        return headers.items()
    return cast(Iterable[tuple[Any, Any]], headers)
