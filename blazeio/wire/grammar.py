"""The grammar of RFC 9110 and RFC 9112: patterns, targets, request lines, field lines.

Every quantifier that could backtrack is possessive (``[..]*+``) or in an atomic
group (``(?>(?:..)*)``): a peer cannot choose octets on which matching takes more
than linear time. A possessive *group*, ``(?:..)*+``, is never written: before
3.11.5 Python keeps what a failed last round has consumed, and takes ``5;`` for a
chunk line. Patterns on octets are for what is read line by line; patterns on ``str``
are for values that were already decoded.

A peer repeats its fields in each message, so a line is validated once and cached. A
cache that all connections share must never hold one client's secret: so only lines of
names in ``SHARED_NAMES`` are cached, whose values are by their nature the same for many
messages. Authorization, Cookie, Referer, X-Api-Key, Sec-WebSocket-Protocol (where
browsers have to put a token) and every name that is not listed is read anew each time.
"""

import re
from typing import Final, Generic, NamedTuple, NoReturn, TypeVar
from urllib.parse import unquote

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits

# RFC 9110 section 5.6.2: token = 1*tchar
TCHAR: Final = r"!#$%&'*+\-.^_`|~0-9A-Za-z"
TOKEN: Final = re.compile(rf"[{TCHAR}]++")

# RFC 9110 section 5.5. VCHAR, obs-text, SP and HTAB; everything that could
# end a line or a C string (CR, LF, NUL) and the other controls are left out,
# although the RFC lets a recipient keep those within a safe context.
_VALUE_OCTETS: Final = r"\t\x20-\x7e\x80-\xff"
FIELD_VALUE: Final = re.compile(rf"[{_VALUE_OCTETS}]*+")

# RFC 9112 section 2.3: HTTP-version = "HTTP/" DIGIT "." DIGIT
# One digit each, and in upper case: HTTP-name is case-sensitive.
VERSION: Final = re.compile(r"HTTP/([0-9])\.([0-9])")

# RFC 9110 section 8.6. 18 digits are 1 EB: nothing real is larger, and no integer of a
# consumer behind us overflows.
CONTENT_LENGTH: Final = re.compile(r"[0-9]{1,18}+")

# RFC 3986 section 3.2.2, without errata; checked against ``ipaddress`` in the
# tests. A zone identifier is never sent in a request (RFC 6874 section 4).
_H16: Final = r"[0-9A-Fa-f]{1,4}"
_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_LS32: Final = rf"(?:{_H16}:{_H16}|{_OCTET}(?:\.{_OCTET}){{3}})"
_IPV6: Final = "|".join(
    (
        rf"(?:{_H16}:){{6}}{_LS32}",
        rf"::(?:{_H16}:){{5}}{_LS32}",
        rf"(?:{_H16})?::(?:{_H16}:){{4}}{_LS32}",
        rf"(?:(?:{_H16}:){{0,1}}{_H16})?::(?:{_H16}:){{3}}{_LS32}",
        rf"(?:(?:{_H16}:){{0,2}}{_H16})?::(?:{_H16}:){{2}}{_LS32}",
        rf"(?:(?:{_H16}:){{0,3}}{_H16})?::{_H16}:{_LS32}",
        rf"(?:(?:{_H16}:){{0,4}}{_H16})?::{_LS32}",
        rf"(?:(?:{_H16}:){{0,5}}{_H16})?::{_H16}",
        rf"(?:(?:{_H16}:){{0,6}}{_H16})?::",
    )
)
_UNRESERVED: Final = r"A-Za-z0-9\-._~"
_IPV_FUTURE: Final = rf"[vV][0-9A-Fa-f]++\.[{_UNRESERVED}!$&'()*+,;=:]++"
# reg-name without "," (two Host fields that were joined look like a list) and not
# empty: the empty host is decided in ``parse_target``.
_REG_NAME: Final = rf"(?>(?:[{_UNRESERVED}!$&'()*+;=]|%[0-9A-Fa-f]{{2}})+)"

# RFC 9110 section 7.2: Host = uri-host [ ":" port ]
# RFC 9112 section 3.2.3: authority-form = uri-host ":" port
HOST: Final = re.compile(
    rf"(?:\[(?:{_IPV6}|{_IPV_FUTURE})\]|{_REG_NAME})(?::([0-9]*+))?"
)

