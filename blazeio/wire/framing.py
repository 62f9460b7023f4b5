"""Message framing: where content ends (RFC 9112 section 6.3), and how it is sent.

``decide_response_framing`` is for messages that we send, ``find_response_framing`` for
those that we receive. ``OutgoingMessage`` is one message on its way out. It holds the
head back until the first content, so that both leave in one write, and so that a
message whose end is known by then gets a Content-Length instead of chunks.
"""

from collections.abc import Sequence
from enum import Enum

from blazeio.errors import LocalProtocolError, RemoteProtocolError
from blazeio.wire.chunked import LAST_CHUNK, serialize_chunk
from blazeio.wire.grammar import CONTENT_LENGTH, TOKEN, quote


class Framing(Enum):
    """How the recipient of a response finds the end of its content."""

    NONE = "no content"
    LENGTH = "content-length"
    CHUNKED = "chunked"
    CLOSE = "until the connection closes"
    STREAM = "until the stream ends, by other means than HTTP/1's"


def decide_response_framing(
    *, method: str, minor: int, status: int, content_length: int | None
) -> Framing:
    """Decide the framing of a response that we send.

    Args:
        method: The method of the request.
        minor: The minor version of the request: HTTP/1.0 has no chunked coding (section
            6.1).
        status: The status of the response.
        content_length: As the handler declared it.

    Returns:
        ``NONE`` for HEAD, 1xx, 204 and 304 (rule 1), whatever was declared, and for a
        CONNECT that succeeds (rule 2).
    """
    if _has_no_content(method, status):
        return Framing.NONE
    if content_length is not None:
        return Framing.LENGTH
    # Section 6.1: no chunked coding for a client of HTTP/1.0; then only the close of
    # the connection can end the content (rule 8).
    return Framing.CHUNKED if minor else Framing.CLOSE


def find_response_framing(
    *, method: str, status: int, content_length: int | None, is_chunked: bool
) -> Framing:
    """Find the framing of a response that we have received.

    Args:
        method: The method of the request.
        status: The status of the response.
        content_length: Of the response; None where none was sent.
        is_chunked: It has the chunked transfer coding.

    Returns:
        ``NONE`` by rules 1 and 2, whatever the fields say; ``CLOSE`` where they say
        nothing (rule 8).
    """
    if _has_no_content(method, status):
        return Framing.NONE
    # Rule 3: Transfer-Encoding overrides Content-Length. Both together never come here:
    # ``fields.read_framing`` refuses them.
    if is_chunked:
        return Framing.CHUNKED
    return Framing.CLOSE if content_length is None else Framing.LENGTH


def _has_no_content(method: str, status: int) -> bool:
    """Rules 1 and 2: HEAD, 1xx, 204, 304, and a CONNECT that succeeds."""
    # Before the fields are looked at: a Content-Length of a HEAD or 304 is that of the
    # content which is *not* here (RFC 9110 section 8.6), and whoever waits for it reads
    # the next response as its content.
    if method == "HEAD" or status < 200 or status in (204, 304):
        return True
    return method == "CONNECT" and status < 300


def parse_content_length(values: Sequence[str]) -> int | None:
    """Read the Content-Length of a message.

    Stricter than RFC 9110 section 8.6, which allows a recipient to accept identical
    repeats: requests are smuggled where an intermediary reads another one of them than
    we do.

    Args:
        values: One for each field line; empty where there is none.

    Raises:
        RemoteProtocolError: The peer's fault; 400, or 413 for more than 18 digits.
    """
    if not values:
        return None
    value = values[0]
    # A list in one line ("5, 5") is refused by the pattern below.
    if len(values) > 1:
        raise RemoteProtocolError("more than one Content-Length")
    # int() would accept "+5", " 5", "5_0" and the digits of every script: each of them
    # is another length to somebody else on the way (RFC 9112 section 11.2).
    if CONTENT_LENGTH.fullmatch(value) is not None:
        return int(value)
    if value.isascii() and value.isdecimal():
        raise RemoteProtocolError("Content-Length of more than 18 digits", 413)
    message = f"Content-Length is not a decimal number: {quote(value)}"
    raise RemoteProtocolError(message)


