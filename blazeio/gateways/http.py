"""One HTTP request of an ASGI app: its ``receive`` and its ``send``.

An ``HttpExchange`` belongs to one request; the connection below it goes on to the
next while the app may still run (a background task). So it touches the connection
only until the response is complete.

Of the head nothing leaves before the first piece of the body: an app that fails in
between can still be answered 500.
"""

import asyncio
import os
import stat
from collections.abc import Callable, MutableMapping
from typing import Any, Final

from msgspec import Struct

from blazeio.errors import (
    BlazeioError,
    ClientDisconnected,
    LocalProtocolError,
    RemoteProtocolError,
)
from blazeio.gateways.gateway import ChunkWriter, ClientLost, Gateway, GatewayProtocol
from blazeio.gateways.messages import (
    BODY,
    HTTP_EXPECTED,
    HTTP_MESSAGES,
    OVER,
    START,
    TRAILERS,
    FilePart,
    ResponseStart,
    check_order,
    read_body,
    read_file_part,
    read_path,
    read_start,
    read_trailers,
    write_early_hint,
)
from blazeio.protocol.flow import (
    CALL_BYTES,
    NO_CONTENT,
    TURN_BYTES,
    ContentStream,
    WriteGate,
)
from blazeio.protocol.kernel import read_pages, send_file
from blazeio.wire.framing import OutgoingMessage

Message = MutableMapping[str, Any]

FILE_CHUNK_BYTES: Final = 64 * 1024
"""So much of a file is read at once, where it cannot go by sendfile(2)."""

SMALL_BODY_BYTES: Final = 64 * 1024
"""A body that has arrived whole, and is not larger, is given in one piece."""

SEND_BYTES: Final = CALL_BYTES // 4
"""Each piece counts for so many octets of what a task may give before the loop turns
for the others: so 64 of them are a turn's share."""

_NO_CONTENT_LENGTH: Final = (204, 304)
"""RFC 9110 section 8.6: never in 204; in 304 it would be that of the 200."""