# RFC 9112 section 7.1: chunk-size [ chunk-ext ]. BWS, which must be accepted
# (RFC 9110 section 5.6.3), is allowed only where the ABNF names it.
_BWS: Final = r"[ \t]*+"
_QUOTED: Final = (
    r'"(?>(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*)"'
)
_EXTENSION: Final = (
    rf"{_BWS};{_BWS}[{TCHAR}]++(?>(?:{_BWS}={_BWS}(?:[{TCHAR}]++|{_QUOTED}))?)"
)
CHUNK_LINE: Final = re.compile(
    rf"([0-9A-Fa-f]{{1,16}}+)((?>(?:{_EXTENSION})*))".encode("ascii")
)


def quote(octets: bytes | str, limit: int = 64) -> str:
    """Show peer-controlled octets in an error text, at most ``limit`` of them."""
    shown = repr(octets[:limit])
    return f"{shown}..." if len(octets) > limit else shown


def has_bare_line_end(octets: bytes, start: int) -> bool:
    """Tell whether a CR without LF or an LF without CR is at ``start`` or after.

    RFC 9112 section 2.2. A CR at the very end may still become a line end; a CR just
    before ``start`` counts as one half of it. Three counts instead of a pattern with
    lookbehind: 9x faster (64 KiB: 0.08 ms, not 0.75).
    """
    before = max(start - 1, 0)
    pairs = octets.count(b"\r\n", before)
    return not (
        pairs
        == octets.count(b"\n", start)
        == octets.count(b"\r", before, max(len(octets) - 1, before))
    )


# Request targets (RFC 9112 section 3.2) and Host


_MAX_PORT = 65_535


class Target(NamedTuple):
    """A request target, taken apart.

    Attributes:
        path: Percent-decoded; ``"*"`` for the asterisk-form, ``""`` for the
            authority-form.
        query: As sent, without its ``?``.
        authority: ``host[:port]`` of the absolute- and authority-form, which
            then overrides the Host field (RFC 9112 section 3.3).
    """

    path: str
    query: str
    authority: str | None


def decode_path(raw: str) -> str:
    """Percent-decode a path as UTF-8.

    Lenient, since the framing does not depend on it: a truncated or non-hex escape
    stays as it is, octets that are not UTF-8 become U+FFFD. Whoever opens files has to
    check for NUL, ``/`` and ``..``.
    """
    return unquote(raw) if "%" in raw else raw


def is_host(value: str) -> bool:
    """Tell whether ``value`` is ``uri-host [ ":" port ]`` and not empty.

    RFC 9110 section 7.2, RFC 3986 section 3.2.2: no userinfo, no list.
    """
    match = HOST.fullmatch(value)
    if match is None:
        return False
    port = match[1]
    return not port or (len(port) <= 5 and int(port) <= _MAX_PORT)


def parse_target(method: str, target: str) -> Target:
    """Split a request target, and check that its form fits the method.

    Args:
        method: As sent; methods are case-sensitive.
        target: Not empty, visible ASCII only.

    Raises:
        RemoteProtocolError: The peer's fault; 400.
    """
    # RFC 9112 section 3.2.3: authority-form is for CONNECT alone, and CONNECT has no
    # other. So the method is looked at before the target.
    if method == "CONNECT":
        return _parse_authority_form(target)
    if target.startswith("/"):
        raw, _, query = target.partition("?")
        return Target(decode_path(raw), query, None)
    # RFC 9112 section 3.2.4: the asterisk-form is for OPTIONS about the server as a
    # whole.
    if target == "*":
        if method != "OPTIONS":
            message = f"target '*' is only for OPTIONS, not for {method}"
            raise RemoteProtocolError(message)
        return Target("*", "", None)
    return _parse_absolute_form(target)


def _parse_authority_form(target: str) -> Target:
    """Parse ``host:port``: RFC 9112 section 3.2.3.

    An empty or invalid port is refused (RFC 9110 section 9.3.6).
    """
    # A last digit alone would be satisfied by ``127.0.0.1``, a colon alone by
    # ``host:``.
    if not is_host(target) or not target[-1].isdigit() or ":" not in target:
        message = f"CONNECT needs host:port as its target, got {quote(target)}"
        raise RemoteProtocolError(message)
    return Target("", "", target)


def _parse_absolute_form(target: str) -> Target:
    """Parse a URI of http or https: RFC 9112 section 3.2.2.

    Userinfo is refused as RFC 9110 section 4.2.4 advises, an empty host as its section
    4.2.1 requires; ``is_host`` does not check either.
    """
    scheme, separator, rest = target.partition("://")
    # RFC 3986 section 3.1: a scheme is case-insensitive. Any other one is a request to
    # a proxy for another protocol, which this server is not.
    if not separator or scheme.lower() not in ("http", "https"):
        message = f"target is neither a path nor an http URI: {quote(target)}"
        raise RemoteProtocolError(message)
    before_query, _, query = rest.partition("?")
    # The query is cut off first: its octets may hold a slash, and a URI may have a
    # query without a path (``http://host?q``, RFC 3986 section 3).
    authority, slash, path = before_query.partition("/")
    if not is_host(authority):
        message = f"bad authority in the target: {quote(authority)}"
        raise RemoteProtocolError(message)
    return Target(decode_path(slash + path) or "/", query, authority)


