"""An ``App`` behind another server: a carrier of one request over ASGI.

What the handler writes is put into a queue of messages, which the task that the server
has made sends, one after the other; the gate is closed while too much waits in it. The
content of the request is asked for when the handler waits for it.

A WebSocket speaks frames to its carrier. Here is the other end of these frames: what
the server has of messages becomes the frames of a client, and the other way round.
"""

import asyncio
import base64
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import quote

from websockets.protocol import Side

from blazeio.errors import BlazeioError, ClientDisconnected, RemoteProtocolError
from blazeio.protocol.carrier import ConnectionOrigin
from blazeio.protocol.context import ServerContext
from blazeio.protocol.flow import UNTIL_CLOSE, ContentStream, WriteGate
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.websocket.frames import FrameEndpoint
from blazeio.wire.framing import OutgoingMessage, parse_content_length
from blazeio.wire.headers import Headers
from blazeio.wire.request import RequestHead

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""Largest message of a WebSocket; the server around may accept less."""

_KEY: Final = base64.b64encode(bytes(16)).decode()
"""The server has answered the client's own: this one is for our handshake alone."""
_CONNECTION_FIELDS: Final = ("connection", "transfer-encoding", "upgrade")


class ResponseCut(BlazeioError):  # noqa: N818 - a fact
    """The response cannot be ended: the server around has to cut it as well."""


