"""What an app may send, and when: its messages and header fields, checked. Pure.

Each connection is in one state, and each state expects some messages. Anything else
is an error of the app, raised from its ``send`` before an octet is written; the state
stays as it is.

The fields of a response are joined first and checked once: after all octets that a
value may hold are taken out of the block, exactly the line ends of our own making must
be left. So no value can write a field or a response, at a quarter of the cost of
looking at each.

``start_response`` of a WSGI app (PEP 3333) may be called late, as long as it comes
before the first octet; twice only with ``exc_info``, which replaces a head of which
nothing has left, and else raises the exception that the app wanted to answer.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NoReturn

from msgspec import Struct

from blazeio.errors import LocalProtocolError, describe_status, is_final_status
from blazeio.wire.grammar import CONTENT_LENGTH, TOKEN, BoundedCache, quote
from blazeio.wire.headers import (
    CONNECTION_SPECIFIC,
    SHARED_RESPONSE_NAMES,
    FieldBlock,
)

_CONSISTS_OF: Final = bytes([9, *range(32, 127), *range(128, 256)])
"""RFC 9110 section 5.5: HTAB, SP, visible characters and obs-text."""

USUAL, LENGTH, CONNECTION, DROPPED, OF_SERVER = range(5)
"""What a field of a response is to us: nothing, the length, an option of the
connection, one that only we can say, one that we would say as well."""

_LONGEST_NAME_BYTES: Final = 64
# From a name as an app writes it to the beginning of its line, and what it is to us.
_cached_names: Final[BoundedCache[bytes, tuple[bytes, int]]] = BoundedCache(256)

_SHARED: Final = frozenset(
    name.encode() for name in ("content-length", *SHARED_RESPONSE_NAMES)
)
_LONGEST_FIELDS_BYTES: Final = 512


class ResponseFields(Struct, frozen=True, gc=False):
    """The fields of a response, checked and written.

    Attributes:
        lines: Each with its line end; those of the connection, and Content-Length,
            are left out.
        content_length: As declared, octets; None: it was not.
        wants_close: ``Connection: close`` was among them.
        is_usual: Nothing among them closes the connection, or is said by the server
            as well (Date, Server).
    """

    lines: bytes
    content_length: int | None
    wants_close: bool
    is_usual: bool

    def to_block(self, *, needs_names: bool) -> FieldBlock:
        """Return the same for the writer of unusual answers.

        Args:
            needs_names: Other fields may have to give way to these.
        """
        names = _NO_NAMES
        if needs_names or not self.is_usual:
            names = frozenset(
                line.partition(b":")[0].decode("ascii").lower()
                for line in self.lines.split(b"\r\n")
                if line
            )
        return FieldBlock(self.lines, self.content_length, self.wants_close, names)


_NO_NAMES: Final[frozenset[str]] = frozenset()
NO_FIELDS: Final = ResponseFields(b"", None, False, True)

# An app sends few different lists again and again, mostly made anew: to find what was
# written takes 0.2x of writing it, to look in vain 0.1x. Only fields whose values are
# the same for many clients are kept, never a cookie or a token.
_cached_fields: Final[BoundedCache[Any, ResponseFields]] = BoundedCache(512)


def write_fields(pairs: Iterable[Any]) -> ResponseFields:
    """Check and write the fields of a response.

    Args:
        pairs: Each an iterable of a name and a value, both bytes.

    Raises:
        LocalProtocolError: One is malformed, or is no pair of bytes, or differing
            Content-Lengths are declared.
    """
    # Hot: runs once per response; see the measurements in tests/bench.
    key: Any = None
    if pairs.__class__ is list:
        try:
            key = tuple(pairs)
            known = _cached_fields.recent.get(key) or _cached_fields.recall(key)
        except TypeError:  # one of the pairs is a list itself
            key = known = None
        if known is not None:
            return known
    fields = _write_anew(pairs)
    if key is not None and fields.is_usual and _may_keep(key, fields):
        _cached_fields.keep(key, fields)
    return fields


def _may_keep(pairs: Iterable[Any], fields: ResponseFields) -> bool:
    """Tell whether these hold nothing of one client alone, and are not too long.

    Only tuples are what they were: an iterator is spent by now, and an app's own object
    may give other fields the next time.
    """
    return len(fields.lines) <= _LONGEST_FIELDS_BYTES and all(
        isinstance(pair, tuple) and pair[0].lower() in _SHARED for pair in pairs
    )


def _write_anew(pairs: Iterable[Any]) -> ResponseFields:
    recent = _cached_names.recent
    lines: list[bytes] = []
    unusual: list[tuple[int, bytes]] | None = None
    length: int | None = None
    try:
        for name, value in pairs:
            start, kind = recent.get(name) or _read_name(name)
            # ``isdigit`` of bytes is ASCII alone, whereas ``int`` would take "+5",
            # "1_0" and blanks. What is not so plain is read by the strict rules, as is
            # a second one.
            if kind == LENGTH and length is None and value.isdigit() and len(value) < 9:
                length = int(value)
                continue
            if kind:
                if unusual is None:
                    unusual = []
                unusual.append((kind, value))
                if kind != OF_SERVER:
                    continue
            lines.append(start + value)
    except (AttributeError, TypeError, ValueError) as error:
        _refuse_pairs(error)
    if not lines:
        block = b""
    else:
        lines.append(b"")
        block = b"\r\n".join(lines)
        if block.translate(None, _CONSISTS_OF) != b"\r\n" * (len(lines) - 1):
            _refuse_octets(lines)
    if unusual is None:
        return ResponseFields(block, length, False, True)
    return _read_unusual(block, length, unusual)


def _read_name(name: object) -> tuple[bytes, int]:
    if not isinstance(name, bytes):
        kind = type(name).__name__
        raise LocalProtocolError(f"field name {name!r:.80} is a {kind}, not bytes")
    known = _cached_names.recall(name)
    if known is not None:
        return known
    text = name.decode("latin-1")
    if TOKEN.fullmatch(text) is None:
        raise LocalProtocolError(f"field name {quote(text)} is not a token")
    known = name + b": ", _KINDS.get(text.lower(), USUAL)
    if len(name) <= _LONGEST_NAME_BYTES:
        _cached_names.keep(name, known)
    return known


_KINDS: Final = {
    # The framing is ours: a Transfer-Encoding of the app beside it could make the
    # client see another end of the response (RFC 9112 section 6.1). PEP 3333 forbids an
    # app to set these.
    **dict.fromkeys(CONNECTION_SPECIFIC - {"trailer"}, DROPPED),
    "connection": CONNECTION,
    "content-length": LENGTH,
    "date": OF_SERVER,
    "server": OF_SERVER,
}


def _read_unusual(
    block: bytes, length: int | None, unusual: list[tuple[int, bytes]]
) -> ResponseFields:
    wants_close, is_usual = False, True
    for kind, value in unusual:
        if not isinstance(value, bytes):
            _refuse_pairs(TypeError(f"a value is a {type(value).__name__}"))
        if kind == LENGTH:
            length = _read_length(value, length)
        elif kind == CONNECTION:
            options = [option.strip() for option in value.lower().split(b",")]
            wants_close = wants_close or b"close" in options
            is_usual = is_usual and not wants_close
        elif kind == OF_SERVER:
            is_usual = False
    return ResponseFields(block, length, wants_close, is_usual)


def _read_length(value: bytes, known: int | None) -> int:
    text = value.strip(b" \t").decode("latin-1")
    if CONTENT_LENGTH.fullmatch(text) is None:
        raise LocalProtocolError(f"Content-Length {quote(value)} is not a number")
    if known is not None and known != int(text):
        raise LocalProtocolError(f"differing Content-Length: {known}, {int(text)}")
    return int(text)


def _refuse_pairs(error: Exception) -> NoReturn:
    raise LocalProtocolError(
        f"the header fields are not pairs of bytes, name and value: {error}"
    ) from None


def _refuse_octets(lines: list[bytes]) -> NoReturn:
    """Name the field that is malformed; never its value, which may be a secret."""
    for line in lines:
        if line.translate(None, _CONSISTS_OF):
            name = line.partition(b":")[0].decode("latin-1")
            message = "holds a control character (CR, LF ...)"
            raise LocalProtocolError(f"value of field {quote(name)} {message}")
    raise AssertionError("the block was refused and no line of it")


Message = Mapping[str, Any]

START, BODY, TRAILERS, OVER = range(4)
"""An HTTP response waits for its start, for (more of) its body, for its trailers, for
nothing."""

CONNECTING, DENYING, OPEN, CLOSED = range(4)
"""A WebSocket was not answered yet, is answered by an HTTP response, is open, is
closed."""

HTTP_MESSAGES: Final = (
    "http.response.start",
    "http.response.body",
    "http.response.zerocopysend",
    "http.response.pathsend",
    "http.response.trailers",
    "http.response.early_hint",
)

HTTP_EXPECTED: Final = {
    START: ("http.response.start", "http.response.early_hint"),
    BODY: HTTP_MESSAGES[1:4],
    TRAILERS: ("http.response.trailers",),
    OVER: (),
}

WEBSOCKET_MESSAGES: Final = (
    "websocket.send",
    "websocket.accept",
    "websocket.close",
    "websocket.http.response.start",
    "websocket.http.response.body",
)

WEBSOCKET_EXPECTED: Final = {
    CONNECTING: WEBSOCKET_MESSAGES[1:4],
    DENYING: ("websocket.http.response.body",),
    OPEN: ("websocket.send", "websocket.close"),
    CLOSED: (),
}


def check_order(
    message: Message, expected: tuple[str, ...], known: tuple[str, ...]
) -> str:
    """Return the type of a message that may be sent now.

    Args:
        message: As the app has sent it.
        expected: The types that may come now.
        known: All types of the protocol.

    Raises:
        LocalProtocolError: It may not, or there is no such type.
    """
    try:
        kind = message["type"]
    except (KeyError, TypeError, IndexError):
        raise LocalProtocolError(
            f"send({message!r:.80}): a message is a dict with a type"
        ) from None
    if kind in expected:
        return str(kind)
    if kind not in known:
        raise LocalProtocolError(f"send: there is no message {kind!r:.80}")
    if not expected:
        raise LocalProtocolError(f"send: {kind} after the end")
    raise LocalProtocolError(f"send: {kind} where {' or '.join(expected)} is expected")


class ResponseStart(Struct, frozen=True, gc=False):
    """The start of a response.

    Attributes:
        status: 200 to 599.
        fields: Checked and written.
        has_trailers: Trailers follow the body.
    """

    status: int
    fields: ResponseFields
    has_trailers: bool


# As ``_cached_fields``, and of those alone: the start that the fields came with last.
_cached_starts: Final[BoundedCache[Any, ResponseStart]] = BoundedCache(256)


def read_start(message: Message) -> ResponseStart:
    """Read ``http.response.start``, or that of a WebSocket's denial.

    Raises:
        LocalProtocolError: The status or a field is malformed.
    """
    # Hot: runs once per response.
    status = message.get("status")
    headers = message.get("headers")
    key: Any = None
    if headers.__class__ is list and not message.get("trailers"):
        try:
            key = tuple(headers)
            known = _cached_starts.recent.get(key) or _cached_starts.recall(key)
        except TypeError:
            key = known = None
        if known is not None and known.status == status and status.__class__ is int:
            return known
    if status.__class__ is not int or not 200 <= status <= 599:
        status = _read_status(message)
    fields = NO_FIELDS if not headers else write_fields(headers)
    start = ResponseStart(status, fields, bool(message.get("trailers")))
    if key is not None and fields.is_usual and _cached_fields.recent.get(key) is fields:
        _cached_starts.keep(key, start)
    return start


def _read_status(message: Message) -> int:
    status = message.get("status")
    if not is_final_status(status):  # an IntEnum is one
        raise LocalProtocolError(f"{message['type']}: {describe_status(status)}")
    return int(status or 0)


def read_body(message: Message) -> bytes:
    """Return the octets of ``http.response.body``.

    Raises:
        LocalProtocolError: They are none.
    """
    body = message.get("body", b"")
    if isinstance(body, bytes):
        return body
    if isinstance(body, bytearray | memoryview):
        return bytes(body)
    raise LocalProtocolError(
        f"{message['type']}: the body is a {type(body).__name__}, not bytes"
    )


class FilePart(Struct, frozen=True, gc=False):
    """A part of an open file that is to be sent.

    Attributes:
        file: Its descriptor.
        offset: Of the first octet; None: where the descriptor stands.
        count: How many octets; None: to the end of the file.
    """

    file: int
    offset: int | None
    count: int | None


def read_file_part(message: Message) -> FilePart:
    """Read ``http.response.zerocopysend``.

    Raises:
        LocalProtocolError: It names no file with a descriptor, or no part of it.
    """
    file = message.get("file")
    try:
        descriptor = file if isinstance(file, int) else file.fileno()  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):
        raise LocalProtocolError(
            f"{message['type']}: {file!r:.80} has no file descriptor"
        ) from None
    part = FilePart(int(descriptor), message.get("offset"), message.get("count"))
    for each in (part.offset, part.count):
        if each is not None and not (isinstance(each, int) and each >= 0):
            raise LocalProtocolError(
                f"{message['type']}: {each!r:.80} is not an offset or count"
            )
    return part


def read_path(message: Message) -> str:
    """Return the path of ``http.response.pathsend``.

    Raises:
        LocalProtocolError: It is not absolute.
    """
    path = message.get("path")
    if isinstance(path, str) and path.startswith("/") and "\0" not in path:
        return path
    raise LocalProtocolError(f"{message['type']}: {path!r:.80} is not an absolute path")


def write_early_hint(message: Message) -> bytes:
    """Write the field lines of a 103 (RFC 8297) from ``http.response.early_hint``.

    Raises:
        LocalProtocolError: A link is malformed.
    """
    links = message.get("links", ())
    if not isinstance(links, Iterable) or isinstance(links, str | bytes):
        raise LocalProtocolError(
            f"{message['type']}: links are {links!r:.80}, expected a list of bytes"
        )
    return write_fields((b"Link", link) for link in links).lines


def read_trailers(message: Message) -> bytes:
    """Write the field lines of ``http.response.trailers``.

    Raises:
        LocalProtocolError: One is malformed.
    """
    return write_fields(message.get("headers", ())).lines


class Acceptance(Struct, frozen=True, gc=False):
    """What a WebSocket is accepted with.

    Attributes:
        subprotocol: None: none.
        lines: Further fields of the 101.
    """

    subprotocol: str | None
    lines: bytes


def read_acceptance(message: Message) -> Acceptance:
    """Read ``websocket.accept``.

    Raises:
        LocalProtocolError: A field or the subprotocol is malformed.
    """
    subprotocol = message.get("subprotocol")
    if subprotocol is not None and not isinstance(subprotocol, str):
        raise LocalProtocolError(
            f"websocket.accept: the subprotocol is {subprotocol!r:.80}, no str"
        )
    return Acceptance(subprotocol, write_fields(message.get("headers") or ()).lines)


def read_data(message: Message) -> str | bytes:
    """Return the text or the octets of ``websocket.send``.

    Raises:
        LocalProtocolError: It has neither, or both.
    """
    # Hot: runs once per message.
    text, octets = message.get("text"), message.get("bytes")
    if octets is None and text.__class__ is str:
        return text
    if octets is None and isinstance(text, str):
        return text
    if text is None and isinstance(octets, bytes):
        return octets
    if text is None and isinstance(octets, bytearray | memoryview):
        return bytes(octets)
    raise LocalProtocolError(
        "websocket.send: expected text, a str, or bytes, and not both"
    )


def is_close_code(code: int) -> bool:
    """Tell whether a close frame may carry it (RFC 6455 section 7.4)."""
    # 1004 is reserved, 1005 and 1006 are never sent; nor is 1015, which is beyond the
    # range below (RFC 6455 section 7.4.1).
    if code in (1004, 1005, 1006):
        return False
    return 1000 <= code <= 1014 or 3000 <= code <= 4999


CLOSE_REASON_BYTES: Final = 123
"""RFC 6455 section 5.5: a control frame carries 125 octets, two are the code."""


def read_close(message: Message) -> tuple[int, str]:
    """Return code and reason of ``websocket.close``.

    Raises:
        LocalProtocolError: No such code may be sent (RFC 6455 section 7.4), or the
            reason is too long.
    """
    code = message.get("code")
    code = 1000 if code is None else code
    reason = message.get("reason") or ""
    if not (isinstance(code, int) and is_close_code(code)):
        raise LocalProtocolError(
            f"websocket.close: {code!r:.80} is not a code that may be sent"
        )
    if not isinstance(reason, str) or len(reason.encode()) > CLOSE_REASON_BYTES:
        limit = f"at most {CLOSE_REASON_BYTES} octets"
        raise LocalProtocolError(f"websocket.close: the reason is not text of {limit}")
    return int(code), reason


_STATUS: Final = re.compile(r"([2-5][0-9]{2})(?: [^\r\n]*)?", re.ASCII)


class StartResponse:
    """The head of one response, as the app declares it.

    Args:
        write: What ``start_response`` returns.

    Attributes:
        write: The same; replaced where the request is over.
        start: The head; None until it was declared.
        has_left: Something of the response has left.
    """

    __slots__ = ("has_left", "start", "write")

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.write = write
        self.start: ResponseStart | None = None
        self.has_left = False

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], None]:
        """Declare status and fields; nothing of them leaves before the first octet.

        Raises:
            LocalProtocolError: It was called twice, or something is malformed.
            BaseException: That of ``exc_info``, where the head has left.
        """
        if exc_info:
            try:
                if self.has_left:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # its traceback has this frame
        elif self.start is not None:
            reason = "start_response was called twice, without exc_info"
            raise LocalProtocolError(reason)
        fields = write_fields(_encode(headers))
        self.start = ResponseStart(_read_status_text(status), fields, False)
        return self.write


# From what an app says to the code: 0.2x of reading it.
_cached_statuses: Final[BoundedCache[str, int]] = BoundedCache(64)
_LONGEST_STATUS: Final = 64


def _read_status_text(status: object) -> int:
    if not isinstance(status, str):
        _refuse_status(status)
    known = _cached_statuses.recent.get(status) or _cached_statuses.recall(status)
    if known is not None:
        return known
    match = _STATUS.fullmatch(status)
    if match is None:
        _refuse_status(status)
    code = int(match[1])
    if len(status) <= _LONGEST_STATUS:
        _cached_statuses.keep(status, code)
    return code


def _refuse_status(status: object) -> NoReturn:
    expected = "expected e.g. '200 OK', 200 to 599"
    raise LocalProtocolError(f"status {status!r:.80}: {expected}")


def _encode(headers: object) -> list[tuple[bytes, bytes]]:
    if not isinstance(headers, list):
        kind = type(headers).__name__
        raise LocalProtocolError(f"the headers are a {kind}, expected a list")
    try:
        return [(n.encode("latin-1"), v.encode("latin-1")) for n, v in headers]
    except (AttributeError, TypeError, ValueError) as error:
        reason = "the headers are not pairs of latin-1 text, name and value"
        raise LocalProtocolError(f"{reason}: {error}") from None
