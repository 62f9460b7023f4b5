"""The framing of one message that we send: head, content, end.

Pure. The head is held back until the first content, so that both leave in one
write, and so that a message whose end is known by then gets a Content-Length
instead of chunks. RFC 9112 section 6.

May import: ``wire``, ``errors``.
"""

from blazeio.errors import LocalProtocolError
from blazeio.wire.chunked import LAST_CHUNK, serialize_chunk
from blazeio.wire.framing import Framing


class OutgoingMessage:
    """What is left to say of one request or response.

    Args:
        head: Start line and fields, without framing, Connection and the
            empty line.
        framing: As ``decide_response_framing`` said; of a request, what its
            caller gave or declared.
        content_length: As declared; None when it was not.
        minor: The HTTP/1.x version of the request.
        is_persistent: Whether the connection may go on afterwards.

    Attributes:
        content_bytes: Octets of content given out so far, without framing.
        is_begun: The head was given out.
        is_ended: The end was given out; nothing may follow.
        is_persistent: Whether the connection may go on afterwards; known for
            good once the message has begun.
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

    @property
    def takes_chunks(self) -> bool:
        """Whether content may be given as chunks: no length was declared.

        To HTTP/1.0 it then goes without their framing, to HEAD not at all.
        """
        return self.content_length is None

    @property
    def has_content(self) -> bool:
        """Whether content is sent; not after HEAD, nor of a 204 or 304."""
        return self._framing is not Framing.NONE

    def begin(self) -> bytes:
        """The head alone; b"" when it was given out before."""
        return b"" if self.is_begun else self._begin()

    def content(self, octets: bytes | memoryview) -> bytes | memoryview:
        """Content in its framing, after the head if that is still held.

        An empty write is nothing: a chunk of size 0 would be the end. Where
        there is nothing to add, a view is given back as it is.

        Raises:
            LocalProtocolError: The message has ended, or this is more than its
                declared length. Nothing changed.
        """
        self.check(len(octets))
        if not octets:
            return b""
        head = self.begin()
        framed = self._framed(octets)
        return head + framed if head else framed

    def count_beside(self, size: int) -> None:
        """Content of a declared length leaves by another way, after the head.

        Raises:
            LocalProtocolError: As for ``content``.
        """
        self.check(size)
        self.content_bytes += size
        self._due_bytes -= size

    def end(self, octets: bytes = b"") -> bytes:
        """The last content, and the end of the message.

        Raises:
            LocalProtocolError: As for ``content``; or less was given than the
                declared length. Nothing changed where the head was still held;
                else the connection cannot be kept.
        """
        self.check(len(octets))
        if self._framing is Framing.LENGTH and len(octets) < self._due_bytes:
            if self.is_begun:
                self.is_ended = True
                self.is_persistent = False
            message = (
                f"the message ended {self._due_bytes - len(octets)} octets short of "
                f"its declared Content-Length: {self.content_length}"
            )
            raise LocalProtocolError(message)
        self.is_ended = True
        if not self.is_begun and self._framing in (Framing.CHUNKED, Framing.CLOSE):
            self._framing = Framing.LENGTH
            self.content_length = self._due_bytes = len(octets)
        out = self.begin()
        if octets:
            out += self._framed(octets)
        if self._framing is Framing.CHUNKED:
            out += LAST_CHUNK
        return out

    def check(self, size: int) -> None:
        """Refuse what may not follow; nothing changes.

        Args:
            size: Octets of content that somebody is about to give.

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
            lines.append(b"Connection: close\r\n")
        elif self._minor == 0:
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


GIVEN_OUT = OutgoingMessage(b"", Framing.NONE, None, 1, is_persistent=True)
"""Stands for a message that was given out whole, by other means."""
GIVEN_OUT.end()
