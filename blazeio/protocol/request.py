"""``BlazeioServerProtocol``: one connection, and the request ``r`` on it.

Its phases are those of ``stages.phases``. What it does in them is in its bases:
``stages.receiving``, ``stages.serving``, ``stages.ending``, each with the state
that it changes; here are the transport's calls, which lead to all of them.

Octets come in one of two ways. asyncio lends a buffer from whoever is a
BufferedProtocol. uvloop has one of its own for that, gives the octets to whoever
is a Protocol as well, and so spares a small request a call, a view and its copy.

No view of the loop's receive buffer leaves ``buffer_updated``: a task runs
later, and by then the buffer holds another client's octets.

``r`` belongs to one request at a time: the next request on the connection uses
the same object, so a background task must not keep it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn, cast

from blazeio.content.codings import Encoder
from blazeio.errors import (
    BlazeioError,
    ClientDisconnected,
    FieldInput,
    LocalProtocolError,
)
from blazeio.protocol.context import ServerContext
from blazeio.protocol.flow import UNTIL_CLOSE, ContentStream, WriteGate
from blazeio.protocol.handler_task import HandlerTask
from blazeio.protocol.handover import Handover, Successor
from blazeio.protocol.payload import BlazeioPayloadUtils
from blazeio.protocol.readiness import ReadControl
from blazeio.protocol.response_writer import (
    DEFAULT_HEAD,
    EVENT_STREAM,
    EVENTS_HEAD,
    OFF_LOOP_BYTES,
    ResponseWriter,
)
from blazeio.protocol.serving import Serving
from blazeio.protocol.states import (
    CLOSED,
    CONTENT,
    HEAD,
    LINGER,
    NAMES,
    RAW,
    WHOLE,
)
from blazeio.protocol.timeouts import ConnectionTimeouts
from blazeio.protocol.toolset import ExtraToolset
from blazeio.protocol.trust import Origin
from blazeio.wire.framing import OutgoingMessage
from blazeio.wire.headers import Headers
from blazeio.wire.proxy_protocol import ProxyHeader


class Answering:
    """Preparing and writing a response; what ``BlazeioPayloadUtils`` leaves open.

    A base of the protocol, stateless.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        answer: ResponseWriter
        gate: WriteGate
        headers: Headers
        is_alive: bool
        transport: asyncio.Transport
        begin_response: Callable[..., None]
        count_refusal: Callable[[], Awaitable[None]]
        _give_way: Callable[[], Awaitable[None]]
        _raise_gone: Callable[[], Awaitable[NoReturn]]

    @property
    def status(self) -> int:
        """Of the response; 0 until it has begun."""
        return self.answer.status

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
            self.begin_response(headers, status, compress=compress)
        except LocalProtocolError:
            await self.count_refusal()
            raise

    def _begun_message(self) -> OutgoingMessage:
        """The response's message; one with the default head, if none was prepared."""
        if self.answer.message is None:
            accept = self.headers.get("accept", "")
            head = EVENTS_HEAD if EVENT_STREAM in accept else DEFAULT_HEAD
            self.begin_response(head, 200)
        message = self.answer.message
        assert message is not None  # begin_response made it, or raised
        return message

    def _flush_head(self) -> None:
        message = self.answer.message
        if message is not None:
            self.answer.flush_head(message)

    async def give_way(self) -> None:
        """Let the loop turn for the others; then see whether the client is there.

        For a handler that works long without a pause.

        Raises:
            ClientDisconnected: The client is gone.
        """
        await self._give_way()

    def _has_been_cut(self) -> bool:
        return not self.is_alive

    def _gone(self) -> BlazeioError:
        return ClientDisconnected("the connection is closed")

    async def _give(self, octets: bytes | memoryview, *, is_last: bool = False) -> None:
        # Hot: runs once per write.
        encoder = self.answer.encoder
        interrupted = None
        if encoder is not None and octets:
            if len(octets) <= OFF_LOOP_BYTES:
                octets = encoder.encode(bytes(octets))
            else:
                octets, interrupted = await _encode_in_thread(encoder, bytes(octets))
        if not self.is_alive:
            if interrupted is None:
                await self._raise_gone()
            raise interrupted or ClientDisconnected("the client went away")
        self.answer.send(octets, is_last=is_last)
        if interrupted is not None:
            raise interrupted


async def _encode_in_thread(
    encoder: Encoder, octets: bytes
) -> tuple[bytes, asyncio.CancelledError | None]:
    """Encode; also when cancelled, since the stream then has the octets in it.

    Returns:
        What was encoded, and the cancellation to go on with.
    """
    loop = asyncio.get_running_loop()
    work = loop.run_in_executor(None, encoder.encode, octets)
    interrupted = None
    while not work.done():
        try:
            await asyncio.wait((work,))
        except asyncio.CancelledError as error:
            interrupted = error
    return work.result(), interrupted


