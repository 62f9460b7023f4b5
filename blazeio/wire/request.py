"""Request heads: octets in, a validated ``RequestHead`` out.

A client that sends the very octets that were read before (a poller, a health check, a
browser and its next image) is served from a cache. Else the end of the head is searched
once (``scanned`` lets a caller whose head arrives in pieces continue where the last
search ended, so that growth stays O(n)). A whole head is then split into its request
line and its header section. The section of a repeating client is found in a cache of
its own; else ``wire.fields`` reads it line by line. Anything but origin-form with a
usual method leaves the fast path early.

A head that is not whole is checked as well: a request line that is already wrong, a
line end that no later octet can repair, or more octets than the limits allow, are
refused at once and not at a deadline.

Where RFC 9112 leaves a choice between repair and refusal, we refuse: bare LF as a line
end (section 2.2), whitespace other than one SP in the request line (section 3),
obs-fold (section 5.2).
"""

import re
from typing import Final, NoReturn

from msgspec import Struct

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire.fields import cached_sections, read_header_section
from blazeio.wire.grammar import (
    TOKEN,
    VERSION,
    decode_path,
    has_bare_line_end,
    parse_target,
    quote,
)
from blazeio.wire.headers import NO_HEADERS, BoundedCache, Headers, parse_field_line

# The head as values


class RequestHead(Struct, frozen=True, eq=False, gc=False):
    """A validated request head; everything that framing needs is decided.

    ``parse_head`` makes it. One object may serve many equal requests, of many clients:
    it cannot be changed.

    Attributes:
        method: Case-sensitive, 1 to 32 octets.
        target: As sent, e.g. ``"/a%20b?c"``.
        path: Percent-decoded UTF-8, without the query. ``"*"`` for ``OPTIONS *``,
            ``""`` for CONNECT.
        query: As sent, without ``?``; ``""`` where there is none.
        minor: 0 or 1 of HTTP/1.x; higher versions are served as 1.
        headers: All fields, in order.
        host: ``host[:port]`` of the target where it has one, else of the Host field;
            ``""`` for an empty Host; None only in HTTP/1.0.
        content_length: In octets; None where none was sent.
        is_chunked: The content is framed by the chunked transfer coding.
        is_plain: It is HTTP/1.1, persistent and not HEAD: its response may be plain as
            well.
        is_persistent: The peer is ready to use the connection again (RFC 9112 section
            9.3).
        expects_continue: The peer holds its content back until it sees a 100. False in
            HTTP/1.0 and where no content follows.
        upgrade: The value of Upgrade; None in HTTP/1.0 and without ``Connection:
            upgrade``, where RFC 9110 section 7.8 wants it ignored.
        end: Offset just after the head in the octets that were parsed.
        limits: The limits that it was checked against.
    """

    method: str
    target: str
    path: str
    query: str
    minor: int
    headers: Headers
    host: str | None
    content_length: int | None
    is_chunked: bool
    is_plain: bool
    is_persistent: bool
    expects_continue: bool
    upgrade: str | None
    end: int
    limits: Limits

    def __repr__(self) -> str:
        return f"<RequestHead {self.method} {self.target} HTTP/1.{self.minor}>"


NO_HEAD = RequestHead(
    method="",
    target="",
    path="",
    query="",
    minor=1,
    headers=NO_HEADERS,
    host=None,
    content_length=None,
    is_chunked=False,
    is_plain=True,
    is_persistent=True,
    expects_continue=False,
    upgrade=None,
    end=0,
    limits=Limits(),
)
"""The blank record: where no head could be read, and between two requests."""


# RFC 9112 section 3: a method longer than any that we implement is 501. The longest
# registered one, UPDATEREDIRECTREF, has 17 octets.
_METHOD_BYTES: Final = 32
# RFC 9112 section 2.2: at least one empty line before the request line is ignored. Some
# clients send one CRLF after a POST; nobody sends more than four.
_EMPTY_LINES: Final = 4
# Methods that need no check of their own: they are tokens, and use origin-form.
USUAL_METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
)
# Heads by their octets, of HTTP/1.1 requests without content whose header section is
# cached, so never a secret of a field; nor one of a query. 0.1 us instead of 0.8.
cached_heads: Final[BoundedCache[bytes, RequestHead]] = BoundedCache(256)
LONGEST_CACHED_BYTES: Final = 1024

