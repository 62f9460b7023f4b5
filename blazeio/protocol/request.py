"""``BlazeioServerProtocol``: the request ``r``, as handlers see it.

Its public names are the API, and nothing else (a test compares them with the
reference). What stands behind them is on its delegates: ``response`` writes,
``content`` reads, ``handler_task`` runs the handler, and ``carrier`` knows how octets
travel: see ``protocol.carrier``.

It is a protocol in asyncio's sense, one layer above its carrier, which calls
``connection_made``, ``pause_writing``, ``resume_writing``, ``eof_received`` and
``connection_lost``. Octets of content go to ``content`` instead.

``r`` belongs to one request at a time: the next request on the connection uses the same
object, so a background task must not keep it.
"""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from blazeio.errors import (
    BlazeioError,
    ClientDisconnected,
    FieldInput,
    LocalProtocolError,
)
from blazeio.protocol.context import Handler, ServerContext
from blazeio.protocol.flow import NO_CONTENT, UNTIL_CLOSE, ContentStream, Latch
from blazeio.protocol.handler_task import HandlerTask
from blazeio.protocol.payload import BlazeioPayloadUtils, Content
from blazeio.protocol.response_writer import (
    DEFAULT_HEAD,
    EVENT_STREAM,
    EVENTS_HEAD,
    OFF_LOOP_BYTES,
    TEXT,
    ResponseWriter,
    encode_in_thread,
)
from blazeio.protocol.toolset import ExtraToolset
from blazeio.wire.framing import OutgoingMessage
from blazeio.wire.headers import NO_HEADERS, Headers
from blazeio.wire.request import RequestHead

if TYPE_CHECKING:
    from blazeio.protocol.carrier import RequestCarrier, Successor

NO_PARAMS: Mapping[str, Any] = MappingProxyType({})


