"""A request as it is sent: ``ClientRequest``, and how its head is serialized.

A ``ClientRequest`` is a value: a redirect, or a field that is set for another attempt,
makes a new one. Fields of the caller win over those of the session, and both win over
the defaults (User-Agent, Accept, Accept-Encoding). A plain GET, with no fields, content
or credentials, is three joined byte strings; everything else is serialized field by
field. The framing is decided here too (RFC 9112 section 6.3); the content itself is
written by the response (``client.response``).
"""

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from blazeio.content.codings import ACCEPTED
from blazeio.content.field_values import serialize_cookie
from blazeio.errors import FieldInput, InvalidArgument, LocalProtocolError
from blazeio.wire.framing import Framing, OutgoingMessage
from blazeio.wire.grammar import TOKEN, quote
from blazeio.wire.headers import (
    NO_FIELDS,
    FieldBlock,
    Headers,
    list_field_pairs,
    serialize_field,
    serialize_fields,
)

if TYPE_CHECKING:
    from blazeio.client.auth import Credentials
    from blazeio.client.url import Origin, Url

_USUAL_METHODS: Final = {
    name.lower(): name
    for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
}
# RFC 9110 section 8.6: with these methods an empty request says "Content-Length: 0",
# since a server may refuse one without a length.
_WITH_CONTENT: Final = frozenset(("POST", "PUT", "PATCH"))

_DEFAULTS: Final = {
    "user-agent": b"User-Agent: blazeio\r\n",
    "accept": b"Accept: */*\r\n",
    # Without this field a server may choose any coding, and an app that relays the
    # response as it is would send it on to a client that cannot decode it.
    "accept-encoding": b"Accept-Encoding: identity\r\n",
}
_ALL_DEFAULTS: Final = b"".join(_DEFAULTS.values())
_PLAIN_END: Final = _ALL_DEFAULTS + b"\r\n"
_FOR_PROXY: Final = frozenset(("proxy-authorization",))
_COMPRESSED: Final = {
    **_DEFAULTS,
    "accept-encoding": serialize_field("Accept-Encoding", ", ".join(ACCEPTED)),
}


class MeasuredBody(AsyncIterable[bytes]):
    """Content in pieces of which it is known what is to come: a form, or a file.

    Attributes:
        size_bytes: The size of all of it; None where that is not known before.
        can_repeat: It can be iterated over once more.
    """

    size_bytes: int | None
    can_repeat: bool


class ClientRequest(Struct, frozen=True):
    """What is asked of a server.

    Attributes:
        method: As it is sent.
        url: With the query; its userinfo is in ``credentials``.
        fields: Of the session and of the caller, serialized.
        body: Octets, or pieces that are made while they are sent; None: there is no
            content, or the caller writes it.
        content_lines: Field lines that describe ``body``, such as Content-Type.
        credentials: Authorization and cookies; None: there are none.
        compress: The response may come in any coding that can be decoded here.
        upgrade: The protocol to change to; None: HTTP goes on.
        expects_continue: Send the content only after a 100 (Continue).
        is_plain: A GET that consists of nothing but its URL, sent to the origin.
    """

    method: str
    url: "Url"
    fields: FieldBlock = NO_FIELDS
    body: bytes | AsyncIterable[bytes | str] | None = None
    content_lines: bytes = b""
    credentials: "Credentials | None" = None
    compress: bool = False
    upgrade: str | None = None
    expects_continue: bool = False
    is_plain: bool = False

    @property
    def announces_content(self) -> bool:
        """Whether the caller's fields announce content that will be written later."""
        return self.body is None and declares_content(self.fields)

    @property
    def can_repeat(self) -> bool:
        """Whether it can be sent again: its content is at hand, and not a stream."""
        if self.body is None:
            return not declares_content(self.fields)
        if isinstance(self.body, MeasuredBody):
            return self.body.can_repeat
        return not isinstance(self.body, AsyncIterable)

    def with_field(self, name: str, value: str) -> "ClientRequest":
        """Return the same request with a field instead of those of its name."""
        fields = self.fields.replaced(name, value)
        return replace(self, fields=fields, is_plain=False)

    def begin_message(
        self, origin: "Origin", *, now: float, cnonce: str
    ) -> OutgoingMessage:
        """Serialize the head, and decide the framing of the content.

        Args:
            origin: Who the connection leads to: the server or a proxy.
            now: Seconds since 1970, where there are credentials.
            cnonce: A random value, where they answer challenges.
        """
        # Hot: runs once per request that is not plain.
        fields, lines = self.fields, self.content_lines
        if lines and "content-type" in fields.names:
            lines = b""
        if self.upgrade is not None:
            lines += b"Connection: upgrade\r\n"
            lines += serialize_field("Upgrade", self.upgrade)
        if self.expects_continue and "expect" not in fields.names:
            lines += b"Expect: 100-continue\r\n"
        if self.credentials is not None:
            content = self.body if isinstance(self.body, bytes) else b""
            lines += self.credentials.serialize(
                self.url, self.method, content, fields.names, now=now, cnonce=cnonce
            )
        start = self.url.request_start
        if origin.is_forwarding:
            start = self.url.absolute_start
            if "proxy-authorization" not in fields.names:
                lines += origin.proxy_lines
        elif origin.proxy is not None:
            # The request goes through a tunnel, to the server, which must not see the
            # credentials of the proxy.
            fields = fields.without(_FOR_PROXY)
        head = serialize_request_head(
            self.method, start, fields, lines, compress=self.compress
        )
        is_open = self.body is None and "transfer-encoding" in fields.names
        size = None if is_open else _measure(self.body)
        return frame_request(self.method, head, fields, size)


def _measure(body: bytes | AsyncIterable[bytes | str] | None) -> int | None:
    """Return the size of a body; None where it is not known before it was sent."""
    if isinstance(body, MeasuredBody):
        return body.size_bytes
    return None if isinstance(body, AsyncIterable) else len(body or b"")


def read_method(method: str) -> str:
    """Return the method as it is sent; usual ones may be written in any case.

    Raises:
        LocalProtocolError: The caller's fault: it is no token.
    """
    usual = _USUAL_METHODS.get(method.lower())
    if usual is not None:
        return usual
    if TOKEN.fullmatch(method) is None:
        raise LocalProtocolError(f"method {quote(method)} is not a token")
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
        # "from None": the text of the first error shows the value, maybe a secret.
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
    """Write one Cookie field from all cookies that the caller gave.

    RFC 6265 section 5.4: a request has one such field, with no name twice.

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
    """Serialize a GET that consists of nothing but its URL."""
    # Hot: takes 0.2 us; ``ClientRequest.begin_message`` takes 2.5.
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
        method: As ``read_method`` returned it.
        start: The request line after its method, and Host.
        block: Fields of the caller; each replaces the default of its name.
        extra_lines: Further field lines.
        compress: The response may come in any coding that can be decoded here.
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
        method: The method of the request.
        head: As ``serialize_request_head`` returned it.
        block: A Content-Length among these fields is kept: the content must have it.
        content_bytes: The size of the content; None: it is not known yet.
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
    """Tell whether fields announce content (by its length, or by ``chunked``)."""
    return bool(block.content_length) or "transfer-encoding" in block.names
