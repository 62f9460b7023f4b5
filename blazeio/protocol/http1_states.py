"""The states of an HTTP/1 connection, as one table; and how content arrives in them.

::

    OPENED --> HEAD --> CONTENT --> WHOLE --> IDLE --> HEAD ...
                           |          |
                        DISCARD      RAW       any of them --> LINGER --> CLOSED

* OPENED: a client has connected, and has sent nothing yet.
* IDLE: the connection is kept alive, and nothing of a next request has arrived.
* HEAD: a part of a request head has arrived.
* CONTENT: a request is being served, and more of its content is due.
* WHOLE: a request is being served, and all of it is here. Octets that arrive now
  belong to the next request.
* DISCARD: the response is complete, and content that its handler has left unread is
  read past.
* RAW: the octets are no HTTP: after a 101 response, or for a raw handler.
* LINGER: our side is shut; what the peer still sends is read and dropped for a while,
  so that our last response is not destroyed by a reset (RFC 9112 section 9.6).
* CLOSED: the connection is over. A handler may run on.

The table is total, as h11's is: each pair of a state and an event either leads to a
state or is listed as illegal. An illegal pair is a fault of ours, never of a peer:
what a peer sends wrongly is an event like any other by the time it gets here.

States and events are plain numbers: an enum's members would cost a look-up each time
(5 % of a request that is answered by a few octets).

``ReceivedContent`` feeds content to the ``ContentStream`` of its request, which decodes
it. As long as the handler is slower than its client, nothing more is read; a message of
many small chunks is decoded in several turns of the loop, so that others are served in
between. Content that its handler has left unread is read past, up to a bound: the next
request stands behind it.
"""

from typing import TYPE_CHECKING, Final

from blazeio.errors import RemoteProtocolError
from blazeio.limits import READ_PAST_BYTES
from blazeio.protocol.context import ServerContext
from blazeio.protocol.flow import ContentStream, PendingOctets, make_arrived
from blazeio.protocol.kernel import ReadControl
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.timeouts import ConnectionTimeouts
from blazeio.wire.chunked import ChunkDecoder
from blazeio.wire.request import RequestHead

STATE_NAMES: Final = (
    *("OPENED", "IDLE", "HEAD", "CONTENT", "WHOLE"),
    *("DISCARD", "RAW", "LINGER", "CLOSED"),
)
STATES: Final = range(len(STATE_NAMES))
OPENED, IDLE, HEAD, CONTENT, WHOLE, DISCARD, RAW, LINGER, CLOSED = STATES
"""Those up to HEAD wait for a request: ``state <= HEAD`` asks for them."""
CONTENT_DUE: Final = (CONTENT, DISCARD)
"""In these, octets that arrive are content of a request."""

EVENT_NAMES: Final = (
    *("HEAD_BEGUN", "REQUEST", "REQUEST_WITH_CONTENT", "CONTENT_END"),
    *("RESPONSE_END", "HTTP_LEFT", "OUTPUT_SHUT", "LOST"),
)
EVENTS: Final = range(len(EVENT_NAMES))
(
    HEAD_BEGUN,
    REQUEST,
    REQUEST_WITH_CONTENT,
    CONTENT_END,
    RESPONSE_END,
    HTTP_LEFT,
    OUTPUT_SHUT,
    LOST,
) = EVENTS
"""In the order of the names: a part of a head has arrived; a whole head has, without
or with content after it; the last octet of the content has arrived; the response is
complete and the connection persists; another protocol has begun; the connection ends,
our side is shut first; the transport has lost the connection."""

_AWAITED: Final = {
    HEAD_BEGUN: HEAD,
    REQUEST: WHOLE,
    REQUEST_WITH_CONTENT: CONTENT,
    OUTPUT_SHUT: LINGER,
    LOST: CLOSED,
}

NEXT_STATE: Final[tuple[dict[int, int], ...]] = (
    {**_AWAITED, HTTP_LEFT: RAW},  # OPENED
    _AWAITED,  # IDLE
    _AWAITED,  # HEAD
    {  # CONTENT
        CONTENT_END: WHOLE,
        RESPONSE_END: DISCARD,
        OUTPUT_SHUT: LINGER,
        LOST: CLOSED,
    },
    {RESPONSE_END: IDLE, HTTP_LEFT: RAW, OUTPUT_SHUT: LINGER, LOST: CLOSED},  # WHOLE
    {CONTENT_END: IDLE, OUTPUT_SHUT: LINGER, LOST: CLOSED},  # DISCARD
    {OUTPUT_SHUT: LINGER, LOST: CLOSED},  # RAW
    {LOST: CLOSED},  # LINGER
    {},  # CLOSED
)
"""By state: from an event to the next state."""