# How lines begin that differ from client to client, or from request to request, and so
# are never cached. As browsers and most clients write them; and as node does, and
# proxies from HTTP/2. Each is searched once.
COOKIE_MARK: Final = b"\r\nCookie: "
PRIVATE_MARKS: Final = (
    COOKIE_MARK,
    b"\r\nAuthorization: ",
    b"\r\nReferer: ",
    b"\r\nX-Forwarded-For: ",
    b"\r\ncookie: ",
    b"\r\nauthorization: ",
    b"\r\nreferer: ",
)
# A shorter head is parsed as fast as it is split; a longer one is read line by line.
SHORT_BYTES: Final = 192
_LONGEST_CUT_BYTES: Final = 8192
# A query begins within so many octets of the head, mostly.
_EARLY_BYTES: Final = 48

_PARTIAL_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}+(?: |\Z)")


def parse_head(
    octets: bytes, limits: Limits, start: int = 0, scanned: int = 0
) -> RequestHead | None:
    """Parse one request head.

    Args:
        octets: What was received; may hold more than the head.
        limits: ``target_bytes``, ``head_bytes``, ``field_count``,
            ``field_bytes``.
        start: Offset of the first octet of the head.
        scanned: Offset before which no end of head begins; 0 at first, then
            ``len(octets) - 3`` of the call that returned None.

    Returns:
        The head; its ``end`` is where the content or the next head begins.
        None when more octets are needed.

    Raises:
        RemoteProtocolError: The peer's fault; ``status_hint`` is 400, 413,
            414, 417, 431, 501 or 505. The connection is not reusable.

    Cost: O(head); copies each line once.
    """
    # Hot: runs once per request; see tests/bench/wire_parser.py.
    end = octets.find(b"\r\n\r\n", start if start > scanned else scanned)  # noqa: FURB136 - max() costs 0.08 us
    if end < 0:
        _judge_partial_head(octets, limits, start, scanned)
        return None
    received = octets
    if not start and end:
        if len(octets) != end + 4:  # content follows: the caches have heads alone
            octets = octets[: end + 4]
        if end < SHORT_BYTES or (at := octets.find(COOKIE_MARK)) < 0:
            head = cached_heads.recent.get(octets)
            if head is not None and head.limits is limits:
                return head
        else:
            head = _recall_around_cookie(octets, at, limits)
            if head is not None:
                return head
        if SHORT_BYTES <= end <= _LONGEST_CUT_BYTES:
            head = _parse_around_private(octets, limits)
            if head is not None:
                return head
    line, _, fields = octets[start:end].partition(b"\r\n")
    if not line:
        skipped = _skip_empty_lines(received, start)
        return parse_head(received, limits, skipped, scanned)
    return _parse_lines(line, fields, octets, end + 4, end + 4 - start, limits)


def _recall_around_cookie(octets: bytes, at: int, limits: Limits) -> RequestHead | None:
    """Find a head in the cache by what is left without its Cookie, which alone is read.

    A browser's 12 fields and a Cookie take 1.6 us, not 3.0.

    Args:
        octets: The head.
        at: Where the mark of its first Cookie begins.
        limits: As for ``parse_head``.
    """
    # Hot: runs for each head with a Cookie.
    line_end = octets.find(b"\r\n", at + 2)
    behind = octets[line_end:]
    value = str(octets[at + len(COOKIE_MARK) : line_end], "latin-1").strip(" \t")
    if not (value.isascii() and value.isprintable()):
        return None
    # A head with a query is never in the cache. Another "?" costs a little time.
    if octets.find(b"?", 0, _EARLY_BYTES) < 0:
        kept = cached_heads.recent.get(octets[:at] + behind)
        if kept is not None and kept.limits is limits:
            pairs = _put_cookie(kept.headers, value, octets, at, behind)
            return _with_fields(kept, pairs, len(octets), line_end - at - 2)
    return _recall_section(octets, at, line_end, behind, value, limits)


def _put_cookie(
    headers: Headers, value: str, octets: bytes, at: int, behind: bytes
) -> tuple[tuple[str, str], ...]:
    """Return the pairs of known fields with a Cookie at its place."""
    pairs = headers.as_tuple()
    if len(behind) == 4:  # it is the last field, as in browsers
        return (*pairs, ("cookie", value))
    place = octets.count(b"\r\n", 0, at)
    return (*pairs[:place], ("cookie", value), *pairs[place:])


