"""``ClientWebSocket``: messages both ways with a server (RFC 6455)."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import CloseCode
from websockets.http11 import Response
from websockets.protocol import Side
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI, parse_uri

from blazeio.client.response import ClientResponse
from blazeio.client.session import Session
from blazeio.client.settings import Timeouts
from blazeio.client.url import parse_url, show_url
from blazeio.errors import (
    FieldInput,
    InvalidResponse,
    InvalidUrl,
    ServerDisconnected,
)
from blazeio.websocket.channel import (
    MESSAGE_BYTES,
    PING_EVERY_S,
    PING_TIMEOUT_S,
    Channel,
)
from blazeio.websocket.frames import FrameEndpoint
from blazeio.websocket.websocket import WINDOW_BITS
from blazeio.wire.serializer import list_field_pairs

CLOSE_TIMEOUT_S = 2.0
"""How long a server has to confirm a close, and to close the connection, seconds."""
HELD_BYTES = 64 * 1024
"""Reading pauses while more octets than this wait to be taken."""


class ClientWebSocket(Channel):
    """A WebSocket connection to a server, for its block.

    ``async with io.ClientWebSocket("wss://host/path") as ws:``, then as with
    ``WebSocket``: ``async for message in ws``, ``await ws.send(...)``.

    Args:
        url: ``ws://`` or ``wss://``.
        session: Its fields, credentials, cookies, proxy and TLS are used; None: one of
            its own.
        headers: Further fields of the handshake, such as Origin.
        subprotocols: Those that the client speaks, the best first.
        message_bytes: The largest message accepted, octets.
        compress: Offer permessage-deflate: about 64 KiB of memory.
        ping_every_s: A server that is silent for so long gets a ping; None: never.
        ping_timeout_s: Still silent after so much more: it is considered gone.
        close_timeout_s: How long the server has to confirm our close, and to close the
            connection, seconds; then it is cut.
        timeouts: Those of the handshake; None: those of the session. ``total_s`` ends
            with it, however long the WebSocket is used.

    Attributes:
        response: The server's, a 101 within the block; None before.
        subprotocol: Agreed with the server; None: none.
        close_code: Why it is closed; 1006 without a close frame, None before.
        close_reason: The text of whoever closed it.

    Raises:
        InvalidUrl: The caller's fault.
    """

    gone = ServerDisconnected

    def __init__(
        self,
        url: str,
        *,
        session: Session[Any] | None = None,
        headers: FieldInput | None = None,
        subprotocols: Sequence[str] = (),
        message_bytes: int = MESSAGE_BYTES,
        compress: bool = False,
        ping_every_s: float | None = PING_EVERY_S,
        ping_timeout_s: float = PING_TIMEOUT_S,
        close_timeout_s: float = CLOSE_TIMEOUT_S,
        timeouts: Timeouts | None = None,
    ) -> None:
        super().__init__(ping_every_s, ping_timeout_s)
        self.close_timeout_s = close_timeout_s
        self._timeouts = timeouts
        self.response: ClientResponse | None = None
        self._url, uri = _read_url(url)
        self._session = session
        self._own_session: Session[Any] | None = None
        self._headers = headers
        self._message_bytes = message_bytes
        self._judge = ClientProtocol(
            uri,
            subprotocols=[Subprotocol(each) for each in subprotocols] or None,
            extensions=[_deflate()] if compress else None,
        )
        self._has_ended = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Connect, and do the handshake.

        Raises:
            InvalidResponse: The server does not agree; the message has its status.
            RequestError: It came to nothing before; the kind says why.
        """
        session = self._session
        if session is None:
            session = self._own_session = Session()
            await session.__aenter__()
        try:
            await self._shake_hands(session)
        except BaseException:
            await self._close_connection()
            raise
        return self

    async def _shake_hands(self, session: Session[Any]) -> None:
        judge = self._judge
        fields = list(judge.connect().headers.raw_items())
        wanted = [each for each in fields if each[0].startswith("Sec-WebSocket")]
        given = list_field_pairs(self._headers or ())
        response = session.get(
            self._url,
            headers=[*given, *wanted],
            upgrade="websocket",
            timeouts=self._timeouts,
        )
        self.response = response
        await response.__aenter__()
        answer = Headers(response.headers.pairs)
        try:
            judge.process_response(
                Response(response.status_code, response.reason, answer, b"")
            )
        except InvalidHandshake as error:
            message = f"{response.url} is no WebSocket: {error}"
            raise InvalidResponse(message) from error
        endpoint = FrameEndpoint(
            Side.CLIENT,
            message_bytes=self._message_bytes,
            extensions=judge.extensions,
            subprotocol=judge.subprotocol,
        )
        self.begin(endpoint, _ResponseCarrier(response), HELD_BYTES)
        response.take_over(self)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Close it; an exception of the block is raised.

        A block that is cancelled sends a close too, and waits up to ``close_timeout_s``
        until it has arrived.

        The error about the end of this WebSocket by the server, which ``receive`` has
        raised, is not raised again. The end of another connection, the error about a
        message that was not sent, and errors after our own close are.
        """
        is_failure = error is not None and not self._is_own_end(error)
        code = CloseCode.INTERNAL_ERROR if is_failure else CloseCode.NORMAL_CLOSURE
        try:
            await self.close(code)
            # RFC 6455 section 7.1.1: the server closes first.
            async with asyncio.timeout_at(self._find_close_end()):
                await self._has_ended.wait()
        except TimeoutError:
            pass
        finally:
            self._told_end = None  # it refers to the frames of the block
            self._unset_timer()
            await self._close_connection()
        return not is_failure

    def _is_own_end(self, error: BaseException) -> bool:
        """Tell whether an error is about the end of this WebSocket.

        Also within the group of a TaskGroup, where there is nothing else in it.
        """
        end = self._told_end
        if end is None:
            return False
        if isinstance(error, BaseExceptionGroup):
            return error.split(lambda each: each is end)[1] is None
        return error is end

    async def _close_connection(self) -> None:
        if self.response is not None:
            await self.response.close()
        if self._own_session is not None:
            await self._own_session.close()

    def eof_received(self) -> None:
        """Note that the server will send no more."""
        self._has_ended.set()
        super().eof_received()

    def connection_lost(self) -> None:
        """Note that the connection is gone."""
        self._has_ended.set()
        super().connection_lost()


def _read_url(url: str) -> tuple[str, WebSocketURI]:
    """Return the URL for HTTP, and what the handshake has to know.

    The host is read here and not by ``websockets``, which knows IDNA 2003; no error
    shows the userinfo.

    Raises:
        InvalidUrl: The caller's fault.
    """
    if not isinstance(url, str):
        raise InvalidUrl(f"a URL is a str, not {type(url).__name__}")
    scheme, _, rest = url.strip().partition(":")
    if scheme.lower() not in ("ws", "wss"):
        message = f"{show_url(url)!r}: expected ws:// or wss://, and a host"
        raise InvalidUrl(message)
    if "#" in rest:  # RFC 6455 section 3
        message = f"{show_url(url)!r}: a URL of a WebSocket has no fragment"
        raise InvalidUrl(message)
    asked = f"http{scheme[2:]}:{rest}"
    text = parse_url(asked).text
    return asked, parse_uri(f"ws{text[4:]}")


class _ResponseCarrier:
    """The connection of a response, as the ``Carrier`` of a channel."""

    def __init__(self, response: ClientResponse) -> None:
        self.transport = response.transport
        self.gate = response._gate
        self.is_open = True

    @property
    def read_control(self) -> "_ResponseCarrier":
        return self

    def pause(self) -> None:
        if self.is_open and not self.transport.is_closing():
            self.is_open = False
            self.transport.pause_reading()

    def resume(self) -> None:
        if not self.is_open and not self.transport.is_closing():
            self.is_open = True
            self.transport.resume_reading()

    def abort(self) -> None:
        self.transport.abort()


def _deflate() -> ClientPerMessageDeflateFactory:
    return ClientPerMessageDeflateFactory(
        server_max_window_bits=WINDOW_BITS,
        client_max_window_bits=WINDOW_BITS,
        compress_settings={"memLevel": 5},
    )
