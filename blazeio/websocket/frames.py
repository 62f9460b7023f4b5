"""``FrameEndpoint``: one end of a WebSocket, from octets to messages and back. Pure.

``websockets``' core without I/O reads and writes frames. What it takes for that, 3.2 us
for an echo of 64 octets, is more than all the rest of our work. So the common frame has
a short way here: one that is alone in a read, whole, masked, and a whole uncompressed
message of text or octets. For that it must be known where frames begin, which
``FrameBounds`` counts.
"""

import codecs
import sys
from collections.abc import Sequence
from typing import Final

from websockets.exceptions import ProtocolError
from websockets.extensions.base import Extension
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

from blazeio.errors import LocalProtocolError
from blazeio.protocol.flow import JOINED_BYTES, join_small

# From frames to messages


class MessageAssembler:
    """Joins the fragments of messages (RFC 6455 section 5.4).

    The order of the frames, and the size of a message, were checked before. Text is
    checked as it comes: invalid UTF-8 is noticed before the end of the message.
    """

    __slots__ = ("_decoder", "_octets", "_texts")

    def __init__(self) -> None:
        self._decoder: codecs.IncrementalDecoder | None = None
        self._texts: list[str] = []
        self._octets: list[bytes] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._decoder is not None or self._octets is not None

    def feed(self, frame: Frame) -> str | bytes | None:
        """Take a data frame; return the message that it ends, if it does.

        Raises:
            UnicodeDecodeError: It is text and not valid UTF-8.
        """
        # Hot: runs once per frame; most messages are one frame.
        if frame.fin and frame.opcode is not Opcode.CONT:
            if frame.opcode is Opcode.BINARY:
                return bytes(frame.data)
            return str(frame.data, "utf-8")
        if frame.opcode is Opcode.TEXT:
            self._decoder = codecs.getincrementaldecoder("utf-8")()
        elif frame.opcode is Opcode.BINARY:
            self._octets = []
        return self._join(bytes(frame.data), is_last=frame.fin)

    def _join(self, octets: bytes, *, is_last: bool) -> str | bytes | None:
        if self._octets is not None:
            join_small(self._octets, octets)
            if not is_last:
                return None
            whole, self._octets = b"".join(self._octets), None
            return whole
        assert self._decoder is not None  # a continuation continues something
        text = self._decoder.decode(octets, is_last)
        if self._texts and len(self._texts[-1]) + len(text) <= JOINED_BYTES:
            self._texts[-1] += text
        else:
            self._texts.append(text)
        if not is_last:
            return None
        text, self._texts, self._decoder = "".join(self._texts), [], None
        return text


# The common frame: a whole message, uncompressed, in one read


try:
    from websockets.speedups import apply_mask
except ImportError:  # no C extension on this platform
    from websockets.utils import apply_mask

TEXT: Final = 0x80 | Opcode.TEXT
BINARY: Final = 0x80 | Opcode.BINARY
_MASKED: Final = 0x80
_LENGTH_16, _LENGTH_64 = 126, 127
_LEAST_LONG: Final = _LENGTH_16 + 6


def read_plain_frame(octets: bytes) -> str | bytes | None:
    """Read a frame; None where it is not the common one, or not alone.

    Text that is not valid UTF-8 is not the common one either.

    Args:
        octets: From the beginning of a frame.
    """
    # Hot: runs once per message; RFC 6455 section 5.2.
    size = len(octets)
    if size < 6:
        return None
    # Section 5.1: a client masks each frame. Without the bit this is below 0, and so
    # not the common frame; the core closes with 1002 then.
    first, length = octets[0], octets[1] - _MASKED
    if size == length + 6 and length < _LENGTH_16:
        payload, mask = octets[6:], octets[2:6]
    elif length == _LENGTH_16 and size >= 8:
        length = int.from_bytes(octets[2:4])
        if length < _LENGTH_16 or size != length + 8:
            # RFC 6455 section 5.2: the length must be in its shortest form. Any other
            # is left to ``websockets``.
            return None
        payload, mask = octets[8:], octets[4:8]
    else:
        return None
    if first == BINARY:
        return apply_mask(payload, mask)
    if first == TEXT:
        try:
            return apply_mask(payload, mask).decode()
        except UnicodeDecodeError:
            return None
    return None