_NEXT_REQUEST: Final = (HEAD_BEGUN, REQUEST, REQUEST_WITH_CONTENT)

ILLEGAL: Final = frozenset(
    (state, event)
    for state, events in (
        (OPENED, (CONTENT_END, RESPONSE_END)),
        (IDLE, (CONTENT_END, RESPONSE_END, HTTP_LEFT)),
        (HEAD, (CONTENT_END, RESPONSE_END, HTTP_LEFT)),
        (CONTENT, (*_NEXT_REQUEST, HTTP_LEFT)),
        (WHOLE, (*_NEXT_REQUEST, CONTENT_END)),
        (DISCARD, (*_NEXT_REQUEST, RESPONSE_END, HTTP_LEFT)),
        (RAW, (*_NEXT_REQUEST, CONTENT_END, RESPONSE_END, HTTP_LEFT)),
        (LINGER, (*range(HTTP_LEFT + 1), OUTPUT_SHUT)),
        (CLOSED, EVENTS),
    )
    for event in events
)
"""Pairs that no connection comes to: its own code would have to be wrong."""


class ReceivedContent:
    """The part of ``Http1Connection`` that is about the content of requests."""

    __slots__ = ("_is_reading_on", "_linger_bytes", "_owes_continue")

    if TYPE_CHECKING:
        request: BlazeioServerProtocol
        timeouts: ConnectionTimeouts
        _context: ServerContext
        _pending: PendingOctets
        _state: int

        @property
        def read_control(self) -> ReadControl: ...  # noqa: D102
        def _switch(self, event: int) -> None: ...
        def _disconnected(self, reason: str) -> None: ...
        def send_interim(self, status: int, lines: bytes) -> None: ...  # noqa: D102
        def request_is_over(self) -> None: ...  # noqa: D102
        def close(self) -> None: ...  # noqa: D102

    _is_reading_on: bool
    _linger_bytes: int
    _owes_continue: bool

    def _begin_with_content(self, head: RequestHead, octets: bytes) -> None:
        """Begin a request with content.

        Args:
            head: Its head.
            octets: What has arrived behind the head.
        """
        length, pending = head.content_length, self._pending
        if length and len(octets) >= length and not pending.has_more:
            content = self._take_arrived(head, octets[:length])
            if content is not None:
                pending.keep(octets[length:])
                self._switch(REQUEST)
                self.request.handler_task.start_with_content(head, content)
                return
        pending.keep(octets)
        self._switch(REQUEST_WITH_CONTENT)
        content = self._new_content(head)
        self.request.handler_task.start_with_content(head, content)
        if content.error is not None:
            self.request.response.give_up_connection()
        if pending.window:
            self._receive_content(pending.take_all())

    def _take_arrived(self, head: RequestHead, octets: bytes) -> ContentStream | None:
        """Make the stream of content that has arrived with its head, whole.

        It needs no deadline and no state of its own: a POST of 1 KB takes 0.9x.

        Returns:
            None where it is larger than it may be.
        """
        bound = self._context.find_content_bound(head)
        if bound is not None and len(octets) > bound:
            return None
        self._owes_continue = False  # the client did not wait for 100 Continue
        return make_arrived(octets)

    def _new_content(self, head: RequestHead) -> ContentStream:
        """Make the stream of a request's content, and have it keep coming."""
        bound = self._context.find_content_bound(head)
        length = head.content_length or 0
        decoder = ChunkDecoder(self._context.limits) if head.is_chunked else None
        content = ContentStream(length=length, decoder=decoder, bound=bound)
        self._owes_continue = head.expects_continue
        if content.error is None and not self._owes_continue:
            self.timeouts.start_content(content)
        return content

    def _receive_content(self, octets: bytes) -> None:
        """Take octets that belong to the content, or follow it."""
        content = self.request.content
        is_discarded = self._state == DISCARD
        self._owes_continue = False  # the client did not wait for 100 Continue
        rest = content.feed(octets)
        if content.is_whole:
            self._switch(CONTENT_END)
            self._pending.keep(rest)
            self.timeouts.stop_content()
        elif content.error is not None:
            self._lose_content()
        elif content.has_used_turn:
            self._wait_for_turn()
        elif self._is_full(content):
            self.timeouts.stop_content()  # it is the handler that is slow
            self.read_control.pause()
        if is_discarded:
            self._discard_content()

    def _wait_for_turn(self) -> None:
        """Decode the rest when the loop has turned for the others."""
        self.read_control.pause()
        if not self._is_reading_on:
            self._is_reading_on = True
            base = self._context.base.copy()
            self._context.loop.call_soon(self._read_on, context=base)

    def _read_on(self) -> None:
        """In the next turn, decode what has arrived, or let more of it come."""
        self._is_reading_on = False
        content = self.request.content
        if self._state not in CONTENT_DUE or not content.has_used_turn:
            return
        if self._is_full(content):
            self.timeouts.stop_content()  # until the handler has taken some of it
            return
        content.has_used_turn = False
        if content.has_undecoded:
            self._receive_content(b"")
        if self._state == WHOLE:
            if self._has_room():
                self.read_control.resume()
        elif (
            self._state in CONTENT_DUE
            and not (content.has_used_turn or content.error)
            and not self._is_full(content)
        ):
            self.read_control.resume()

    def _is_full(self, content: ContentStream) -> bool:
        """Whether so much waits for the handler that no more may come."""
        is_large = content.queued_bytes > self._context.limits.receive_bytes
        return is_large and self._state != DISCARD

    def _lose_content(self) -> None:
        """What follows cannot be told from a request: it is never read."""
        self.request.response.give_up_connection()
        self.timeouts.stop_content()
        self.read_control.pause()

    def _discard_content(self) -> None:
        """The response is over; content that is still due is read past."""
        content = self.request.content
        content.discard()
        if self._state == IDLE:
            self.request_is_over()
        elif content.error or content.received_bytes > self._linger_bytes:
            self.close()

    def _has_room(self) -> bool:
        """Whether more octets of later requests may come."""
        if self._state <= HEAD:
            return True
        most = self._context.limits.pipeline_bytes
        return self._state == WHOLE and self._pending.size <= most

    def on_hangup(self, *, is_reset: bool) -> None:
        """The side epoll saw FIN or RST while reading is paused.

        After a FIN the rest of the content may already be in the kernel, for
        the handler to take: only what cannot become whole is given up.
        """
        content = self.request.content
        if is_reset:
            self._disconnected("the client reset the connection")
        elif self._state in CONTENT_DUE and not (
            content.error or content.has_undecoded
        ):
            least_bytes = content.due_bytes or 1  # of chunks, the last one is due
            if self.read_control.unread_bytes() < least_bytes:
                self._disconnected("the client closed before its content was whole")

    def resume_content(self) -> None:
        """The handler waits for content: let it come."""
        content = self.request.content
        if self._state not in (CONTENT, RAW) or content.error is not None:
            return
        if self._owes_continue:
            self._owes_continue = False
            if not self.request.response.status:
                self.send_interim(100, b"")
        if content.has_used_turn:
            self._wait_for_turn()
        else:
            self.read_control.resume()
        if self._state == CONTENT:
            self.timeouts.start_content(content)

    def note_early_response(self) -> None:
        """Give the connection up where content is due that will not be read past."""
        if self._state == CONTENT and (
            self._owes_continue or self._is_far_from_whole()
        ):
            self.request.response.give_up_connection()

    def _is_far_from_whole(self) -> bool:
        most_bytes = min(self._context.limits.linger_bytes, READ_PAST_BYTES)
        return self.request.content.due_bytes > most_bytes

    def _finish_content(self, *, persists: bool) -> None:
        """The handler left content unread: read past a little, else close."""
        if not persists or self._owes_continue or self._is_far_from_whole():
            self.close()
            return
        limits = self._context.limits
        self._switch(RESPONSE_END)
        self.timeouts.end_state_in(limits.linger_timeout_s)
        most_bytes = min(limits.linger_bytes, READ_PAST_BYTES)
        content = self.request.content
        self._linger_bytes = content.received_bytes + most_bytes
        content.discard()
        self.read_control.resume()

    def on_content_timeout(self) -> None:
        """Content came too slowly: the handler sees it, as 408."""
        error = RemoteProtocolError("the content came too slowly", 408)
        self.request.content.fail(error)
        self._lose_content()
        if self._state == DISCARD:
            self.close()
