"""One WebSocket of an ASGI app: its ``receive`` and its ``send``.

The handshake is checked before the app is asked, and answered when it accepts: by
101 then, by 403 or a response of its own where it does not. Frames, fragments, pings
and the agreement to a close are the channel's; the app sees messages.
"""

import asyncio
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from websockets.extensions.base import Extension
from websockets.protocol import Side

from blazeio.errors import Abort, BlazeioError, LocalProtocolError, PeerGone
from blazeio.gateways.gateway import ClientLost, GatewayProtocol
from blazeio.gateways.http import HttpExchange
from blazeio.gateways.messages import (
    CLOSED,
    CONNECTING,
    DENYING,
    OPEN,
    OVER,
    WEBSOCKET_EXPECTED,
    WEBSOCKET_MESSAGES,
    check_order,
    read_acceptance,
    read_body,
    read_close,
    read_data,
    read_start,
)
from blazeio.limits import READ_PAST_BYTES
from blazeio.websocket.channel import PING_EVERY_S, PING_TIMEOUT_S
from blazeio.websocket.frames import FrameEndpoint
from blazeio.websocket.websocket import Agreement, WebSocket, accept_handshake
from blazeio.wire.grammar import TOKEN
from blazeio.wire.headers import serialize_field

if TYPE_CHECKING:
    from blazeio.gateways.asgi import AsgiGateway

Message = MutableMapping[str, Any]

MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""Largest message that an ASGI app is given; larger: the connection is closed with
1009. As uvicorn has it."""


@dataclass(frozen=True, slots=True)
class SocketBounds:
    """What bounds the WebSockets of an ASGI app.

    Attributes:
        message_bytes: Largest message that the app is given.
        ping_every_s: A client that is silent for so long is pinged; None: never.
        ping_timeout_s: It is gone if it is silent for so long after that.
    """

    message_bytes: int = MESSAGE_BYTES
    ping_every_s: float | None = PING_EVERY_S
    ping_timeout_s: float = PING_TIMEOUT_S


USUAL_BOUNDS: Final = SocketBounds()

SERVICE_RESTART: Final = 1012
RESTART_REASON: Final = "the server restarts"


class Socket(WebSocket):
    """The messages of a connection whose handshake an app answers by itself."""

    def __init__(self, r: GatewayProtocol, bounds: SocketBounds) -> None:
        super().__init__(
            r,
            message_bytes=bounds.message_bytes,
            ping_every_s=bounds.ping_every_s,
            ping_timeout_s=bounds.ping_timeout_s,
        )

    def open(
        self, lines: bytes, subprotocol: str | None, extensions: Sequence[Extension]
    ) -> None:
        """Answer 101 with these field lines.

        Args:
            lines: All but those that every 101 has.
            subprotocol: Agreed with the client; None: none.
            extensions: How frames are coded, likewise.

        Raises:
            ClientLost: The client is gone.
        """
        r = self.r
        if r.transport.is_closing():
            raise ClientLost("the client is gone")
        endpoint = FrameEndpoint(
            Side.SERVER,
            message_bytes=self._message_bytes,
            extensions=extensions,
            subprotocol=subprotocol,
        )
        self.begin(endpoint, r.carrier, r.context.limits)
        r.take_over(lines, self)

    def restart(self) -> None:
        """Close without awaiting the client's word; who receives sees the end."""
        endpoint = self._opened()
        if endpoint.is_open:
            # The client's own close is not awaited: it may take as long as it likes,
            # and the drain has an end. 1012 tells it to come back (IANA's registry of
            # close codes).
            endpoint.close(SERVICE_RESTART, RESTART_REASON)
            self._flush(endpoint)
        self._leave()
        self._wake()

    @property
    def is_over(self) -> bool:
        """Whether it was closed, by either side, or the connection is lost."""
        return self._is_over or not self.r.is_alive

    def abandon(self) -> None:
        """Nobody uses it any more."""
        self._unset_timer()


