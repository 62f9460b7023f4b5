"""``Deliver``: whole responses in one write, and streams. ``Prepare``: heads.

Each method of ``Deliver`` is a response in one call; a whole response leaves in one
write, head and content together. A field of the caller, such as Content-Type, wins over
the usual one.
"""

import os
from collections.abc import AsyncIterable, Iterable, Mapping
from inspect import iscoroutine
from typing import Any
from urllib.parse import quote

import msgspec

from blazeio.errors import FieldInput, LocalProtocolError
from blazeio.files.static_server import Simpleserve
from blazeio.protocol.pieces import (
    CONTENT,
    check_pieces,
    closed_at_end,
    iterated,
    name_kind,
)
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.response_writer import TEXT
from blazeio.websocket.event_stream import EventStream
from blazeio.wire.serializer import list_field_pairs

# Header fields of a caller, and the usual ones beside them


Pairs = list[tuple[Any, Any]]


def list_fields(headers: FieldInput | None) -> Pairs:
    """Return header fields as pairs, in their order.

    Raises:
        LocalProtocolError: They are neither a mapping nor pairs.
    """
    return [] if headers is None else list(list_field_pairs(headers))


def merge_fields(headers: FieldInput | None, usual: Mapping[str, str]) -> Pairs:
    """Return the caller's fields, with the usual ones that they do not name."""
    pairs = list_fields(headers)
    names = {_lower(name) for name, _ in pairs}
    kept = [(name, value) for name, value in usual.items() if name.lower() not in names]
    return kept + pairs


def names_field(pairs: Pairs, name: str) -> bool:
    """Tell whether a field of this name, in lower case, is among them."""
    return any(_lower(each) == name for each, _ in pairs)


def _lower(name: Any) -> str:
    text: str = name if isinstance(name, str) else name.decode("latin-1")
    return text.lower()


R = BlazeioServerProtocol
Octets = bytes
Pieces = AsyncIterable[str | bytes] | Iterable[str | bytes]

JSON = b"Content-Type: application/json\r\n"
HTML = b"Content-Type: text/html; charset=utf-8\r\n"
OCTETS = "application/octet-stream"

REDIRECTS = (301, 302, 303, 307, 308)
# Characters that a URI may hold as they are (RFC 3986 section 2), and "%", since it may
# be escaped already.
_URI_CHARACTERS = "%!#$&'()*+,/:;=?@[]~"

_encode = msgspec.json.Encoder().encode


