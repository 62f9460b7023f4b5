"""The response of one request: composed, framed and given to the transport.

``r`` has one ``ResponseWriter`` for its whole life; ``reset`` empties it for each
request. It decides what leaves, has the carrier send it, and never sleeps.
"""

import asyncio
from collections.abc import Container
from typing import TYPE_CHECKING

from blazeio.content.codings import Encoder, open_encoder
from blazeio.content.representation import choose_for
from blazeio.errors import (
    FieldInput,
    LocalProtocolError,
    ProtocolError,
    describe_status,
    is_final_status,
)
from blazeio.protocol.context import NO_CONTENT_LENGTH, ServerContext
from blazeio.protocol.options import ExtraFields
from blazeio.protocol.payload import AT_ONCE_BYTES
from blazeio.wire.chunked import DROPPED_TRAILERS, LAST_CHUNK, REFUSED_TRAILERS
from blazeio.wire.framing import (
    Framing,
    OutgoingMessage,
    decide_response_framing,
    make_chunked,
)
from blazeio.wire.headers import (
    FieldBlock,
    serialize_fields,
    serialize_status_line,
)
from blazeio.wire.request import NO_HEAD, RequestHead

if TYPE_CHECKING:
    from blazeio.protocol.carrier import RequestCarrier


TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"

DEFAULT_HEAD: FieldInput = {"Content-Type": "text/plain; charset=utf-8"}
"""The fields of a response that is written to without a ``prepare``."""

EVENT_STREAM = "text/event-stream"
EVENTS_HEAD: FieldInput = {"Content-Type": EVENT_STREAM, "Cache-Control": "no-cache"}
"""The fields of such a response to a client that accepts server-sent events."""

OFF_LOOP_BYTES = AT_ONCE_BYTES
"""Larger inputs are compressed in a thread. 16 KiB of JSON take about 0.3 ms at gzip's
default level, and a thread's round trip 0.1 ms."""


