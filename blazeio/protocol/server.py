"""``BlazeioServerProtocol``: one connection, and the request ``r`` on it.

Its phases are those of ``stages.phases``; how it ends is in ``stages.ending``.

No view of the loop's receive buffer leaves ``buffer_updated``: a task runs
later, and by then the buffer holds another client's octets.

``r`` belongs to one request at a time: the next request on the connection uses
the same object, so a background task must not keep it.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from blazeio.errors import (
    ClientDisconnected,
    FieldInput,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
)
from blazeio.protocol.answer import TEXT, Answer, Answering
from blazeio.protocol.context import Handler, ServerContext
from blazeio.protocol.flow import NO_CONTENT, UNTIL_CLOSE, ContentStream, WriteGate
from blazeio.protocol.payload import NO_HEADERS, BlazeioPayloadUtils
from blazeio.protocol.sockets.intake import Intake
from blazeio.protocol.stages.ending import Endings
from blazeio.protocol.stages.handling import Handling
from blazeio.protocol.stages.handover import Handover, Successor
from blazeio.protocol.stages.phases import (
    CLOSED,
    CONTENT,
    HEAD,
    LINGER,
    NAMES,
    RAW,
    WHOLE,
)
from blazeio.protocol.timing.deadlines import NEVER
from blazeio.protocol.timing.patience import Patience
from blazeio.protocol.toolset import ExtraToolset
from blazeio.protocol.trust import Origin
from blazeio.wire.chunked import ChunkDecoder
from blazeio.wire.headers import Headers
from blazeio.wire.message import RequestHead
from blazeio.wire.parser import parse_head
from blazeio.wire.proxy_protocol import ProxyHeader

log = logging.getLogger("blazeio.protocol")

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NO_PARAMS: Mapping[str, Any] = MappingProxyType({})


class BlazeioServerProtocol(
    asyncio.BufferedProtocol, BlazeioPayloadUtils, ExtraToolset, Answering, Endings
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
        "_owes_continue",
        "_scanned",
        "_successor",
        "answer",
        "content",
        "content_length",
        "context",
        "gate",
        "handling",
        "headers",
        "intake",
        "method",
        "origin",
        "path",
        "path_params",
        "patience",
        "query",
        "store",
        "tail",
        "transfer_encoding",
        "transport",
    )

    context: ServerContext
    transport: asyncio.Transport
    headers: Headers
    content: ContentStream
    transfer_encoding: str | None
    store: dict[str, Any]

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
        self._successor: Successor | None = None
        self._phase = HEAD
        self._remainder = b""
        self._scanned = 0
        self.handling = Handling(context)
        self.method = self.path = self.query = self.tail = ""
        self.content_length: int | None = None
        self.headers = NO_HEADERS
        self.store = {}
        self.path_params: Mapping[str, Any] = NO_PARAMS
        self._forget_content()

    def __repr__(self) -> str:
        name = NAMES[self._phase]
        return f"<{type(self).__name__} {name} {self.method} {self.tail}>"

    def _forget_content(self) -> None:
        self.content = NO_CONTENT
        self.transfer_encoding = None
        self._owes_continue = False

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
        octets, self._remainder = self._remainder, b""
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
        self.answer = Answer(self.context, transport)
        self.intake = Intake(transport, self.context.hangups)
        limits = self.context.limits
        self.patience = Patience(self, self.intake, limits, self.context.wheel)
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
        octets = self.context.receive_view[:nbytes].tobytes()
        phase = self._phase
        if phase == HEAD:
            self._receive_head(self._remainder + octets if self._remainder else octets)
        elif phase in (CONTENT, RAW):
            self._receive_content(octets)
        elif phase == WHOLE:
            self._receive_early(octets)
        elif phase == LINGER:
            self._receive_late(nbytes)

    def eof_received(self) -> bool:
        """The peer will send no more; it may still read (half-close)."""
        self._has_fin = True
        if self._peer_closed is not None:
            self._peer_closed.come()
        if self._phase == LINGER or not self.handling.is_running:
            self._close()
        elif self._phase == RAW:
            self._end_octets()
        elif self._phase == CONTENT:
            self._disconnected("the client closed before its content was whole")
        elif self.status and not self.answer.is_complete:
            self._disconnected("the client closed while the response was streamed")
        elif not self.answer.is_complete:
            self.patience.end_phase_within(self.context.limits.half_close_grace_s)
        return True  # the transport stays open: we close it ourselves

    def hung_up(self, *, is_reset: bool) -> None:
        """The side epoll saw FIN or RST while reading is paused.

        After a FIN the rest of the content may already be in the kernel, for
        the handler to take: only what cannot become whole is given up.
        """
        if is_reset:
            self._disconnected("the client reset the connection")
        elif self._phase == CONTENT and self.content.error is None:
            least_bytes = self.content.due_bytes or 1  # of chunks, the last is due
            if self.intake.unread_bytes() < least_bytes:
                self._disconnected("the client closed before its content was whole")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over, by either side."""
        self._phase = CLOSED
        self.is_alive = False
        self._remainder = b""
        context = self.context
        context.connections.discard(self)
        self.patience.end_all_but_handler()
        self.intake.close()
        self.gate.shatter(ClientDisconnected("the client went away"))
        self.content.fail(ClientDisconnected("the client went away"))
        if self._successor is not None:
            self._successor.connection_lost()
        if self._peer_closed is not None:
            self._peer_closed.come()
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
        terms = self.context.find_terms(self.method, self.path)
        return terms.on_disconnect == "finish"

    def pause_writing(self) -> None:
        """The transport holds more than the high watermark."""
        self.gate.close()
        self.patience.demand_reading()

    def resume_writing(self) -> None:
        """The transport has sent enough."""
        self.gate.open()
        if not self.transport.is_closing():
            self.patience.excuse_reading()

    # Receiving

    def _receive_head(self, octets: bytes) -> None:
        # Hot: runs once per request.
        context = self.context
        limits = context.limits
        try:
            head = parse_head(octets, limits, 0, self._scanned)
        except RemoteProtocolError as error:
            self._refuse(error)
            return
        if head is None:
            self._await_more_of_head(octets)
            return
        self.method = head.method
        self.tail = head.target
        self.path = head.path
        self.query = head.query
        self.headers = head.headers
        self.content_length = head.content_length
        self.answer.ask(head)
        self._scanned = 0
        self._phase = WHOLE
        if limits.handler_timeout_s is None:
            self.patience.phase_ends_at = NEVER
        else:
            self.patience.end_handler_in(limits.handler_timeout_s)
        if len(octets) > head.end:
            self._remainder = octets[head.end :]
        elif self._remainder:
            self._remainder = b""
        if head.is_chunked or head.content_length:
            self._begin_content(head)
        if limits.in_flight is None:
            self.handling.begin(self._serve(context.handler))
        else:
            self.handling.begin(self._serve(self.handling.choose()))
        if self._remainder and self._phase == CONTENT:
            octets, self._remainder = self._remainder, b""
            self._receive_content(octets)

    def _await_more_of_head(self, octets: bytes) -> None:
        if not self._remainder:
            self.patience.end_phase_in(self.context.limits.head_timeout_s)
        self._remainder = octets
        self._scanned = max(len(octets) - 3, 0)

    def _begin_content(self, head: RequestHead) -> None:
        limits = self.context.limits
        bound = self.context.find_terms(self.method, self.path).content_bytes
        if bound is None:
            bound = limits.content_bytes
        self._phase = CONTENT
        self._owes_continue = head.expects_continue
        if head.is_chunked:
            self.transfer_encoding = "chunked"
            self.content = ContentStream(decoder=ChunkDecoder(limits), bound=bound)
        else:
            self.content = ContentStream(length=head.content_length or 0, bound=bound)
        if self.content.error is not None:
            self.answer.give_up_connection()
        elif not self._owes_continue:
            self.patience.demand_content(self.content)

    def _receive_content(self, octets: bytes) -> None:
        content = self.content
        self._owes_continue = False  # it did not wait for it
        rest = content.feed(octets)
        if content.is_whole:
            self._phase = WHOLE
            self._remainder = rest
            self.patience.excuse_content()
        elif content.error is not None:
            self._content_is_lost()
        elif (
            self.handling.is_running  # else it is dropped below
            and content.queued_bytes > self.context.limits.receive_bytes
        ):
            self.patience.excuse_content()  # it is the handler that is slow
            self.intake.pause(self)
        if not self.handling.is_running:
            self._discard_content()

    def _content_is_lost(self) -> None:
        """What follows cannot be told from a request: it is never read."""
        self.answer.give_up_connection()
        self.patience.excuse_content()
        self.intake.pause(self)

    def _discard_content(self) -> None:
        """The response is over; content that is still due is read past."""
        content = self.content
        content.discard()
        if self._phase == WHOLE:
            self._next_request()
        elif content.error or content.received_bytes > self._linger_bytes:
            self._close_in_stages()

    def _receive_early(self, octets: bytes) -> None:
        """Octets of later requests wait while this one is served."""
        self._remainder += octets
        if not self._has_room():
            self.intake.pause(self)

    def _has_room(self) -> bool:
        """Whether more octets of later requests may come."""
        return (
            self._phase == WHOLE
            and len(self._remainder) <= self.context.limits.pipeline_bytes
        )

    def resume_content(self) -> None:
        """The handler waits for content: let it come."""
        if self._phase not in (CONTENT, RAW) or self.content.error is not None:
            return
        if self._owes_continue:
            self._owes_continue = False
            if not self.status:
                self.transport.write(CONTINUE)
        self.intake.resume()
        if self._phase == CONTENT:
            self.patience.demand_content(self.content)

    # Serving

    async def _serve(self, handler: Handler) -> None:
        """Run the handler; the whole of one request's task."""
        try:
            await handler(self)
        except BaseException as error:  # a cancellation, or a handler's own
            await self._fail(error)
        else:
            self._end_handling()
            self._finish()

    async def _fail(self, error: BaseException) -> None:
        """The handler was cancelled, or let out what nothing has answered."""
        handling = self.handling
        if handling.is_leaving and self.has_farewell:
            await self._bid_farewell()
            return
        is_late = handling.is_late
        self._end_handling()
        if is_late and self.answer.is_complete:
            self._finish()  # what came after the answer is cut, no more
        elif is_late and self.is_alive and not self.status:
            self._refuse(ProtocolError("the request took too long to answer", 503))
        else:
            self.abort()
            self._record()
            if not isinstance(error, ClientDisconnected):
                raise error

    async def _bid_farewell(self) -> None:
        hook, self._farewell = self._farewell, None
        self.handling.stay()
        assert hook is not None  # has_farewell
        await self._serve(hook)

    def _end_handling(self) -> None:
        self.handling.end()
        if self.patience.handler_ends_at != NEVER:
            self.patience.excuse_handler()
        if not self.is_alive:
            self.context.detached.discard(self)

    def _finish(self) -> None:
        """End the response, then turn to what comes next."""
        if not self.is_alive:
            self._record()
            return
        if self._phase == RAW:
            if self._successor is not None:
                self.transport.set_protocol(self)  # what comes yet is dropped here
            self._record()
            self._close_in_stages()
            return
        answer = self.answer
        if not answer.is_complete:
            try:
                if answer.message is None:
                    self.reply(b"", 204)
                else:
                    answer.send(b"", is_last=True)
            except LocalProtocolError as error:
                log.error("%s %s: %s", self.method, self.tail, error)
                self.abort()
                self._record()
                return
        recorder = self.context.recorder
        if recorder is not None:
            recorder.record(self)
        if self._phase == CONTENT:
            self._finish_content(persists=answer.may_persist())
        elif answer.may_persist():
            self._next_request()
        else:
            self._close_after_answer()

    def _record(self) -> None:
        """The response is over, whole or not; a raw handler has none."""
        recorder = self.context.recorder
        if recorder is not None and (self.method or self.status):
            recorder.record(self)

    def _finish_content(self, *, persists: bool) -> None:
        """The handler left content unread: read past a little, else close."""
        if not persists or self._owes_continue or self._is_far_from_whole():
            self._close_in_stages()
            return
        limits = self.context.limits
        self.patience.end_phase_in(limits.linger_timeout_s)
        self._linger_bytes = self.content.received_bytes + limits.linger_bytes
        self.content.discard()
        self.intake.resume()

    def _next_request(self) -> None:
        # Hot: runs once per request; back to the blank record it starts from.
        self.headers = NO_HEADERS
        if self.store:
            self.store = {}
        if self.path_params:
            self.path_params = NO_PARAMS
        if self.content is not NO_CONTENT:
            self._forget_content()
        self._farewell = None
        self._phase = HEAD
        self.patience.end_phase_in(self.context.idle_timeout_s)
        octets = self._remainder
        if octets:
            self._remainder = b""
            # we are in the task of the request before: its contextvars end here
            self.context.base.run(self._receive_head, octets)
        if self._has_fin:
            self.eof_received()  # once more: what it means depends on the request
        elif not self.intake.is_open and (self._phase == HEAD or self._has_room()):
            self.intake.resume()

    # Answering

    def reply(
        self,
        body: bytes,
        status: int = 200,
        content_type_line: bytes = TEXT,
        headers: FieldInput | None = None,
    ) -> None:
        """Send a whole response in one write, with its Content-Length.

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
        if self._phase == CONTENT and (
            self._owes_continue or self._is_far_from_whole()
        ):
            self.answer.give_up_connection()  # the rest will not be read past
        self.answer.send_whole(body, status, content_type_line, headers)

    def _is_far_from_whole(self) -> bool:
        return self.content.due_bytes > self.context.limits.linger_bytes

    def begin_response(
        self, headers: FieldInput | None, status: int, *, compress: bool = False
    ) -> None:
        """Decide head, coding and framing; see ``prepare``."""
        if compress:
            likes = self.headers.get("accept-encoding")
            message = self.answer.begin_encoded(headers, status, likes)
        else:
            message = self.answer.begin(headers, status)
        self.context.loop.call_soon(self.answer.flush_head, message)

    def _refuse(self, error: ProtocolError) -> None:
        """Answer an error before there is a handler; then close in stages."""
        if self._phase == HEAD:  # nor is it a part of the request before
            self.method = self.tail = self.path = self.query = ""
            self.handling.begun_at = time.monotonic()  # and it took no time
        self.answer.refuse(error)
        self._record()
        self._close_in_stages()
