"""``ReceivedContent``: how the content of requests arrives on an HTTP/1 connection.

Content is fed to the ``ContentStream`` of the request, which decodes it. As long as the
handler is slower than its client, nothing more is read; a message of many small chunks
is decoded in several turns of the loop, so that others are served in between. Content
that its handler has left unread is read past, up to a bound: the next request stands
behind it.
"""

from typing import TYPE_CHECKING

from blazeio.errors import RemoteProtocolError
from blazeio.limits import READ_PAST_BYTES
from blazeio.protocol import states
from blazeio.protocol.context import ServerContext
from blazeio.protocol.flow import ContentStream, PendingOctets, make_arrived
from blazeio.protocol.kernel import ReadControl
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.states import HEAD, IDLE, RESPONSE_END, WHOLE
from blazeio.protocol.timeouts import ConnectionTimeouts
from blazeio.wire.chunked import ChunkDecoder
from blazeio.wire.request import RequestHead


class ReceivedContent:
    """The part of ``Http1Connection`` that is about the content of requests."""

    __slots__ = ("_is_reading_on", "_linger_bytes", "_owes_continue")

    if TYPE_CHECKING:
        request: BlazeioServerProtocol
        read_control: ReadControl
        timeouts: ConnectionTimeouts
        _context: ServerContext
        _pending: PendingOctets
        _state: int

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
                self._switch(states.REQUEST)
                self.request.handler_task.start_with_content(head, content)
                return
        pending.keep(octets)
        self._switch(states.REQUEST_WITH_CONTENT)
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
        is_discarded = self._state == states.DISCARD
        self._owes_continue = False  # the client did not wait for 100 Continue
        rest = content.feed(octets)
        if content.is_whole:
            self._switch(states.CONTENT_END)
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
        if self._state not in states.CONTENT_DUE or not content.has_used_turn:
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
            self._state in states.CONTENT_DUE
            and not (content.has_used_turn or content.error)
            and not self._is_full(content)
        ):
            self.read_control.resume()

    def _is_full(self, content: ContentStream) -> bool:
        """Whether so much waits for the handler that no more may come."""
        is_large = content.queued_bytes > self._context.limits.receive_bytes
        return is_large and self._state != states.DISCARD

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
        elif self._state in states.CONTENT_DUE and not (
            content.error or content.has_undecoded
        ):
            least_bytes = content.due_bytes or 1  # of chunks, the last one is due
            if self.read_control.unread_bytes() < least_bytes:
                self._disconnected("the client closed before its content was whole")

    def resume_content(self) -> None:
        """The handler waits for content: let it come."""
        content = self.request.content
        if self._state not in (states.CONTENT, states.RAW) or content.error is not None:
            return
        if self._owes_continue:
            self._owes_continue = False
            if not self.request.response.status:
                self.send_interim(100, b"")
        if content.has_used_turn:
            self._wait_for_turn()
        else:
            self.read_control.resume()
        if self._state == states.CONTENT:
            self.timeouts.start_content(content)

    def note_early_response(self) -> None:
        """Give the connection up where content is due that will not be read past."""
        if self._state == states.CONTENT and (
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
        if self._state == states.DISCARD:
            self.close()
