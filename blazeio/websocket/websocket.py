"""``WebSocket``: messages both ways with a client (RFC 6455)."""

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self, cast

from msgspec import Struct
from websockets.datastructures import Headers
from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.protocol import Side
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from blazeio.errors import Abort, is_disconnect
from blazeio.limits import READ_PAST_BYTES
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.websocket.channel import (
    MESSAGE_BYTES,
    PING_EVERY_S,
    PING_TIMEOUT_S,
    Channel,
)
from blazeio.websocket.frames import FrameEndpoint

# The opening handshake (RFC 6455 section 4.2)


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
        extensions=[_deflate()] if compress else None,
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


def _deflate() -> ServerPerMessageDeflateFactory:
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
        self.begin(endpoint, self.r.carrier, self.r.context.limits.receive_bytes)
        self.r.take_over(agreement.field_lines, self)
        self.r.on_shutdown(self._bid_farewell)
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

    async def _bid_farewell(self, r: BlazeioServerProtocol) -> None:
        await self.close(CloseCode.SERVICE_RESTART, "the server restarts")

    def _leave(self) -> None:
        super()._leave()
        self.r.response.complete()