# Request lines (RFC 9112 section 3)


# Methods that need no check of their own: they are tokens, and use origin-form.
USUAL_METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
)
# RFC 9112 section 3: a method longer than any that we implement is 501. The longest
# registered one, UPDATEREDIRECTREF, has 17 octets.
_METHOD_BYTES: Final = 32
_PARTIAL_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}+(?: |\Z)")


def parse_request_line(line: bytes, limits: Limits) -> tuple[str, str, int]:
    """Split a request line into method, target and minor version.

    RFC 9112 section 3: exactly one SP between them, nothing around them.

    Args:
        line: Without its CRLF.
        limits: ``target_bytes``.

    Raises:
        RemoteProtocolError: The peer's fault; 400, 414, 501 or 505.
    """
    # Hot: runs once per request whose head is not known as a whole.
    try:
        # str.split beats a regex with four groups by 1.2x.
        method, target, version = line.decode("ascii").split(" ")
    except ValueError:
        message = f"malformed request line {quote(line)}"
        raise RemoteProtocolError(message) from None
    minor = 1 if version == "HTTP/1.1" else _parse_minor(version)
    if method not in USUAL_METHODS:
        check_method(method)
    # isprintable of ASCII is 0x20 to 0x7E, and the split has left no 0x20.
    if not target.isprintable() or "#" in target or len(target) > limits.target_bytes:
        _refuse_target(target, limits)
    return method, target, minor


def check_method(method: str) -> None:
    """Refuse a method that is not a token (400), or longer than any real one (501).

    Raises:
        RemoteProtocolError: The peer's fault.
    """
    if TOKEN.fullmatch(method) is None:
        raise RemoteProtocolError(f"malformed method {quote(method)}")
    if len(method) > _METHOD_BYTES:
        raise RemoteProtocolError(f"method too long: {quote(method)}", 501)


def _parse_minor(version: str) -> int:
    """Parse the version: RFC 9112 section 2.3.

    A higher minor version is served as 1 (RFC 9110 section 2.5).
    """
    match = VERSION.fullmatch(version)
    if match is None:
        raise RemoteProtocolError(f"malformed HTTP version {quote(version)}")
    if match[1] != "1":
        message = f"{version} is not spoken here"
        raise RemoteProtocolError(message, 505)
    return 0 if match[2] == "0" else 1


def judge_partial_line(octets: bytes, limits: Limits, start: int) -> None:
    """Check a request line whose end has not arrived yet.

    Args:
        octets: What was received.
        limits: ``target_bytes``.
        start: Offset of the line.

    Raises:
        RemoteProtocolError: No octets that may follow can make it right; the peer's
            fault.
    """
    if octets.startswith(b"\r", start):
        return  # the first half of an empty line; else a bare CR, which is found later
    if start == len(octets):
        return
    # With one octet more than the longest method: it must be the space behind it.
    if _PARTIAL_METHOD.match(octets, start) is None:
        check_method(str(octets[start : start + _METHOD_BYTES + 1], "latin-1"))
    target_start = octets.find(b" ", start) + 1
    if not target_start:
        return
    target_end = octets.find(b" ", target_start)
    if target_end < 0:
        if len(octets) - target_start > limits.target_bytes:
            _refuse_target(str(octets[target_start:], "latin-1"), limits)
    # More octets behind the target than any version has: no line end can make this
    # right.
    elif len(octets) - target_end > len(" HTTP/1.1\r"):
        line = octets[start : target_end + 16]
        raise RemoteProtocolError(f"malformed request line {quote(line)}")


def _refuse_target(target: str, limits: Limits) -> NoReturn:
    if len(target) > limits.target_bytes:
        message = f"target longer than {limits.target_bytes} octets"
        raise RemoteProtocolError(message, 414)
    # "#" never belongs to a request target (RFC 9112 section 3.2). Other characters
    # outside of RFC 3986, such as |, { and ", are allowed: browsers send them unescaped
    # in a query (WHATWG URL, query percent-encode set).
    raise RemoteProtocolError(f"malformed target {quote(target)}")


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