class HttpExchange(Struct, eq=False):
    """A request and its response, as an ASGI app sees them.

    Made for each request, by position: in half of the time of a class of Python.

    Args:
        r: The connection, whose request this is.
        gateway: Who serves it.
        content: Of the request.
        gate: Where those who send sleep.

    Attributes:
        state: What the response waits for, of ``messages``.
        has_given_body: All of the request's body was received by the app.
        has_begun: Something of the response was given to the transport.
        is_over: The response is complete, or another was sent in its place: the
            connection is touched no more.
        has_returned: The app has ended.
        end_background: To be called at the end of an app that runs on after its
            response; None while it does not.
    """

    _r: GatewayProtocol
    _gateway: Gateway
    _content: ContentStream
    _gate: WriteGate
    _chunks: ChunkWriter | None = None
    _start: ResponseStart | None = None
    _trailers: bytes | None = None
    _is_lost: bool = False
    _is_told: bool = False
    _waiters: list[asyncio.Future[None]] | None = None
    state: int = START
    has_given_body: bool = False
    has_begun: bool = False
    is_over: bool = False
    has_returned: bool = False
    end_background: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"<HttpExchange state={self.state}>"

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that serves it."""
        return self._r.context.loop

    # Receiving

    async def receive(self) -> Message:
        """Return the next piece of the body; then, when it comes, the disconnect."""
        # Hot: runs once per request of most apps.
        content = self._content
        if not self.has_given_body and not self.is_over:
            if content is NO_CONTENT:
                self.has_given_body = True
                return {"type": "http.request", "body": b"", "more_body": False}
            whole = content.take_whole(SMALL_BODY_BYTES)
            if whole is not None:  # it has arrived, with its head mostly
                self.has_given_body = True
                return {"type": "http.request", "body": whole, "more_body": False}
            piece = await self.next_piece(content)
            if piece is not None:
                is_last = content.is_whole and not content.has_pieces
                self.has_given_body = is_last
                return {"type": "http.request", "body": piece, "more_body": not is_last}
        await self._disconnected()
        self._is_told = True
        return {"type": "http.disconnect"}

    async def next_piece(self, content: ContentStream) -> bytes | None:
        """Wait for a piece; None where none will come."""
        while not (self.is_over or self.has_given_body):
            piece = content.take()
            if piece is not None:
                return piece
            if content.is_whole:
                return b""
            if content.error is not None:
                self._give_up(content.error)
                return None
            self._r.carrier.resume_content()
            waiter = self._new_waiter()
            content.tell(waiter)
            try:
                await waiter
            finally:
                self._wake()  # all look again, or what they wait for were not told
        return None

    async def collect(self, content: ContentStream) -> bool:
        """Wait for the whole body; False where it will never be."""
        while not content.is_whole:
            if content.error is not None:
                self._give_up(content.error)
                return False
            self._r.carrier.resume_content()
            waiter: asyncio.Future[None] = self.loop.create_future()
            content.tell(waiter)
            await waiter
        return True

    def _give_up(self, error: BlazeioError) -> None:
        """The body will never be whole: the client is answered, if it is there."""
        if not self._is_lost:
            self._is_lost = True
            self._chunks = None
            if isinstance(error, RemoteProtocolError) and not self.has_begun:
                self._answer_instead(str(error), error.status_hint)

    async def _disconnected(self) -> None:
        """Return when the client has gone, or the response is complete."""
        r = self._r
        while not self.is_over and not self._is_lost and r.is_alive:
            peer_closed = r.peer_closed
            if peer_closed:
                return
            waiter = self._new_waiter()
            peer_closed.tell(waiter)
            try:
                await waiter
            finally:
                peer_closed.forget(waiter)
                if self._waiters is not None and waiter in self._waiters:
                    self._waiters.remove(waiter)

    def _new_waiter(self) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = self.loop.create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        return waiter

    def _wake(self) -> None:
        """Wake everybody who waits in ``receive``, to look again."""
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    # Sending

    async def send(self, message: Message) -> None:  # noqa: C901 - hot: few calls
        """Take the next message of the response.

        Raises:
            ClientLost: The client is gone.
            LocalProtocolError: The message is malformed, or may not come now.
        """
        # Hot: runs twice per request, or once per piece of a stream.
        transport = self._r.transport
        chunks = self._chunks
        if (
            chunks is not None
            and message["type"] == "http.response.body"
            and not transport.is_closing()
        ):
            # A piece of a stream, after the first one.
            body = message.get("body", b"")
            if body.__class__ is not bytes:
                body = read_body(message)
            gate = self._gate
            if message.get("more_body"):
                chunks.write(body)
                gate.spent_bytes = spent_bytes = gate.spent_bytes + SEND_BYTES
                if spent_bytes >= TURN_BYTES:
                    gate.spent_bytes = 0
                    await asyncio.sleep(0)
            else:
                self._end_chunks(chunks, body)
            if not gate.is_open:
                await self._pass(gate)
            return
        if self._is_lost or (not self.is_over and transport.is_closing()):
            await asyncio.sleep(0)  # who catches it and goes on holds up nobody
            raise ClientLost("the client is gone")
        state = self.state
        if state == START and message["type"] == "http.response.start":
            self._start = read_start(message)
            self.state = BODY
            return
        gate = self._gate
        if state == BODY and message["type"] == "http.response.body":
            body = message.get("body", b"")
            if body.__class__ is not bytes:
                body = read_body(message)
            if not message.get("more_body"):
                if not self._send_plain(body):
                    self._write(body, is_last=True)
            else:
                self.write(body, is_last=False)
                gate.spent_bytes += SEND_BYTES
                if gate.spent_bytes >= TURN_BYTES:
                    gate.spent_bytes = 0
                    await asyncio.sleep(0)
        else:
            kind = check_order(message, HTTP_EXPECTED[state], HTTP_MESSAGES)
            await self._send_other(kind, message)
        if not gate.is_open:
            await self._pass(gate)

    async def put(self, body: bytes, *, is_last: bool = False) -> None:
        """Send a piece of the body, for who has no messages.

        Raises:
            ClientLost: The client is gone.
            LocalProtocolError: More or less than the declared Content-Length.
        """
        self._require_client()
        self.write(body, is_last=is_last)
        gate = self._gate
        if not gate.is_open:
            await self._pass(gate)

    async def put_file(self, part: FilePart) -> None:
        """Send a part of a file as the rest of the body; raises as ``put``."""
        self._require_client()
        await self._send_file_part(part, is_last=True)

    def _require_client(self) -> None:
        if self._is_lost or self._r.transport.is_closing():
            raise ClientLost("the client is gone")

    def hold(self, start: ResponseStart) -> None:
        """Hold a head back until the first piece of the body, to leave with it."""
        self._start = start
        self.state = BODY

    def answer(self, start: ResponseStart, body: bytes) -> None:
        """Send a whole response, where nothing has begun and somebody is there."""
        # Hot: runs once per request of most WSGI apps; ``is_due``, ``hold`` and
        # ``write`` by hand.
        if self.is_over or self._is_lost or self._is_told or not self._r.is_alive:
            return
        self._start = start
        self.state = BODY
        if not self._send_plain(body):
            self._write(body, is_last=True)

    async def _pass(self, gate: WriteGate) -> None:
        """Sleep while the transport holds too much."""
        try:
            await gate.passed()
        except BlazeioError as error:
            if not self.is_over:
                raise ClientLost("the client is gone") from error

    def write(self, body: bytes, *, is_last: bool) -> None:
        """Write a piece of the body to the transport, after the head if it is held."""
        if not (self._send_plain(body) if is_last else self._begin_plain(body)):
            self._write(body, is_last=is_last)

    def _write(self, body: bytes, *, is_last: bool) -> None:
        """Write a piece of the body by the rules that hold for all."""
        start = self._start
        waits = is_last and self._trailers is not None  # for the trailers
        if start is None:
            self._r.response.send(body, is_last=is_last and not waits)
        else:
            waits = is_last and start.has_trailers
            self._begin(start, body, is_last=is_last and not waits)
        if waits:
            self.state = TRAILERS
            self._chunks = None
        elif is_last:
            self._end()

    def _send_plain(self, body: bytes) -> bool:
        """Send all in one write, where nothing of head and body is unusual."""
        # Hot: runs once per request; ``_is_usual`` and ``_end`` by hand.
        start = self._start
        if start is None:
            return False
        fields, r = start.fields, self._r
        length = fields.content_length
        if (
            (length is None or length == len(body))
            and fields.is_usual
            and not start.has_trailers
            and self._content.is_whole
            and not r.context.heads.fields
            and r.response.send_lines(body, start.status, fields.lines)
        ):
            self.state = OVER
            self.has_begun = self.is_over = True
            if self._waiters is not None:
                self._wake()
            self._gateway.note_answered(self)
            return True
        return False

    def _begin_plain(self, body: bytes) -> bool:
        """Send head and first chunk in one write, where nothing of them is unusual."""
        start = self._start
        if start is None or not body or not self._is_usual(start):
            return False
        fields = start.fields
        if fields.content_length is not None:
            return False
        answer = self._r.response
        chunks = answer.begin_chunks(body, start.status, fields.lines)
        if chunks is None:
            return False
        self._keep_chunks(chunks)
        self._start = None
        self.has_begun = True
        return True

    def _keep_chunks(self, message: OutgoingMessage) -> None:
        self._chunks = ChunkWriter(self._r, message, self._gateway.apart)

    def _end_chunks(self, chunks: ChunkWriter, body: bytes) -> None:
        """Send the last piece of a stream, and its end."""
        if self._trailers is None:
            chunks.end(body)
            self._end()
        else:
            chunks.flush()
            self._write(body, is_last=True)

    def _is_usual(self, start: ResponseStart) -> bool:
        """Whether the head needs none of the rules for unusual ones."""
        return (
            start.fields.is_usual
            and not start.has_trailers
            and self._content.is_whole
            and not self._r.context.heads.fields  # one may have to give way
        )

    def _begin(self, start: ResponseStart, body: bytes, *, is_last: bool) -> None:
        """Send the head and the first piece, by the rules for unusual answers."""
        r = self._r
        answer = r.response
        r.carrier.note_early_response()
        block = start.fields.to_block(needs_names=answer.says_more)
        message = answer.begin_block(block, start.status)
        is_silent = r.method == "HEAD" and start.status not in _NO_CONTENT_LENGTH
        if is_silent and is_last and body and message.content_length is None:
            message.content_length = len(body)  # what a GET would be told
        try:
            if body or is_last:
                answer.send(body, is_last=is_last)
            answer.flush_head(message)
        finally:
            if not message.is_begun:
                # The declared length was not kept, and nothing has left: the 500 can
                # still be sent.
                answer.take_back()
        self._start = None
        self._trailers = b"" if start.has_trailers else None
        if message.is_chunked:
            self._keep_chunks(message)
        self.has_begun = True

    def _end(self) -> None:
        """The last octet was given to the transport."""
        self.state = OVER
        self._chunks = None
        self.has_begun = self.is_over = True
        if self._waiters is not None:
            self._wake()
        self._gateway.note_answered(self)

    # Extensions

    async def _send_other(self, kind: str, message: Message) -> None:
        """Take a message of an extension."""
        if self._chunks is not None:
            self._chunks.flush()
        if kind == "http.response.early_hint":
            lines = write_early_hint(message)
            self._r.carrier.send_interim(103, lines)
        elif kind == "http.response.trailers":
            lines = read_trailers(message)
            self._send_trailers(lines, is_last=not message.get("more_trailers"))
        elif kind == "http.response.pathsend":
            await self._send_path(read_path(message))
        else:
            part = read_file_part(message)
            await self._send_file_part(part, is_last=not message.get("more_body"))

    def _send_trailers(self, lines: bytes, *, is_last: bool) -> None:
        self._trailers = (self._trailers or b"") + lines
        if is_last:
            wants = takes_trailers(self._r)
            self._r.response.end_with_trailers(self._trailers if wants else b"")
            self._end()

    async def _send_path(self, path: str) -> None:
        # In a thread: to open a file on a network file system may take as long as the
        # network does.
        file = await asyncio.to_thread(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            await self._send_file_part(FilePart(file, 0, None), is_last=True)
        finally:
            os.close(file)

    async def _send_file_part(self, part: FilePart, *, is_last: bool) -> None:
        """Send a part of a file; by sendfile(2) where the framing leaves it whole."""
        first, size = _find_part(part)
        if self._start is not None:
            self._begin(self._start, b"", is_last=False)
        r = self._r
        message = r.response.message
        assert message is not None  # the head was sent
        if message.has_content and size:
            message.check(size)
            try:
                is_whole = await self._copy(part.file, first, size)
            except ClientDisconnected as error:
                raise ClientLost("the client is gone") from error
            if not is_whole:
                reason = "zerocopysend: the file ends before the count of octets"
                raise LocalProtocolError(reason)
        if part.offset is None:
            # sendfile(2) with an offset leaves the position of the file as it is;
            # without an offset in the message, the next one goes on behind this part.
            os.lseek(part.file, first + size, os.SEEK_SET)
        if is_last:
            self.write(b"", is_last=True)

    async def _copy(self, file: int, first: int, size: int) -> bool:
        """Send octets of a file; False where it ends before."""
        r = self._r
        message = r.response.message
        if message is not None and not message.takes_chunks:
            return await send_file(r, file, first, size, FILE_CHUNK_BYTES)
        end = first + size
        while first < end:
            step = min(FILE_CHUNK_BYTES, end - first)
            octets = await read_pages(file, first, step)
            if not octets:
                return False
            first += len(octets)
            await r.write(octets)
        return True

    # The end of the app

    @property
    def is_due(self) -> bool:
        """Something of the response is still to come, and somebody is there for it."""
        # An app that was told of the disconnect, and then begins no response, has made
        # no mistake.
        is_lost = self._is_lost or (self._is_told and not self.has_begun)
        return not self.is_over and not is_lost and self._r.is_alive

    def has_ended_well(self) -> bool:
        """The app has returned; whether its response was complete by then."""
        # Hot: runs once per request.
        self.has_returned = True
        return self.is_over and self.end_background is None

    def finish(self) -> None:
        """The app has ended: answer in its place, where it has not."""
        self.has_returned = True
        if self.is_due:
            self._answer_instead()
        elif not self.is_over and self._r.is_alive:
            self._r.carrier.abort()  # the client has gone, and the app knows it

    def _answer_instead(
        self, text: str = "Internal Server Error", status: int = 500
    ) -> None:
        """Answer in the place of the app, or cut what it has begun."""
        r = self._r
        if self.has_begun:
            if self._chunks is not None:
                self._chunks.flush()
            # The head has left, so no status can say any more that it has failed. A
            # response that is cut is seen to be incomplete (RFC 9112 section 8).
            r.carrier.abort()
        elif status == 500:
            r.reply(text.encode(), status)
        else:
            headers = {"Connection": "close"}
            r.reply(text.encode(errors="replace"), status, headers=headers)
        self.is_over = True
        self.state = OVER
        self._chunks = None
        self._wake()
        self._gateway.note_answered(self)

    def detach(self) -> None:
        """The response is complete and the app runs on: let the connection go on."""
        if not self.has_returned:
            self.end_background = self._r.detach()


def takes_trailers(r: GatewayProtocol) -> bool:
    """Tell whether the client wants trailers (RFC 9110 section 10.1.4)."""
    codings = r.headers.get("te", "").split(",")
    return r.response.minor > 0 and "trailers" in [
        each.partition(";")[0].strip().lower() for each in codings
    ]


def _find_part(part: FilePart) -> tuple[int, int]:
    """The offset of the first octet of a part, and its size.

    Raises:
        LocalProtocolError: It is no regular file.
    """
    status = os.fstat(part.file)
    # A pipe or a device has no size, which the framing needs, and no position.
    if not stat.S_ISREG(status.st_mode):
        raise LocalProtocolError("a file that is sent has to be a regular file")
    first = part.offset
    if first is None:
        first = os.lseek(part.file, 0, os.SEEK_CUR)
    rest = max(status.st_size - first, 0)
    return first, rest if part.count is None else min(part.count, rest)