# By size, how a short frame begins: 0.5x of writing it anew.
_SHORT_TEXT: Final = tuple(bytes((TEXT, size)) for size in range(_LENGTH_16))
_SHORT_BINARY: Final = tuple(bytes((BINARY, size)) for size in range(_LENGTH_16))


def write_plain_frame(message: str | bytes | bytearray | memoryview) -> bytes:
    """Serialize a whole message as one frame, as servers do: without a mask."""
    # Hot: runs once per message.
    if isinstance(message, str):
        data = message.encode()
        size = len(data)
        if size < _LENGTH_16:
            return _SHORT_TEXT[size] + data
        first, short = TEXT, _SHORT_TEXT
    else:
        first, short = BINARY, _SHORT_BINARY
        # bytes(5) would be five octets; what is bytes already needs no view
        data = message if type(message) is bytes else bytes(memoryview(message))
    size = len(data)
    if size < _LENGTH_16:
        return short[size] + data
    if size < 65536:
        return b"%c%c%b%b" % (first, _LENGTH_16, size.to_bytes(2), data)
    return b"%c%c%b%b" % (first, _LENGTH_64, size.to_bytes(8), data)


class FrameBounds:
    """Where the next frame begins, however the octets are cut.

    Attributes:
        is_at_start: The next octet is the first of a frame.
        frame_count: How many heads of frames have been skipped.
    """

    __slots__ = ("_head", "_missing_bytes", "frame_count")

    def __init__(self) -> None:
        self._head = b""
        self._missing_bytes = 0
        self.frame_count = 0

    @property
    def is_at_start(self) -> bool:
        """Whether the next octet is the first of a frame."""
        return self._missing_bytes == 0 and not self._head

    @property
    def is_in_payload(self) -> bool:
        """Whether the next octet is one of a frame's payload."""
        return self._missing_bytes > 0

    def skip(
        self,
        octets: bytes,
        at: int = 0,
        *,
        most_bytes: int = sys.maxsize,
        most_frames: int = sys.maxsize,
    ) -> int:
        """Skip octets that are read elsewhere.

        Args:
            octets: What has arrived.
            at: Offset of the first of them.
            most_bytes: Bound of this call.
            most_frames: Bound of the heads of frames in this call.

        Returns:
            The offset just after.
        """
        stop = min(len(octets), at + most_bytes)
        last = self.frame_count + most_frames
        while at < stop:
            if self._missing_bytes:
                step = min(self._missing_bytes, stop - at)
                self._missing_bytes -= step
                at += step
            elif self.frame_count >= last:
                break
            else:
                at = self._pass_over_head(octets, at, stop)
        return at

    def _pass_over_head(self, octets: bytes, at: int, stop: int) -> int:
        held = self._head
        head = held + octets[at : min(stop, at + _LONGEST_HEAD_BYTES)]
        sizes = _frame_bytes(head)
        if sizes is None:
            self._head = head
            return stop
        head_bytes, payload_bytes = sizes
        self._head = b""
        self._missing_bytes = payload_bytes
        self.frame_count += 1
        return at + head_bytes - len(held)


_LONGEST_HEAD_BYTES: Final = 14


def _frame_bytes(head: bytes) -> tuple[int, int] | None:
    """Return the sizes of a frame's head and payload; None: its head is not whole."""
    if len(head) < 2:
        return None
    length = head[1] & 0x7F
    size = 2 + (4 if head[1] & _MASKED else 0)
    if length >= _LENGTH_16:
        width = 2 if length == _LENGTH_16 else 8
        size += width
        length = int.from_bytes(head[2 : 2 + width])
    return (size, length) if len(head) >= size else None


