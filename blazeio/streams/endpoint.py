"""``Endpoint``: one end of a WebSocket, from octets to messages and back. Pure.

Frames are read and written by ``websockets``' core without I/O; the common one
takes the short way of ``plain_frames``.

May import: blazeio.errors, and its siblings.
"""

from collections.abc import Sequence

from websockets.exceptions import ProtocolError
from websockets.extensions.base import Extension
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

from blazeio.errors import LocalProtocolError
from blazeio.streams.messages import MessageAssembler
from blazeio.streams.plain_frames import (
    FrameBounds,
    read_plain_frame,
    write_plain_frame,
)

STEP_BYTES = 64 * 1024
"""So much is read of a connection in one turn of the loop ..."""
STEP_FRAMES = 256
"""... and so many frames, however small: 1 ms of work."""
INFLATED_STEP_BYTES = 4 * 1024
"""So much of what is compressed is read at once: it may be 1,030 times as much."""

_DATA = frozenset((Opcode.TEXT, Opcode.BINARY, Opcode.CONT))


class _Core(Protocol):
    """As ``websockets`` has it, and the messages that its frames make.

    Text is looked at frame by frame: a close behind broken text does not come
    before it. ``parse``, which calls, closes with 1007.
    """

    def __init__(self, side: Side, message_bytes: int) -> None:
        # One that is open from its beginning reads frames, not a request first.
        super().__init__(side, state=State.OPEN, max_size=message_bytes)
        self.assembler = MessageAssembler()
        self.messages: list[str | bytes] = []

    def recv_frame(self, frame: Frame) -> None:
        """Take a frame.

        RFC 6455 section 5.4: control frames may come between fragments, and a
        close is one, though ``websockets`` answers it by 1002 there.
        """
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)
        if frame.opcode in _DATA:
            message = self.assembler.feed(frame)
            if message is not None:
                self.messages.append(message)


class Endpoint:
    """What one end has received, and what it sends.

    Args:
        side: Which one.
        message_bytes: Largest message accepted, octets.
        extensions: Agreed to in the handshake.
        subprotocol: Likewise; None: none.

    Attributes:
        is_open: Nobody has said that it is over.
        is_over: Nothing more will be received.
        read_count: Frames that the last ``read_on`` has read.
        subprotocol: Agreed to in the handshake; None: none.
        serialize: Writes a message, str as text, octets as binary; while
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
        # What a client masks and what is compressed goes the long way.
        self._is_plain = side is Side.SERVER and not extensions
        self._may_be_plain = self._is_plain
        # Not a method that calls it: 0.06 of 8.5 us an echo.
        self.serialize = write_plain_frame if self._is_plain else self._serialize
        self.is_open = True
        self.is_over = False

    @property
    def close_code(self) -> int | None:
        """Why it is over; 1006 where no close was said; None before."""
        received = self._protocol.close_rcvd
        if received is not None:  # what carries it may still be open
            return received.code
        return 1006 if self.is_over else self._protocol.close_code

    @property
    def close_reason(self) -> str | None:
        """In the words of who closed it; None before."""
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
    def has_unread(self) -> bool:
        """``read_on`` has something to read."""
        return bool(self._unread)

    def receive(self, octets: bytes) -> str | bytes | None:
        """Take what has arrived; give the message, where that is all of it.

        Otherwise it waits for ``read_on``.
        """
        # Hot: runs once per read.
        if self._may_be_plain:
            message = read_plain_frame(octets)
            if message is not None and len(octets) <= self._message_bytes:
                return message
        if not self.is_over:
            self._may_be_plain = False
            if self._at:
                self._unread, self._at = self._unread[self._at :], 0
            self._unread += octets
        return None

    def read_on(self) -> list[str | bytes]:
        """Read a step of what is unread: give the messages that are whole now.

        What there is to answer (a ping, a close, a breach) is in ``take_octets``.
        """
        unread, start = self._unread, self._at
        before = self._bounds.frame_count
        end = self._bounds.pass_over(
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
        self._may_be_plain = (
            self._is_plain
            and self.is_open
            and not self._unread
            and self._bounds.is_at_start
            and not self._protocol.assembler.is_busy
        )

    def end(self) -> None:
        """The connection gives no more; without a close before it: 1006."""
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
        """Ask whether the peer is there."""
        self._protocol.send_ping(b"")

    def close(self, code: int, reason: str) -> None:
        """Say that it is over, while ``is_open``.

        Raises:
            LocalProtocolError: No such code may be sent, or the reason is longer
                than 123 octets.
        """
        try:
            self._protocol.send_close(code, reason)
        except ProtocolError as error:
            raise LocalProtocolError(f"close({code}): {error}") from None
        self._note_state()

    def take_octets(self) -> bytes:
        """What there is to send: frames; the end of the connection is not ours."""
        return b"".join(self._protocol.data_to_send())
