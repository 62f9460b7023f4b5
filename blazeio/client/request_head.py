"""The head of a request: what its caller gave and what goes without saying."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from blazeio.content.cookies import serialize_cookie
from blazeio.content.decoders import ACCEPTED
from blazeio.errors import FieldInput, InvalidArgument, LocalProtocolError
from blazeio.wire.framing import Framing, OutgoingMessage
from blazeio.wire.grammar import TOKEN, quote
from blazeio.wire.headers import Headers
from blazeio.wire.serializer import (
    FieldBlock,
    list_field_pairs,
    serialize_field,
    serialize_fields,
)

_USUAL_METHODS: Final = {
    name.lower(): name
    for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
}
# RFC 9110 section 8.6: a server may count on a length where content is usual.
_WITH_CONTENT: Final = frozenset(("POST", "PUT", "PATCH"))

_DEFAULTS: Final = {
    "user-agent": b"User-Agent: blazeio\r\n",
    "accept": b"Accept: */*\r\n",
    # What is not asked for is not sent: whoever relays a response as it is would
    # hand a coding on to a client that cannot decode it.
    "accept-encoding": b"Accept-Encoding: identity\r\n",
}
_ALL_DEFAULTS: Final = b"".join(_DEFAULTS.values())
_PLAIN_END: Final = _ALL_DEFAULTS + b"\r\n"
_COMPRESSED: Final = {
    **_DEFAULTS,
    "accept-encoding": serialize_field("Accept-Encoding", ", ".join(ACCEPTED)),
}


def read_method(method: str) -> str:
    """Give the method as it is sent; usual ones may be written in any case.

    Raises:
        LocalProtocolError: The caller's fault: it is no token.
    """
    usual = _USUAL_METHODS.get(method.lower())
    if usual is not None:
        return usual
    if TOKEN.fullmatch(method) is None:
        raise LocalProtocolError(f"method {quote(method)} is no token")
    return method


def merge_fields(
    standing: FieldInput | Headers | None, fields: FieldInput | Headers | None
) -> FieldBlock:
    """Serialize the fields of one request over those of its session.

    Raises:
        LocalProtocolError: The caller's fault: a field is malformed.
        InvalidArgument: Likewise: they are no names and values.
    """
    try:
        if not standing or not fields:
            return serialize_fields(fields or standing)
        pairs = list(list_field_pairs(fields))
        given = {_name(name) for name, _ in pairs}
        kept = [
            each for each in list_field_pairs(standing) if _name(each[0]) not in given
        ]
        return serialize_fields(kept + pairs)
    except (TypeError, ValueError, LocalProtocolError):
        if _are_fields(standing) and _are_fields(fields):
            raise
        # Not from that error, which shows what it has found: it may be a secret.
        message = "headers: expected a dict or pairs of names and values, each a str"
        raise InvalidArgument(message) from None


def _are_fields(fields: Any) -> bool:
    """Tell whether a caller's fields have the shape of fields."""
    if fields is None or isinstance(fields, Headers):
        return True
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    if isinstance(pairs, str | bytes) or not isinstance(pairs, Iterable):
        return False
    return all(
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and isinstance(pair[0], str | bytes)
        for pair in pairs
    )


def join_cookies(
    block: FieldBlock, cookies: Mapping[str, str] | None = None
) -> FieldBlock:
    """Write one Cookie field of what the caller gave in several places.

    RFC 6265 section 5.4: there is one, and no name in it twice.

    Args:
        block: With a field ``Cookie``, or several.
        cookies: Win over those of the same name.

    Raises:
        LocalProtocolError: The caller's fault: one of them cannot be a cookie.
    """
    given = [
        str(line.partition(b":")[2], "latin-1")
        for line in block.lines.splitlines()
        if line[:7].lower() == b"cookie:"
    ]
    if len(given) == 1 and not cookies:
        return block
    names = set(cookies or ())
    pairs: list[str] = []
    for pair in ";".join(given).split(";"):
        text = pair.strip(" \t")
        name = text.partition("=")[0].rstrip(" \t")
        if text and name not in names:
            names.add(name)
            pairs.append(text)
    if cookies:
        pairs.append(serialize_cookie(cookies))
    return block.replaced("Cookie", "; ".join(pairs))


def _name(name: str | bytes) -> str:
    return (name if isinstance(name, str) else str(name, "latin-1")).lower()


def serialize_plain_get(start: bytes) -> bytes:
    """Serialize a whole GET of which nothing but its URL was said."""
    # Hot: 0.2 us instead of 2.5 for all that follows.
    return b"".join((b"GET", start, _PLAIN_END))


def serialize_request_head(
    method: str,
    start: bytes,
    block: FieldBlock,
    extra_lines: bytes = b"",
    *,
    compress: bool = False,
) -> bytes:
    """Serialize request line and fields, without framing and the empty line.

    Args:
        method: As ``read_method`` gave it.
        start: The request line after its method, and Host.
        block: Fields of the caller; each stands for the default of its name.
        extra_lines: Further field lines.
        compress: Content may be encoded, in whatever can be decoded here.
    """
    # Hot: runs once per request.
    if not block.names and not compress:
        defaults = _ALL_DEFAULTS
    else:
        if "host" in block.names:
            start = start.partition(b"\r\n")[0] + b"\r\n"
        lines = _COMPRESSED if compress else _DEFAULTS
        defaults = b"".join(
            [line for name, line in lines.items() if name not in block.names]
        )
    return b"".join((method.encode(), start, defaults, block.lines, extra_lines))


def frame_request(
    method: str, head: bytes, block: FieldBlock, content_bytes: int | None
) -> OutgoingMessage:
    """Decide the framing of a request: RFC 9112 section 6.3.

    Args:
        method: Of the request.
        head: As ``serialize_request_head`` gave it.
        block: A Content-Length of it is a promise.
        content_bytes: How much content there is; None: that is not known yet.
    """
    length = block.content_length
    if length is None:
        length = content_bytes
    if length is None:
        framing = Framing.CHUNKED
    elif length or method in _WITH_CONTENT or block.content_length is not None:
        framing = Framing.LENGTH
    else:
        framing, length = Framing.NONE, None
    return OutgoingMessage(
        head, framing, length, 1, is_persistent=not block.wants_close
    )


def declares_content(block: FieldBlock) -> bool:
    """Whether content is announced by its framing: it will be written later."""
    return bool(block.content_length) or "transfer-encoding" in block.names
