"""Request heads: octets in, a validated ``RequestHead`` out.

A client that sends the very octets that were read before (a poller, a health check, a
browser and its next image) is served from a cache. Else the end of the head is searched
once (``scanned`` lets a caller whose head arrives in pieces continue where the last
search ended, so that growth stays O(n)). A whole head is then split into its request
line and its header section. The section of a repeating client is found in a cache of
its own; else ``wire.heads`` reads it line by line. Anything but origin-form with a
usual method leaves the fast path early.

A head that is not whole is checked as well: a request line that is already wrong, a
line end that no later octet can repair, or more octets than the limits allow, are
refused at once and not at a deadline.

Where RFC 9112 leaves a choice between repair and refusal, we refuse: bare LF as a line
end (section 2.2), whitespace other than one SP in the request line (section 3),
obs-fold (section 5.2).
"""

from typing import Final, NoReturn

from msgspec.structs import replace

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire import SharedRecord
from blazeio.wire.grammar import (
    BoundedCache,
    decode_path,
    has_bare_line_end,
    judge_partial_line,
    parse_request_line,
    parse_target,
)
from blazeio.wire.headers import NO_HEADERS, Headers
from blazeio.wire.heads import (
    AUTHORIZATION_MARK,
    COOKIE_MARK,
    Cut,
    HeaderSection,
    cached_sections,
    choose_marks,
    cut_line,
    put_back,
    read_header_section,
)

# The head as values


class RequestHead(SharedRecord, frozen=True):
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


# RFC 9112 section 2.2: at least one empty line before the request line is ignored. Some
# clients send one CRLF after a POST; nobody sends more than four.
_EMPTY_LINES: Final = 4
# Heads by their octets, of HTTP/1.1 requests whose header section is cached, so never a
# secret of a field; nor one of a query, which is cut out before. 0.1 us instead of 0.8.
# Those that content follows are apart: the others need no further look.
cached_heads: Final[BoundedCache[bytes, RequestHead]] = BoundedCache(256)
cached_heads_with_content: Final[BoundedCache[bytes, RequestHead]] = BoundedCache(64)
_LONGEST_CACHED_BYTES: Final = 1024

# A shorter head is parsed as fast as its lines are cut out; a longer one is read line
# by line.
_SHORT_BYTES: Final = 192
_LONGEST_CUT_BYTES: Final = 8192


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
    kept = cached_heads.recent.get(octets)
    # By identity: another server of this process may have larger limits.
    if kept is not None and kept.limits is limits and not start:
        return kept
    end = octets.find(b"\r\n\r\n", start if start > scanned else scanned)  # noqa: FURB136 - max() costs 0.08 us
    if end < 0:
        _judge_partial_head(octets, limits, start, scanned)
        return None
    end += 4
    whole = octets[start:end]  # the same object, where it is all of it
    if not start:
        kept = _find_kept(whole, limits)
        if kept is None and _SHORT_BYTES <= end <= _LONGEST_CUT_BYTES:
            kept = _parse_around(whole, limits)
        if kept is not None:
            return kept
    if whole[:2] == b"\r\n":
        return parse_head(octets, limits, _skip_empty_lines(octets, start), scanned)
    return _parse_lines(whole, end, limits)


def _find_kept(octets: bytes, limits: Limits) -> RequestHead | None:
    """Find a head in the caches."""
    kept = cached_heads.recent.get(octets)
    if kept is None:
        kept = cached_heads_with_content.recent.get(octets)
    return None if kept is None or kept.limits is not limits else kept


def parse_whole(octets: bytes, limits: Limits) -> RequestHead | None:
    """Parse octets that are one head and nothing else, and no content follows.

    It is for those that are read of an idle connection, and saves some steps.

    Args:
        octets: What was received; not known as a whole.
        limits: As for ``parse_head``.

    Returns:
        None where they are anything else, or something is wrong: for ``parse_head``.
    """
    # Hot: runs for each head that is not known as a whole.
    size = len(octets)
    if not octets.endswith(b"\r\n\r\n") or size > _LONGEST_CUT_BYTES:
        return None
    head = None
    try:
        if size >= _SHORT_BYTES:
            # Above 1: there is a request line before it.
            if (at := octets.find(COOKIE_MARK)) > 1:
                head = _recall_around(octets, at, COOKIE_MARK, "cookie", limits)
            elif (at := octets.find(AUTHORIZATION_MARK)) > 1:
                mark = AUTHORIZATION_MARK
                head = _recall_around(octets, at, mark, "authorization", limits)
        if head is None:
            head = _parse_alone(octets, limits)
    except RemoteProtocolError:
        return None
    if head is None or head.content_length or head.is_chunked:
        return None
    return head


