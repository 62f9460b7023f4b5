"""``WebSocket`` and ``ClientWebSocket``: messages both ways (RFC 6455).

Both are a ``Channel`` with a handshake of its own side. ``websockets``' core without
I/O checks the handshake; a server's response to it, and a client's request, are sent as
any other response and request of this package, so that a client's WebSocket uses the
proxy, cookies, credentials and TLS of its session. permessage-deflate (RFC 7692) is
agreed to with a small window.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, cast

from msgspec import Struct
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.protocol import Side
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol
from websockets.uri import WebSocketURI, parse_uri

from blazeio.client.response import ClientResponse
from blazeio.client.session import Session
from blazeio.client.settings import Timeouts
from blazeio.client.url import parse_url, show_url
from blazeio.errors import (
    Abort,
    FieldInput,
    InvalidResponse,
    InvalidUrl,
    ServerDisconnected,
    is_disconnect,
)
from blazeio.limits import READ_PAST_BYTES
from blazeio.protocol.carrier import STATE
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.websocket.channel import (
    MESSAGE_BYTES,
    PING_EVERY_S,
    PING_TIMEOUT_S,
    Channel,
)
from blazeio.websocket.frames import FrameEndpoint
from blazeio.websocket.handover import PendingHandover, can_leave, check_state
from blazeio.wire.headers import list_field_pairs

# The server's side: the opening handshake (RFC 6455 section 4.2)


VERSION = "13"

WINDOW_BITS = 12
"""A window of 4 KiB, for both directions: with zlib's memory level 5 it takes about 64
KiB a connection. Messages of a few KiB gain nothing from a larger one."""


_UNUSED_KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


class Agreement(Struct, frozen=True):
    """The result of a handshake.

    Attributes:
        field_lines: The field lines of the 101.
        extensions: How frames are coded.
        subprotocol: The meaning of messages; None: none.
    """

    field_lines: bytes
    extensions: Sequence[Extension]
    subprotocol: str | None


def accept_handshake(
    r: BlazeioServerProtocol,
    *,
    origins: Sequence[str | None] | None = None,
    subprotocols: Sequence[str] = (),
    compress: bool = False,
) -> Agreement:
    """Check a request for a WebSocket.

    Args:
        r: The request.
        origins: The origins that a browser may come from, as in its Origin field; None
            among them: a client without one. None: all.
        subprotocols: Those known here, the best first; the client's choice is the
            protocol's ``subprotocol``.
        compress: Agree to permessage-deflate (RFC 7692).

    Raises:
        Abort: It is no valid handshake: 400, 403, 405, 426 or 505.
    """
    judge = ServerProtocol(
        origins=cast("Sequence[Origin | None] | None", origins),
        subprotocols=[Subprotocol(each) for each in subprotocols],
        select_subprotocol=_select_subprotocol,
        extensions=[_server_deflate()] if compress else None,
    )
    _check_version(r)
    response = judge.accept(_as_request(r))
    if response.status_code != 101:
        _refuse(r, response)
    return Agreement(
        _field_lines(response.headers.raw_items()), judge.extensions, judge.subprotocol
    )


def _select_subprotocol(
    judge: ServerProtocol, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    """Select a subprotocol; None: there is no common one (section 4.2.2)."""
    known = judge.available_subprotocols or ()
    return next((each for each in known if each in offered), None)


def _server_deflate() -> ServerPerMessageDeflateFactory:
    return ServerPerMessageDeflateFactory(
        server_max_window_bits=WINDOW_BITS,
        client_max_window_bits=WINDOW_BITS,
        compress_settings={"memLevel": 5},
    )


def _as_request(r: BlazeioServerProtocol) -> Request:
    headers = Headers()
    for name, value in r.headers.pairs:
        headers[name] = value
    if r.http_version == "2":  # RFC 8441 section 5: there is none, nor an answer to it
        headers["Sec-WebSocket-Key"] = _UNUSED_KEY
    return Request(r.tail, headers, r.method, f"HTTP/1.{r.response.minor}")


def _check_version(r: BlazeioServerProtocol) -> None:
    """Refuse another version, and name ours (RFC 6455 section 4.4)."""
    version = r.headers.get("sec-websocket-version")
    if version is not None and version != VERSION:
        _offer_upgrade(r)
        message = f"WebSocket version {version} is not spoken here"
        raise Abort(message, 426, {"Sec-WebSocket-Version": VERSION})


def _refuse(r: BlazeioServerProtocol, response: Response) -> None:
    status = int(response.status_code)
    headers = {}
    if status == 426:  # RFC 9110 section 15.5.22
        _offer_upgrade(r)
        headers["Sec-WebSocket-Version"] = VERSION
    if "Allow" in response.headers:
        headers["Allow"] = response.headers["Allow"]
    message = bytes(response.body or b"").decode().split("\n")[0]
    raise Abort(message, status, headers)


def _offer_upgrade(r: BlazeioServerProtocol) -> None:
    r.response.add_field("Connection", "Upgrade")
    r.response.add_field("Upgrade", "websocket")


def _field_lines(fields: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in fields]
    return "".join(lines).encode("latin-1")


class WebSocket(Channel):
    """A WebSocket connection of a client, from ``async with`` to its end.

    ``async with io.WebSocket(r) as ws: async for message in ws: ...``

    The loop ends when the client closes, or goes away. Leaving the block closes with
    1000, or 1011 after an exception; when the server drains, with 1012, so that the
    client reconnects to whichever process serves then.

    Args:
        r: The request; no response has begun.
        subprotocols: Those spoken here, the best first.
        origins: The origins that a browser may come from (its Origin field), against
            hijacking; None among them: a client without one. None: all.
        message_bytes: The largest message accepted, octets.
        compress: Agree to permessage-deflate: about 64 KiB of memory each.
        ping_every_s: A client that is silent for so long gets a ping; None: never.
        ping_timeout_s: Still silent after so much more: it is considered gone.

    Attributes:
        r: The request that it began with.
        subprotocol: Agreed with the client; None: none.
        close_code: Why it is closed; 1006 without a close frame, None before.
        close_reason: The text of whoever closed it.
        is_handed_over: It goes on in another process: the block has ended, the
            connection has not.
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
        super().__init__(ping_every_s, ping_timeout_s)
        self.r = r
        self._subprotocols = subprotocols
        self._origins = origins
        self._message_bytes = message_bytes
        self._compress = compress
        self._handover: PendingHandover | None = None
        self.is_handed_over = False

    @property
    def state(self) -> bytes | None:
        """What the process before has handed over; None: the connection began here."""
        state: bytes | None = self.r.transport.get_extra_info(STATE)
        return state

    async def __aenter__(self) -> Self:
        """Do the handshake.

        Content that the request has is read and dropped: a client should send none.

        Raises:
            Abort: It is no valid handshake; the client is answered so.
            ClientDisconnected: The client went away before its content was whole.
            RemoteProtocolError: Its content is malformed (400), or larger than
                ``READ_PAST_BYTES`` (413).
        """
        agreement = accept_handshake(
            self.r,
            origins=self._origins,
            subprotocols=self._subprotocols,
            compress=self._compress,
        )
        endpoint = FrameEndpoint(
            Side.SERVER,
            message_bytes=self._message_bytes,
            extensions=agreement.extensions,
            subprotocol=agreement.subprotocol,
        )
        if not self.r.content.is_whole:
            await self.r.read(limit=READ_PAST_BYTES)
        self.begin(endpoint, self.r.carrier, self.r.context.limits)
        self.r.take_over(agreement.field_lines, self)
        self.r.on_shutdown(self._close_when_draining)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Close it; an exception of the block is raised, a disconnect is not."""
        if error is not None and self.r.handler_task.is_ended_by(error):
            self._unset_timer()
            return False  # cut; or a shutdown hook closes it
        # The disconnect of another connection, which this one relays, is a failure.
        is_lost = self._is_over or not self.r.is_alive or self._transport.is_closing()
        is_over = is_lost and is_disconnect(error)
        is_failure = error is not None and not is_over
        code = CloseCode.INTERNAL_ERROR if is_failure else CloseCode.NORMAL_CLOSURE
        await self.close(code)
        return not is_failure

    # Going on in another process

    def handover(self, state: bytes | Callable[[], bytes]) -> None:
        """Let the connection go on in the next process when this one ends.

        Under ``blazeio-supervisor`` a reload then does not close it: the socket goes to
        a worker of the new code, whose handler finds ``state`` in ``ws.state``. Here
        the loop over the messages ends, and ``is_handed_over`` is true. It happens
        while the handler waits for a message and nothing waits to be sent. Where that
        does not come about within ``--farewell-window``, over TLS, HTTP/2 or the PROXY
        protocol, with ``compress``, and without a supervisor, the client is told to
        come back (1012), as without ``handover``.

        Args:
            state: What the next handler needs to know, at most ``STATE_BYTES`` octets;
                or a function that is asked for it at that moment, and may raise to
                decline.

        Raises:
            LocalProtocolError: The caller's fault: outside of the block; or the state
                is too large.
        """
        endpoint = self._opened()
        if not callable(state):
            check_state(state)
        if self._compress or not endpoint.is_open or not can_leave(self.r):
            return
        if self._handover is None:
            self._handover = PendingHandover(self, self.r)
            self.keep_trail()
        self._handover.state = state
        self._handover.offer()

    def connection_lost(self) -> None:
        """Note that the connection is gone."""
        super().connection_lost()
        if self._handover is not None:
            self._handover.withdraw()

    def leave_to_another(self) -> None:
        """End here, without a word to the client: another process has the socket."""
        self.is_handed_over = True
        super().leave_to_another()

    async def _close_when_draining(self, r: BlazeioServerProtocol) -> None:
        await self.close(CloseCode.SERVICE_RESTART, "the server restarts")

    def _leave(self) -> None:
        super()._leave()
        self.r.response.complete()


# The client's side


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
            extensions=[_client_deflate()] if compress else None,
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
            await self._do_handshake(session)
        except BaseException:
            await self._close_connection()
            raise
        return self

    async def _do_handshake(self, session: Session[Any]) -> None:
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
            message = f"{response.url} is not a WebSocket: {error}"
            raise InvalidResponse(message) from error
        endpoint = FrameEndpoint(
            Side.CLIENT,
            message_bytes=self._message_bytes,
            extensions=judge.extensions,
            subprotocol=judge.subprotocol,
        )
        limits = response.context.limits
        self.begin(endpoint, _ResponseCarrier(response), limits, HELD_BYTES)
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
            self._raised_end = None  # it refers to the frames of the block
            self._unset_timer()
            await self._close_connection()
        return not is_failure

    def _is_own_end(self, error: BaseException) -> bool:
        """Tell whether an error is about the end of this WebSocket.

        Also within the group of a TaskGroup, where there is nothing else in it.
        """
        end = self._raised_end
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


def _client_deflate() -> ClientPerMessageDeflateFactory:
    return ClientPerMessageDeflateFactory(
        server_max_window_bits=WINDOW_BITS,
        client_max_window_bits=WINDOW_BITS,
        compress_settings={"memLevel": 5},
    )