class ResponseWriter:
    """The response to one request: its fields, its framing, how much has left.

    It is used from the first ``reset`` on.

    Args:
        context: Has the fields of each response.
        carrier: Sends the response.

    Attributes:
        gate: Where tasks that write sleep.
        content_bytes: Octets of content given to the carrier so far, encoded but
            unframed.
        status: Of the response; 0 until it has begun.
        message: The framing of a response that is streamed; None for a plain whole one.
        head: Of the request.
        is_plain: So far nothing is unusual: the request is ``RequestHead.is_plain``,
            nothing was added to the response, and it is not sent in parts.
        is_complete: The last octet was given to the carrier.
        encoder: Of the content coding, where content is encoded as it is written.
    """

    __slots__ = (
        "_carrier",
        "_context",
        "_extra",
        "_gives_up",
        "_send_whole",
        "content_bytes",
        "encoder",
        "gate",
        "head",
        "is_complete",
        "is_plain",
        "message",
        "status",
    )

    _extra: ExtraFields | None
    _gives_up: bool
    message: OutgoingMessage | None
    encoder: Encoder | None

    def __init__(self, context: ServerContext, carrier: "RequestCarrier") -> None:
        self._context = context
        self._carrier = carrier
        self._send_whole = carrier.send_whole
        self.gate = carrier.gate
        # Hot: runs once per connection; reset by hand.
        self._extra = self.message = self.encoder = None
        self._gives_up = self.is_complete = False
        self.head = NO_HEAD
        self.is_plain = True
        self.content_bytes = self.status = 0

    def reset(self, head: RequestHead) -> None:
        """Begin anew: no response yet, to a request with this head."""
        # ``HandlerTask.start`` has these lines by hand.
        self.forget()
        self.head = head
        self.is_plain = head.is_plain
        self.is_complete = False
        self.content_bytes = 0
        self.status = 0

    def forget(self) -> None:
        """Hold nothing of a response that was not plain."""
        self._extra = None
        self._gives_up = False
        self.message = None
        self.encoder = None

    @property
    def is_persistent(self) -> bool:
        """Whether another request may follow, as far as the client is asked.

        Also False where the connection was given up.
        """
        return self.head.is_persistent and not self._gives_up

    @property
    def says_more(self) -> bool:
        """Whether the head has further fields, of the app or of a middleware."""
        return self._extra is not None or bool(self._context.heads.fields)

    @property
    def upgrade(self) -> str | None:
        """The protocols that the client would rather speak; None: it names none."""
        return self.head.upgrade

    @property
    def minor(self) -> int:
        """The HTTP/1.x version of the request; 1 for a later version."""
        return self.head.minor

    def give_up_connection(self) -> None:
        """Make the response the last one of its connection."""
        self._gives_up = True
        self.is_plain = False
        if self.message is not None:
            self.message.is_persistent = False

    def take_back(self) -> None:
        """Forget a response of which nothing has left, so that another can be sent."""
        self.message = None
        self.encoder = None
        self.status = 0
        self.is_complete = False

    def is_held(self) -> bool:
        """Whether a response was prepared, and nothing of it has left."""
        return self.message is not None and not self.message.is_begun

    def switch_protocols(self, lines: bytes) -> bytes:
        """Compose a 101 of these field lines, and those that were added before.

        The response is complete when the other protocol has ended.

        Returns:
            The whole of it, to be sent now.

        Raises:
            LocalProtocolError: A response has begun.
        """
        if self.status:
            raise LocalProtocolError(f"a response has already begun: {self.status}")
        extra = self._write_extra((), 101)
        self.status = 101
        self.is_plain = False
        return b"".join((serialize_status_line(101), lines, extra, b"\r\n"))

    def complete(self) -> None:
        """Note that a response is complete which was sent by other means."""
        self.is_complete = True

    def add_fields(self, what: str) -> ExtraFields:
        """Return the added fields of a response whose head was not prepared yet.

        Args:
            what: What the caller is about to add, for the error.

        Raises:
            LocalProtocolError: A response has begun.
        """
        if self.status:
            raise LocalProtocolError(f"{what}: the head has already been prepared")
        if self._extra is None:
            self.is_plain = False
            self._extra = ExtraFields()
        return self._extra

    def add_field(self, name: str, value: str) -> None:
        """Add a field to the head that was not prepared yet.

        Raises:
            LocalProtocolError: A response has begun, or the field is malformed.
        """
        self.add_fields(name).add(name, value)

    def _write_extra(self, names: Container[str], status: int) -> bytes:
        extra = self._extra
        if extra is None:
            return b""
        return extra.write(names) + extra.ask_hooks(status)

    def send_whole(
        self,
        body: bytes,
        status: int,
        content_type_line: bytes,
        headers: FieldInput | None,
    ) -> None:
        """Send all of a response in one write, with its Content-Length.

        Raises:
            LocalProtocolError: A response has begun, or a field is malformed.
        """
        if headers is None and self.send_lines(body, status, content_type_line):
            return
        block = serialize_fields(headers)
        if not body:
            content_type_line = b""
        if headers is not None and self._is_usual(block):
            line = b"" if "content-type" in block.names else content_type_line
            if self.send_lines(body, status, line + block.lines):
                return
        message = self.begin_block(block, status, content_type_line)
        if (
            self.head.method == "HEAD"
            and status not in NO_CONTENT_LENGTH
            and message.content_length is None
        ):
            message.content_length = len(body)  # what a GET would be told
        self.send(body, is_last=True)

    def _is_usual(self, block: FieldBlock) -> bool:
        """Whether fields only stand beside those that each response has."""
        names = block.names
        return not (
            block.content_length is not None
            or block.wants_close
            or "date" in names
            or "server" in names
            or self._context.heads.fields
        )

    def send_lines(self, body: bytes, status: int, lines: bytes) -> bool:
        """Send all of a response whose fields were checked and written before.

        Returns:
            False where something about it is unusual: nothing was sent.
        """
        # Hot: the common response, composed by one formatting operation.
        if self.is_plain and self.status == 0:
            start = self._context.plain_start(status)
            if start is None:
                return False
            send_whole = self._send_whole
            if send_whole is not None:
                send_whole(start, lines, body)
            else:  # HTTP/1, without another call: 0.7 % of the request
                self._carrier.transport.write(
                    b"%b%bContent-Length: %d\r\n\r\n%b"
                    % (start, lines, len(body), body)
                )
            self.status = status
            self.is_complete = True
            self.content_bytes = len(body)
            return True
        return not self.head.is_persistent and self._send_last(body, status, lines)

    def _send_last(self, body: bytes, status: int, lines: bytes) -> bool:
        """Do as ``send_lines`` where the client closes after this response."""
        # Hot: without it a request with ``Connection: close`` takes 1.2x.
        head = self.head
        is_said = head.minor == 1 and head.method != "HEAD" and not self._gives_up
        if not is_said or self.status or self._extra is not None or self._send_whole:
            return False
        start = self._context.plain_start(status)
        if start is None:
            return False
        self._carrier.transport.write(
            b"%b%bContent-Length: %d\r\nConnection: close\r\n\r\n%b"
            % (start, lines, len(body), body)
        )
        self.status = status
        self.is_complete = True
        self.content_bytes = len(body)
        return True

    def begin_chunks(
        self, body: bytes, status: int, lines: bytes
    ) -> OutgoingMessage | None:
        """Send a head and the first chunk, as ``send_lines`` sends a whole response.

        Args:
            body: The first content, at least an octet.
            status: As for ``send_lines``.
            lines: Likewise.

        Returns:
            What is left to send; None where something is unusual: nothing was sent.
        """
        # Hot: with ``begin_block`` and ``send`` it takes 2x.
        if not self.is_plain or self.status or self._send_whole is not None:
            return None
        start = self._context.plain_start(status)
        if start is None:
            return None
        self._carrier.transport.write(
            b"%b%bTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n"
            % (start, lines, len(body), body)
        )
        self.message = message = make_chunked(len(body))
        self.status = status
        self.is_plain = False
        return message

    def end_chunks(self, message: OutgoingMessage, held: bytes, body: bytes) -> None:
        """Send the last content, and the end, of a message in chunks.

        Args:
            message: Of this response; it has no trailers.
            held: Chunks that are counted, and have not left.
            body: The last content; may be empty.
        """
        # Hot: with ``send`` it takes 4x.
        size = len(body)
        last = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body) if size else LAST_CHUNK
        self._carrier.transport.write(held + last)
        message.is_ended = True
        message.content_bytes = self.content_bytes = message.content_bytes + size
        self.is_complete = True

    def begin_encoded(
        self, headers: FieldInput | None, status: int, accept_encoding: str | None
    ) -> OutgoingMessage:
        """Decide head and framing as ``begin`` does, and the content coding.

        See ``representation.choose_for`` for which content is encoded. That of
        responses which have none, as to HEAD, is not, though their heads say so.
        """
        block = serialize_fields(headers)
        block, coding = choose_for(block, status, accept_encoding)
        message = self.begin_block(block, status)
        if coding is not None and message.has_content:
            self.encoder = open_encoder(coding)
        return message

    def begin(
        self, headers: FieldInput | None, status: int, content_type_line: bytes = b""
    ) -> OutgoingMessage:
        """Decide head and framing; nothing is sent.

        Args:
            headers: Of the response.
            status: 200 to 599.
            content_type_line: Used where ``headers`` has no Content-Type.

        Raises:
            LocalProtocolError: A response has begun, or the status or a field
                is malformed.
        """
        return self.begin_block(serialize_fields(headers), status, content_type_line)

    def begin_block(
        self, block: FieldBlock, status: int, content_type_line: bytes = b""
    ) -> OutgoingMessage:
        """Decide head and framing as ``begin`` does, by fields that were serialized."""
        if self.status:
            raise LocalProtocolError(f"a response has already begun: {self.status}")
        if not is_final_status(status):
            raise LocalProtocolError(describe_status(status))
        context = self._context
        names = block.names
        extra = b"" if self._extra is None else self._write_extra(names, status)
        if not ("date" in names or "server" in names or context.heads.fields):
            start = context.head_start(status)
        else:
            start = serialize_status_line(status)
            if "date" not in names:
                start += context.date_line()
            start += context.heads.write_lines(names)
        if "content-type" in names:
            content_type_line = b""
        framing = self._decide_framing(status, block.content_length)
        content_length = block.content_length
        if framing is Framing.NONE and (status == 204 or self.head.method == "CONNECT"):
            content_length = None  # RFC 9110 section 8.6: must not be sent
        is_persistent = (
            self.is_persistent and not block.wants_close and not context.is_draining
        )
        if context.renewals and is_persistent and not self._carrier.frames_content:
            context.renewals -= 1
            is_persistent = False
        self.message = OutgoingMessage(
            b"".join((start, content_type_line, block.lines, extra)),
            framing,
            content_length,
            self.minor,
            is_persistent=is_persistent,
        )
        self.status = status
        self.is_plain = False
        return self.message

    def send(self, octets: bytes | memoryview, *, is_last: bool) -> None:
        """Send content, encoded already, in its framing, whatever the watermark.

        Raises:
            LocalProtocolError: See ``OutgoingMessage``.
        """
        message = self.message
        assert message is not None  # begin came before
        if is_last:
            octets = self._finish_encoding(bytes(octets))
        self._carrier.send(message, octets, is_last=is_last)
        self.content_bytes = message.content_bytes
        if is_last:
            self.is_complete = True

    def _finish_encoding(self, octets: bytes) -> bytes:
        encoder, self.encoder = self.encoder, None
        return octets if encoder is None else octets + encoder.finish()

    def end_with_trailers(self, lines: bytes) -> None:
        """End the message, with a trailer section where it is chunked.

        Raises:
            LocalProtocolError: See ``OutgoingMessage``.
        """
        message = self.message
        assert message is not None  # begin came before
        message.trailers = lines
        self.send(b"", is_last=True)

    def set_trailers(self, message: OutgoingMessage, trailers: FieldInput) -> None:
        """Add fields that follow the last content.

        Raises:
            LocalProtocolError: A field is malformed, or none of a trailer section.
        """
        block = serialize_fields(trailers)
        wrong = sorted(block.names & (DROPPED_TRAILERS | REFUSED_TRAILERS))
        if wrong:
            reason = f"{wrong[0]} is a field of heads, not of trailers"
            raise LocalProtocolError(reason)
        self.flush_head(message)  # else it would say how long the content is
        message.trailers = block.lines

    def count_beside(self, size: int) -> None:
        """Count octets of content that have gone to the socket past the transport."""
        assert self.message is not None  # begin came before
        self.message.count_beside(size)
        self.content_bytes = self.message.content_bytes

    def refuse(self, error: ProtocolError) -> None:
        """Answer what never became a request, or took too long; then close."""
        self.take_back()
        self.give_up_connection()
        status, context = error.status_hint, self._context
        start = serialize_status_line(status)
        lines = [start, context.date_line(), context.heads.write_lines(), TEXT]
        if self._extra is not None:
            lines.append(self._extra.write())  # no hook: it may be what has failed
        framing = self._decide_framing(status, None)
        self.status = status
        self.is_plain = False
        self.message = OutgoingMessage(
            b"".join(lines), framing, None, self.minor, is_persistent=False
        )
        self.send(str(error).encode() or start[9:-2], is_last=True)

    def flush_head(self, message: OutgoingMessage) -> None:
        """Send the head alone, if this is still the response and it is held."""
        if (
            message is self.message
            and not message.is_begun
            and not self._carrier.transport.is_closing()
        ):
            self._carrier.send_head(message)

    def _decide_framing(self, status: int, content_length: int | None) -> Framing:
        framing = decide_response_framing(
            method=self.head.method,
            minor=self.minor,
            status=status,
            content_length=content_length,
        )
        if framing is Framing.CHUNKED and self._carrier.frames_content:
            return Framing.STREAM
        return framing


async def encode_in_thread(
    encoder: Encoder, octets: bytes
) -> tuple[bytes, asyncio.CancelledError | None]:
    """Encode in a thread, to the end even where the task is cancelled meanwhile.

    The octets are in the coded stream then, and what follows would not fit otherwise.

    Returns:
        What was encoded, and the cancellation, which the caller has to raise.
    """
    loop = asyncio.get_running_loop()
    work = loop.run_in_executor(None, encoder.encode, octets)
    interrupted = None
    while not work.done():
        try:
            await asyncio.wait((work,))
        except asyncio.CancelledError as error:
            interrupted = error
    return work.result(), interrupted