def _parse_alone(octets: bytes, limits: Limits) -> RequestHead | None:
    """Parse octets as one head; None where they are more than one.

    Raises:
        RemoteProtocolError: They are none.
    """
    size = len(octets)
    line, _, fields = octets[:-4].partition(b"\r\n")
    section = cached_sections.recent.get(fields)
    # Hot: with a query, it is only the request line that differs each time.
    if section is not None and line.find(b"?") > 0:
        head = _read_known(line, section, size)
        if head is not None and section.limits is limits:
            return head
    if octets.find(b"\r\n\r\n") + 4 != size:
        return None
    head = _parse_around(octets, limits) if size >= _SHORT_BYTES else None
    return head or _parse_lines(octets, size, limits)


def _recall_around(
    octets: bytes, at: int, mark: bytes, name: str, limits: Limits
) -> RequestHead | None:
    """Find a head in the cache by what is left without one line, which alone is read.

    A browser's 12 fields and a Cookie take 1.3 us, not 3.0. The cache has a whole head,
    whose only empty line is its last one. So these octets are a whole head, too, where
    the line ends, and does not begin with an empty one.

    Args:
        octets: What was received.
        at: Where the mark of the line begins.
        mark: One of ``PRIVATE_MARKS``.
        name: Its name, in lower case.
        limits: As for ``parse_head``.
    """
    # Hot: runs for each head with a Cookie, or with an Authorization.
    line_end = octets.find(b"\r\n", at + 2)
    behind = octets[line_end:]
    value = str(octets[at + len(mark) : line_end], "latin-1").strip(" \t")
    size = len(octets)
    if (
        not (value.isascii() and value.isprintable())
        # A CRLF just before the mark's own: the empty line, so the Cookie is content,
        # or the next request.
        or octets[at - 2 : at] == b"\r\n"
        or line_end - at - 2 > limits.field_bytes
        or size > limits.head_bytes
    ):
        return None
    kept = cached_heads.recent.get(octets[:at] + behind)
    if kept is None:
        kept = _recall_section(octets, at, behind, limits)
    if kept is None or kept.limits is not limits:
        return None
    pairs = kept.headers.as_tuple()
    if len(behind) == 4:  # it is the last field, as in browsers
        pairs += ((name, value),)
    else:
        place = octets.count(b"\r\n", 0, at)
        # Back at its own place, since the order of fields is part of what a handler
        # sees.
        pairs = (*pairs[:place], (name, value), *pairs[place:])
    if len(pairs) > limits.field_count:
        return None
    return replace(kept, headers=Headers(pairs), end=size)


def _recall_section(
    octets: bytes, at: int, behind: bytes, limits: Limits
) -> RequestHead | None:
    """Find all fields but one in the cache of sections; read the request line.

    So it is where a query differs each time, too: a browser's head takes 2.0 us, not
    4.0.

    Args:
        octets: The head.
        at: Where the line of that one begins.
        behind: What follows its line, from the line end on.
        limits: As for ``parse_head``.

    Raises:
        RemoteProtocolError: The request line is malformed.
    """
    line_end = octets.find(b"\r\n")
    if octets.find(b"?", 0, line_end) < 0:
        return None  # what is left of it will be cached as a head
    before = octets[line_end + 2 : at] if at > line_end else b""
    fields = before + behind[:-4]
    section = cached_sections.recent.get(fields)
    if section is None or section.limits is not limits:
        return None
    return _read_known(octets[:line_end], section, len(octets))


def _read_known(line: bytes, section: HeaderSection, end: int) -> RequestHead | None:
    """Make a head of its request line and fields that are known.

    Args:
        line: The request line.
        section: The fields.
        end: Offset just after the head.

    Returns:
        None where its target has another form than most, or it is too large.

    Raises:
        RemoteProtocolError: The request line is malformed.
    """
    limits = section.limits
    method, target, minor = parse_request_line(line, limits)
    if (
        target[:1] != "/"
        or method == "CONNECT"
        or not (minor and section.directives.host)
        or end > limits.head_bytes
    ):
        return None
    return _make_head(method, target, minor, section, end)


