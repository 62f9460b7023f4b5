"""``ResponseReceiver``: octets of a server, made into the response of an exchange.

The half of a ``ClientConnection`` that reads: heads, interim ones too, the framing of
the content, and the content in its turns of the loop. The other half begins and ends
exchanges.
"""

from typing import TYPE_CHECKING

from blazeio.client.exchange import Exchange, ExchangeDeadlines
from blazeio.client.states import (
    CONTENT,
    DRAINING,
    HEAD,
    HTTP_LEFT,
    MOST_DRAINED_BYTES,
    NEXT_STATE,
    RESPONSE_BEGUN,
)
from blazeio.errors import (
    AnsweredEarly,
    BlazeioError,
    InvalidResponse,
    RemoteProtocolError,
)
from blazeio.protocol.flow import (
    NO_CONTENT,
    UNTIL_CLOSE,
    ContentStream,
    WriteGate,
    make_arrived,
)
from blazeio.protocol.timeouts import NEVER
from blazeio.wire.chunked import ChunkDecoder
from blazeio.wire.framing import Framing, find_response_framing
from blazeio.wire.heads import ResponseHead, parse_response_head

if TYPE_CHECKING:
    import asyncio


class ResponseReceiver(ExchangeDeadlines):
    """What a ``ClientConnection`` does with the octets that arrive; its base class."""

    __slots__ = (
        "_content",
        "_held",
        "_is_paused",
        "_is_reading_on",
        "_is_reusable",
        "_keep_alive_s",
        "_scanned",
        "_state",
    )

    _content: ContentStream
    _held: bytes
    _is_paused: bool
    _is_reading_on: bool
    _is_reusable: bool
    _keep_alive_s: int | None
    _scanned: int
    _state: int

    if TYPE_CHECKING:
        gate: WriteGate
        transport: asyncio.Transport

        def _switch(self, event: int) -> None:
            """Change the state, as the table says."""

        def _finish(self, rest: bytes) -> None:
            """End the exchange: the response is whole."""

    def _receive_head(self, octets: bytes) -> None:
        # Hot: runs once per response.
        exchange = self._exchange
        assert exchange is not None  # in HEAD there is always one
        try:
            head = parse_response_head(octets, self._context.limits, self._scanned)
        except RemoteProtocolError as error:
            self._refuse(error)
            return
        if head is None:
            self._held = octets
            self._scanned = max(len(octets) - 3, 0)
            return
        self._held = b""
        self._scanned = 0
        rest = octets[head.size :] if len(octets) > head.size else b""
        status = head.status
        if status < 200:
            self._receive_interim(exchange, head, rest)
            return
        framing = find_response_framing(
            method=exchange.method,
            status=status,
            content_length=head.content_length,
            is_chunked=head.is_chunked,
        )
        self._is_reusable = head.is_persistent
        self._keep_alive_s = head.keep_alive_s
        if framing is Framing.LENGTH:
            length = head.content_length or 0
            if not length:
                content = NO_CONTENT
            elif length <= len(rest):
                # It came with its head: no stream has to be fed, 4 % of a request.
                content = make_arrived(rest[:length])
                rest = rest[length:]
            else:
                content = ContentStream(length=length)
        elif framing is Framing.CHUNKED:
            decoder = ChunkDecoder(self._context.limits, unfolds=True)
            content = ContentStream(decoder=decoder)
        elif framing is Framing.CLOSE:
            content = ContentStream(length=UNTIL_CLOSE)
            self._is_reusable = False
        elif exchange.method == "CONNECT" and status < 300:
            self._begin_tunnel(exchange, head, rest)
            return
        else:
            content = NO_CONTENT
        self._begin_content(exchange, head, content, rest)

    def _begin_content(
        self,
        exchange: Exchange,
        head: ResponseHead,
        content: ContentStream,
        rest: bytes,
    ) -> None:
        self._content = content
        self._state = NEXT_STATE[self._state][RESPONSE_BEGUN]
        self._state_ends_at = NEVER
        # The server has decided without the rest of the content: to go on writing would
        # only fill its buffers, and end in an RST that destroys the answer (RFC 9112
        # section 9.5).
        if not exchange.is_sent and (head.status >= 300 or not head.is_persistent):
            message = f"{head.status} came before the request was whole: read it"
            self.gate.fail(AnsweredEarly(message))
            self._is_reusable = False
        if rest and not content.is_whole:
            rest = content.feed(rest)
        if content.has_used_turn:
            self._wait_for_turn()
        exchange.response_received(head, content)
        if content.is_whole:
            self._finish(rest)
        elif content.error is not None:
            self._refuse(content.error)

    def _receive_interim(
        self, exchange: Exchange, head: ResponseHead, rest: bytes
    ) -> None:
        if head.status == 101:
            if not exchange.wants_upgrade:
                self._refuse(RemoteProtocolError("101, and no upgrade was asked for"))
            else:
                self._begin_tunnel(exchange, head, rest)
            return
        exchange.interim_received(head)
        if rest and self._state == HEAD:
            self._receive_head(rest)

    def _begin_tunnel(
        self, exchange: Exchange, head: ResponseHead, rest: bytes
    ) -> None:
        """Leave HTTP on this connection: from now on octets go both ways as they are.

        The request is over with it, and so is its total timeout.
        """
        exchange.total_at = NEVER
        self._is_reusable = False
        self._switch(HTTP_LEFT)
        self._state_ends_at = NEVER
        self._content = ContentStream(length=UNTIL_CLOSE)
        if rest:
            self._content.feed(rest)
        exchange.response_received(head, self._content)

    def _receive_content(self, octets: bytes) -> None:
        # Hot: runs once per read of content.
        content = self._content
        rest = content.feed(octets)
        if content.is_whole:
            self._finish(rest)
        elif content.error is not None:
            self._refuse(content.error)
        elif self._state == DRAINING:
            content.discard()
            if content.received_bytes > MOST_DRAINED_BYTES:
                self.abort()
            elif content.has_used_turn:
                self._wait_for_turn()
        elif content.has_used_turn:
            self._wait_for_turn()
        elif (
            content.queued_bytes > self._context.limits.receive_bytes
            and not self._is_paused
        ):
            self._is_paused = True
            self.transport.pause_reading()

    def _wait_for_turn(self) -> None:
        """Stop reading until the loop has served others (``_read_on``)."""
        if not self._is_paused and not self.transport.is_closing():
            self._is_paused = True
            self.transport.pause_reading()
        if not self._is_reading_on:
            self._is_reading_on = True
            self._context.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        """Decode what has arrived, or let more come; runs in the next turn."""
        self._is_reading_on = False
        content = self._content
        limits = self._context.limits
        if self._state not in (CONTENT, DRAINING) or not content.has_used_turn:
            return
        if content.queued_bytes > limits.receive_bytes:
            return  # until its reader has taken some of it
        content.has_used_turn = False
        if content.has_undecoded:
            self._receive_content(b"")
        is_done = self._state not in (CONTENT, DRAINING) or content.has_used_turn
        if not is_done and content.queued_bytes <= limits.receive_bytes:
            self._is_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def _refuse(self, error: BlazeioError) -> None:
        """Cut the connection: the server has violated HTTP."""
        told = InvalidResponse(f"{self.origin}: {error}")
        told.__cause__ = error
        if self._content.error is error:
            self._content.error = told
        self.abort(told)
