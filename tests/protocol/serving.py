"""A server under test: `Wire` on a fake transport, `Served` on real sockets.

Both fail the test when, after all clients have gone, a request is still
counted, a connection kept, or a handler running.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

import pytest
import uvloop

from blazeio.limits import Limits
from blazeio.protocol.context import Handler, ServerContext
from blazeio.protocol.http1 import Http1Connection
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.server.acceptor import bind
from blazeio.server.server import Server
from tests.support.clock import wait_until
from tests.support.peer import RawPeer, open_socket
from tests.support.response import Response, parse_response, parse_responses
from tests.support.transport import FakeTransport

R = BlazeioServerProtocol
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def loop_factories(item: pytest.Item) -> Mapping[str, LoopFactory]:
    """Tests with real sockets run on both loops, the others on one."""
    plain = {"asyncio": asyncio.new_event_loop}
    if "serve" in getattr(item, "fixturenames", ()):
        return {**plain, "uvloop": uvloop.new_event_loop}
    return plain


def post(content: bytes, *fields: str, path: str = "/") -> bytes:
    """A POST whose content has a declared length."""
    return request("POST", path, f"Content-Length: {len(content)}", *fields) + content


def request(method: str, path: str = "/", *fields: str, version: str = "1.1") -> bytes:
    """The head of a request."""
    lines = [f"{method} {path} HTTP/{version}", "Host: a", *fields, "", ""]
    return "\r\n".join(lines).encode()


def chunks(*pieces: bytes) -> bytes:
    """Content in chunks, with the last one."""
    framed = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return b"".join([*framed, b"0\r\n\r\n"])


class Wire:
    """One connection without a socket.

    Attributes:
        connection: The protocol under test.
        r: The request on it.
        peer: The fake transport: what the client does, and what it received.
        context: Of the protocol.
    """

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        raw_handler: Handler | None = None,
        peername: object = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.context = ServerContext(handler, limits, loop, raw_handler)
        # a paused protocol asks the kernel about its socket: give it one
        self._socket, self.other_end = socket.socketpair()
        self.connection = Http1Connection(self.context)
        self.r = self.connection.request
        self.peer = FakeTransport(
            self.connection, peername=peername, extra={"socket": self._socket}
        )

    @property
    def written(self) -> bytes:
        """All that the client has received."""
        return bytes(self.peer.written)

    def responses(self, *, is_ended: bool = False) -> list[Response]:
        """All responses that the client has received; no octet is left over."""
        return parse_responses(self.written, is_ended=is_ended)

    async def answered(self, count: int = 1) -> list[Response]:
        """Wait for that many responses."""
        for _ in range(20):  # the usual case, without a timer
            if _count(self.written) < count:
                await asyncio.sleep(0)
        await wait_until(lambda: _count(self.written) >= count)
        return self.responses()

    async def ask(self, octets: bytes) -> Response:
        """Send one request; the response to it."""
        self.peer.take_written()
        self.peer.feed(octets)
        return (await self.answered())[0]

    async def end(self) -> None:
        """The client resets; then nothing may be left."""
        self.peer.lose(ConnectionResetError())
        try:
            await wait_until(lambda: not self.context.in_flight)
            assert not self.context.connections
            assert not self.context.detached
        finally:
            self.context.close()
            self._socket.close()
            self.other_end.close()


def _count(octets: bytes) -> int:
    count = 0
    while (response := parse_response(octets)) is not None:
        octets = octets[len(response.octets) :]
        count += 1
    return count


def bind_unix(path: str) -> socket.socket:
    """A listening unix socket."""
    sock = open_socket(path)
    sock.setblocking(False)
    sock.bind(path)
    sock.listen()
    return sock


class Served:
    """A server with an acceptor on 127.0.0.1, or on a unix path.

    Attributes:
        server: Under test.
        address: Where it listens.
        peers: The clients that ``connect`` made; closed at the end.
    """

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self.server = server
        self.sock = sock
        name = sock.getsockname()
        self.address: tuple[str, int] = (name, 0) if isinstance(name, str) else name
        self.peers: list[RawPeer] = []

    @classmethod
    def start(
        cls, handler: Handler, limits: Limits, path: str = "", **more: Any
    ) -> Self:
        """Serve on the running loop."""
        sock = bind_unix(path) if path else bind("127.0.0.1", 0)
        server = Server(handler, limits, asyncio.get_running_loop(), **more)
        server.accept_from(sock)
        return cls(server, sock)

    @property
    def connections(self) -> list[Http1Connection]:
        """The open ones."""
        found = list(self.server.context.connections)
        return [each for each in found if isinstance(each, Http1Connection)]

    @property
    def requests(self) -> list[R]:
        """Those of the open connections."""
        return [each.request for each in self.connections]

    async def connect(self, *, receive_buffer_bytes: int = 0) -> RawPeer:
        """A client."""
        peer = await RawPeer.connect(
            *self.address, receive_buffer_bytes=receive_buffer_bytes
        )
        self.peers.append(peer)
        return peer

    async def exchange(self, octets: bytes, *, method: str = "GET") -> Response:
        """One request on a connection of its own."""
        peer = await self.connect()
        await peer.send(octets)
        return await peer.read_response(method=method)

    async def end(self) -> None:
        """All clients reset; then nothing may be left."""
        for peer in self.peers:
            with contextlib.suppress(OSError):  # closed by the test
                peer.reset()
        server = self.server
        server.stop_accepting()
        try:
            await wait_until(lambda: not server.connection_count, 3, "all gone")
            await wait_until(lambda: not server.in_flight, 3, "no handler runs")
            assert not server.context.detached
        finally:
            server.close()
            self.sock.close()
            await wait_until(lambda: not server.connection_count)


class CallLog:
    """What handlers went through, in order.

    Attributes:
        entries: Their notes.
    """

    def __init__(self) -> None:
        self.entries: list[Any] = []

    def note(self, entry: Any) -> None:
        """Write it down."""
        self.entries.append(entry)

    async def has(self, *entries: Any) -> None:
        """Wait until exactly these notes are there."""
        try:
            await wait_until(lambda: self.entries == list(entries))
        except AssertionError:
            assert self.entries == list(entries)

    def watching(self, handler: Handler) -> Handler:
        """The handler, with notes of its begin and of how it ended."""

        async def watched(r: R) -> None:
            self.note("begin")
            try:
                await handler(r)
            except BaseException as error:
                self.note(type(error).__name__)
                raise
            self.note("end")

        return watched


async def hello(r: R) -> None:
    """The shortest handler."""
    r.reply(b"hello")


async def echo(r: R) -> None:
    """Gives the content back."""
    r.reply(await r.read())


async def forever(r: R) -> None:
    """Never answers."""
    await asyncio.get_running_loop().create_future()


async def stream_forever(r: R) -> None:
    """Answers without end."""
    await r.prepare()
    while True:
        await r.write(b"x" * 10_000)
        await asyncio.sleep(0)


Serve = Callable[..., Served]
Connect = Callable[..., Wire]
Ending = Callable[[], Awaitable[None]]