STEP_BYTES = 64 * 1024
"""How many octets of a connection are read in one turn of the loop."""
STEP_FRAMES = 256
"""How many frames are read in one turn, however small they are: 1 ms of work."""
INFLATED_STEP_BYTES = 4 * 1024
"""How many compressed octets are read at once: they may stand for 1,030 times as
many."""

_DATA = frozenset((Opcode.TEXT, Opcode.BINARY, Opcode.CONT))


class _Core(Protocol):
    """The core of ``websockets``, with the messages that its frames make.

    Text is checked frame by frame, so that a close after invalid text does not come
    first. The caller, ``parse``, closes with 1007.
    """

    def __init__(self, side: Side, message_bytes: int) -> None:
        # A protocol that is open from its beginning reads frames, not a request first.
        super().__init__(side, state=State.OPEN, max_size=message_bytes)
        self.assembler = MessageAssembler()
        self.messages: list[str | bytes] = []

    def recv_frame(self, frame: Frame) -> None:
        """Take a frame.

        RFC 6455 section 5.4: control frames may come between fragments. A close is one
        of them, though ``websockets`` answers it by 1002 there.
        """
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)
        if frame.opcode in _DATA:
            message = self.assembler.feed(frame)
            if message is not None:
                self.messages.append(message)

    def forget(self) -> None:
        """Let go of what was received, once nothing more will be read.

        The exception that has ended it is kept here, and the frames of its traceback
        keep this and a message that was too large once it was decompressed: a cycle of
        up to ``message_bytes``, which only Python's collector would find.
        """
        error: BaseException | None = self.parser_exc
        while error is not None:
            error.__traceback__ = None
            error = error.__context__
        self.assembler = MessageAssembler()
        self.reader.discard()


