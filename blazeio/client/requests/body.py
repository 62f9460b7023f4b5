"""The content of a request, as its caller gives it.

May import: blazeio.content, blazeio.errors, blazeio.wire.
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterator
from os import PathLike
from typing import Any, BinaryIO, cast

import msgspec

from blazeio.client.requests.multipart import (
    FileBody,
    Files,
    FormBody,
    make_form_body,
)
from blazeio.content.forms.urlencoded import FormInput, serialize_urlencoded
from blazeio.errors import InvalidArgument, LocalProtocolError
from blazeio.protocol.pieces import closed_at_end
from blazeio.wire.serializer import serialize_field

Body = (
    bytes
    | bytearray
    | memoryview
    | str
    | AsyncIterable[bytes]
    | AsyncIterable[str]
    | AsyncIterable[bytes | str]
    | Iterator[bytes]
    | Iterator[str]
    | Iterator[bytes | str]
    | PathLike[str]
    | BinaryIO
)
"""Octets, text (UTF-8), pieces of both as they come, a path or an open file. A
generator is closed when nobody wants more of it."""

JSON = b"Content-Type: application/json\r\n"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"

NO_BODY: Any = object()
"""``json=None`` is the JSON null; this is none."""


def choose_body(
    body: Body | None, json: Any, form: FormInput | None, files: Files | None = None
) -> tuple[bytes | AsyncIterable[bytes | str] | None, bytes]:
    """Give the content, and the field line of its type.

    Raises:
        LocalProtocolError: The caller's fault: more than one was given, or one
            of a wrong type.
    """
    has_form = form is not None or files is not None
    if sum([body is not None, json is not NO_BODY, has_form]) > 1:
        raise LocalProtocolError("body, json and form: only one of them can be sent")
    if files is not None:
        composed = make_form_body(form or {}, files)
        return composed, serialize_field("Content-Type", composed.content_type)
    if json is not NO_BODY:
        return _encode_json(json), JSON
    if form is not None:
        return serialize_urlencoded(form).encode("ascii"), FORM
    if isinstance(body, str):
        return body.encode(), TEXT
    if body is None or isinstance(body, bytes | AsyncIterable):
        return body, b""
    if isinstance(body, bytearray | memoryview):
        return bytes(body), b""
    if isinstance(body, PathLike) or hasattr(body, "read"):
        return FileBody(cast("PathLike[str] | BinaryIO", body)), b""
    if isinstance(body, Iterator):
        return PiecesBody(body), b""
    kind = type(body).__name__
    message = f"body: expected bytes, str, a file or an async iterable, not {kind}"
    raise InvalidArgument(message)


class PiecesBody(AsyncIterable[bytes | str]):
    """Content that a plain generator makes, or another iterator, once."""

    def __init__(self, pieces: Iterator[bytes | str]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes | str]:
        """Iterate on the loop; it is closed at the end."""
        async with closed_at_end(self._pieces):
            for piece in self._pieces:
                yield piece


def measure_body(body: bytes | AsyncIterable[bytes | str] | None) -> int | None:
    """Give its octets; None where that is not known before it was sent."""
    if isinstance(body, FormBody | FileBody):
        return body.size_bytes
    return None if isinstance(body, AsyncIterable) else len(body or b"")


def can_repeat(body: bytes | AsyncIterable[bytes | str] | None) -> bool:
    """Whether it can be sent once more."""
    if isinstance(body, FormBody | FileBody):
        return body.can_repeat
    return not isinstance(body, AsyncIterable)


def _encode_json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"json: {error}") from error