def _recall_section(
    octets: bytes, at: int, line_end: int, behind: bytes, value: str, limits: Limits
) -> RequestHead | None:
    """Find all fields but a Cookie in the cache of sections; read the request line.

    With a query and a Cookie that differ each time, a browser's head takes 2.0 us, not
    4.0.

    Args:
        octets: The head.
        at: Where the mark of the Cookie begins.
        line_end: Where its line ends.
        behind: What follows its line, from the line end on.
        value: Of the Cookie.
        limits: As for ``parse_head``.
    """
    first = octets.find(b"\r\n")
    section = cached_sections.recent.get(octets[first + 2 : at] + behind[:-4])
    if section is None or section.limits is not limits:
        return None
    method, target, minor = _parse_request_line(octets[:first], limits)
    directives = section.directives
    pairs = _put_cookie(section.headers, value, octets, at, behind)
    if (
        not (minor and directives.host and target[:1] == "/")
        or method == "CONNECT"
        or len(pairs) > limits.field_count
        or line_end - at - 2 > limits.field_bytes
        or len(octets) > limits.head_bytes
    ):
        return None
    path, _, query = target.partition("?")
    if "%" in path:
        path = decode_path(path)
    return RequestHead(
        method,
        target,
        path,
        query,
        minor,
        Headers(pairs),
        directives.host,
        directives.content_length,
        directives.is_chunked,
        directives.is_persistent and method != "HEAD",
        directives.is_persistent,
        directives.expects_continue,
        directives.upgrade,
        len(octets),
        limits,
    )


def _parse_around_private(octets: bytes, limits: Limits) -> RequestHead | None:
    """Parse a whole head; its lines of ``PRIVATE_MARKS`` separately from all others.

    The others are cached, and found the next time.

    Returns:
        None where there is no such line; and where something is wrong: then all lines
        are read in order to find the error.
    """
    kept = None
    rest = octets
    cut: list[tuple[int, bytes]] = []
    for mark in PRIVATE_MARKS:
        at = rest.find(mark)
        if at > 0:
            line_end = rest.find(b"\r\n", at + 2)
            cut.append((rest.count(b"\r\n", 0, at), rest[at + 2 : line_end]))
            rest = rest[:at] + rest[line_end:]
            kept = cached_heads.recent.get(rest)
            if kept is not None:
                break
    if not cut:
        return None
    try:
        if kept is None or kept.limits is not limits:
            line, _, fields = rest[:-4].partition(b"\r\n")
            kept = _parse_lines(line, fields, rest, len(rest), len(rest), limits)
        return _put_back(kept, cut, len(octets))
    except RemoteProtocolError:
        return None


def _put_back(
    kept: RequestHead, cut: list[tuple[int, bytes]], end: int
) -> RequestHead | None:
    """Make a head of a cached one and of private lines.

    Args:
        kept: The head without them.
        cut: Each line with its place among the fields, in the order in which they were
            cut out.
        end: Offset just after the head.
    """
    pairs = kept.headers.as_tuple()
    for place, line in reversed(cut):
        pairs = (*pairs[:place], parse_field_line(line), *pairs[place:])
    longest_bytes = max(len(line) for _, line in cut)
    return _with_fields(kept, pairs, end, longest_bytes)


def _with_fields(
    kept: RequestHead, pairs: tuple[tuple[str, str], ...], end: int, longest_bytes: int
) -> RequestHead | None:
    """Make a head of a cached one, with some more fields.

    Args:
        kept: The head without them.
        pairs: All fields, with them.
        end: Offset just after the head.
        longest_bytes: The size of the longest new line.

    Returns:
        None where that is beyond the limits; and where the target has an authority,
        since then a Host may stand at another place.
    """
    limits = kept.limits
    if (
        len(pairs) > limits.field_count
        or longest_bytes > limits.field_bytes
        or end > limits.head_bytes
        or kept.target[:1] != "/"
    ):
        return None
    return RequestHead(
        kept.method,
        kept.target,
        kept.path,
        kept.query,
        kept.minor,
        Headers(pairs),
        kept.host,
        kept.content_length,
        kept.is_chunked,
        kept.is_plain,
        kept.is_persistent,
        kept.expects_continue,
        kept.upgrade,
        end,
        limits,
    )


def _parse_lines(
    line: bytes, fields: bytes, octets: bytes, end: int, size: int, limits: Limits
) -> RequestHead:
    """Parse a request line and a header section.

    Args:
        line: The request line.
        fields: The header section, without its last CRLFCRLF.
        octets: What was received; cached, where it is exactly this head.
        end: Offset just after the head in it.
        size: The octets of the head.
        limits: As for ``parse_head``.
    """
    method, target, minor = _parse_request_line(line, limits)
    if size > limits.head_bytes:
        _refuse_size(limits)

    section = cached_sections.recent.get(fields) if minor else None
    is_known = section is not None and section.limits is limits
    if section is None or not is_known:
        section = read_header_section(fields, minor, limits)

    directives = section.directives
    headers, host = section.headers, directives.host
    path, query = target, ""
    if target[:1] == "/" and host and method != "CONNECT":
        if "?" in target:
            path, _, query = target.partition("?")
            is_known = False
        if "%" in path:
            path = decode_path(path)
    else:
        is_known = False
        path, query, authority = parse_target(method, target)
        host, headers = _decide_host(authority or host, headers, path, minor)
    head = RequestHead(  # by position: by name it would take 1.6x
        method,
        target,
        path,
        query,
        minor,
        headers,
        host,
        directives.content_length,
        directives.is_chunked,
        directives.is_persistent and minor == 1 and method != "HEAD",
        directives.is_persistent,
        directives.expects_continue,
        directives.upgrade,
        end,
        limits,
    )
    is_kept = is_known and not (head.content_length or head.is_chunked)
    if is_kept and len(octets) == end <= LONGEST_CACHED_BYTES:
        cached_heads.keep(octets, head)
    return head


