"""The header section: field lines within the limits; and that of a request.

May import: blazeio.errors, blazeio.limits, blazeio.wire.grammar, headers,
fields.directives, line, memo.
"""

from typing import Final

from msgspec import Struct

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire.fields.directives import (
    DecidingPairs,
    Directives,
    kept_directives,
    read_directives,
)
from blazeio.wire.fields.line import kept_lines, read_field_line
from blazeio.wire.fields.memo import Memo
from blazeio.wire.headers import Headers

LONGEST_KEPT_BYTES: Final = 1024
"""Longer sections are not kept."""


class HeaderSection(Struct, frozen=True, eq=False, gc=False):
    """A validated header section.

    Attributes:
        headers: All its fields.
        directives: What they decide.
        limits: Those that it was found to be within.
    """

    headers: Headers
    directives: Directives
    limits: Limits


# Whole header sections of HTTP/1.1 requests, without the request line. Kept
# only where each line was already kept, so never a secret, and never one that
# is seen for the first time. A browser's 13 fields: 0.2 us instead of 2.0.
kept_sections: Final[Memo[bytes, HeaderSection]] = Memo(256)


def read_header_section(octets: bytes, minor: int, limits: Limits) -> HeaderSection:
    """Read the field lines of a request and decide what follows from them.

    Args:
        octets: From after the request line to before the CRLFCRLF that ends
            the head; empty where there are no fields.
        minor: Of HTTP/1.x.
        limits: ``field_count``, ``field_bytes``.

    Raises:
        RemoteProtocolError: The peer's fault; 400, 413, 417, 431 or 501.
    """
    # Hot: runs for each head whose section was not kept.
    if minor:
        kept = kept_sections.recall(octets)
        if kept is not None and kept.limits is limits:
            return kept
    pairs, key, is_known = read_field_lines(octets, limits)
    directives = kept_directives.recent.get(key) if minor else None
    if directives is None:
        directives = read_directives(key, minor)
    section = HeaderSection(Headers(pairs), directives, limits)
    if is_known and minor and len(octets) <= LONGEST_KEPT_BYTES:
        kept_sections.keep(octets, section)
    return section


def read_field_lines(
    octets: bytes, limits: Limits
) -> tuple[list[tuple[str, str]], DecidingPairs, bool]:
    """Read the field lines of a head.

    Args:
        octets: From after the start line to before the CRLFCRLF.
        limits: ``field_count``, ``field_bytes``.

    Returns:
        All names and values; those that decide something; whether each line
        was known, so that none is a secret.

    Raises:
        RemoteProtocolError: The peer's fault; 400 or 431.
    """
    lines = octets.split(b"\r\n") if octets else []
    _check_limits(octets, lines, limits)
    known = kept_lines.recent
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
    if len(lines) > limits.field_count:
        message = f"{len(lines)} fields, at most {limits.field_count} are read"
        raise RemoteProtocolError(message, 431)
    if len(octets) <= limits.field_bytes:
        return
    for line in lines:
        if len(line) > limits.field_bytes:
            message = f"field line of {len(line)} octets"
            raise RemoteProtocolError(message, 431)