class BlazeioServerProtocol(
    asyncio.BufferedProtocol,
    BlazeioPayloadUtils,
    ExtraToolset,
    Answering,
    Serving,
    asyncio.Protocol,
):
    """One connection; for handlers, the request on it.

    Attributes:
        method: As sent, case kept.
        path: Percent-decoded, without the query.
        query: After the "?", as sent.
        tail: The request target, as sent.
        headers: Case-insensitive; repeated fields are joined by ", ".
        content_length: Declared length of the content, None if not declared.
        transfer_encoding: "chunked", or None.
        store: Values of this request, for middlewares and handlers.
        path_params: What stands for the parameters of the route's path.
        answer: The state of the response.
        is_alive: False once the peer is gone.
    """

    __slots__ = (
        "answer",
        "context",
        "gate",
        "handling",
        "origin",
        "patience",
        "read_control",
        "transport",
    )

    context: ServerContext
    transport: asyncio.Transport

    def __init__(
        self, context: ServerContext, header: ProxyHeader | None = None
    ) -> None:
        self.context = context
        trust = context.trust
        self.origin = None if trust is None else Origin(trust, header)
        self.gate = WriteGate()
        self.is_alive = False
        self._has_fin = False
        self._peer_closed = None
        self._farewell = None
        self._successor = None
        self._phase = HEAD
        self.handling = HandlerTask(context)
        self._begin_blank()

    def __repr__(self) -> str:
        name = NAMES[self._phase]
        return f"<{type(self).__name__} {name} {self.method} {self.tail}>"

    def take_over(self, field_lines: bytes, successor: Successor | None = None) -> None:
        """Leave HTTP: answer 101, and have the octets for another protocol.

        ``request`` gives them as they come, or the successor has them at once;
        ``writer`` sends. When the handler is over the connection is closed. A
        disconnect wakes a handler that waits for octets, by ClientDisconnected;
        one that does something else is cancelled. ``Limits.handler_timeout_s``
        holds no longer: how long a request may take says nothing of a connection.

        Args:
            field_lines: Of the 101, serialized.
            successor: Who reads the octets; None: the handler.

        Raises:
            ClientDisconnected: The client is gone.
            LocalProtocolError: A response has begun, or content is due.
        """
        if not self.is_alive:
            raise ClientDisconnected("the client went away")
        if self._phase != WHOLE:
            raise LocalProtocolError("take_over: the request's content is still due")
        self.answer.switch_protocols(field_lines)
        self._phase = RAW
        self.patience.excuse_handler()
        octets = self._take_remainder()
        if successor is None:
            self.content = ContentStream(length=UNTIL_CLOSE)
            receive = self._receive_content
        else:
            self._successor = successor
            receive = successor.data_received
            self.transport.set_protocol(Handover(self, receive))
        if octets:
            receive(octets)
        if self._has_fin:
            self._end_octets()

    def _end_octets(self) -> None:
        """The peer will send no more of what is no HTTP."""
        if self._successor is None:
            self.content.end()
        else:
            self._successor.eof_received()

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        self.transport = transport
        self.is_alive = True
        self.answer = ResponseWriter(self.context, transport)
        self.read_control = ReadControl(transport, self.context)
        limits = self.context.limits
        self.patience = ConnectionTimeouts(
            self, self.read_control, limits, self.context.wheel
        )
        transport.set_write_buffer_limits(high=limits.high_water_bytes)
        if self.origin is not None:
            self.origin.connect(transport)
        self.context.connections.add(self)
        if self.context.is_closed:
            self.abort()
        elif self.context.raw_handler is None:
            self.patience.end_phase_in(limits.head_timeout_s)
            if self.context.is_draining:
                self.drain()
        else:
            self._phase = RAW
            self.content = ContentStream(length=UNTIL_CLOSE)
            self.handling.begin(self._serve(self.context.raw_handler))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the loop's one receive buffer."""
        return self.context.receive_view

    def buffer_updated(self, nbytes: int) -> None:
        """Octets have arrived; they are copied out before we return."""
        # Hot: runs once per read.
        self.data_received(self.context.receive_view[:nbytes].tobytes())

    def eof_received(self) -> bool:
        """The peer will send no more; it may still read (half-close)."""
        self._has_fin = True
        self._decode_all()
        if self._peer_closed is not None:
            self._peer_closed.set()
        if self._phase == LINGER or not self.handling.is_running:
            self._close()
        elif self._phase == RAW:
            self._end_octets()
        elif self._phase == CONTENT:
            self._disconnected("the client closed before its content was whole")
        elif self.status and not self.answer.is_complete:
            if self._stays_for_answer():
                return True
            self._disconnected("the client closed while the response was streamed")
        elif not self.answer.is_complete:
            self.patience.end_phase_within(self.context.limits.half_close_grace_s)
        return True  # the transport stays open: we close it ourselves

    def _stays_for_answer(self) -> bool:
        """Whether a response in its midst is gone on with after the peer's FIN."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over, by either side."""
        # asyncio calls from the context of whoever has written last
        self.context.run_outside(self._lose)

    def _lose(self) -> None:
        self._phase = CLOSED
        self.is_alive = False
        self._remainder = self._behind = b""
        context = self.context
        context.connections.discard(self)
        self.patience.end_all_but_handler()
        self.read_control.close()
        self.gate.fail(ClientDisconnected("the client went away"))
        self.content.fail(ClientDisconnected("the client went away"))
        if self._successor is not None:
            self._successor.connection_lost()
        if self._peer_closed is not None:
            self._peer_closed.set()
        if self.handling.is_running:
            context.detached.add(self)
            if not (self.answer.is_complete or self._finishes_alone()):
                self.handling.cancel()
        if context.when_closed is not None:
            context.when_closed()

    def _finishes_alone(self) -> bool:
        reader = self._successor or self.content
        if self.status == 101 and reader.is_awaited:
            return True  # what it waits for tells it
        terms = self.context.find_options(self.method, self.path)
        return terms.on_disconnect == "finish"

    def pause_writing(self) -> None:
        """The transport holds more than the high watermark."""
        self.gate.close()
        self.patience.start_reading()

    def resume_writing(self) -> None:
        """The transport has sent enough."""
        self.gate.open()
        if not self.transport.is_closing():
            self.patience.stop_reading()
