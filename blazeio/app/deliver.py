"""``Deliver``: whole responses, each with its Content-Length, in one write.

May import: blazeio.errors, blazeio.protocol.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast
from urllib.parse import quote

import msgspec

from blazeio.errors import FieldInput, LocalProtocolError
from blazeio.protocol.answer import TEXT
from blazeio.protocol.server import BlazeioServerProtocol

JSON = b"Content-Type: application/json\r\n"
HTML = b"Content-Type: text/html; charset=utf-8\r\n"

REDIRECTS = (301, 302, 303, 307, 308)
# What a URI may hold as it is (RFC 3986 section 2), "%" since it may be quoted.
_URI_CHARACTERS = "%!#$&'()*+,/:;=?@[]~"

_encode = msgspec.json.Encoder().encode


class Deliver:
    """Send a whole response. Each is a coroutine that takes ``r`` first.

    Each raises LocalProtocolError, with nothing sent, when a response has
    begun or the status or a header field is malformed.
    """

    @staticmethod
    async def json(
        r: BlazeioServerProtocol,
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
        r: BlazeioServerProtocol,
        text: str | bytes,
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
        r: BlazeioServerProtocol,
        html: str | bytes,
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
        r: BlazeioServerProtocol,
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


def _pairs(headers: FieldInput | None) -> Iterable[tuple[Any, Any]]:
    if headers is None:
        return ()
    if isinstance(headers, Mapping):
        return headers.items()
    return cast(Iterable[tuple[Any, Any]], headers)
