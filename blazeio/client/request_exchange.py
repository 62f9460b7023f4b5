"""``RequestExchange``: one request on its way, and the head of its response.

This is the side of a ``ClientResponse`` that faces the connection: it writes the
request (``client_request``, a value), and implements ``Exchange``, which the connection
calls when something arrives. ``RequestAttempts`` decides which connection it is sent
on, and how often. What a caller reads from the response is in ``client.response``.

Content that is a stream is written by a task of its own, ``_sender``, so that a
response that comes before the request is whole is seen at once. Content that the caller
has only announced is written by the caller, by the methods of ``BlazeioPayloadUtils``.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING

from blazeio.client.attempts import RequestAttempts, closed_error
from blazeio.client.auth import CNONCE_OCTETS
from blazeio.client.connection import ClientConnection
from blazeio.client.content import is_event_stream
from blazeio.client.exchange import MOST_INTERIMS
from blazeio.client.request import ClientRequest, serialize_plain_get
from blazeio.client.url import Origin, Url
from blazeio.errors import (
    AnsweredEarly,
    BlazeioError,
    InvalidResponse,
    LocalProtocolError,
    RequestError,
    ServerDisconnected,
)
from blazeio.protocol.carrier import Successor
from blazeio.protocol.flow import NO_CONTENT, ContentStream, WriteGate
from blazeio.protocol.payload import BlazeioPayloadUtils, closed_at_end
from blazeio.protocol.timeouts import NEVER
from blazeio.wire.framing import GIVEN_OUT, OutgoingMessage
from blazeio.wire.headers import NO_HEADERS, Headers
from blazeio.wire.heads import ResponseHead

if TYPE_CHECKING:
    from blazeio.client.context import ClientContext
    from blazeio.client.settings import Timeouts


class RequestExchange(BlazeioPayloadUtils):
    """A request and the head of its response.

    Args:
        context: Of the session.
        request: What is asked.
        timeouts: Of this request.
        attempts: Sends it.

    Attributes:
        client_request: What is asked; after redirects, of the last server.
        status_code: 0 until the head of the response has come.
        reason: The reason phrase, as sent.
        headers: Case-insensitive; repeated fields are joined by ", ".
        content_length: As declared, octets; None if it was not.
        transfer_encoding: "chunked", or None.
        interims: Status and headers of the interim responses (1xx), as they came.
        history: Status, URL and headers of each response that led to this one.
        is_sent: The request is whole.
        is_left: The caller has left the block, or closed the response.
        total_at: When request and response must be over, loop time.
    """

    __slots__ = (
        "_attempts",
        "_connection",
        "_continued",
        "_error",
        "_gate",
        "_is_body_untouched",
        "_message",
        "_sender",
        "_waiter",
        "client_request",
        "content",
        "content_length",
        "context",
        "headers",
        "history",
        "interims",
        "is_left",
        "is_sent",
        "reason",
        "status_code",
        "timeouts",
        "total_at",
        "transfer_encoding",
        "transport",
    )

    _turns_until_lost = 3
    """A lost connection cancels ``_sender``, whose cleanup must not be cancelled in its
    turn; so an error waits for the loss a little longer than on a server."""

    context: "ClientContext"
    _gate: WriteGate
    transport: asyncio.Transport

    def __init__(
        self,
        context: "ClientContext",
        request: ClientRequest,
        timeouts: "Timeouts",
        attempts: RequestAttempts,
    ) -> None:
        self.context = context
        self.client_request = request
        self.timeouts = timeouts
        self._attempts = attempts
        self._continued = asyncio.Event() if request.expects_continue else None
        self._is_body_untouched = request.body is not None
        self.status_code = 0
        self.reason = ""
        self.headers = NO_HEADERS
        self.content_length: int | None = None
        self.transfer_encoding: str | None = None
        self.content = NO_CONTENT
        self.interims: list[tuple[int, Headers]] = []
        self.history: list[tuple[int, Url, Headers]] = []
        self.total_at = NEVER
        self.is_sent = self.is_left = False
        self._connection: ClientConnection | None = None
        self._message: OutgoingMessage | None = None
        self._sender: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        status = self.status_code or "no response yet"
        return f"<{type(self).__name__} {self.method} {self.url}: {status}>"

    @property
    def method(self) -> str:
        """The method of the request; after redirects, of the last one."""
        return self.client_request.method

    @property
    def url(self) -> Url:
        """The URL of the request; after redirects, of the last one."""
        return self.client_request.url

    # Another attempt: for ``client.attempts``, ``events`` and ``save``

    @property
    def can_repeat(self) -> bool:
        """Whether the request can be sent again: its content is not a stream."""
        return self.client_request.can_repeat

    @property
    def may_expect_less(self) -> bool:
        """Whether the request can be sent again without ``Expect: 100-continue``.

        A stream can as well, as long as nothing was taken of it.
        """
        request = self.client_request
        is_at_hand = request.can_repeat or self._is_body_untouched
        return request.expects_continue and is_at_hand and not self.is_left

    @property
    def may_read_again(self) -> bool:
        """Whether the request may be sent again because its content broke off."""
        return self._attempts.may_read_again(self)

    async def forget(self) -> None:
        """Leave the response, so that the request can be sent once more."""
        await self._attempts.forget(self)

    def start_over(self) -> None:
        """After ``forget``: begin a new request; see ``RequestAttempts``."""
        self._attempts.start_over(self)

    async def ask_again(self, *fields: tuple[str, str]) -> None:
        """After ``forget``: send the request again; see ``RequestAttempts``."""
        await self._attempts.ask_again(self, fields)

    async def reset(self) -> None:
        """Leave the response, and be as before the request was sent."""
        await self._leave()
        self._error = None
        self.status_code = 0
        self.is_sent = False
        self.content = NO_CONTENT
        self.transfer_encoding = None
        if self._continued is not None:
            expects = self.client_request.expects_continue
            self._continued = asyncio.Event() if expects else None

    async def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.leave(self, drains=not is_event_stream(self.headers))
            self._fail_readers(closed_error())
        if self._sender is not None:
            await self._end_sender()

    # Sending the request

    def send_on(self, connection: ClientConnection) -> asyncio.Future[None] | None:
        """Send the request on a connection.

        Returns:
            Done when the head of the response has come. None: the caller has announced
            content, and writes it.
        """
        # Hot: runs once per request.
        self._connection = connection
        self.transport = connection.transport
        self._gate = connection.gate
        connection.begin(self)
        request = self.client_request
        if request.is_plain:
            self._message = GIVEN_OUT
            self.is_sent = True
            connection.transport.write(serialize_plain_get(request.url.request_start))
            connection.start_head_timeout()
            return self._head_arrival()
        self._message = message = self._begin_message(connection.origin)
        if request.announces_content:
            connection.has_content = True
            if self.total_at != NEVER:
                connection.start_total_timeout()
            return None
        body = b"" if request.body is None else request.body
        connection.has_content = request.body is not None
        if (
            isinstance(body, bytes)
            and len(body) <= self.context.limits.high_water_bytes
            and self._continued is None
        ):
            connection.transport.write(message.end(body))
            self.is_sent = True
            connection.start_head_timeout()
        else:
            if self.total_at != NEVER:
                connection.start_total_timeout()
            self._sender = self.context.loop.create_task(self._send_body(body))
        return self._head_arrival()

    def _begin_message(self, origin: Origin) -> OutgoingMessage:
        request = self.client_request
        credentials = request.credentials
        if credentials is None:
            return request.begin_message(origin, now=0.0, cnonce="")
        is_asked = credentials.digest is not None
        cnonce = secrets.token_hex(CNONCE_OCTETS) if is_asked else ""
        return request.begin_message(origin, now=time.time(), cnonce=cnonce)

    async def prepare(self) -> None:
        """Wait for the head of the response; returns at once where it has come.

        Needed only where content was announced and is written by the caller.

        Raises:
            RequestError: It did not come; the kind says why.
        """
        if not self.status_code:
            self._flush_head()
            await self._head_arrival()

    async def _end_request(self) -> None:
        if not self.is_sent and self._sender is None:
            await self.eof()
        await self.prepare()

    async def _send_body(self, body: bytes | AsyncIterable[bytes | str]) -> None:
        """Send the content: the work of ``_sender``."""
        try:
            if self._continued is not None:
                await self._await_leave(self._continued, body)
            self._is_body_untouched = False
            if isinstance(body, bytes):
                if body:
                    await self.write(body)
            else:
                pieces = aiter(body)
                async with closed_at_end(pieces):
                    async for piece in pieces:
                        await self.write(piece)
            await self.eof()
        except AnsweredEarly:
            return
        except Exception as error:
            self._fail(error)

    async def _await_leave(
        self, continued: asyncio.Event, body: bytes | AsyncIterable[bytes | str]
    ) -> None:
        """Wait for a 100 (Continue) before anything is taken of the content.

        Where a 417 comes instead, a stream is left as it is, for ``may_expect_less``.
        """
        try:
            if not continued.is_set():
                await self._await_continue(continued)
            if self._gate.error is not None:
                raise self._gate.error
        except BaseException:
            if not isinstance(body, bytes) and self.status_code != 417:
                async with closed_at_end(aiter(body)):
                    raise
            raise

    def _stop_sending(self) -> None:
        """Cancel ``_sender``, which closes the source of the content."""
        sender = self._sender
        if sender is None or self.is_sent or sender is asyncio.current_task():
            return
        if not sender.cancelling():  # a second one would break into its cleanup
            sender.cancel()

    async def _end_sender(self) -> None:
        """Cancel ``_sender``, and wait for its end."""
        sender, self._sender = self._sender, None
        if sender is None or sender is asyncio.current_task():
            return
        if not sender.cancelling():
            sender.cancel()
        await asyncio.wait([sender])

    def _head_arrival(self) -> asyncio.Future[None]:
        """Return a future that is done when the head of the response has come."""
        # Hot: runs once per request.
        waiter: asyncio.Future[None] = self.context.loop.create_future()
        if self._error is not None:
            waiter.set_exception(self._error)
        elif self.status_code:
            waiter.set_result(None)
        else:
            self._waiter = waiter
        return waiter

    def _fail(self, error: Exception) -> None:
        """End the exchange by a fault of our own side, such as a body that fails."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.leave(self)
        self._fail_readers(error)

    def _fail_readers(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        if self._continued is not None:
            self._continued.set()
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
            return
        if not isinstance(error, BlazeioError):
            told = RequestError("the request could not be sent whole")
            told.__cause__ = error
            error = told
        self.content.fail(error)

    # What ``BlazeioPayloadUtils`` asks for

    def _begun_message(self) -> OutgoingMessage:
        if self._message is None:
            raise LocalProtocolError("the request was not begun: enter its block")
        return self._message

    def _flush_head(self) -> None:
        message = self._begun_message()
        if not message.is_begun:
            self.transport.write(message.begin())

    def _has_been_cut(self) -> bool:
        return False  # who waits is told at once when we cut a connection

    def _gone(self) -> BlazeioError:
        return self._gate.error or ServerDisconnected("the connection is closed")

    async def _give(self, octets: bytes | memoryview, *, is_last: bool = False) -> None:
        message = self._begun_message()
        connection = self._connection
        if self._continued is not None and not self._continued.is_set():
            await self._await_continue(self._continued)
        if connection is not None and not self.status_code:
            await self._read_first(connection)
        if connection is None or self._connection is not connection:
            raise self._gone()
        if self._gate.error is not None:
            raise self._gate.error
        if not is_last:
            framed = message.content(octets)
        else:
            try:
                framed = message.end(bytes(octets))
            except LocalProtocolError as error:
                self._fail(error)
                raise
        if framed:
            self.transport.write(framed)
        if is_last:
            self.is_sent = True
            connection.start_head_timeout()

    async def _read_first(self, connection: ClientConnection) -> None:
        """Let the loop read what has arrived, before more of the request is written.

        A server that refuses content answers, and closes what it has not read: a reset
        follows the answer. Transports write at once; where that fails they read nothing
        more, and the answer would be lost. To ask takes 0.8 us a piece.
        """
        if connection.has_arrivals():
            # In the first turn the loop learns of it, after this task has gone on.
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def _await_continue(self, continued: asyncio.Event) -> None:
        self._flush_head()
        try:
            async with asyncio.timeout(self.timeouts.continue_s):
                await continued.wait()
        except TimeoutError:
            # RFC 9110 section 10.1.1: a client should not wait for ever; servers
            # before HTTP/1.1 never send a 100.
            continued.set()

    def _resume_content(self) -> None:
        """Let more content come: a reader waits."""
        connection = self._connection
        if connection is not None:
            connection.resume_content()

    def take_over(self, successor: Successor) -> None:
        """After a 101: give the octets that arrive to a protocol, not to ``pull``.

        Raises:
            LocalProtocolError: There was no 101.
            ServerDisconnected: The server is gone.
        """
        if self._connection is None:
            raise self._gone()
        self._connection.hand_over(successor)

    # What the connection calls: ``Exchange``

    @property
    def wants_upgrade(self) -> bool:
        """A 101 may come."""
        return self.client_request.upgrade is not None

    def interim_received(self, head: ResponseHead) -> None:
        """An interim response has come."""
        if head.status == 100 and self._continued is not None:
            self._continued.set()
        self.interims.append((head.status, head.headers))
        if len(self.interims) > MOST_INTERIMS and self._connection is not None:
            message = f"more than {MOST_INTERIMS} interim responses"
            self._connection.abort(InvalidResponse(message))

    def response_received(self, head: ResponseHead, content: ContentStream) -> None:
        """The final response has begun."""
        # Hot: runs once per request.
        self.status_code = head.status
        self.reason = head.reason
        self.headers = head.headers
        self.content_length = head.content_length
        if head.is_chunked:
            self.transfer_encoding = "chunked"
        self.content = content
        credentials = self.client_request.credentials
        if credentials is not None:
            fields = head.headers.get_all("set-cookie")
            credentials.learn_cookies(self.url, fields, time.time())
        if self._continued is not None:
            self._continued.set()
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if self._sender is not None and self._gate.error is not None:
            self._stop_sending()  # the response came before the request was whole

    def response_completed(self) -> None:
        """The response is whole; the connection serves others."""
        self._connection = None
        if self._sender is not None:
            self._stop_sending()

    def failed(self, error: BlazeioError) -> None:
        """The response will not be whole."""
        self._connection = None
        self._stop_sending()
        self._fail_readers(error)
