"""Where the content of a message ends: RFC 9112 section 6.3.

May import: blazeio.errors, blazeio.wire.grammar.
"""

from collections.abc import Sequence
from enum import Enum

from blazeio.errors import RemoteProtocolError
from blazeio.wire.grammar import CONTENT_LENGTH, TOKEN, quote


class Framing(Enum):
    """How the recipient of a response finds the end of its content."""

    NONE = "no content"
    LENGTH = "content-length"
    CHUNKED = "chunked"
    CLOSE = "until the connection closes"


def decide_response_framing(
    *, method: str, minor: int, status: int, content_length: int | None
) -> Framing:
    """Decide how a response of ours is framed.

    Args:
        method: Of the request.
        minor: Of the request: HTTP/1.0 knows no chunked coding (section 6.1).
        status: Of the response.
        content_length: What the handler declared.

    Returns:
        ``NONE`` for HEAD, 1xx, 204 and 304 (rule 1), whatever was declared,
        and for a CONNECT that succeeds (rule 2).
    """
    if _has_no_content(method, status):
        return Framing.NONE
    if content_length is not None:
        return Framing.LENGTH
    return Framing.CHUNKED if minor else Framing.CLOSE


def find_response_framing(
    *, method: str, status: int, content_length: int | None, is_chunked: bool
) -> Framing:
    """Find how the end of a response that was received is known.

    Args:
        method: Of the request.
        status: Of the response.
        content_length: Of the response; None where none was sent.
        is_chunked: It has the chunked transfer coding.

    Returns:
        ``NONE`` by rules 1 and 2, whatever the fields say; ``CLOSE`` where they
        say nothing (rule 8).
    """
    if _has_no_content(method, status):
        return Framing.NONE
    if is_chunked:
        return Framing.CHUNKED
    return Framing.CLOSE if content_length is None else Framing.LENGTH


def _has_no_content(method: str, status: int) -> bool:
    """Rules 1 and 2: HEAD, 1xx, 204, 304, and a CONNECT that succeeds."""
    if method == "HEAD" or status < 200 or status in (204, 304):
        return True
    return method == "CONNECT" and status < 300


def parse_content_length(values: Sequence[str]) -> int | None:
    """Read the Content-Length of a message.

    Stricter than RFC 9110 section 8.6, which lets a recipient take identical
    repeats for one: an intermediary that picks another of them than we do is
    how requests are smuggled.

    Args:
        values: One for each field line; empty where there is none.

    Raises:
        RemoteProtocolError: The peer's fault; 400, or 413 for more than 18
            digits.
    """
    if not values:
        return None
    value = values[0]
    if len(values) > 1:
        raise RemoteProtocolError("more than one Content-Length")
    if CONTENT_LENGTH.fullmatch(value) is not None:
        return int(value)
    if value.isascii() and value.isdecimal():
        raise RemoteProtocolError("Content-Length of more than 18 digits", 413)
    message = f"Content-Length is no decimal number: {quote(value)}"
    raise RemoteProtocolError(message)


def parse_transfer_encoding(values: Sequence[str], minor: int) -> bool:
    """Tell whether the content of a message is chunked.

    RFC 9112 sections 6.1 and 6.3, rule 4: without a final ``chunked`` the end
    of the content cannot be found (400); a further coding is one that we do
    not implement (501). ``chunked`` has no parameters and is applied once.
    HTTP/1.0 did not have the field: who sends it there is faulty.

    Args:
        values: One for each field line; empty where there is none.
        minor: Of the message.

    Raises:
        RemoteProtocolError: The peer's fault; 400 or 501.
    """
    if not values:
        return False
    if not minor:
        raise RemoteProtocolError("Transfer-Encoding in an HTTP/1.0 message")
    codings = [coding.strip(" \t") for coding in ",".join(values).lower().split(",")]
    if codings == ["chunked"]:
        return True
    shown = quote(", ".join(values))
    if codings[-1] != "chunked" or codings.count("chunked") > 1:
        message = f"Transfer-Encoding does not end in one chunked: {shown}"
        raise RemoteProtocolError(message)
    names = [coding.partition(";")[0].rstrip(" \t") for coding in codings]
    if not all(TOKEN.fullmatch(name) for name in names):
        raise RemoteProtocolError(f"malformed Transfer-Encoding: {shown}")
    raise RemoteProtocolError(f"unknown transfer coding: {shown}", 501)