class WebSocketExchange:
    """A connection of WebSocket, as an ASGI app sees it.

    Args:
        r: The request that asks for it.
        gateway: Who serves it.

    Attributes:
        state: What the connection waits for, of ``messages``.
    """

    __slots__ = (
        "_agreement",
        "_answered",
        "_denial",
        "_end",
        "_gateway",
        "_has_connected",
        "_r",
        "_socket",
        "state",
    )

    def __init__(self, r: GatewayProtocol, gateway: "AsgiGateway") -> None:
        self._r = r
        self._gateway = gateway
        self._socket = Socket(r, gateway.socket_bounds)
        self._agreement: Agreement | None = None
        self._denial: HttpExchange | None = None
        self._has_connected = False
        self._end: tuple[int, str] | None = None
        self._answered = asyncio.Event()
        self.state = CONNECTING

    async def check_handshake(self) -> bool:
        """Check what the client asks for; False: it was answered that it may not.

        Content that it has declared is read past: a client should send none.
        """
        r = self._r
        try:
            compress = self._gateway.compresses_websockets
            self._agreement = accept_handshake(r, compress=compress)
            if not r.content.is_whole:
                await r.read(limit=READ_PAST_BYTES)
        except Abort as error:
            r.reply(str(error.message).encode(), error.status, headers=error.headers)
            return False
        except BlazeioError as error:
            if r.is_alive:
                status = getattr(error, "status_hint", 400)
                r.reply(str(error).encode(), status, headers={"Connection": "close"})
            return False
        return True

    # Receiving

    async def receive(self) -> Message:
        """Return the connect, then each message, then always the disconnect."""
        # Hot: runs once per message.
        if not self._has_connected:
            self._has_connected = True
            return {"type": "websocket.connect"}
        if self.state == OPEN:
            try:
                # The builtin ``anext`` would call it through C: 1.03x of an echo.
                message = await self._socket.__anext__()
            except StopAsyncIteration:
                return self._tell_disconnect()
            if isinstance(message, str):
                return {"type": "websocket.receive", "text": message}
            return {"type": "websocket.receive", "bytes": message}
        if self.state in (CONNECTING, DENYING):
            await self._wait_for_answer()
            if self.state == OPEN:
                return await self.receive()
        return self._tell_disconnect()

    async def _wait_for_answer(self) -> None:
        """Return when the app has answered the handshake, or the client is gone."""
        gone = asyncio.ensure_future(_wait(self._r))
        answered = asyncio.ensure_future(self._answered.wait())
        try:
            waiting = (gone, answered)
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            answered.cancel()

    def _tell_disconnect(self) -> Message:
        if self._end is None:
            code, reason = self._socket.close_code, self._socket.close_reason
            self._end = (1006 if code is None else code, reason or "")
        code, reason = self._end
        return {"type": "websocket.disconnect", "code": code, "reason": reason}

    # Sending

    async def send(self, message: Message) -> None:
        """Take the next message of the app.

        Raises:
            ClientLost: The client is gone, or has closed.
            LocalProtocolError: The message is malformed, or may not come now.
        """
        # Hot: runs once per message.
        state = self.state
        if state == OPEN:
            if self._end is not None:
                raise ClientLost("the WebSocket is closed")
            if message["type"] == "websocket.send":  # 0.7x of what follows
                data = read_data(message)
                if self._socket.send_at_once(data):
                    return
        kind = check_order(message, WEBSOCKET_EXPECTED[state], WEBSOCKET_MESSAGES)
        try:
            if kind == "websocket.send":
                await self._socket.send(read_data(message))
            elif kind == "websocket.accept":
                self._accept(message)
            elif kind == "websocket.close":
                await self._close_by_app(*read_close(message))
            else:
                await self._deny(kind, message)
        except PeerGone as error:
            raise ClientLost("the client is gone") from error

    def _accept(self, message: Message) -> None:
        acceptance = read_acceptance(message)
        agreement = self._agreement
        assert agreement is not None  # check_handshake came before
        subprotocol = acceptance.subprotocol
        lines = agreement.field_lines + acceptance.lines
        if subprotocol is not None:
            if TOKEN.fullmatch(subprotocol) is None:
                reason = f"websocket.accept: {subprotocol!r:.80} is not a subprotocol"
                raise LocalProtocolError(reason)
            lines += serialize_field("Sec-WebSocket-Protocol", subprotocol)
        self._socket.open(lines, subprotocol, agreement.extensions)
        self.state = OPEN
        self._gateway.websockets.add(self)
        self._answered.set()

    async def _close_by_app(self, code: int, reason: str) -> None:
        if self.state == CONNECTING:
            self._refuse(403)
            return
        self.state = CLOSED
        self._end = (code, reason)
        await self._socket.close(code, reason)

    def _refuse(self, status: int) -> None:
        """Answer the handshake in the place of the app."""
        self.state = CLOSED
        self._end = (1006, "")
        self._answered.set()
        if self._r.is_alive:
            self._r.reply(b"", status, b"")

    async def _deny(self, kind: str, message: Message) -> None:
        """ASGI section "Websocket Denial Response"."""
        if kind == "websocket.http.response.start":
            start = read_start(message)
            r = self._r
            self._denial = HttpExchange(r, self._gateway, r.content, r.response.gate)
            self._denial.hold(start)
            self.state = DENYING
            return
        assert self._denial is not None  # the start came before
        is_last = not message.get("more_body")
        await self._denial.put(read_body(message), is_last=is_last)
        if self._denial.state == OVER:
            self.state = CLOSED
            self._end = (1006, "")
            self._answered.set()

    # The end

    def delay_farewell(self, place: int, count: int) -> float:
        """Return when it is its turn to be closed; see the server's context."""
        return self._r.context.delay_farewell(place, count)

    def restart(self) -> None:
        """The server drains: the client and the app are told, nothing is cancelled."""
        if self.state == OPEN and self._end is None:
            self._end = (SERVICE_RESTART, RESTART_REASON)
            self._socket.restart()

    @property
    def is_due(self) -> bool:
        """The handshake is still to be answered, and somebody is there for it."""
        return self.state in (CONNECTING, DENYING) and self._r.is_alive

    async def finish(self, error: BaseException | None = None) -> None:
        """The app has ended: answer in its place, or close.

        Args:
            error: What it has raised.
        """
        self._gateway.websockets.discard(self)
        if self._denial is not None:
            self._denial.finish()
            self.state = CLOSED
        elif self.state == CONNECTING:
            self._refuse(500)
        elif self.state == OPEN and not self._socket.is_over:
            self.state = CLOSED
            # 1011: the server met a condition that it did not expect (RFC 6455 section
            # 7.4.1).
            await self._socket.close(1000 if error is None else 1011)
        self._socket.abandon()

    def cut(self) -> None:
        """The handler's task was cancelled, and the connection with it."""
        self._gateway.websockets.discard(self)
        self._socket.abandon()


async def _wait(r: Any) -> None:
    await r.peer_closed
