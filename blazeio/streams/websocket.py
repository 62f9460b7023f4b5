"""``WebSocket``: messages both ways over one connection (RFC 6455).

The frames are those of ``websockets``' core without I/O; what carries them is
``r``: its flow control, its deadlines, its drain.

May import: blazeio.errors, blazeio.protocol, and its siblings.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from blazeio.errors import ClientDisconnected, LocalProtocolError
from blazeio.protocol.server import BlazeioServerProtocol
from blazeio.streams.handshake import shake_hands
from blazeio.streams.messages import BrokenMessageError, MessageAssembler
from blazeio.streams.plain_frames import (
    BINARY,
    TEXT,
    FrameBounds,
    read_plain_frame,
    write_plain_frame,
)

MESSAGE_BYTES = 1024 * 1024
"""Largest message accepted; larger: the connection is closed with 1009."""
PING_EVERY_S = 20.0
"""A client that was silent for this long is pinged ..."""
PING_TIMEOUT_S = 20.0
"""... and is gone if it is still silent after this."""
CLOSE_TIMEOUT_S = 5.0
"""The client has this long to agree to the close."""


class WebSocket:
    """A connection whose client speaks WebSocket, from ``async with`` to its end.

    ``async with io.WebSocket(r) as ws: async for message in ws: ...``

    The loop ends when the client closes, or goes away. Leaving the block closes
    with 1000, or 1011 after an exception; when the server drains, with 1012, so
    that the client comes back to whoever serves then.

    Args:
        r: The request, nothing answered yet.
        subprotocols: Those spoken here, the best first.
        origins: Those that a browser may come from (its Origin field), against
            hijacking; None among them: whoever sends none. None: all.
        message_bytes: Largest message accepted, octets.
        compress: Agree to permessage-deflate: some 64 KiB of memory each.
        ping_every_s: A client silent for so long is pinged; None: never.
        ping_timeout_s: Still silent after so much more: it is gone.

    Attributes:
        r: The request that it began with.
        subprotocol: Agreed with the client; None: none.
        close_code: Why it is closed; 1006 where no close was said, None before.
        close_reason: In the words of who closed it.
    """

    def __init__(
        self,
        r: BlazeioServerProtocol,
        *,
        subprotocols: Sequence[str] = (),
        origins: Sequence[str | None] | None = None,
        message_bytes: int = MESSAGE_BYTES,
        compress: bool = False,
        ping_every_s: float | None = PING_EVERY_S,
        ping_timeout_s: float = PING_TIMEOUT_S,
    ) -> None:
        self.r = r
        self._subprotocols = subprotocols
        self._origins = origins
        self._message_bytes = message_bytes
        self._compress = compress
        self._ping_every_s = ping_every_s
        self._ping_timeout_s = ping_timeout_s
        self._protocol: ServerProtocol | None = None
        self._assembler = MessageAssembler()
        self._bounds = FrameBounds()
        self._is_plain = False
        self._messages: deque[str | bytes] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._heard_bytes = 0
        self._is_pinged = False

    def __repr__(self) -> str:
        state = "new" if self._protocol is None else self._protocol.state.name
        return f"<{type(self).__name__} {state} {self.r.tail}>"

    @property
    def subprotocol(self) -> str | None:
        """Agreed with the client; None: none."""
        return None if self._protocol is None else self._protocol.subprotocol

    @property
    def close_code(self) -> int | None:
        """Why it is closed; 1006 where no close was said; None while it is open."""
        return None if self._protocol is None else self._protocol.close_code

    @property
    def close_reason(self) -> str | None:
        """In the words of who closed it; None while it is open."""
        return None if self._protocol is None else self._protocol.close_reason

    # From its beginning to its end

    async def __aenter__(self) -> Self:
        """Shake hands.

        Raises:
            Abort: It is no good handshake; the client is answered so.
        """
        self._protocol = shake_hands(
            self.r,
            origins=self._origins,
            subprotocols=self._subprotocols,
            message_bytes=self._message_bytes,
            compress=self._compress,
        )
        self._is_plain = not self._protocol.extensions
        self.r.on_farewell(self._bid_farewell)
        if self._ping_every_s is not None:
            self._set_timer(self._ping_every_s)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Close it; an exception of the block goes on, a disconnect does not."""
        if isinstance(error, asyncio.CancelledError):
            self._unset_timer()
            return False  # cut; or the farewell follows
        is_failure = error is not None and not isinstance(error, ClientDisconnected)
        code = CloseCode.INTERNAL_ERROR if is_failure else CloseCode.NORMAL_CLOSURE
        await self.close(code)
        return not is_failure

    async def _bid_farewell(self, r: BlazeioServerProtocol) -> None:
        await self.close(CloseCode.SERVICE_RESTART, "the server restarts")

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say that it is over, and wait until the client agrees; only once.

        Args:
            code: RFC 6455 section 7.4; 3000 to 4999 are an app's own.
            reason: For the client, at most 123 octets of UTF-8.
        """
        protocol = self._opened()
        if protocol.state is State.OPEN:
            protocol.send_close(code, reason)
            self._flush(protocol)
        self._unset_timer()
        if self.r.content.is_awaited:
            return  # the task that receives sees the client's answer
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                async for _ in self:
                    pass
        except (TimeoutError, ClientDisconnected):
            pass
        self.r.answer.complete()

    def _opened(self) -> ServerProtocol:
        if self._protocol is None:
            raise LocalProtocolError("use it as `async with io.WebSocket(r) as ws`")
        return self._protocol

    # Receiving

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        """Give the next message: text is str, binary is bytes.

        Raises:
            StopAsyncIteration: It is closed; ``close_code`` says why.
        """
        # Hot: runs once per message.
        while True:
            if self._messages:
                return self._messages.popleft()
            octets = self.r.content.take()
            if octets is None:
                if not await self._arrival():
                    raise StopAsyncIteration
            elif (message := self._read(octets)) is not None:
                return message

    async def receive(self) -> str | bytes:
        """Give the next message: text is str, binary is bytes.

        Raises:
            ClientDisconnected: It is closed; ``close_code`` says why.
        """
        try:
            return await anext(self)
        except StopAsyncIteration:
            message = f"the WebSocket is closed: {self.close_code}"
            raise ClientDisconnected(message) from None

    async def _arrival(self) -> bool:
        """Sleep until octets wait; False once nothing will follow."""
        # Hot: runs once per read.
        r, protocol = self.r, self._opened()
        if protocol.eof_sent or r.content.is_whole:  # it is ours to close first
            self._end(protocol)
            return False
        try:
            if not r.intake.is_open:
                r.resume_content()
            await r.content.arrival()
        except ClientDisconnected:
            self._end(protocol)
            return False
        return True

    def _read(self, octets: bytes) -> str | bytes | None:
        """Read what has arrived: give the message, where it is a plain one."""
        # Hot: runs once per read.
        protocol = self._opened()
        bounds = self._bounds
        if self._is_plain and bounds.is_at_start and not self._assembler.is_busy:
            try:
                message = read_plain_frame(octets)
            except UnicodeDecodeError:
                message = None  # the long way says what is wrong with it
            if (
                message is not None
                and len(octets) <= self._message_bytes
                and protocol.state is State.OPEN
            ):
                return message
        bounds.pass_over(octets)
        protocol.receive_data(octets)
        self._read_frames(protocol)
        return None

    def _read_frames(self, protocol: ServerProtocol) -> None:
        try:
            for event in protocol.events_received():
                if isinstance(event, Frame) and event.opcode in _DATA:
                    message = self._assembler.feed(event)
                    if message is not None:
                        self._messages.append(message)
        except BrokenMessageError as error:
            protocol.fail(error.code, str(error))
        self._flush(protocol)

    def _end(self, protocol: ServerProtocol) -> None:
        self._unset_timer()
        if protocol.state is not State.CLOSED:
            protocol.receive_eof()
            self._flush(protocol)
        self.r.answer.complete()

    # Sending

    async def send(self, message: str | bytes | bytearray | memoryview) -> None:
        """Send a message: str as text, octets as binary.

        Sleeps while the client does not read what was sent before.

        Raises:
            ClientDisconnected: It is closed, or the client is gone.
        """
        protocol = self._opened()
        if not self.r.gate.is_open or self.r.gate.error is not None:
            await self.r.buffer_overflow_manager()
        # From here on without a pause: the order of frames is that of messages.
        if protocol.state is not State.OPEN or self.r.transport.is_closing():
            raise ClientDisconnected(f"the WebSocket is closed: {self.close_code}")
        is_text = isinstance(message, str)
        data = message.encode() if isinstance(message, str) else bytes(message)
        if self._is_plain:
            frame = write_plain_frame(TEXT if is_text else BINARY, data)
            self.r.transport.write(frame)
        elif is_text:
            protocol.send_text(data)
            self._flush(protocol)
        else:
            protocol.send_binary(data)
            self._flush(protocol)

    def _flush(self, protocol: ServerProtocol) -> None:
        pieces = protocol.data_to_send()
        if pieces and not self.r.transport.is_closing():
            octets = b"".join(pieces)  # the last may be b"": its FIN is r's to send
            if octets:
                self.r.transport.write(octets)

    # Silence

    def _set_timer(self, span_s: float) -> None:
        self._timer = self.r.context.loop.call_later(span_s, self._note_silence)

    def _unset_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _note_silence(self) -> None:
        """What is looked at is what has arrived: the handler may be slow."""
        protocol, r = self._opened(), self.r
        if not r.is_alive or protocol.state is not State.OPEN:
            return
        heard_bytes = r.content.received_bytes
        is_silent = heard_bytes == self._heard_bytes and r.intake.is_open
        self._heard_bytes = heard_bytes
        if not is_silent:
            self._is_pinged = False
            self._set_timer(self._ping_every_s or PING_EVERY_S)
        elif self._is_pinged:
            r.abort()
        else:
            self._is_pinged = True
            protocol.send_ping(b"")
            self._flush(protocol)
            self._set_timer(self._ping_timeout_s)


_DATA = frozenset((Opcode.TEXT, Opcode.BINARY, Opcode.CONT))