class Deliver:
    """Send a response. Each method is a coroutine that takes ``r`` first.

    Each raises LocalProtocolError, with nothing sent, when a response has begun or the
    status or a header field is malformed; and ClientDisconnected when the client is
    gone. A Content-Type among ``headers`` wins over the usual one.
    """

    @staticmethod
    async def json(
        r: R,
        data: Any,
        status: int = 200,
        headers: FieldInput | None = None,
        indent: int | None = None,
    ) -> None:
        """Send data as JSON.

        Args:
            r: The request to answer.
            data: What msgspec encodes: the built-in types, dataclasses, attrs, Structs,
                datetimes, UUIDs, enums, decimals.
            status: 200 to 599.
            headers: Further header fields.
            indent: Spaces for each level, for people; None: no white space.

        Raises:
            TypeError: A part of ``data`` cannot be encoded; nothing was sent.
        """
        if r.transport.is_closing():
            await r.give_way()
        body = _encode(data)
        if indent is not None:
            body = msgspec.json.format(body, indent=indent)
        try:
            r.reply(body, status, JSON, headers)
        except LocalProtocolError:
            await r.response.gate.count_call()
            raise
        if not r.response.gate.is_open:
            await r.buffer_overflow_manager()

    @staticmethod
    async def text(
        r: R,
        text: str | Octets,
        status: int = 200,
        headers: FieldInput | None = None,
        content_type: str | None = None,
    ) -> None:
        """Send text; str is UTF-8. The default type is ``text/plain``."""
        if content_type is not None:
            headers = merge_fields(headers, {"Content-Type": content_type})
        body = text.encode() if isinstance(text, str) else _octets(text)
        if r.transport.is_closing():
            await r.give_way()
        try:
            r.reply(body, status, TEXT, headers)
        except LocalProtocolError:
            await r.response.gate.count_call()
            raise
        if not r.response.gate.is_open:
            await r.buffer_overflow_manager()

    @staticmethod
    async def html(
        r: R,
        html: str | Octets,
        status: int = 200,
        headers: FieldInput | None = None,
    ) -> None:
        """Send an HTML page; str is UTF-8."""
        body = html.encode() if isinstance(html, str) else _octets(html)
        if r.transport.is_closing():
            await r.give_way()
        try:
            r.reply(body, status, HTML, headers)
        except LocalProtocolError:
            await r.response.gate.count_call()
            raise
        if not r.response.gate.is_open:
            await r.buffer_overflow_manager()

    @staticmethod
    async def redirect(
        r: R,
        path: str,
        status: int = 302,
        headers: FieldInput | None = None,
    ) -> None:
        """Redirect the client.

        Args:
            r: The request to answer.
            path: A path or a URI; characters that a URI cannot hold are
                percent-encoded.
            status: 301, 302, 303, 307 or 308.
            headers: Further header fields.
        """
        if status not in REDIRECTS:
            message = f"redirect with status {status!r}: expected one of {REDIRECTS}"
            raise LocalProtocolError(message)
        if not isinstance(path, str):
            message = f"redirect to {path!r:.80}: expected a str, a path or a URI"
            raise LocalProtocolError(message)
        location = ("Location", quote(path, safe=_URI_CHARACTERS))
        if r.transport.is_closing():
            await r.give_way()
        try:
            r.reply(b"", status, b"", [location, *list_fields(headers)])
        except LocalProtocolError:
            await r.response.gate.count_call()
            raise

    @staticmethod
    async def file(
        r: R, path: str | os.PathLike[str], headers: FieldInput | None = None
    ) -> None:
        """Send a file, ranges of it, or "not modified"; see ``Simpleserve.serve``.

        Raises:
            Abort: 404, there is no such regular file.
        """
        await Simpleserve.serve(r, path, headers=headers)

    @staticmethod
    async def no_content(r: R, headers: FieldInput | None = None) -> None:
        """Send 204 without content."""
        if r.transport.is_closing():
            await r.give_way()
        try:
            r.reply(b"", 204, b"", headers)
        except LocalProtocolError:
            await r.response.gate.count_call()
            raise

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

        A generator is closed at the end, whatever the end is: all of it was sent, the
        client has gone away, the handler was cancelled. For a HEAD request no piece is
        asked for.

        Args:
            r: The request to answer.
            pieces: An async iterable or iterable of bytes or str (UTF-8).
            status: 200 to 599.
            headers: Further header fields; with a Content-Length the content is not
                chunked.
            content_type: The media type of the content.
            compress: As of ``r.prepare``: each piece can be decoded when it arrives.
        """
        async with closed_at_end(pieces, r):
            if not isinstance(pieces, CONTENT):
                check_pieces(pieces)
            fields = merge_fields(headers, {"Content-Type": content_type})
            await r.prepare(fields, status, compress=compress)
            await r.write(pieces)

    @staticmethod
    async def sse(r: R, events: AsyncIterable[Any] | Iterable[Any]) -> None:
        """Send server-sent events, each as it is made; see ``EventStream``.

        A generator is closed as by ``stream``.

        Args:
            r: The request to answer.
            events: The data of each event: a str, or what ``json`` takes.
        """
        async with closed_at_end(events, r):
            check_pieces(events)
            async with EventStream(r) as stream:
                if r.method == "HEAD":
                    return
                if isinstance(events, AsyncIterable):
                    async with iterated(events, r) as iterator:
                        async for data in iterator:
                            await stream.send(data)
                    return
                plain = iter(events)
                async with closed_at_end(plain):
                    for data in plain:
                        await stream.send(data)

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
        fields = merge_fields(headers, {"Content-Type": content_type})
        if r.transport.is_closing():
            await r.give_way()
        try:
            r.reply(_octets(data), status, b"", fields)
        except LocalProtocolError:
            await r.response.gate.count_call()
            raise
        if not r.response.gate.is_open:
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
        await r.prepare(merge_fields(headers, {"Content-Type": content_type}), status)

    @staticmethod
    async def json(
        r: R,
        headers: FieldInput | None = None,
        status: int = 200,
        content_type: str = "application/json",
    ) -> None:
        """Prepare a response of JSON."""
        await r.prepare(merge_fields(headers, {"Content-Type": content_type}), status)


def _octets(content: object) -> Octets:
    """Return content as octets; str is UTF-8.

    Raises:
        LocalProtocolError: The caller's fault: it is neither.
    """
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, bytearray | memoryview):
        return bytes(content)
    if iscoroutine(content):
        content.close()  # else Python would warn, too
    raise LocalProtocolError(f"the content is {name_kind(content)}")
