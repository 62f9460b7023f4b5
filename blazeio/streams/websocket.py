"""``WebSocket``: messages both ways with a client (RFC 6455).

May import: blazeio.errors, blazeio.protocol, and its siblings.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from websockets.frames import CloseCode
from websockets.protocol import Side

from blazeio.errors import is_disconnect
from blazeio.limits import READ_PAST_BYTES
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.streams.channel import (
    MESSAGE_BYTES,
    PING_EVERY_S,
    PING_TIMEOUT_S,
    Channel,
)
from blazeio.streams.endpoint import Endpoint
from blazeio.streams.handshake import accept_handshake


class WebSocket(Channel):
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
        super().__init__(ping_every_s, ping_timeout_s)
        self.r = r
        self._subprotocols = subprotocols
        self._origins = origins
        self._message_bytes = message_bytes
        self._compress = compress

    async def __aenter__(self) -> Self:
        """Shake hands.

        Content that it has declared is read past: a client should send none.

        Raises:
            Abort: It is no good handshake; the client is answered so.
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
        endpoint = Endpoint(
            Side.SERVER,
            message_bytes=self._message_bytes,
            extensions=agreement.extensions,
            subprotocol=agreement.subprotocol,
        )
        if not self.r.content.is_whole:
            await self.r.read(limit=READ_PAST_BYTES)
        self.begin(endpoint, self.r, self.r.context.limits.receive_bytes)
        self.r.take_over(agreement.field_lines, self)
        self.r.on_farewell(self._bid_farewell)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Close it; an exception of the block goes on, a disconnect does not."""
        if error is not None and self.r.handling.is_ended_by(error):
            self._unset_timer()
            return False  # cut; or the farewell follows
        # That of another connection, of which this one relays, is a failure here.
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
        self.r.answer.complete()
