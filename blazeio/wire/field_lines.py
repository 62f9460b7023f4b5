"""Field lines: RFC 9112 section 5; and the cache that keeps what was read of them.

A peer repeats its fields in each message, so a line is validated once and cached. A
cache that all connections share must never hold one client's secret: so only lines of
names in ``SHARED_NAMES`` are cached, whose values are by their nature the same for many
messages. Authorization, Cookie, Referer, X-Api-Key, Sec-WebSocket-Protocol (where
browsers have to put a token) and every name that is not listed is read anew each time.
"""

from typing import Final, Generic, NoReturn, TypeVar

from blazeio.errors import RemoteProtocolError
from blazeio.wire.grammar import FIELD_VALUE, TOKEN, is_host, quote

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