def parse_transfer_encoding(values: Sequence[str], minor: int) -> bool:
    """Tell whether the content of a message is chunked.

    RFC 9112 sections 6.1 and 6.3, rule 4: without a final ``chunked`` the end of the
    content cannot be found (400); any other coding is not implemented here (501).
    ``chunked`` has no parameters and is applied once. HTTP/1.0 did not have the field:
    a message of 1.0 with it is faulty.

    Args:
        values: One for each field line; empty where there is none.
        minor: The minor version of the message.

    Raises:
        RemoteProtocolError: The peer's fault; 400 or 501.
    """
    if not values:
        return False
    # RFC 9112 section 6.1: such a message must be treated as if its framing is faulty,
    # since a proxy of HTTP/1.0 has forwarded a field that it does not understand.
    if not minor:
        raise RemoteProtocolError("Transfer-Encoding in an HTTP/1.0 message")
    # RFC 9110 section 5.3: several lines are one list. Names of codings are
    # case-insensitive (RFC 9112 section 7).
    codings = [coding.strip(" \t") for coding in ",".join(values).lower().split(",")]
    if codings == ["chunked"]:
        return True
    shown = quote(", ".join(values))
    # Rule 4: where chunked is not the final coding, the length of the content cannot be
    # determined reliably; a server must respond with 400 and close.
    if codings[-1] != "chunked" or codings.count("chunked") > 1:
        message = f"Transfer-Encoding does not end in one chunked: {shown}"
        raise RemoteProtocolError(message)
    names = [coding.partition(";")[0].rstrip(" \t") for coding in codings]
    if not all(TOKEN.fullmatch(name) for name in names):
        raise RemoteProtocolError(f"malformed Transfer-Encoding: {shown}")
    raise RemoteProtocolError(f"unknown transfer coding: {shown}", 501)


# Messages that we send: RFC 9112 section 6


_UNDECLARED = (Framing.CHUNKED, Framing.CLOSE, Framing.STREAM)