class CarrierTransport(asyncio.Transport):
    """The facts of the peer, as the scope tells them, and octets after a take-over."""

    def __init__(self, carrier: "AsgiCarrier", scope: Scope) -> None:
        client, server = scope.get("client"), scope.get("server")
        is_secure = scope.get("scheme") in ("https", "wss")
        super().__init__(
            {
                "peername": None if client is None else tuple(client),
                "sockname": None if server is None else tuple(server),
                "ssl_object": scope if is_secure else None,
            }
        )
        self._carrier = carrier

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._carrier.is_over

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send octets of a WebSocket."""
        self._carrier.take_octets(bytes(data))

    def get_write_buffer_size(self) -> int:
        """Return how many octets wait to be sent."""
        return self._carrier.waiting_bytes

    def abort(self) -> None:
        """Cut it."""
        self._carrier.abort()


class MessageFlow:
    """Whether messages of a WebSocket are asked for."""

    def __init__(self) -> None:
        self.is_open = True
        self.opened = asyncio.Event()
        self.opened.set()

    def pause(self) -> None:
        """Ask for no more."""
        self.is_open = False
        self.opened.clear()

    def resume(self) -> None:
        """Ask again."""
        self.is_open = True
        self.opened.set()


class AsgiCarrier:
    """One request, or one WebSocket.

    Args:
        context: Of the App's server on this loop.
        scope: As the server has given it.
        receive: Likewise.
        send: Likewise.
        request_class: The class of ``r``.

    Attributes:
        is_over: Nothing more can be sent.
        waiting_bytes: Octets that wait to be sent.
    """

    frames_content = True
    can_sendfile = False

    def __init__(
        self,
        context: ServerContext,
        scope: Scope,
        receive: Receive,
        send: Send,
        request_class: type[BlazeioServerProtocol] = BlazeioServerProtocol,
    ) -> None:
        self._context = context
        self._scope = scope
        self._receive = receive
        self._send = send
        self.http_version: str = scope.get("http_version", "1.1")
        self.transport: asyncio.Transport = CarrierTransport(self, scope)
        self.gate = WriteGate()
        self.read_control = MessageFlow()
        trust = context.trust
        self.origin = None if trust is None else ConnectionOrigin(trust, None)
        if self.origin is not None:
            self.origin.connect(self.transport)
        self.is_over = False
        self.waiting_bytes = 0
        self._is_cut = False
        self._messages: deque[Message] = deque()
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._client: FrameEndpoint | None = None
        self._feed_octets: Callable[[bytes], None] | None = None
        self._is_denied = scope["type"] == "websocket"
        self.request = request_class(context, self)
        self.request.connection_made(self.transport)

    # In the task of the server

    async def run(self) -> None:
        """Serve it to its end.

        Raises:
            ResponseCut: The handler has failed after its response had begun.
        """
        if self._is_denied:
            await self._receive()  # websocket.connect
            self.request.handler_task.start(self._make_head())
        else:
            await self._start()
        receiving = asyncio.ensure_future(self._receive_all())
        try:
            await self._send_all()
        finally:
            receiving.cancel()
            await asyncio.wait((receiving,))
            await self._leave()
        if self._is_cut:
            raise ResponseCut("the response was cut: see the log of the app")

    async def _start(self) -> None:
        head = self._make_head()
        bound = self._context.app.find_options(head.method, head.path).content_bytes
        if bound is None:
            bound = self._context.limits.content_bytes
        if head.content_length == 0:
            self.request.handler_task.start(head)
            return
        length = UNTIL_CLOSE if head.content_length is None else head.content_length
        content = ContentStream(length=length, bound=bound)
        if head.content_length is None:
            # Whether there is content, only the first message tells.
            first = await self._receive()
            if not (first.get("body") or first.get("more_body")):
                self.request.handler_task.start(head)
                return
            self.request.handler_task.start_with_content(head, content)
            self._take_content(first)
            return
        self.request.handler_task.start_with_content(head, content)

    async def _send_all(self) -> None:
        """Send what the handler has to say, until it is over."""
        while True:
            while self._messages:
                message = self._messages.popleft()
                try:
                    await self._send(message)
                except OSError as error:
                    self._lose(error)
                    return
                self._count(-_measure(message))
            if self.is_over:
                return
            self._changed.clear()
            await self._changed.wait()

    async def _leave(self) -> None:
        """The server's task ends: so does the handler, unless it has answered."""
        task = self.request.handler_task
        if self.request.is_alive:
            self._lose(None)
        if task.task is not None:
            # Once this returns, the server around takes the request as over, and may
            # end the lifespan: no handler may still be running then.
            await asyncio.wait((task.task,))

    async def _receive_all(self) -> None:
        """Ask for content while the handler waits for it; then for the disconnect."""
        content = self.request.content
        while not content.is_whole and content.error is None:
            await self._wanted.wait()
            self._wanted.clear()
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._lose(None)
                return
            self._take_content(message)
        if self._is_denied:
            await self._receive_messages()
            return
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self.is_over:
            self._lose(None)

    def _take_content(self, message: Message) -> None:
        content = self.request.content
        content.feed(bytes(message.get("body", b"")))
        if message.get("more_body"):
            return
        if content.ends_by_close:
            content.end()
        elif not content.is_whole:
            # Servers check this by themselves; a test client that builds messages by
            # hand may not, and the handler would wait for ever.
            content.fail(RemoteProtocolError("the content is shorter than declared"))

    def _lose(self, error: Exception | None) -> None:
        self.is_over = True
        if self.request.is_alive:
            self.request.connection_lost(error)
        self._changed.set()

    # The head

    def _make_head(self) -> RequestHead:
        scope = self._scope
        root_path: str = scope.get("root_path", "")
        path: str = scope["path"]
        if root_path and path.startswith(root_path):
            path = path[len(root_path) :] or "/"
        raw_path = scope.get("raw_path")
        target = quote(path) if raw_path is None else raw_path.decode("latin-1")
        if root_path and raw_path is not None:
            target = target.removeprefix(quote(root_path)) or "/"
        query = scope.get("query_string", b"").decode("latin-1")
        pairs = [
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in scope["headers"]
        ]
        upgrade = None
        if self._is_denied:
            pairs = [*_without_handshake(pairs), *_HANDSHAKE]
            upgrade = "websocket"
        headers = Headers(pairs)
        method = scope.get("method", "GET")
        lengths = headers.get_all("content-length")
        return RequestHead(
            method=method,
            target=f"{target}?{query}" if query else target,
            path=path,
            query=query,
            minor=0 if self.http_version == "1.0" else 1,
            headers=headers,
            host=headers.get("host"),
            content_length=0 if upgrade else parse_content_length(lengths),
            is_chunked=False,
            is_plain=method != "HEAD",
            is_persistent=True,
            expects_continue=False,
            upgrade=upgrade,
            end=0,
            limits=self._context.limits,
        )

    # As the carrier of a request

    def resume_content(self) -> None:
        """The handler waits for content: ask for it."""
        self._wanted.set()

    def note_early_response(self) -> None:
        """The server around sees to what is still due."""

    def send_interim(self, status: int, lines: bytes) -> None:
        """An interim response is the server's business."""

    def send_whole(self, start: bytes, line: bytes, content: bytes) -> None:
        """Send a whole response."""
        length = b"Content-Length: %d\r\n" % len(content)
        self._put_head(b"%b%b%b" % (start, line, length))
        self._put(self._make_body(content, is_last=True))

    def send(
        self,
        message: OutgoingMessage,
        octets: bytes | memoryview,
        *,
        is_last: bool,
        trailers: bytes = b"",
    ) -> None:
        """Send content; the head goes first where it is still held."""
        was_begun = message.is_begun
        framed: bytes | memoryview
        framed = message.end(bytes(octets)) if is_last else message.content(octets)
        if framed and not was_begun:
            head, _, framed = bytes(framed).partition(b"\r\n\r\n")
            self._put_head(head)
        if framed or is_last:
            self._put(self._make_body(bytes(framed), is_last=is_last))

    def send_head(self, message: OutgoingMessage) -> None:
        """Send the head alone."""
        head = message.begin()
        if head:
            self._put_head(head)
            self._put(self._make_body(b"", is_last=False))

    async def sendfile(self, file: int, first: int, size: int) -> bool:
        """Files are read: see ``can_sendfile``."""
        raise NotImplementedError

    def take_over(self, head: bytes, receive: Callable[[bytes], None] | None) -> None:
        """Accept the WebSocket; octets are those of its frames."""
        if not self._is_denied or receive is None:
            raise RemoteProtocolError("the server around speaks no other protocol", 501)
        self._feed_octets = receive
        self._client = FrameEndpoint(Side.CLIENT, message_bytes=MESSAGE_BYTES)
        fields = [pair for pair in _read_fields(head) if pair[0] not in _OF_ACCEPT]
        chosen = [v for n, v in _read_fields(head) if n == _SUBPROTOCOL]
        self._put(
            {
                "type": "websocket.accept",
                "subprotocol": chosen[0].decode() if chosen else None,
                "headers": [pair for pair in fields if pair[0] != _SUBPROTOCOL],
            }
        )

    def request_is_over(self) -> None:
        """The response is complete."""
        self._end()

    def lost_request_is_over(self) -> None:
        """Nothing waits for it here."""

    def close(self) -> None:
        """End the connection: it was the last response, or the WebSocket has ended."""
        self._end()

    def abort(self) -> None:
        """Cut it: the server around does, when we raise."""
        if self.request.is_alive:
            self.request.is_alive = False
            self._is_cut = self._client is None
            self._messages.clear()
            self.is_over = True
            self._changed.set()
            # In a turn of its own, as a transport does it: whoever has called ``abort``
            # is in the middle of something that ``connection_lost`` would change.
            self._context.loop.call_soon(self.request.connection_lost, None)

    def _end(self) -> None:
        self.is_over = True
        self._changed.set()

    # What is sent

    def _put_head(self, head: bytes) -> None:
        start, _, _ = head.partition(b"\r\n")
        kind = "http.response.start"
        if self._is_denied:
            kind = f"websocket.{kind}"
        self._put(
            {
                "type": kind,
                "status": int(start.split(b" ")[1]),
                "headers": _read_fields(head),
            }
        )

    def _make_body(self, content: bytes, *, is_last: bool) -> Message:
        kind = "http.response.body"
        if self._is_denied:
            kind = f"websocket.{kind}"
        return {"type": kind, "body": content, "more_body": not is_last}

    def _put(self, message: Message) -> None:
        if self._is_denied and "http" in message["type"]:
            # Without the extension, a handshake can only be refused by a close before
            # the accept; the server makes it a 403, whatever our status was (ASGI,
            # "websocket.close").
            extensions = self._scope.get("extensions") or {}
            if "websocket.http.response" not in extensions:
                if message["type"].endswith("start"):
                    self._messages.append({"type": "websocket.close", "code": 1008})
                    self._changed.set()
                return
        self._messages.append(message)
        self._count(_measure(message))
        self._changed.set()

    def _count(self, size: int) -> None:
        # Only the crossing of the bound is told. A transport would tell the same, by
        # ``pause_writing`` and ``resume_writing``.
        before = self.waiting_bytes
        self.waiting_bytes += size
        most = self._context.limits.high_water_bytes
        if before <= most < self.waiting_bytes:
            self.request.pause_writing()
        elif self.waiting_bytes <= most < before:
            self.request.resume_writing()

    # A WebSocket

    def take_octets(self, octets: bytes) -> None:
        """Read the frames that our end has written, as their client."""
        client = self._client
        if client is None:
            return
        message = client.receive(octets)
        messages = [] if message is None else [message]
        while client.has_unread:
            messages += client.read_on()
        for each in messages:
            kind = "text" if isinstance(each, str) else "bytes"
            self._put({"type": "websocket.send", kind: each})
        self._answer_frames()
        if client.is_over:
            code = client.close_code
            self._put(
                {
                    "type": "websocket.close",
                    # 1005 and 1006 say that there was no code, and must not be sent
                    # (RFC 6455 section 7.4.1).
                    "code": 1000 if code in (None, 1005, 1006) else code,
                    "reason": client.close_reason or "",
                }
            )
            self._client = None

    def _answer_frames(self) -> None:
        """Pass what the client answers to our end: pongs, the agreement to a close."""
        client, feed = self._client, self._feed_octets
        answers = b"" if client is None else client.take_octets()
        if answers and feed is not None:
            # Not at once: our end is in the middle of writing here, and must not
            # receive within that.
            self._context.loop.call_soon(feed, answers)

    async def _receive_messages(self) -> None:
        while True:
            # Not to ask for the next message is the only brake that ASGI has: the
            # server stops reading from its client in turn.
            await self.read_control.opened.wait()
            message = await self._receive()
            client, feed = self._client, self._feed_octets
            if message["type"] == "websocket.disconnect":
                self._end_by_client(message)
                return
            if client is not None and client.is_open and feed is not None:
                data = message.get("text")
                feed(client.serialize(message["bytes"] if data is None else data))

    def _end_by_client(self, message: Message) -> None:
        client, feed = self._client, self._feed_octets
        code = message.get("code") or 1005
        is_said = code not in (1005, 1006)
        if client is not None and client.is_open and feed is not None and is_said:
            client.close(code, message.get("reason") or "")
            feed(client.take_octets())
        self._lose(ClientDisconnected("the client went away"))


_SUBPROTOCOL: Final = b"sec-websocket-protocol"
_OF_ACCEPT: Final = (b"sec-websocket-accept", b"sec-websocket-extensions")
_HANDSHAKE: Final = (
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", _KEY),
)


def _without_handshake(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Leave out what the server around has dealt with."""
    names = {name for name, _ in _HANDSHAKE} | {"sec-websocket-extensions"}
    return [pair for pair in pairs if pair[0] not in names]


def _read_fields(head: bytes) -> list[tuple[bytes, bytes]]:
    """Read the field lines of a head back, without those of the connection."""
    fields = []
    for line in head.rstrip(b"\r\n").split(b"\r\n")[1:]:
        name, _, value = line.partition(b": ")
        if name.decode("ascii").lower() not in _CONNECTION_FIELDS:
            fields.append((name.lower(), value))
    return fields


def _measure(message: Message) -> int:
    data = message.get("body") or message.get("bytes") or message.get("text") or b""
    return len(data)
