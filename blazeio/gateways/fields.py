"""Header fields between octets and what the interfaces want, in both directions.

Those of a request are asked for by each request and mostly the same as before: the
octets of a shared pair (a browser's Accept, never a cookie or a token) are kept by
the pair, and the whole list beside its ``Headers``. Who asks gets a list of its own,
since middlewares append to it.

Those of a response are joined first and checked once: after all octets that a value
may hold are taken out of the block, exactly the line ends of our own making must be
left. So no value can write a field or a response, at a quarter of the cost of
looking at each.
"""

from collections.abc import Iterable
from typing import Any, Final, NoReturn

from msgspec import Struct

from blazeio.errors import LocalProtocolError
from blazeio.wire.field_lines import SHARED_NAMES, BoundedCache
from blazeio.wire.grammar import CONTENT_LENGTH, TOKEN, quote
from blazeio.wire.headers import Headers
from blazeio.wire.serializer import CONNECTION_SPECIFIC, FieldBlock

Pair = tuple[bytes, bytes]

_CONSISTS_OF: Final = bytes([9, *range(32, 127), *range(128, 256)])
"""RFC 9110 section 5.5: HTAB, SP, visible characters and obs-text."""

# From a shared pair to its octets; the pairs are those that the parser keeps.
_cached_pairs: Final[BoundedCache[tuple[str, str], Pair]] = BoundedCache(1024)

USUAL, LENGTH, CONNECTION, DROPPED, OF_SERVER = range(5)
"""What a field of a response is to us: nothing, the length, an option of the
connection, one that only we can say, one that we would say as well."""

_LONGEST_NAME_BYTES: Final = 64
# From a name as an app writes it to the beginning of its line, and what it is to us.
_cached_names: Final[BoundedCache[bytes, tuple[bytes, int]]] = BoundedCache(256)


def encode_fields(headers: Headers) -> list[Pair]:
    """Return the fields of a request as octets, names in lower case, as a new list."""
    # Hot: runs once per request.
    known: list[Pair] | None = getattr(headers, "octets", None)
    if known is not None:
        return known.copy()
    pairs = headers.as_tuple()
    encoded: list[Any] = list(map(_cached_pairs.recent.get, pairs))
    if encoded and encoded[-1] is None:  # a browser's Cookie, which is never kept
        encoded[-1] = _encode_pair(pairs[-1])
    elif all(encoded):
        headers.keep_octets(encoded)
        return encoded.copy()
    if not all(encoded):  # to look at each takes as long as all the rest
        for at, octets in enumerate(encoded):
            if octets is None:
                encoded[at] = _encode_pair(pairs[at])
    return encoded


def _encode_pair(pair: tuple[str, str]) -> Pair:
    name, value = pair
    if name not in SHARED_NAMES:
        return name.encode(), value.encode("latin-1")
    known = _cached_pairs.recall(pair)
    if known is None:
        known = name.encode(), value.encode("latin-1")
        _cached_pairs.keep(pair, known)
    return known


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
        if self.is_usual and not needs_names:
            names = _NO_NAMES
            return FieldBlock(self.lines, self.content_length, self.wants_close, names)
        names = frozenset(
            line.partition(b":")[0].decode("ascii").lower()
            for line in self.lines.split(b"\r\n")
            if line
        )
        return FieldBlock(self.lines, self.content_length, self.wants_close, names)


_NO_NAMES: Final[frozenset[str]] = frozenset()
NO_FIELDS: Final = ResponseFields(b"", None, False, True)


def write_fields(pairs: Iterable[Any]) -> ResponseFields:
    """Check and write the fields of a response.

    Args:
        pairs: Each an iterable of a name and a value, both bytes.

    Raises:
        LocalProtocolError: One is malformed, or is no pair of bytes, or differing
            Content-Lengths are declared.
    """
    # Hot: runs once per response; see the measurements in tests/bench.
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
    wants_close = False
    is_usual = True
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
