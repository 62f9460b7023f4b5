"""Response heads: octets in, a validated ``ResponseHead`` out.

Parsed as request heads are, by the same reader of field lines and as strictly: bare LF,
whitespace before a colon and conflicting lengths are refused. Deviations of servers
that have only one meaning are accepted: a status line without the SP before an empty
reason phrase, a status code of an unknown class (600 to 999; RFC 9110 section 15 has it
treated as 500), and a field over several lines (obs-fold), whose line ends are blanks
to a user agent by RFC 9112 section 5.2. Framing is decided after unfolding, so a fold
cannot hide it.

A head that is not whole is checked as well, so that a server that does not speak HTTP
is noticed at its first octets and not at a deadline.
"""

import re
from collections.abc import Sequence
from typing import Final, NoReturn

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire import SharedRecord
from blazeio.wire.fields import (
    LONGEST_CACHED_BYTES,
    DecidingPairs,
    decide_persistence,
    group_values,
    read_field_lines,
    read_framing,
    split_list,
)
from blazeio.wire.grammar import VERSION, BoundedCache, has_bare_line_end, quote
from blazeio.wire.headers import Headers

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