def _parse_around(octets: bytes, limits: Limits) -> RequestHead | None:
    """Parse a whole head; its lines of ``PRIVATE_MARKS`` separately from all others.

    The others are cached, and found the next time.

    Args:
        octets: One head, up to its empty line.
        limits: As for ``parse_head``.

    Returns:
        None where there is no such line; and where something is wrong, or unusual: then
        all lines are read in order to find the error.
    """
    cuts: list[Cut] = []
    rest = octets
    kept = None
    # One after the other, and looked up after each: most clients have a Cookie and
    # nothing else of these.
    for mark, name in choose_marks(octets):
        at = rest.find(mark)
        if at > 0:
            rest = cut_line(rest, at, mark, name, cuts)
            kept = _find_kept(rest, limits)
            if kept is not None:
                break
    if not cuts:
        return None
    if kept is None:
        kept = _parse_rest(rest, limits)
    # A target with an authority may have the Host at another place.
    if kept is None or kept.target[:1] != "/" or len(octets) > limits.head_bytes:
        return None
    headers = put_back(kept.headers, cuts, limits)
    if headers is None:
        return None
    return replace(kept, headers=headers, end=len(octets))


def _parse_rest(octets: bytes, limits: Limits) -> RequestHead | None:
    """Parse a whole head line by line; None where something is wrong."""
    try:
        return _parse_lines(octets, len(octets), limits)
    except RemoteProtocolError:
        return None


def _parse_lines(octets: bytes, end: int, limits: Limits) -> RequestHead:
    """Parse a whole head by its request line and its header section.

    Args:
        octets: The head.
        end: Offset just after it in what was received. The head is cached where it
            began at its first octet.
        limits: As for ``parse_head``.
    """
    size = len(octets)
    line, _, fields = octets[:-4].partition(b"\r\n")
    method, target, minor = parse_request_line(line, limits)
    if size > limits.head_bytes:
        _refuse_size(limits)

    section = cached_sections.recent.get(fields) if minor else None
    is_known = section is not None and section.limits is limits
    if section is None or not is_known:
        section = read_header_section(fields, minor, limits)

    host = section.directives.host
    if target[:1] == "/" and host and method != "CONNECT":
        head = _make_head(method, target, minor, section, end)
        if is_known and size == end <= _LONGEST_CACHED_BYTES and "?" not in target:
            has_content = head.content_length or head.is_chunked
            cache = cached_heads_with_content if has_content else cached_heads
            cache.keep(octets, head)
        return head
    path, query, authority = parse_target(method, target)
    host, headers = _decide_host(authority or host, section.headers, path, minor)
    head = _make_head(method, target, minor, section, end)
    return replace(head, path=path, query=query, headers=headers, host=host)


def _make_head(
    method: str, target: str, minor: int, section: HeaderSection, end: int
) -> RequestHead:
    """Make a head whose target has origin-form, as most have.

    Args:
        method: Of the request line, as the next two.
        target: Path and query.
        minor: Of the version.
        section: All its fields.
        end: Offset just after the head.
    """
    path, query = target, ""
    if "?" in target:
        path, _, query = target.partition("?")
    if "%" in path:
        path = decode_path(path)
    directives = section.directives
    return RequestHead(  # by position: by name it would take 1.6x
        method,
        target,
        path,
        query,
        minor,
        section.headers,
        directives.host,
        directives.content_length,
        directives.is_chunked,
        directives.is_persistent and minor == 1 and method != "HEAD",
        directives.is_persistent,
        directives.expects_continue,
        directives.upgrade,
        end,
        section.limits,
    )


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
        judge_partial_line(octets, limits, start)
    elif line_end >= scanned:  # else it was checked by an earlier call
        parse_request_line(octets[start:line_end], limits)
    if has_bare_line_end(octets, max(start, scanned)):
        raise RemoteProtocolError("bare CR or LF in the head")
    if len(octets) - start >= limits.head_bytes:
        _refuse_size(limits)
