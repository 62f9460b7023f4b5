"""``Receiving``: octets become heads and content, and heads become handlers.

No octets are kept but those of a head that is not whole, of requests that wait
for the one that is served, and of content that its handler has not taken.
"""

from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from blazeio.errors import RemoteProtocolError
from blazeio.protocol.ending import Endings
from blazeio.protocol.flow import NO_CONTENT, ContentStream
from blazeio.protocol.payload import NO_HEADERS
from blazeio.protocol.states import CONTENT, HEAD, LINGER, RAW, WHOLE
from blazeio.protocol.timeouts import NEVER
from blazeio.wire.chunked import ChunkDecoder
from blazeio.wire.headers import Headers
from blazeio.wire.request import RequestHead, parse_head

if TYPE_CHECKING:
    from blazeio.protocol.context import Handler

WINDOW_BYTES = 16 * 1024
"""Of octets that wait behind a request, so many are at hand."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NO_PARAMS: Mapping[str, Any] = MappingProxyType({})


class Receiving(Endings):
    """The way in. A base of the protocol, with what it learns of a request.

    Attributes:
        content: Of the request, as it arrives. The others are the protocol's own
            words for handlers: see ``BlazeioServerProtocol``.
    """

    __slots__ = (
        "_is_reading_on",
        "_owes_continue",
        "_scanned",
        "content",
        "content_length",
        "headers",
        "method",
        "path",
        "path_params",
        "query",
        "store",
        "tail",
        "transfer_encoding",
    )

    content: ContentStream
    content_length: int | None
    headers: Headers
    store: dict[str, Any]
    transfer_encoding: str | None

    if TYPE_CHECKING:
        _serve: Callable[[Handler], Coroutine[Any, Any, None]]
        _next_request: Callable[[float], None]

    _is_reading_on: bool

    def _begin_blank(self) -> None:
        self._is_reading_on = False
        self._behind = b""
        self._behind_at = 0
        self._remainder = b""
        self._scanned = 0
        self.method = self.path = self.query = self.tail = ""
        self.content_length = None
        self.headers = NO_HEADERS
        self.store = {}
        self.path_params: Mapping[str, Any] = NO_PARAMS
        self._forget_content()

    def _forget_content(self) -> None:
        self.content = NO_CONTENT
        self.transfer_encoding = None
        self._owes_continue = False

    def data_received(self, octets: bytes) -> None:
        """These have arrived."""
        # Hot: runs once per read.
        phase = self._phase
        if phase == HEAD:
            self._receive_head(self._remainder + octets if self._remainder else octets)
        elif phase in (CONTENT, RAW):
            self._receive_content(octets)
        elif phase == WHOLE:
            self._receive_early(octets)
        elif phase == LINGER:
            self._receive_late(len(octets))

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
        if len(octets) > head.end or self._behind:
            self._keep(octets[head.end :])
        elif self._remainder:
            self._remainder = b""
        if head.is_chunked or head.content_length:
            self._begin_content(head)
        if limits.in_flight is None:
            self.handling.begin(self._serve(context.handler))
        else:
            self.handling.begin(self._serve(self.handling.choose()))
        if context.on_begin is not None:
            context.on_begin(self)  # type: ignore[arg-type]
        if self._remainder and self._phase == CONTENT:
            self._receive_content(self._take_remainder())

    def _keep(self, octets: bytes) -> None:
        """What waits behind this request: a window of it, and the rest run_outside.

        Each request of many that came in one read would copy all that follows.
        """
        if self._behind:
            if len(octets) < WINDOW_BYTES // 2:
                octets += self._next_window()
        elif len(octets) > 2 * WINDOW_BYTES:
            self._behind, self._behind_at = octets, WINDOW_BYTES
            octets = octets[:WINDOW_BYTES]
        self._remainder = octets

    def _next_window(self) -> bytes:
        start, end = self._behind_at, self._behind_at + WINDOW_BYTES
        octets = self._behind[start:end]
        self._behind_at = end
        if end >= len(self._behind):
            self._behind, self._behind_at = b"", 0
        return octets

    def _take_remainder(self) -> bytes:
        """All that waits; it is another's from now on."""
        octets = self._remainder + self._behind[self._behind_at :]
        self._remainder = self._behind = b""
        self._behind_at = 0
        return octets

    def _await_more_of_head(self, octets: bytes) -> None:
        if self._behind:
            self._scanned = max(len(octets) - 3, 0)
            self._receive_head(octets + self._next_window())
            return
        if not self._remainder:
            self.patience.end_phase_in(self.context.limits.head_timeout_s)
        self._remainder = octets
        self._scanned = max(len(octets) - 3, 0)

    def _begin_content(self, head: RequestHead) -> None:
        limits = self.context.limits
        bound = self.context.find_options(self.method, self.path).content_bytes
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
            self.patience.start_content(self.content)

    def _receive_content(self, octets: bytes) -> None:
        content = self.content
        self._owes_continue = False  # it did not wait for it
        rest = content.feed(octets)
        if content.is_whole:
            self._phase = WHOLE
            self._keep(rest)
            self.patience.stop_content()
        elif content.error is not None:
            self._content_is_lost()
        elif content.has_used_turn:
            self._wait_for_turn()
        elif (
            self.handling.is_running  # else it is dropped below
            and content.queued_bytes > self.context.limits.receive_bytes
        ):
            self.patience.stop_content()  # it is the handler that is slow
            self.read_control.pause(self)
        if not self.handling.is_running:
            self._discard_content()

    def _wait_for_turn(self) -> None:
        """It goes on when the loop has turned for the others."""
        self.read_control.pause(self)
        if not self._is_reading_on:
            self._is_reading_on = True
            base = self.context.base.copy()
            self.context.loop.call_soon(self._read_on, context=base)

    def _decode_all(self) -> None:
        """What has arrived, now: the peer will send no more."""
        while self._phase == CONTENT and self.content.has_undecoded:
            self._receive_content(b"")

    def _read_on(self) -> None:
        """The next turn: decode what has arrived, or let more of it come."""
        self._is_reading_on = False
        content = self.content
        is_full = content.queued_bytes > self.context.limits.receive_bytes
        if self._phase != CONTENT or not content.has_used_turn:
            return
        if is_full and self.handling.is_running:
            self.patience.stop_content()  # until the handler has taken of it
            return
        content.has_used_turn = False
        if content.has_undecoded:
            self._receive_content(b"")
        if self._phase == WHOLE:
            if self._has_room():
                self.read_control.resume()
        elif self._phase == CONTENT and not (content.has_used_turn or content.error):
            is_full = content.queued_bytes > self.context.limits.receive_bytes
            if not (is_full and self.handling.is_running):
                self.read_control.resume()

    def _content_is_lost(self) -> None:
        """What follows cannot be told from a request: it is never read."""
        self.answer.give_up_connection()
        self.patience.stop_content()
        self.read_control.pause(self)

    def _discard_content(self) -> None:
        """The response is over; content that is still due is read past."""
        content = self.content
        content.discard()
        if self._phase == WHOLE:
            self._next_request(self.context.now())
        elif content.error or content.received_bytes > self._linger_bytes:
            self._close_in_stages()

    def _receive_early(self, octets: bytes) -> None:
        """Octets of later requests wait while this one is served."""
        if self._behind:
            self._behind, self._behind_at = self._behind[self._behind_at :] + octets, 0
        else:
            self._remainder += octets
        if not self._has_room():
            self.read_control.pause(self)

    def _has_room(self) -> bool:
        """Whether more octets of later requests may come."""
        return (
            self._phase == WHOLE
            and len(self._remainder) + len(self._behind) - self._behind_at
            <= self.context.limits.pipeline_bytes
        )

    def resume_content(self) -> None:
        """The handler waits for content: let it come."""
        if self._phase not in (CONTENT, RAW) or self.content.error is not None:
            return
        if self._owes_continue:
            self._owes_continue = False
            if not self.answer.status:
                self.transport.write(CONTINUE)
        if self.content.has_used_turn:
            self._wait_for_turn()
        else:
            self.read_control.resume()
        if self._phase == CONTENT:
            self.patience.start_content(self.content)

    def on_hangup(self, *, is_reset: bool) -> None:
        """The side epoll saw FIN or RST while reading is paused.

        After a FIN the rest of the content may already be in the kernel, for
        the handler to take: only what cannot become whole is given up.
        """
        if is_reset:
            self._disconnected("the client reset the connection")
        elif (
            self._phase == CONTENT
            and self.content.error is None
            and not self.content.has_undecoded
        ):
            least_bytes = self.content.due_bytes or 1  # of chunks, the last is due
            if self.read_control.unread_bytes() < least_bytes:
                self._disconnected("the client closed before its content was whole")
