"""What heads have in common: header sections, and what they decide; response heads.

``read_field_lines`` reads and checks the lines of a section; ``read_directives``
derives host, framing, persistence and upgrade of a request from them, in one place, so
that no later code looks at those fields again. The results for lines that many requests
share are cached.

Private lines are never cached, but cut out of a head and put back. They differ from
client to client, or from request to request: a head is found in a cache by what is left
without them.

Response heads are parsed as request heads are (``request``), by the same reader and as
strictly: bare LF, whitespace before a colon and conflicting lengths are refused.
Deviations of servers that have only one meaning are accepted: a status line without the
SP before an empty reason phrase, a status code of an unknown class (600 to 999; RFC
9110 section 15 has it treated as 500), and a field over several lines (obs-fold), whose
line ends are blanks to a user agent by RFC 9112 section 5.2. Framing is decided after
unfolding, so a fold cannot hide it. A head that is not whole is checked as well, so
that a server that does not speak HTTP is noticed at its first octets and not at a
deadline.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire import SharedRecord
from blazeio.wire.framing import parse_content_length, parse_transfer_encoding
from blazeio.wire.grammar import (
    VERSION,
    BoundedCache,
    cached_lines,
    has_bare_line_end,
    quote,
    read_field_line,
)
from blazeio.wire.headers import Headers

# What the fields of a request decide: host, framing, persistence, upgrade
#
# Those of a response stand below, before its head.


DecidingPairs = tuple[tuple[str, str], ...]
ValuesOf = Callable[[str, Sequence[str]], Sequence[str]]
"""Returns the values of a field, or the default."""


# The collector need not walk over those that the cache holds: instances refer to
# texts and numbers alone.
class Directives(SharedRecord, frozen=True):
    """Attributes as in ``RequestHead``."""

    host: str | None
    content_length: int | None
    is_chunked: bool
    is_persistent: bool
    expects_continue: bool
    upgrade: str | None


_LONGEST_VALUES_BYTES: Final = 512

# For HTTP/1.1. Most requests of a site have the same Host and Connection even where
# their Cookies differ: 0.15 us instead of 0.9. None of these fields is secret.
cached_directives: Final[BoundedCache[DecidingPairs, Directives]] = BoundedCache(256)


def read_directives(pairs: DecidingPairs, minor: int) -> Directives:
    """Derive what the fields of ``DECIDING_NAMES`` decide.

    Args:
        pairs: Names and values of those fields, in order.
        minor: The minor version of HTTP/1.x.

    Raises:
        RemoteProtocolError: The peer's fault; 400, 413, 417 or 501.
    """
    directives = cached_directives.recall(pairs) if minor else None
    if directives is None:
        directives = _decide(pairs, minor)
        # Bounded by its octets as well as by its count: a peer chooses the values of
        # the key.
        if minor and sum(len(value) for _, value in pairs) <= _LONGEST_VALUES_BYTES:
            cached_directives.keep(pairs, directives)
    return directives


def _decide(pairs: DecidingPairs, minor: int) -> Directives:
    values_of = group_values(pairs).get
    length, is_chunked = read_framing(values_of, minor)
    options = split_list(values_of("connection", ()))
    host = _decide_host(values_of("host", ()), minor)
    # RFC 9110 section 10.1.1: ignored in HTTP/1.0; nothing to continue where no content
    # follows.
    is_asked = minor > 0 and _asks_to_continue(values_of("expect", ()))
    # RFC 9110 section 7.8: ignored in HTTP/1.0 and without the connection option.
    may_upgrade = minor > 0 and "upgrade" in options
    return Directives(
        host=host,
        content_length=length,
        is_chunked=is_chunked,
        is_persistent=decide_persistence(options, minor),
        expects_continue=is_asked and (is_chunked or bool(length)),
        upgrade=(may_upgrade and ", ".join(values_of("upgrade", ()))) or None,
    )


def group_values(pairs: DecidingPairs) -> dict[str, list[str]]:
    """Group all values by name, in order."""
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def read_framing(values_of: ValuesOf, minor: int) -> tuple[int | None, bool]:
    """Return the declared length, if there is one, and whether content is chunked.

    Raises:
        RemoteProtocolError: The peer's fault; 400, 413 or 501.
    """
    length = parse_content_length(values_of("content-length", ()))
    is_chunked = parse_transfer_encoding(values_of("transfer-encoding", ()), minor)
    # The classic of request smuggling (CL.TE): which of the two a proxy in front goes
    # by, nobody here can know.
    if is_chunked and length is not None:
        # RFC 9112 section 6.1 allows a server to answer and close; but a client that
        # sends both is broken, or smuggles a request.
        raise RemoteProtocolError("both Content-Length and Transfer-Encoding")
    return length, is_chunked


def _decide_host(values: Sequence[str], minor: int) -> str | None:
    """Return the Host: exactly one in HTTP/1.1, at most one in 1.0."""
    # RFC 9112 section 3.2: 400 for none and for more than one; a proxy that routes by
    # the first would be passed by with the second.
    if len(values) > 1:
        raise RemoteProtocolError("more than one Host")
    if values:
        return values[0]
    if minor:
        raise RemoteProtocolError("HTTP/1.1 request without Host")
    return None


def split_list(values: Sequence[str]) -> list[str]:
    """Split a list over several lines, in lower case: RFC 9110 section 5.6.1."""
    if not values:
        return []
    # Empty elements are kept: RFC 9110 section 5.6.1.2 has a recipient ignore them,
    # which each caller does in its own way.
    return [part.strip(" \t") for part in ",".join(values).lower().split(",")]


def decide_persistence(options: list[str], minor: int) -> bool:
    """Decide persistence by RFC 9112 section 9.3: close wins; 1.0 needs keep-alive."""
    return "close" not in options and (minor > 0 or "keep-alive" in options)


def _asks_to_continue(values: Sequence[str]) -> bool:
    """Tell whether Expect is 100-continue; anything else is 417."""
    expectations = [part for part in split_list(values) if part]
    for expectation in expectations:
        if expectation != "100-continue":
            # RFC 9110 section 10.1.1: a server that cannot meet it may answer 417.
            message = f"unknown expectation {quote(expectation)}"
            raise RemoteProtocolError(message, 417)
    return bool(expectations)


LONGEST_CACHED_BYTES: Final = 1024
"""Longer sections are not cached."""


class HeaderSection(SharedRecord, frozen=True):
    """A validated header section.

    Attributes:
        headers: All its fields.
        directives: What they decide.
        limits: The limits that it was checked against.
    """

    headers: Headers
    directives: Directives
    limits: Limits


# Whole header sections of HTTP/1.1 requests, without the request line. Cached only
# where each line was already cached, so never a secret, and never a section that is
# seen for the first time. A browser's 13 fields: 0.2 us instead of 2.0.
cached_sections: Final[BoundedCache[bytes, HeaderSection]] = BoundedCache(256)


def read_header_section(octets: bytes, minor: int, limits: Limits) -> HeaderSection:
    """Read the field lines of a request, and derive what they decide.

    Args:
        octets: From after the request line to before the CRLFCRLF that ends the head;
            empty where there are no fields.
        minor: The minor version of HTTP/1.x.
        limits: ``field_count``, ``field_bytes``.

    Raises:
        RemoteProtocolError: The peer's fault; 400, 413, 417, 431 or 501.
    """
    # Hot: runs for each head whose section was not cached.
    if minor:
        kept = cached_sections.recall(octets)
        # By identity: two servers of one process may have different limits, and what
        # one of them has accepted must not pass the other.
        if kept is not None and kept.limits is limits:
            return kept
    pairs, key, is_known = read_field_lines(octets, limits)
    directives = cached_directives.recent.get(key) if minor else None
    if directives is None:
        directives = read_directives(key, minor)
    section = HeaderSection(Headers(pairs), directives, limits)
    # Not of HTTP/1.0, where the same fields decide otherwise (persistence, Host).
    if is_known and minor and len(octets) <= LONGEST_CACHED_BYTES:
        cached_sections.keep(octets, section)
    return section


def read_field_lines(
    octets: bytes, limits: Limits
) -> tuple[list[tuple[str, str]], DecidingPairs, bool]:
    """Read the field lines of a head.

    Args:
        octets: From after the start line to before the CRLFCRLF.
        limits: ``field_count``, ``field_bytes``.

    Returns:
        All names and values; those of ``DECIDING_NAMES``; whether each line was cached,
        so that none is a secret.

    Raises:
        RemoteProtocolError: The peer's fault; 400 or 431.
    """
    lines = octets.split(b"\r\n") if octets else []
    _check_limits(octets, lines, limits)
    known = cached_lines.recent
    pairs: list[tuple[str, str]] = []
    deciding: list[tuple[str, str]] = []
    is_known = True
    for line in lines:
        field = known.get(line)
        if field is None:
            is_known = False
            field = read_field_line(line)
        pair, decides = field
        pairs.append(pair)
        if decides:
            deciding.append(pair)
    return pairs, tuple(deciding), is_known


def _check_limits(octets: bytes, lines: list[bytes], limits: Limits) -> None:
    # Each line costs us an object, also an empty one: a count, besides the octets.
    if len(lines) > limits.field_count:
        message = f"{len(lines)} fields, at most {limits.field_count} are read"
        raise RemoteProtocolError(message, 431)
    if len(octets) <= limits.field_bytes:
        return
    for line in lines:
        if len(line) > limits.field_bytes:
            message = f"field line of {len(line)} octets"
            raise RemoteProtocolError(message, 431)


# Private lines
#
# How they begin is searched as browsers and most clients write it; and as node does,
# and proxies from HTTP/2. A line that begins in another way is no harm: then no section
# with it is cached.


COOKIE_MARK: Final = b"\r\nCookie: "
AUTHORIZATION_MARK: Final = b"\r\nAuthorization: "
_MARKS: Final = (
    (COOKIE_MARK, "cookie"),
    (AUTHORIZATION_MARK, "authorization"),
    (b"\r\nReferer: ", "referer"),
    (b"\r\nX-Forwarded-For: ", "x-forwarded-for"),
)
_LOWER_MARKS: Final = tuple((mark.lower(), name) for mark, name in _MARKS)
PRIVATE_MARKS: Final = tuple(mark for mark, _ in (*_MARKS, *_LOWER_MARKS))
_HOST_MARK: Final = b"\r\nHost: "

Cut = tuple[int, str, bytes]
"""A line that was cut out: how many fields stood before it, in what it was cut out of;
its name, in lower case; and its value."""


def choose_marks(octets: bytes) -> Sequence[tuple[bytes, str]]:
    """Return how private lines may begin in a head, each with its name."""
    # Each is searched, which takes 0.06 us: so not all of them.
    return _MARKS if _HOST_MARK in octets else _LOWER_MARKS


def cut_line(octets: bytes, at: int, mark: bytes, name: str, cuts: list[Cut]) -> bytes:
    """Return a head without one line, and append that to ``cuts``.

    Args:
        octets: The whole head.
        at: Where the line begins, with the CRLF before it.
        mark: What it begins with.
        name: Its name, in lower case.
        cuts: What was cut out before.
    """
    line_end = octets.find(b"\r\n", at + 2)
    place = octets.count(b"\r\n", 0, at)
    cuts.append((place, name, octets[at + len(mark) : line_end]))
    return octets[:at] + octets[line_end:]


def put_back(headers: Headers, cuts: list[Cut], limits: Limits) -> Headers | None:
    """Return the fields with those that were cut out, each at its place.

    Args:
        headers: The others.
        cuts: In the order in which they were cut out.
        limits: ``field_count``, ``field_bytes``.

    Returns:
        None where something is wrong with them, or they are beyond the limits.
    """
    pairs = headers.as_tuple()
    # Backwards, since each place was counted in what was left by the cuts before it.
    for place, name, octets in reversed(cuts):
        value = str(octets, "latin-1").strip(" \t")
        # Left to the general way, which knows HTAB and obs-text, and has the words for
        # what is wrong.
        if not (value.isascii() and value.isprintable()):
            return None
        if len(name) + len(": ") + len(octets) > limits.field_bytes:
            return None
        pairs = (*pairs[:place], (name, value), *pairs[place:])
    return Headers(pairs) if len(pairs) <= limits.field_count else None


# The head as values


class ResponseHead(SharedRecord, frozen=True):
    """A validated response head.

    ``parse_response_head`` makes it. One object may serve many equal responses: it
    cannot be changed.

    Attributes:
        status: 100 to 999; from 600 on it is to be treated as 500.
        reason: As sent, latin-1; often empty.
        minor: 0 or 1 of HTTP/1.x; higher versions are taken for 1.
        headers: All fields, in order.
        content_length: In octets; None where none was sent.
        is_chunked: The content is framed by the chunked transfer coding.
        is_persistent: The server allows the connection to be used again (RFC 9112
            section 9.3).
        upgrade: The value of Upgrade; None in HTTP/1.0 and without ``Connection:
            upgrade``.
        keep_alive_s: How long the server keeps an idle connection; None where it does
            not say.
        size: Octets of the head, with the empty line.
        limits: The limits that it was checked against.
    """

    status: int
    reason: str
    minor: int
    headers: Headers
    content_length: int | None
    is_chunked: bool
    is_persistent: bool
    upgrade: str | None
    keep_alive_s: int | None
    size: int
    limits: Limits

    def __repr__(self) -> str:
        return f"<ResponseHead HTTP/1.{self.minor} {self.status} {self.reason}>"


# What the fields of a response decide: framing, persistence, upgrade


# RFC 2068 section 19.7.1.1, in use everywhere: Keep-Alive: timeout=5, max=100
_KEEP_ALIVE_TIMEOUT: Final = re.compile(r"timeout[ \t]*=[ \t]*([0-9]{1,6})")


class ResponseDirectives(SharedRecord, frozen=True):
    """Attributes as in ``ResponseHead``."""

    content_length: int | None
    is_chunked: bool
    is_persistent: bool
    upgrade: str | None
    keep_alive_s: int | None


def decide_response(pairs: DecidingPairs, minor: int) -> ResponseDirectives:
    """Derive what the fields of a response decide.

    As strict as for a request: a repeated Content-Length, or one beside
    Transfer-Encoding, is how a response is split where two of its recipients differ
    (RFC 9112 sections 6.3 and 11.1).

    Args:
        pairs: Names and values of the fields of ``DECIDING_NAMES``, in order.
        minor: The minor version of HTTP/1.x.

    Raises:
        RemoteProtocolError: The peer's fault.
    """
    values_of = group_values(pairs).get
    length, is_chunked = read_framing(values_of, minor)
    options = split_list(values_of("connection", ()))
    # RFC 9110 section 7.8: Upgrade counts only together with the connection option, and
    # not in HTTP/1.0.
    may_upgrade = minor > 0 and "upgrade" in options
    return ResponseDirectives(
        content_length=length,
        is_chunked=is_chunked,
        is_persistent=decide_persistence(options, minor),
        upgrade=(may_upgrade and ", ".join(values_of("upgrade", ()))) or None,
        keep_alive_s=_read_keep_alive(values_of("keep-alive", ())),
    )


def _read_keep_alive(values: Sequence[str]) -> int | None:
    for parameter in split_list(values):
        match = _KEEP_ALIVE_TIMEOUT.fullmatch(parameter)
        if match is not None:
            return int(match[1])
    return None


# RFC 9112 section 4: HTTP-version SP status-code SP [ reason-phrase ]
_STATUS_LINE: Final = re.compile(
    rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*+))?"
)
_START: Final = b"HTTP/1."
_OBS_FOLD: Final = re.compile(rb"\r\n[ \t]++")
# A reason phrase has no use (RFC 9112 section 4), so its length is bounded by less than
# the head's.
_LONGEST_LINE_BYTES: Final = 8 * 1024

# Heads by their octets, where each of their lines may be cached: never one with a
# Set-Cookie. A server's Date makes an entry last a second: 0.2 us instead of 3.
cached_response_heads: Final[BoundedCache[bytes, ResponseHead]] = BoundedCache(256)


def parse_response_head(
    octets: bytes, limits: Limits, scanned: int = 0
) -> ResponseHead | None:
    """Parse one response head, interim or final.

    Args:
        octets: What was received; may hold more than the head.
        limits: ``head_bytes``, ``field_count``, ``field_bytes``.
        scanned: Offset before which no end of head begins; 0 at first, then
            ``len(octets) - 3`` of the call that returned None.

    Returns:
        The head; what follows begins at its ``size``. None when more octets
        are needed.

    Raises:
        RemoteProtocolError: The server's fault. The connection is not reusable.

    Cost: O(head); copies each line once.
    """
    # Hot: runs once per response.
    end = octets.find(b"\r\n\r\n", scanned)
    if end < 0:
        _judge_partial_head(octets, limits, scanned)
        return None
    whole = octets[: end + 4]
    head = cached_response_heads.recent.get(whole)
    # Found by its octets, so its checks are the same, but for the limits.
    if head is not None and head.limits is limits:
        return head
    return _parse_whole(whole, limits)


def _parse_whole(whole: bytes, limits: Limits) -> ResponseHead:
    if len(whole) > limits.head_bytes:
        _refuse_size(limits)
    line, _, fields = whole[:-4].partition(b"\r\n")
    minor, status, reason = _parse_status_line(line)
    # RFC 9112 section 5.2: a user agent must replace each obs-fold by SP before the
    # value is interpreted. Two tests for substrings are cheaper than the pattern.
    if b"\r\n " in fields or b"\r\n\t" in fields:
        fields = _OBS_FOLD.sub(b" ", fields)
    pairs, deciding, is_known = read_field_lines(fields, limits)
    directives = decide_response(deciding, minor)
    head = ResponseHead(
        status=status,
        reason=reason,
        minor=minor,
        headers=Headers(pairs),
        content_length=directives.content_length,
        is_chunked=directives.is_chunked,
        is_persistent=directives.is_persistent,
        upgrade=directives.upgrade,
        keep_alive_s=directives.keep_alive_s,
        size=len(whole),
        limits=limits,
    )
    if is_known and len(whole) <= LONGEST_CACHED_BYTES:
        cached_response_heads.keep(whole, head)
    return head


def _parse_status_line(line: bytes) -> tuple[int, int, str]:
    if len(line) > _LONGEST_LINE_BYTES:
        _refuse_line_size()
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        # Told apart, since the remedy is another one: a server of HTTP/2 alone needs
        # ALPN or prior knowledge.
        version = VERSION.match(str(line, "latin-1"))
        if version is not None and version[1] != "1":
            raise RemoteProtocolError(f"{version[0]} is not spoken here")
        raise RemoteProtocolError(f"malformed status line {quote(line)}")
    # RFC 9110 section 2.5: a higher minor version is read as the highest one we know.
    minor = 0 if match[1] == b"0" else 1
    return minor, int(match[2]), str(match[3] or b"", "latin-1")


def _judge_partial_head(octets: bytes, limits: Limits, scanned: int) -> None:
    """Raise where no octets that may follow can make this a valid head."""
    # At the first octets: a server of another protocol (SSH, SMTP, TLS) may send no
    # CRLF at all, and would otherwise be noticed by the timeout only.
    if octets[:7] != _START[: len(octets)]:
        line = octets.partition(b"\r\n")[0]
        if VERSION.match(str(line, "latin-1")) is None:
            raise RemoteProtocolError(f"this is not HTTP: {quote(line)}")
        _parse_status_line(line)
    line_end = octets.find(b"\r\n")
    if line_end >= scanned:  # else it was checked by an earlier call
        _parse_status_line(octets[:line_end])
    elif line_end < 0 and len(octets) > _LONGEST_LINE_BYTES:
        _refuse_line_size()
    if has_bare_line_end(octets, scanned):
        raise RemoteProtocolError("bare CR or LF in the head")
    if len(octets) >= limits.head_bytes:
        _refuse_size(limits)


def _refuse_line_size() -> NoReturn:
    message = f"status line longer than {_LONGEST_LINE_BYTES} octets"
    raise RemoteProtocolError(message)


def _refuse_size(limits: Limits) -> NoReturn:
    raise RemoteProtocolError(f"head larger than {limits.head_bytes} octets")