class OutgoingMessage:
    """What is left to send of one request or response.

    Args:
        head: Start line and fields, without framing, Connection and the empty line.
        framing: As ``decide_response_framing`` returned it; for a request, as its
            content demands.
        content_length: As declared; None when it was not.
        minor: The HTTP/1.x version of the request.
        is_persistent: Whether the connection may be used afterwards.
        trailers: Field lines that follow the last content (RFC 9112 section 7.1.2);
            they are left out where the content is not chunked.

    Attributes:
        content_bytes: Octets of content returned so far, without framing.
        is_begun: The head was returned.
        is_ended: The end was returned; nothing may follow.
        is_persistent: Whether the connection may be used afterwards; final once the
            message has begun.
    """

    __slots__ = (
        "_due_bytes",
        "_framing",
        "_head",
        "_minor",
        "content_bytes",
        "content_length",
        "is_begun",
        "is_ended",
        "is_persistent",
        "trailers",
    )

    def __init__(
        self,
        head: bytes,
        framing: Framing,
        content_length: int | None,
        minor: int,
        *,
        is_persistent: bool,
    ) -> None:
        self._head = head
        self._framing = framing
        self._minor = minor
        self.content_length = content_length
        self._due_bytes = content_length or 0
        self.content_bytes = 0
        self.is_begun = False
        self.is_ended = False
        self.is_persistent = is_persistent
        self.trailers = b""

    @property
    def takes_chunks(self) -> bool:
        """Whether content may be given as chunks: no length was declared.

        In HTTP/1.0 it is then sent without their framing, for HEAD not at all.
        """
        return self.content_length is None

    @property
    def is_chunked(self) -> bool:
        """Whether content is sent in chunks."""
        return self._framing is Framing.CHUNKED

    @property
    def has_content(self) -> bool:
        """Whether content is sent; not for HEAD, nor with 204 or 304."""
        return self._framing is not Framing.NONE

    def begin(self) -> bytes:
        """Return the head alone; b"" when it was returned before."""
        return b"" if self.is_begun else self._begin()

    def content(self, octets: bytes | memoryview) -> bytes | memoryview:
        """Return content in its framing, after the head if that is still held back.

        An empty write has no effect: a chunk of size 0 would be the end. Where there is
        nothing to add, a view is returned as it is.

        Raises:
            LocalProtocolError: The message has ended, or this is more than its declared
                length. Nothing changed.
        """
        # Checked before the head leaves: what is refused here can still become a 500.
        self.check(len(octets))
        # RFC 9112 section 7.1: a chunk of size 0 is the last one, so an empty write
        # must frame nothing.
        if not octets:
            return b""
        head = self.begin()
        framed = self._framed(octets)
        return head + framed if head else framed

    def count_beside(self, size: int) -> None:
        """Count content of a declared length that is sent by other means.

        Raises:
            LocalProtocolError: As for ``content``.
        """
        self.check(size)
        self.content_bytes += size
        # By sendfile(2), for instance: no octet of it comes through here.
        self._due_bytes -= size

    def end(self, octets: bytes = b"") -> bytes:
        """Return the last content, and the end of the message.

        Args:
            octets: The content.

        Raises:
            LocalProtocolError: As for ``content``; or there was less than the declared
                length. Nothing changed where the head was still held back; else the
                connection cannot be used again.
        """
        self._conclude(len(octets))
        out = self.begin()
        if octets:
            # Joined with the head and the end, so that a small response leaves in one
            # write, and in one segment.
            out += self._framed(octets)
        if self._framing is Framing.CHUNKED:
            # RFC 9112 section 7.1: last-chunk, trailer section, CRLF.
            out += b"0\r\n%b\r\n" % self.trailers if self.trailers else LAST_CHUNK
        return out

    def take(
        self, octets: bytes | memoryview, *, is_last: bool
    ) -> tuple[bytes, bytes | memoryview]:
        """Return head and content separately, for a carrier with a framing of its own.

        Args:
            octets: The content.
            is_last: The message ends with it.

        Returns:
            The head, b"" where it was returned before; and the content.

        Raises:
            LocalProtocolError: As for ``content`` and ``end``.
        """
        if is_last:
            self._conclude(len(octets))
        else:
            self.check(len(octets))
            if not octets:
                return b"", b""
        # HTTP/2 frames the head by HEADERS and the content by DATA, so neither may
        # contain the other.
        return self.begin(), self._framed(octets)

    def _conclude(self, size: int) -> None:
        """Check that the message may end after this many more octets."""
        self.check(size)
        if self._framing is Framing.LENGTH and size < self._due_bytes:
            if self.is_begun:
                # The client still waits for the rest: it must not take the next
                # response for it, so the connection has to be closed.
                self.is_ended = True
                self.is_persistent = False
            message = (
                f"the message ended {self._due_bytes - size} octets short of "
                f"its declared Content-Length: {self.content_length}"
            )
            raise LocalProtocolError(message)
        self.is_ended = True
        # RFC 9110 section 8.6: a sender that knows the length should send it. The head
        # was held back for this.
        if not self.is_begun and self._framing in _UNDECLARED:
            self._framing = Framing.LENGTH
            self.content_length = self._due_bytes = size

    def check(self, size: int) -> None:
        """Check that content may follow; nothing changes.

        Args:
            size: The octets of content that would follow.

        Raises:
            LocalProtocolError: The message has ended, or they are more than its
                declared length leaves.
        """
        if self.is_ended:
            raise LocalProtocolError("the message has already ended")
        if self._framing is Framing.LENGTH and size > self._due_bytes:
            message = (
                f"{size - self._due_bytes} octets more than the declared "
                f"Content-Length: {self.content_length}"
            )
            raise LocalProtocolError(message)

    def _begin(self) -> bytes:
        self.is_begun = True
        lines = [self._head]
        if self.content_length is not None:
            lines.append(b"Content-Length: %d\r\n" % self.content_length)
        elif self._framing is Framing.CHUNKED:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        elif self._framing is Framing.CLOSE:
            self.is_persistent = False
        if not self.is_persistent:
            # RFC 9112 section 9.6: a server that will close says so in its final
            # response, so that the client does not send a next request into the close.
            lines.append(b"Connection: close\r\n")
        elif self._minor == 0:
            # Appendix C.2.2: in HTTP/1.0 a connection persists only where both have
            # said so.
            lines.append(b"Connection: keep-alive\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    def _framed(self, octets: bytes | memoryview) -> bytes | memoryview:
        if self._framing is Framing.NONE:
            return b""
        self.content_bytes += len(octets)
        if self._framing is Framing.CHUNKED:
            return serialize_chunk(octets)
        self._due_bytes -= len(octets)
        return octets


def make_chunked(size: int) -> OutgoingMessage:
    """Make a message in chunks of which the head and so many octets have left."""
    message = OutgoingMessage(b"", Framing.CHUNKED, None, 1, is_persistent=True)
    message.is_begun = True
    message.content_bytes = size
    return message


GIVEN_OUT = OutgoingMessage(b"", Framing.NONE, None, 1, is_persistent=True)
"""Stands for a message that was sent as a whole, by other means."""
GIVEN_OUT.end()
