"""``RequestWriting``: the request of a response, as it is sent.

What ``BlazeioPayloadUtils`` leaves open of writing, and who is told when it fails.
The rest is in ``client.response``.
"""

import asyncio
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING

from blazeio.client.connection import ClientConnection
from blazeio.client.request_body import measure_body
from blazeio.client.request_head import frame_request, serialize_request_head
from blazeio.errors import (
    AnsweredEarly,
    BlazeioError,
    LocalProtocolError,
    RequestError,
    ServerDisconnected,
)
from blazeio.protocol.flow import ContentStream, WriteGate
from blazeio.protocol.payload import BlazeioPayloadUtils
from blazeio.protocol.pieces import closed_at_end
from blazeio.wire.framing import OutgoingMessage
from blazeio.wire.serializer import serialize_field

if TYPE_CHECKING:
    from blazeio.client.auth import Credentials
    from blazeio.client.context import ClientContext
    from blazeio.client.settings import Timeouts
    from blazeio.client.url import Url
    from blazeio.wire.serializer import FieldBlock

_FOR_PROXY = frozenset(("proxy-authorization",))


class RequestWriting(BlazeioPayloadUtils):
    """A base of ``ClientResponse``.

    Attributes:
        is_sent: The request is whole.
    """

    __slots__ = (
        "_connection",
        "_continued",
        "_error",
        "_message",
        "_sender",
        "_waiter",
        "is_sent",
    )

    _turns_until_lost = 3
    """The loss cancels what sends a body, and must not break into its cleanup."""

    _connection: ClientConnection | None
    _continued: asyncio.Event | None
    _error: BaseException | None
    _message: OutgoingMessage | None
    _sender: asyncio.Task[None] | None
    _waiter: asyncio.Future[None] | None
    is_sent: bool

    if TYPE_CHECKING:
        _body: bytes | AsyncIterable[bytes | str] | None
        _compress: bool
        _extra_lines: bytes
        _fields: FieldBlock
        _identity: Credentials | None
        content: ContentStream
        context: ClientContext
        gate: WriteGate
        method: str
        status_code: int
        timeouts: Timeouts
        transport: asyncio.Transport
        upgrade: str | None
        url: Url

    async def prepare(self) -> None:
        """Wait for the head of the response; returns at once where it has come.

        Needed only where content was announced and is written here.

        Raises:
            RequestError: It did not come; the kind says why.
        """
        if not self.status_code:
            self._flush_head()
            await self._head_arrival()

    def _make_message(self, connection: ClientConnection) -> OutgoingMessage:
        # Hot: runs once per request.
        body, fields, lines = self._body, self._fields, self._extra_lines
        if lines and "content-type" in fields.names:
            lines = b""
        if self.upgrade is not None:
            lines += b"Connection: upgrade\r\n"
            lines += serialize_field("Upgrade", self.upgrade)
        if self._continued is not None and "expect" not in fields.names:
            lines += b"Expect: 100-continue\r\n"
        if self._identity is not None:
            content = body if isinstance(body, bytes) else b""
            lines += self._identity.serialize(
                self.url, self.method, content, fields.names
            )
        start = self.url.request_start
        origin = connection.origin
        if origin.is_forwarding:
            start = self.url.absolute_start
            if "proxy-authorization" not in fields.names:
                lines += origin.proxy_lines
        elif origin.proxy is not None:  # through a tunnel: it is not the proxy's
            fields = fields.without(_FOR_PROXY)
        head = serialize_request_head(
            self.method, start, fields, lines, compress=self._compress
        )
        is_open = body is None and "transfer-encoding" in fields.names
        size = None if is_open else measure_body(body)
        return frame_request(self.method, head, fields, size)

    def _begun_message(self) -> OutgoingMessage:
        if self._message is None:
            raise LocalProtocolError("the request was not begun: enter its block")
        return self._message

    def _flush_head(self) -> None:
        message = self._begun_message()
        if not message.is_begun:
            self.transport.write(message.begin())

    def _has_been_cut(self) -> bool:
        return False  # requests of a connection that we cut are told at once

    def _gone(self) -> BlazeioError:
        return self.gate.error or ServerDisconnected("the connection is closed")

    async def _give(self, octets: bytes | memoryview, *, is_last: bool = False) -> None:
        message = self._begun_message()
        connection = self._connection
        if self._continued is not None and not self._continued.is_set():
            await self._await_continue(self._continued)
        if connection is None or self._connection is not connection:
            raise self._gone()
        if self.gate.error is not None:
            raise self.gate.error
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
            connection.await_head()

    async def _await_continue(self, continued: asyncio.Event) -> None:
        self._flush_head()
        try:
            async with asyncio.timeout(self.timeouts.continue_s):
                await continued.wait()
        except TimeoutError:
            continued.set()  # RFC 9110 section 10.1.1: not to wait for ever

    async def _end_request(self) -> None:
        if not self.is_sent and self._sender is None:
            await self.eof()
        await self.prepare()

    async def _send_body(self, body: bytes | AsyncIterable[bytes | str] | None) -> None:
        """The work of a task, so that an early answer is seen meanwhile."""
        try:
            if isinstance(body, bytes):
                await self.write(body)
            elif body is not None:
                pieces = aiter(body)
                async with closed_at_end(pieces):
                    async for piece in pieces:
                        await self.write(piece)
            await self.eof()
        except AnsweredEarly:
            return
        except Exception as error:
            self._fail(error)

    def _stop_sending(self) -> None:
        """Nobody wants the rest of the request: what makes its content is closed."""
        sender = self._sender
        if sender is None or self.is_sent or sender is asyncio.current_task():
            return
        if not sender.cancelling():  # a second one would break into its cleanup
            sender.cancel()

    async def _end_sender(self) -> None:
        """Have what sends the content end, and wait for its end."""
        sender, self._sender = self._sender, None
        if sender is None or sender is asyncio.current_task():
            return
        if not sender.cancelling():
            sender.cancel()
        await asyncio.wait([sender])

    # How it goes on

    def _head_arrival(self) -> asyncio.Future[None]:
        """To be awaited: the head has come."""
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
        """Our own side has failed: a body that broke off, say."""
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