class FrameEndpoint:
    """What one end has received, and what it sends.

    Args:
        side: Server or client.
        message_bytes: The largest message accepted, octets.
        extensions: Agreed to in the handshake.
        subprotocol: Likewise; None: none.

    Attributes:
        is_open: Neither side has sent a close.
        is_over: Nothing more will be received.
        read_count: How many frames the last ``read_on`` has read.
        subprotocol: Agreed to in the handshake; None: none.
        serialize: Serializes a message, str as text, octets as binary; while
            ``is_open``.
    """

    __slots__ = (
        "_at",
        "_bounds",
        "_is_plain",
        "_may_be_plain",
        "_message_bytes",
        "_protocol",
        "_step_bytes",
        "_unread",
        "is_open",
        "is_over",
        "read_count",
        "serialize",
        "subprotocol",
    )

    def __init__(
        self,
        side: Side,
        *,
        message_bytes: int,
        extensions: Sequence[Extension] = (),
        subprotocol: str | None = None,
    ) -> None:
        self._protocol = _Core(side, message_bytes)
        self._protocol.extensions = list(extensions)
        self._message_bytes = message_bytes
        self.subprotocol = subprotocol
        self._bounds = FrameBounds()
        self._unread = b""
        self._at = 0
        self.read_count = 0
        self._step_bytes = INFLATED_STEP_BYTES if extensions else STEP_BYTES
        # A client's frames (masked) and compressed ones go through ``websockets``.
        self._is_plain = side is Side.SERVER and not extensions
        self._may_be_plain = self._is_plain
        # The function itself, not a method that calls it: 0.06 of 8.5 us an echo.
        self.serialize = write_plain_frame if self._is_plain else self._serialize
        self.is_open = True
        self.is_over = False

    @property
    def close_code(self) -> int | None:
        """Why it is over; 1006 without a close frame; None before."""
        received = self._protocol.close_rcvd
        if received is not None:  # the connection may still be open
            return received.code
        return 1006 if self.is_over else self._protocol.close_code

    @property
    def close_reason(self) -> str | None:
        """The text that the side which closed it has given; None before."""
        received = self._protocol.close_rcvd
        if received is not None:
            return received.reason
        return "" if self.is_over else self._protocol.close_reason

    @property
    def state_name(self) -> str:
        """OPEN, CLOSING or CLOSED."""
        return self._protocol.state.name

    # Receiving

    @property
    def is_between_messages(self) -> bool:
        """Whether nothing that was received waits for more."""
        return (
            not self._unread
            and self._bounds.is_at_start
            and not self._protocol.assembler.is_busy
        )

    @property
    def is_in_frame(self) -> bool:
        """Whether a frame has begun that is not whole."""
        return not self._bounds.is_at_start

    @property
    def has_unread(self) -> bool:
        """Whether ``read_on`` has something to read."""
        return bool(self._unread)

    def receive(self, octets: bytes) -> str | bytes | None:
        """Take octets; return the message, where they are exactly one.

        Otherwise they wait for ``read_on``.
        """
        # Hot: runs once per read.
        size = len(octets)
        if self._may_be_plain and size <= self._message_bytes:
            # Text of up to 125 octets, as ``read_plain_frame`` reads it.
            if (
                6 <= size < _LEAST_LONG
                and octets[0] == TEXT
                and octets[1] == size + 122
            ):
                try:
                    return apply_mask(octets[6:], octets[2:6]).decode()
                except UnicodeDecodeError:
                    pass
            else:
                message = read_plain_frame(octets)
                if message is not None:
                    return message
        if not self.is_over:
            self._may_be_plain = False
            if self._at:
                self._unread, self._at = self._unread[self._at :], 0
            self._unread += octets
        return None

    def read_on(self) -> list[str | bytes]:
        """Read a part of what is unread; return the messages that are whole now.

        Responses to it (a pong, a close) are in ``take_octets``.
        """
        unread, start = self._unread, self._at
        before = self._bounds.frame_count
        end = self._bounds.skip(
            unread, start, most_bytes=self._step_bytes, most_frames=STEP_FRAMES
        )
        self.read_count = self._bounds.frame_count - before
        if end < len(unread):
            self._at = end
        else:
            self._unread, self._at = b"", 0
        protocol = self._protocol
        protocol.receive_data(unread[start:end])
        protocol.events_received()  # they are messages already
        self._note_state()
        messages, protocol.messages = protocol.messages, []
        return messages

    def _note_state(self) -> None:
        protocol = self._protocol
        self.is_open = protocol.state is State.OPEN
        if protocol.close_rcvd is not None or protocol.parser_exc is not None:
            self.is_over = True
        if self.is_over:
            self._unread, self._at = b"", 0
            protocol.forget()
        self._may_be_plain = (
            self._is_plain
            and self.is_open
            and not self._unread
            and self._bounds.is_at_start
            and not self._protocol.assembler.is_busy
        )

    def end(self) -> None:
        """End: the connection is over; without a close before it: 1006."""
        if self._protocol.state is not State.CLOSED:
            self._protocol.receive_eof()
        self.is_over = True
        self._note_state()

    # Sending

    def _serialize(self, message: str | bytes | bytearray | memoryview) -> bytes:
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(memoryview(message))
        return self.take_octets()

    def ping(self) -> None:
        """Send a ping."""
        self._protocol.send_ping(b"")

    def close(self, code: int, reason: str) -> None:
        """Send a close, while ``is_open``.

        Raises:
            LocalProtocolError: The code may not be sent, or the reason is longer than
                123 octets.
        """
        try:
            self._protocol.send_close(code, reason)
        except ProtocolError as error:
            raise LocalProtocolError(f"close({code}): {error}") from None
        self._note_state()

    def take_octets(self) -> bytes:
        """Return the frames to send; the connection is closed by its owner."""
        return b"".join(self._protocol.data_to_send())