def _parse_request_line(line: bytes, limits: Limits) -> tuple[str, str, int]:
    """Split a request line into method, target and minor version.

    RFC 9112 section 3: exactly one SP between them, nothing around them.
    """
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
    """Refuse a method that is no token (400), or longer than any real one (501).

    Raises:
        RemoteProtocolError: The peer's fault.
    """
    if TOKEN.fullmatch(method) is None:
        raise RemoteProtocolError(f"malformed method {quote(method)}")
    if len(method) > _METHOD_BYTES:
        raise RemoteProtocolError(f"method too long: {quote(method)}", 501)


def _decide_host(
    host: str | None, headers: Headers, path: str, minor: int
) -> tuple[str | None, Headers]:
    """Decide the host where the target has an authority, or Host or path is missing.

    RFC 9112 section 3.2.2: the received Host is ignored and replaced.
    """
    if host and host != headers.get("host"):
        pair = ("host", host)
        pairs = [pair if each[0] == "host" else each for each in headers.pairs]
        return host, Headers(pairs if pair in pairs else [pair, *pairs])
    if not host and minor and path != "*":
        # An http URI without a host is invalid (RFC 9110 section 4.2.1).
        raise RemoteProtocolError("empty Host")
    return host, headers


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


def _refuse_target(target: str, limits: Limits) -> NoReturn:
    if len(target) > limits.target_bytes:
        message = f"target longer than {limits.target_bytes} octets"
        raise RemoteProtocolError(message, 414)
    # "#" never belongs to a request target (RFC 9112 section 3.2). Other characters
    # outside of RFC 3986, such as |, { and ", are allowed: browsers send them unescaped
    # in a query (WHATWG URL, query percent-encode set).
    raise RemoteProtocolError(f"malformed target {quote(target)}")


def _refuse_size(limits: Limits) -> NoReturn:
    message = f"head larger than {limits.head_bytes} octets"
    raise RemoteProtocolError(message, 431)


def _skip_empty_lines(octets: bytes, start: int) -> int:
    skipped = start
    while octets.startswith(b"\r\n", skipped):
        skipped += 2
    if skipped - start > 2 * _EMPTY_LINES:
        message = f"more than {_EMPTY_LINES} empty lines before a request line"
        raise RemoteProtocolError(message)
    return skipped


def _judge_partial_head(
    octets: bytes, limits: Limits, start: int, scanned: int
) -> None:
    """Raise where no octets that may follow can make this a valid head."""
    start = _skip_empty_lines(octets, start)
    line_end = octets.find(b"\r\n", start)
    if line_end < 0:
        _judge_partial_line(octets, limits, start)
    elif line_end >= scanned:  # else it was checked by an earlier call
        _parse_request_line(octets[start:line_end], limits)
    if has_bare_line_end(octets, max(start, scanned)):
        raise RemoteProtocolError("bare CR or LF in the head")
    if len(octets) - start >= limits.head_bytes:
        _refuse_size(limits)


def _judge_partial_line(octets: bytes, limits: Limits, start: int) -> None:
    """Check a request line whose end has not arrived yet."""
    if octets.startswith(b"\r", start):
        return  # the first half of an empty line; else a bare CR, which is found later
    if start == len(octets):
        return
    method_end = start + _METHOD_BYTES + 1
    if _PARTIAL_METHOD.match(octets, start, method_end) is None:
        check_method(str(octets[start:method_end], "latin-1"))
    target_start = octets.find(b" ", start) + 1
    if not target_start:
        return
    target_end = octets.find(b" ", target_start)
    if target_end < 0:
        if len(octets) - target_start > limits.target_bytes:
            _refuse_target(str(octets[target_start:], "latin-1"), limits)
    elif len(octets) - target_end > len(" HTTP/1.1\r"):
        line = octets[start : target_end + 16]
        raise RemoteProtocolError(f"malformed request line {quote(line)}")
