"""A carrier without HTTP/1 and without a socket: what comes and goes stays in memory.

It shows what a carrier has to have; see ``blazeio.protocol.carrier``. Its responses are
values: heads are read back from the lines that they are written as.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from blazeio.protocol.carrier import ConnectionOrigin
from blazeio.protocol.context import ServerContext
from blazeio.protocol.flow import ContentStream, WriteGate
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.wire.framing import OutgoingMessage
from blazeio.wire.headers import Headers
from blazeio.wire.request import RequestHead

HIGH_WATER_BYTES = 64 * 1024


class MemoryReply:
    """One response, as far as it has come."""

    def __init__(self) -> None:
        self.status = 0
        self.fields: list[tuple[str, str]] = []
        self.content = b""
        self.trailers = b""
        self.is_ended = False

    def field(self, name: str) -> str | None:
        """The first field of this name."""
        return next((v for n, v in self.fields if n.lower() == name), None)

    def take_head(self, octets: bytes) -> None:
        """Read the lines of a head; those of one connection are no part of it."""
        start, *lines = octets.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.status = int(start.split(" ")[1])
        pairs = [line.partition(": ") for line in lines]
        self.fields = [
            (name, value) for name, _, value in pairs if name != "Connection"
        ]


class MemoryTransport(asyncio.Transport):
    """What ``r`` asks of a transport."""

    def __init__(self, carrier: "MemoryCarrier") -> None:
        super().__init__({"peername": ("192.0.2.7", 4711)})
        self._carrier = carrier
        self.has_ended = False

    def is_closing(self) -> bool:
        return self.has_ended

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._carrier.put(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self._carrier.waiting_bytes

    def abort(self) -> None:
        self._carrier.abort()


class MemoryReading:
    """Whether octets come, after ``take_over``."""

    is_open = True

    def pause(self) -> None:
        self.is_open = False

    def resume(self) -> None:
        self.is_open = True


class MemoryCarrier:
    """Requests one after the other, by calls.

    Attributes:
        replies: The responses, the last one perhaps under way.
        waiting_bytes: What the peer has not read; only while ``is_stalled``.
        asked: How often the handler has waited for content.
        is_over: Nothing more comes or goes: ``closed`` or ``aborted``; "" before.
    """

    frames_content = True
    can_sendfile = False
    http_version = "2"

    def __init__(
        self,
        context: ServerContext,
        request_class: type[BlazeioServerProtocol] = BlazeioServerProtocol,
    ) -> None:
        self.transport: asyncio.Transport
        self.transport = self._transport = MemoryTransport(self)
        self.gate = WriteGate()
        self.read_control = MemoryReading()
        trust = context.trust
        self.origin = None if trust is None else ConnectionOrigin(trust, None)
        if self.origin is not None:
            self.origin.connect(self.transport)
        self.replies: list[MemoryReply] = []
        self.waiting_bytes = 0
        self.is_stalled = False
        self.asked = 0
        self.is_over = ""
        self.receive: Callable[[bytes], None] | None = None
        self._loop = context.loop
        self.request = request_class(context, self)
        self.request.connection_made(self.transport)

    # What the peer does

    def ask(
        self,
        method: str,
        target: str,
        *fields: tuple[str, str],
        content: ContentStream | None = None,
        **changes: Any,
    ) -> MemoryReply:
        """Send a request; the response, which comes later."""
        path, _, query = target.partition("?")
        head = RequestHead(
            **{
                "method": method,
                "target": target,
                "path": path,
                "query": query,
                "minor": 1,
                "headers": Headers([(name.lower(), value) for name, value in fields]),
                "host": "a",
                "content_length": None,
                "is_chunked": False,
                "is_plain": method != "HEAD",
                "is_persistent": True,
                "expects_continue": False,
                "upgrade": None,
                "end": 0,
                "limits": self.request.context.limits,
                **changes,
            }
        )
        self.replies.append(MemoryReply())
        if content is None:
            self.request.handler_task.start(head)
        else:
            self.request.handler_task.start_with_content(head, content)
        return self.replies[-1]

    def read_all(self) -> None:
        """The peer reads what waits, and all that comes."""
        self.is_stalled = False
        self.waiting_bytes = 0
        self.request.resume_writing()

    def leave(self) -> None:
        """The peer goes away."""
        self._transport.has_ended = True
        self.request.connection_lost(ConnectionResetError())

    # As the carrier of the request

    def put(self, octets: bytes | memoryview) -> None:
        """Octets of content, on their way to the peer."""
        self.replies[-1].content += octets
        if self.is_stalled:
            self.waiting_bytes += len(octets)
            if self.waiting_bytes > HIGH_WATER_BYTES:
                self.request.pause_writing()

    def resume_content(self) -> None:
        self.asked += 1

    def note_early_response(self) -> None:
        """The content that is due is not an obstacle to the next request here."""

    def send_interim(self, status: int, lines: bytes) -> None:
        """It has no place for one."""

    def send_whole(self, start: bytes, line: bytes, content: bytes) -> None:
        reply = self.replies[-1]
        reply.take_head(b"%b%bContent-Length: %d\r\n" % (start, line, len(content)))
        self.put(content)
        reply.is_ended = True

    def send(
        self, message: OutgoingMessage, octets: bytes | memoryview, *, is_last: bool
    ) -> None:
        reply = self.replies[-1]
        was_begun = message.is_begun
        framed: bytes | memoryview
        framed = message.end(bytes(octets)) if is_last else message.content(octets)
        if framed and not was_begun:
            head, _, framed = bytes(framed).partition(b"\r\n\r\n")
            reply.take_head(head)
        self.put(framed)
        if is_last:
            reply.trailers = message.trailers
            reply.is_ended = True

    def send_head(self, message: OutgoingMessage) -> None:
        self.replies[-1].take_head(message.begin())

    async def sendfile(self, file: int, first: int, size: int) -> bool:
        raise AssertionError("it was said that files are to be read")

    def take_over(self, head: bytes, receive: Callable[[bytes], None] | None) -> None:
        self.replies[-1].take_head(head)
        self.receive = self._feed if receive is None else receive

    def _feed(self, octets: bytes) -> None:
        self.request.content.feed(octets)

    def lost_request_is_over(self) -> None:
        """Nothing waits for it."""

    def request_is_over(self) -> None:
        self.request.handler_task.forget()

    def close(self) -> None:
        self._end("closed")

    def abort(self) -> None:
        if self.request.is_alive:
            self.request.is_alive = False
            self._end("aborted")

    def _end(self, how: str) -> None:
        if not self.is_over:
            self.is_over = how
            self._transport.has_ended = True
            # As transports do: in the next turn of the loop, not within the call.
            self._loop.call_soon(self.request.connection_lost, None)
