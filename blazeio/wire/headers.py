"""``Headers``: the header section as an immutable, case-insensitive mapping.

A head is parsed for every request, but most handlers read few fields: so a ``Headers``
is made from the parser's list of pairs alone, and its dict on the first lookup.

Field lines (RFC 9112 section 5) are read here too. A peer repeats its fields in each
message, so a line is validated once and cached. A cache that all connections share must
never hold one client's secret: so only lines of names in ``SHARED_NAMES`` are cached,
whose values are by their nature the same for many messages. Authorization, Cookie,
Referer, X-Api-Key, Sec-WebSocket-Protocol (where browsers have to put a token) and
every name that is not listed is read anew each time.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, Generic, NoReturn, TypeVar, overload

from blazeio.errors import RemoteProtocolError
from blazeio.wire.grammar import FIELD_VALUE, TOKEN, is_host, quote

_Default = TypeVar("_Default")


class Headers(Mapping[str, str]):
    """The fields of one message, in order; names in any case.

    ``headers["Accept"]`` is the combined value: repeated fields joined by ``", "`` (RFC
    9110 section 5.3), Cookie by ``"; "`` (RFC 6265 section 5.4). Set-Cookie cannot be
    combined: use ``get_all``.

    One object may serve many requests with equal fields, of many clients, so neither it
    nor anything that it returns can be changed.

    Args:
        pairs: Lower-case names and latin-1 values.

    Attributes:
        octets: The fields as octets, for gateways; absent until ``keep_octets``. Return
            a copy of it to others.
    """

    __slots__ = ("_index", "_pairs", "octets")

    _index: Mapping[str, str] | None
    octets: list[tuple[bytes, bytes]]
    _pairs: tuple[tuple[str, str], ...]

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        _set_pairs(self, tuple(pairs))
        _set_index(self, None)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        # One object serves many requests of many clients: what one handler writes into
        # it would be a field of all the others.
        raise AttributeError(f"headers cannot be changed: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"headers cannot be changed: {name}")

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """All fields in order, repeated ones kept; a copy."""
        return list(self._pairs)

    def iter_pairs(self) -> Iterator[tuple[str, str]]:
        """Iterate over all fields in order, repeated ones kept."""
        return iter(self._pairs)

    def as_tuple(self) -> tuple[tuple[str, str], ...]:
        """Return all fields in order, repeated ones kept."""
        return self._pairs

    def keep_octets(self, octets: list[tuple[bytes, bytes]]) -> None:
        """Store the fields as octets beside the text, for the next gateway request."""
        _set_octets(self, octets)

    def _build_index(self) -> Mapping[str, str]:
        # The usual case, no field is repeated: 5x faster (7 fields: 0.33 us).
        index = dict(self._pairs)
        if len(index) != len(self._pairs):
            values: dict[str, list[str]] = {}
            for name, value in self._pairs:
                values.setdefault(name, []).append(value)
            index = {
                name: ("; " if name == "cookie" else ", ").join(several)
                for name, several in values.items()
            }
        shared = MappingProxyType(index)
        _set_index(self, shared)
        return shared

    def __getitem__(self, name: str) -> str:
        index = self._index
        if index is None:
            index = self._build_index()
        return index[name.lower()]

    @overload
    def get(self, name: str, /) -> str | None: ...
    @overload
    def get(self, name: str, /, default: str | _Default) -> str | _Default: ...
    def get(
        self, name: str, /, default: str | _Default | None = None
    ) -> str | _Default | None:
        """Return the combined value, or ``default`` where there is none."""
        # Mapping's own ``get`` goes through __getitem__ and a KeyError: 4x slower for
        # an absent field.
        index = self._index
        if index is None:
            index = self._build_index()
        return index.get(name.lower(), default)

    def index(self) -> Mapping[str, str]:
        """Return the combined values by lower-case name; they cannot be changed.

        For several lookups: 25 ns each, not 90.
        """
        index = self._index
        return self._build_index() if index is None else index

    def get_all(self, name: str) -> list[str]:
        """Return each value of ``name`` in the order of its field lines."""
        lowered = name.lower()
        # From the pairs and not the index, which has joined them: a comma is part of
        # some values (Set-Cookie's Expires, RFC 9110 section 5.3).
        return [value for known, value in self._pairs if known == lowered]

    def __contains__(self, name: object) -> bool:
        index = self._index
        if index is None:
            index = self._build_index()
        return isinstance(name, str) and name.lower() in index

    def __iter__(self) -> Iterator[str]:
        return iter(self._index or self._build_index())

    def __len__(self) -> int:
        return len(self._index or self._build_index())

    def __repr__(self) -> str:
        return f"Headers({list(self._pairs)!r})"


# The descriptors of its own slots are the one way to fill them: 45 ns each.
_set_pairs: Any = Headers.__dict__["_pairs"].__set__
_set_index: Any = Headers.__dict__["_index"].__set__
_set_octets: Any = Headers.__dict__["octets"].__set__


# A cache that no peer can make useless


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class BoundedCache(Generic[_Key, _Value]):
    """A bounded cache of computed values, in two generations.

    When the recent generation is full, it becomes the former one and a new one begins;
    an entry that is still used moves over on its next use. So a peer that sends endless
    distinct keys costs one insertion each, and what others use survives as long as it
    is used once in ``capacity`` insertions. (A cache that stops when it is full is dead
    for ever after ``capacity`` junk keys; one that is cleared when it is full forgets
    everything at each turn.)

    A lookup reads ``recent`` and, on a miss, calls ``recall``: two steps, since a hot
    path needs only the first.

    Args:
        capacity: Keys of one generation; at most twice as many are kept.
    """

    __slots__ = ("_former", "capacity", "recent")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.recent: dict[_Key, _Value] = {}
        self._former: dict[_Key, _Value] = {}

    def recall(self, key: _Key) -> _Value | None:
        """Return an entry of the former generation, and move it into the recent one."""
        value = self._former.get(key)
        if value is not None:
            self.keep(key, value)
        return value

    def keep(self, key: _Key, value: _Value) -> None:
        """Store a value; when this generation is full, the former one is dropped."""
        # Two dicts are exchanged, and no entry is removed: an eviction by age would
        # cost a look at each use.
        if len(self.recent) >= self.capacity:
            self._former = self.recent
            self.recent = {}
        self.recent[key] = value

    def clear(self) -> None:
        """Remove everything."""
        self.recent = {}
        self._former = {}

    def __len__(self) -> int:
        return len(self.recent.keys() | self._former.keys())


# Field lines: RFC 9112 section 5


# Content-Length and Transfer-Encoding frame the message (RFC 9112 section 6), Host says
# for whom it is (RFC 9110 section 7.2), the others what becomes of the connection.
# Keep-Alive counts in responses only.
DECIDING_NAMES: Final = frozenset(
    (
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "expect",
        "upgrade",
        "keep-alive",
    )
)
"""Fields that decide how a message is framed, and who is asked."""

Field = tuple[tuple[str, str], bool]
"""Lower-case name and value of a line, and whether it is of ``DECIDING_NAMES``."""

SHARED_NAMES: Final = frozenset(
    """
    accept accept-charset accept-encoding accept-language accept-ranges
    access-control-allow-origin access-control-request-headers
    access-control-request-method age alt-svc cache-control connection
    content-encoding content-language content-length content-type date dnt
    expect host keep-alive max-forwards origin pragma priority save-data
    sec-ch-ua sec-ch-ua-arch sec-ch-ua-bitness
    sec-ch-ua-full-version-list sec-ch-ua-mobile sec-ch-ua-model
    sec-ch-ua-platform sec-ch-ua-platform-version sec-fetch-dest
    sec-fetch-mode sec-fetch-site sec-fetch-user sec-gpc
    sec-websocket-extensions sec-websocket-version server
    strict-transport-security te trailer transfer-encoding upgrade
    upgrade-insecure-requests user-agent vary x-content-type-options
    x-forwarded-host x-forwarded-port x-forwarded-proto x-frame-options
    x-powered-by x-requested-with
    """.split()  # noqa: SIM905 - a table reads better as text
)
_LONGEST_CACHED_BYTES: Final = 256

# Two generations of 1,024 lines: at most 2,048 lines of 256 octets a process. A line
# found here takes 0.03 us, one that must be read 0.5.
cached_lines: Final[BoundedCache[bytes, Field]] = BoundedCache(1024)

# Names as sent to lower-case names. A name is no secret; 64 octets bound it.
_cached_names: Final[BoundedCache[bytes, str]] = BoundedCache(512)
_LONGEST_NAME_BYTES: Final = 64


def read_field_line(line: bytes) -> Field:
    """Read one field line, without its CRLF, and cache it where that is safe.

    Raises:
        RemoteProtocolError: The peer's fault; 400. RFC 9112 sections 5.1 (space before
            the colon) and 5.2 (obs-fold), RFC 9110 section 5.5; for a Host also RFC
            9112 section 3.2.
    """
    known = cached_lines.recall(line)
    if known is not None:
        return known
    pair = parse_field_line(line)
    name, value = pair
    decides = name in DECIDING_NAMES
    # An empty Host is allowed: RFC 9112 section 3.2, for a target without authority.
    if decides and name == "host" and value and not is_host(value):
        raise RemoteProtocolError(f"malformed Host: {quote(value)}")
    field = pair, decides
    # By name, not by value: whether a value is a secret cannot be seen from it.
    if name in SHARED_NAMES and len(line) <= _LONGEST_CACHED_BYTES:
        cached_lines.keep(line, field)
    return field


def parse_field_line(line: bytes) -> tuple[str, str]:
    """Split one field line, without its CRLF, into lower-case name and value.

    Raises:
        RemoteProtocolError: The peer's fault; 400.
    """
    # Hot: runs for each line that was not cached; see tests/bench/wire_parser.py.
    raw_name, colon, rest = line.partition(b":")
    name = _cached_names.recent.get(raw_name)
    if name is None:
        name = _read_name(raw_name, line)
    # OWS around a value is not part of it (RFC 9112 section 5.1). Latin-1 maps each
    # octet to one character, so nothing is lost before somebody who knows the charset
    # looks at it.
    value = str(rest, "latin-1").strip(" \t")
    # For ASCII, isprintable is 0x20 to 0x7E: 3x faster than the pattern for 12 octets,
    # 0.7x for 400. HTAB and obs-text need the pattern.
    is_plain = value.isascii() and value.isprintable()
    if not colon or not (is_plain or FIELD_VALUE.fullmatch(value)):
        _refuse_field_line(line)
    return name, value


def _read_name(raw_name: bytes, line: bytes) -> str:
    kept = _cached_names.recall(raw_name)
    if kept is not None:
        return kept
    name = str(raw_name, "latin-1")
    # Also the name with a blank before its colon: RFC 9112 section 5.1 demands 400, as
    # proxies differ in whether they strip it, and thus in which field it is.
    if TOKEN.fullmatch(name) is None:
        _refuse_field_line(line)
    name = name.lower()
    if len(name) <= _LONGEST_NAME_BYTES:
        _cached_names.keep(raw_name, name)
    return name


def _refuse_field_line(line: bytes) -> NoReturn:
    """Raise the error of a malformed line; never with a value: maybe a secret."""
    raw_name, colon, _ = line.partition(b":")
    name = str(raw_name, "latin-1")
    # Section 5.2: a server must reject obs-fold, or replace it. Rejected, since what is
    # one value to us may be two fields to somebody in front.
    if line[:1] in (b" ", b"\t"):
        message = "a line folded or begun by whitespace (obs-fold)"
    elif not colon:
        message = f"field line without a colon: {quote(raw_name, 32)}"
    elif name != name.rstrip(" \t"):
        message = f"whitespace before the colon of field {quote(name)}"
    elif TOKEN.fullmatch(name) is None:
        message = f"malformed field name {quote(name)}"
    else:
        message = f"control octet in the value of field {quote(name)}"
    raise RemoteProtocolError(message)


NO_HEADERS = Headers([])
"""Shared by all messages without fields."""
