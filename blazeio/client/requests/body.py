"""The content of a request, as its caller gives it.

May import: blazeio.errors.
"""

from collections.abc import AsyncIterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from blazeio.errors import LocalProtocolError

Body = bytes | bytearray | memoryview | str | AsyncIterable[bytes | str]
"""Octets, text (UTF-8), or pieces of both as they come."""

Form = Mapping[str, Any] | Sequence[tuple[str, Any]]
"""Names and values; a list repeats the name."""

JSON = b"Content-Type: application/json\r\n"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"

NO_BODY: Any = object()
"""``json=None`` is the JSON null; this is none."""


def choose_body(
    body: Body | None, json: Any, form: Form | None
) -> tuple[bytes | AsyncIterable[bytes | str] | None, bytes]:
    """Give the content, and the field line of its type.

    Raises:
        LocalProtocolError: The caller's fault: more than one was given, or one
            of a wrong type.
    """
    given = [body is not None, json is not NO_BODY, form is not None]
    if sum(given) > 1:
        raise LocalProtocolError("body, json and form: only one of them can be sent")
    if json is not NO_BODY:
        return _encode_json(json), JSON
    if form is not None:
        return encode_query(form).encode("ascii"), FORM
    if isinstance(body, str):
        return body.encode(), TEXT
    if body is None or isinstance(body, bytes | AsyncIterable):
        return body, b""
    if isinstance(body, bytearray | memoryview):
        return bytes(body), b""
    kind = type(body).__name__
    message = f"body: expected bytes, str or an async iterable, not {kind}"
    raise LocalProtocolError(message)


def encode_query(params: Form) -> str:
    """Write names and values as in a query string, UTF-8 percent-encoded."""
    return urlencode(params, doseq=True)


def _encode_json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"json: {error}") from error