class BlazeioServerProtocol(
    asyncio.BufferedProtocol, BlazeioPayloadUtils, ExtraToolset
):
    """One request of a client, and the response to it: the type of ``r``.

    Attributes:
        method: As sent, case kept.
        path: Percent-decoded, without the query.
        query: After the "?", as sent.
        tail: The request target, as sent.
        headers: Case-insensitive; repeated fields are joined by ", ".
        content_length: Declared length of the content, None if not declared.
        transfer_encoding: "chunked", or None.
        store: A dict for values of this request, of middlewares and handlers.
        path_params: What stands for the parameters of the route's path.
        is_alive: False once the peer is gone.
        transport: Of the connection: facts of the peer, and octets as they are.
        response: What is answered: its status, its fields, how much of it has left.
        content: The content of the request, as it arrives.
        handler_task: The task of the handler, and its deadline.
        carrier: What the request came by: an HTTP/1 connection, or something else
            (``blazeio/protocol/carrier.py`` says how to add one).
        context: What the requests of this server share: ``r.context.limits``,
            ``r.context.loop``, and ``r.context.app``, which the app answers by.
    """

    __slots__ = (
        "_gate",
        "_has_fin",
        "_peer_closed",
        "carrier",
        "content",
        "content_length",
        "context",
        "handler_task",
        "headers",
        "is_alive",
        "method",
        "path",
        "path_params",
        "query",
        "response",
        "store",
        "tail",
        "transfer_encoding",
        "transport",
    )

    context: ServerContext
    transport: asyncio.Transport
    headers: Headers
    content_length: int | None
    transfer_encoding: str | None
    content: ContentStream
    store: dict[str, Any]
    path_params: Mapping[str, Any]

    def __init__(self, context: ServerContext, carrier: "RequestCarrier") -> None:
        self.context = context
        self.carrier = carrier
        self._gate = carrier.gate
        self._has_fin = False
        self._peer_closed: Latch | None = None
        self.is_alive = False
        self.response = ResponseWriter(context, carrier)
        self.handler_task = HandlerTask(self, context)
        # Hot: runs once per connection; _load and _forget by hand.
        self.method = self.tail = self.path = self.query = ""
        self.headers = NO_HEADERS
        self.content_length = self.transfer_encoding = None
        self.content = NO_CONTENT
        self.store = {}
        self.path_params = NO_PARAMS

    def _load(self, head: RequestHead) -> None:
        """Hold a request with this head."""
        self.method = head.method
        self.tail = head.target
        self.path = head.path
        self.query = head.query
        self.headers = head.headers
        self.content_length = head.content_length
        self.response.reset(head)

    def _forget(self) -> None:
        """Hold nothing of a request that is over; its head the next one replaces."""
        self.content = NO_CONTENT
        self.transfer_encoding = None
        self.store = {}
        self.path_params = NO_PARAMS

    def __repr__(self) -> str:
        text = f"<{type(self).__name__} {self.method} {self.tail}"
        return f"{text.rstrip()} on {self.carrier!r}>"

    # Called by the carrier

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        if TYPE_CHECKING:  # uvloop's transports are none by name
            assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.is_alive = True

    def pause_writing(self) -> None:
        """More waits to leave than the high watermark: writers sleep."""
        self._gate.close()

    def resume_writing(self) -> None:
        """Enough has left: writers go on."""
        self._gate.open()

    def eof_received(self) -> None:
        """The peer will send no more; it may still read (half-close)."""
        self._has_fin = True
        if self._peer_closed is not None:
            self._peer_closed.set()
        if self.handler_task.has_left_http:
            self.handler_task.octets_have_ended()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over, by either side."""
        self.is_alive = False
        self._gate.fail(ClientDisconnected("the client went away"))
        if not self.content.is_whole:
            self.content.fail(ClientDisconnected("the client went away"))
        if self._peer_closed is not None:
            self._peer_closed.set()
        self.handler_task.carrier_is_lost()

    @property
    def _may_change_carriers(self) -> bool:
        """Whether another carrier may use it: nobody waits for the end of this one."""
        return self.is_alive and not self._has_fin and self._peer_closed is None

    # The connection

    @property
    def http_version(self) -> str:
        """The version of HTTP that the request came by: ``1.0``, ``1.1`` or ``2``."""
        return self.carrier.http_version

    @property
    def peer_closed(self) -> Latch:
        """Set when the peer has sent FIN: it will send no more, but may read.

        True once it has; ``await r.peer_closed`` sleeps until then.
        """
        if self._peer_closed is None:
            self._peer_closed = Latch(is_set=self._has_fin)
        return self._peer_closed

    @property
    def draining(self) -> Latch:
        """Set when the server drains: a response is the last one of its connection.

        True once it does; ``await r.draining`` sleeps until then.
        """
        return self.context.draining

    def on_shutdown(self, hook: Handler) -> None:
        """Set a hook that ends a response without an end when the service ends.

        When the server drains, and idle connections are closed by then, the handler is
        cancelled and ``await hook(r)`` runs. It may write; then the response is ended
        properly. The hook holds for this request.
        """
        self.handler_task.set_shutdown_hook(hook)

    async def give_way(self) -> None:
        """Let the loop turn for the others; then see whether the client is there.

        For a handler that works long without a pause.

        Raises:
            ClientDisconnected: The client is gone.
        """
        await self._give_way()

    def take_over(
        self, field_lines: bytes, successor: "Successor | None" = None
    ) -> None:
        """Answer 101; what follows is another protocol.

        Octets from the client go to the successor at once, or ``request`` iterates over
        them; ``writer`` sends. When the handler is over the connection is closed. A
        disconnect wakes a handler that waits for octets, by ClientDisconnected; a
        handler that does something else is cancelled. ``Limits.handler_timeout_s``
        no longer holds: it is about a request, and this is a connection.

        Args:
            field_lines: Of the 101 response, serialized.
            successor: Reads the octets; None: the handler does.

        Raises:
            ClientDisconnected: The client is gone.
            LocalProtocolError: A response has begun, or content is due.
        """
        if not self.is_alive:
            raise ClientDisconnected("the client went away")
        if not self.content.is_whole:
            raise LocalProtocolError("take_over: the request's content is still due")
        head = self.response.switch_protocols(field_lines)
        self.handler_task.leave_http(successor)
        if successor is None:
            self.content = ContentStream(length=UNTIL_CLOSE)
            self.carrier.take_over(head, None)
        else:
            self.carrier.take_over(head, successor.data_received)
        if self._has_fin:
            self.handler_task.octets_have_ended()

    def _stays_for_response(self) -> bool:
        """Whether a response that has begun goes on after the peer's FIN."""
        return False

    # The response

    @property
    def status(self) -> int:
        """The status of the response; 0 until it has begun."""
        return self.response.status

    def reply(
        self,
        body: bytes,
        status: int = 200,
        content_type_line: bytes = TEXT,
        headers: FieldInput | None = None,
    ) -> None:
        """Send a whole response in one write: what ``Deliver`` is built on.

        Args:
            body: The content.
            status: 200 to 599.
            content_type_line: A serialized field line, or b"" for none.
            headers: Further fields.

        Raises:
            ClientDisconnected: The peer is gone.
            LocalProtocolError: A response has begun, or a field is malformed.
        """
        if not self.is_alive:
            raise ClientDisconnected("the client went away")
        if not self.content.is_whole:
            self.carrier.note_early_response()
        # Hot: asked here as well, so that the usual response takes one call.
        response = self.response
        if headers is None and response.send_lines(body, status, content_type_line):
            return
        response.send_whole(body, status, content_type_line, headers)

    async def prepare(
        self,
        headers: FieldInput | None = None,
        status: int = 200,
        *,
        compress: bool = False,
    ) -> None:
        """Set the head of the response; it leaves with the first content.

        If no content follows in the same turn of the loop, it leaves alone.
        Hop-by-hop fields are dropped: the framing is ours. Without a
        Content-Length the content is chunked (HTTP/1.1) or ends with the
        connection (HTTP/1.0).

        Args:
            headers: Mapping or pairs; values str, bytes or int; a list repeats
                the field.
            status: 200 to 599.
            compress: Encode what is written, each write for itself, in the
                content coding that Accept-Encoding likes best; adds Vary, and
                weakens an ETag. Nothing is encoded with Content-Encoding,
                Content-Range, a digest or ``no-transform`` among the headers.

        Raises:
            ClientDisconnected: The client is gone.
            LocalProtocolError: A response has begun, or a field is malformed.
                Nothing was sent.
        """
        if self.transport.is_closing():
            await self._raise_gone()
        try:
            self._begin_response(headers, status, compress=compress)
        except LocalProtocolError:
            await self._gate.count_call()
            raise

    def _begin_response(
        self, headers: FieldInput | None, status: int, *, compress: bool = False
    ) -> None:
        """Decide head, coding and framing; see ``prepare``."""
        response = self.response
        if compress:
            likes = self.headers.get("accept-encoding")
            message = response.begin_encoded(headers, status, likes)
        else:
            message = response.begin(headers, status)
        self.context.loop.call_soon(response.flush_head, message)

    async def eof(
        self, data: Content | None = None, *, trailers: FieldInput | None = None
    ) -> None:
        """End the response, after ``data``; the caller may go on working.

        Args:
            data: The last content.
            trailers: Fields that follow it. Over HTTP/1 they are sent to a client that
                has said ``TE: trailers``, after content in chunks; else dropped.

        Raises:
            PeerGone: The peer is gone.
            LocalProtocolError: Less was written than the declared Content-Length: the
                connection is aborted. Or the response has ended, this is no content,
                or a field is none of a trailer section.
        """
        if trailers is not None:
            message = self._begun_message()
            te = self.headers.get("te", "").lower()
            if self.carrier.frames_content or "trailers" in te:
                self.response.set_trailers(message, trailers)
        await super().eof(data)

    # What ``BlazeioPayloadUtils`` leaves open

    def _resume_content(self) -> None:
        self.carrier.resume_content()

    def _begun_message(self) -> OutgoingMessage:
        """The response's message; one with the default head, if none was prepared."""
        if self.response.message is None:
            accept = self.headers.get("accept", "")
            head = EVENTS_HEAD if EVENT_STREAM in accept else DEFAULT_HEAD
            self._begin_response(head, 200)
        message = self.response.message
        assert message is not None  # _begin_response made it, or raised
        return message

    def _flush_head(self) -> None:
        message = self.response.message
        if message is not None:
            self.response.flush_head(message)

    def _has_been_cut(self) -> bool:
        return not self.is_alive

    def _gone(self) -> BlazeioError:
        return ClientDisconnected("the connection is closed")

    def _may_wait_to_give(self) -> bool:
        return self.response.encoder is not None

    async def _give(self, octets: bytes | memoryview, *, is_last: bool = False) -> None:
        # Hot: runs once per write; ResponseWriter.send by hand.
        response = self.response
        encoder = response.encoder
        interrupted = None
        if encoder is not None and octets:
            if len(octets) <= OFF_LOOP_BYTES:
                octets = encoder.encode(bytes(octets))
            else:
                octets, interrupted = await encode_in_thread(encoder, bytes(octets))
        if not self.is_alive:
            if interrupted is None:
                await self._raise_gone()
            raise interrupted or ClientDisconnected("the client went away")
        message = response.message
        if is_last or message is None:
            response.send(octets, is_last=is_last)
        else:
            self.carrier.send(message, octets, is_last=False)
            response.content_bytes = message.content_bytes
        if interrupted is not None:
            raise interrupted
