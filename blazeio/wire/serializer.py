"""Response heads: values in, octets out.

Nothing of a caller reaches the wire unchecked: a CR, LF or NUL in a name or
value, which would let user input write fields or a second response, raises
before an octet is made (RFC 9110 section 5.5).

May import: blazeio.errors, blazeio.wire.grammar, headers, memo.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, NoReturn

from blazeio.errors import FieldInput, LocalProtocolError
from blazeio.wire.grammar import CONTENT_LENGTH, FIELD_VALUE, TOKEN, quote
from blazeio.wire.headers import Headers
from blazeio.wire.memo import Memo

_FieldValue = str | bytes | int

# RFC 9110 section 7.6.1: connection-specific fields are the protocol's own.
_DROPPED: Final = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_status_lines: dict[int, bytes] = {}
_NAME_BYTES: Final = 128
# Validated names in the caller's own case, as octets and in lower case.
_names: Final[Memo[str | bytes, tuple[bytes, str]]] = Memo(256)


@dataclass(slots=True, frozen=True)
class FieldBlock:
    """A caller's fields, validated and serialized.

    Attributes:
        lines: Without the connection-specific fields and Content-Length.
        content_length: As declared, in octets.
        wants_close: ``Connection: close`` was among the fields.
        has_date: A Date is in ``lines``.
        has_server: A Server is in ``lines``.
        has_content_type: A Content-Type is in ``lines``.
    """

    lines: bytes
    content_length: int | None
    wants_close: bool
    has_date: bool
    has_server: bool
    has_content_type: bool


_NO_FIELDS: Final = FieldBlock(b"", None, False, False, False, False)


def serialize_status_line(status: int) -> bytes:
    """Return e.g. ``b"HTTP/1.1 200 OK\\r\\n"``; unknown codes get no reason.

    Raises:
        LocalProtocolError: ``status`` is not 100 to 599 (RFC 9110 section 15).
    """
    line = _status_lines.get(status)
    if line is None:
        line = _status_lines[status] = _make_status_line(status)
    return line


def _make_status_line(status: int) -> bytes:
    if not isinstance(status, int) or not 100 <= status <= 599:
        raise LocalProtocolError(f"status {status!r} is not 100 to 599")
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = ""
    # RFC 9112 section 4: the space stays where the reason is empty.
    return b"HTTP/1.1 %d %b\r\n" % (status, reason.encode("ascii"))


def serialize_field(name: str | bytes, value: str | bytes | int) -> bytes:
    """Return ``b"Name: value\\r\\n"``.

    Raises:
        LocalProtocolError: The name is no token, or the value holds a control
            octet or is not latin-1; the message names the field.
    """
    return b"%b: %b\r\n" % (_check_name(name)[0], _check_value(name, value))


def _check_name(name: str | bytes) -> tuple[bytes, str]:
    known = _names.recall(name)
    if known is not None:
        return known
    text = name if isinstance(name, str) else str(name, "latin-1")
    if TOKEN.fullmatch(text) is None:
        raise LocalProtocolError(f"field name {quote(name)} is no token")
    known = text.encode("ascii"), text.lower()
    if len(text) <= _NAME_BYTES:
        _names.keep(name, known)
    return known


def _check_value(name: str | bytes, value: str | bytes | int) -> bytes:
    if isinstance(value, int):
        return b"%d" % value
    try:
        text = value if isinstance(value, str) else str(value, "latin-1")
        octets = text.encode("latin-1")
    except UnicodeEncodeError:
        _refuse_value(name, "is not latin-1")
    except TypeError:
        _refuse_value(name, f"is a {type(value).__name__}, not str, bytes or int")
    if FIELD_VALUE.fullmatch(text) is None:
        _refuse_value(name, "holds a control character (CR, LF, NUL ...)")
    return octets.strip(b" \t")


def _refuse_value(name: str | bytes, why: str) -> NoReturn:
    raise LocalProtocolError(f"value of field {quote(name)} {why}") from None


def serialize_fields(fields: FieldInput | Headers | None) -> FieldBlock:
    """Serialize a caller's fields; a list value repeats its field.

    Raises:
        LocalProtocolError: As ``serialize_field``; or Content-Length is no
            number, or differs from another one.
    """
    if not fields:
        return _NO_FIELDS
    lines: list[bytes] = []
    seen: set[str] = set()
    lengths: set[bytes] = set()
    wants_close = False
    for name, value in _flatten(fields):
        octets, lowered = _check_name(name)
        content = _check_value(name, value)
        if lowered == "content-length":
            lengths.add(content)
        elif lowered == "connection":
            options = content.lower().split(b",")
            wants_close = wants_close or b"close" in [o.strip() for o in options]
        elif lowered not in _DROPPED:
            seen.add(lowered)
            lines.append(b"%b: %b\r\n" % (octets, content))
    return FieldBlock(
        lines=b"".join(lines),
        content_length=_read_length(lengths),
        wants_close=wants_close,
        has_date="date" in seen,
        has_server="server" in seen,
        has_content_type="content-type" in seen,
    )


def _flatten(
    fields: FieldInput | Headers,
) -> Iterable[tuple[str | bytes, str | bytes | int]]:
    if isinstance(fields, Headers):
        yield from fields.pairs
        return
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    for name, value in pairs:
        if isinstance(value, list):
            for single in value:
                yield name, single
        else:
            yield name, value


def _read_length(lengths: set[bytes]) -> int | None:
    if not lengths:
        return None
    if len(lengths) > 1:
        shown = ", ".join(sorted(str(length, "latin-1") for length in lengths))
        raise LocalProtocolError(f"differing Content-Length: {quote(shown)}")
    text = str(lengths.pop(), "latin-1")
    if CONTENT_LENGTH.fullmatch(text) is None:
        raise LocalProtocolError(f"Content-Length {quote(text)} is no number")
    return int(text)


def serialize_error(status: int, date: bytes, message: str = "") -> bytes:
    """Return a whole response for an error before any handler; then close.

    Args:
        status: Its status code.
        date: Value of Date, IMF-fixdate.
        message: Text of the content; the reason phrase where it is empty.
    """
    status_line = serialize_status_line(status)
    content = message.encode() or status_line[9:-2]
    return (
        b"%bDate: %b\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: %d\r\nConnection: close\r\n\r\n%b"
        % (status_line, date, len(content), content)
    )
