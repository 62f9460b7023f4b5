"""`RawServer`: a server that sends exact octets, for tests of clients.

``async with RawServer(b"HTTP/1.1 200 OK\\r\\n...") as server: ... server.url``

It repairs nothing. What it does on each connection is a script: octets that
answer every request, or a coroutine function that is given the connection.
"""

import asyncio
import contextlib
import os
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from tests.support.clock import within
from tests.support.peer import READ_BYTES, TIMEOUT_S, reset_on_close

LAST_CHUNK = b"\r\n0\r\n\r\n"
LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)", re.IGNORECASE)


class Visitor:
    """One connection, as the server sees it.

    Attributes:
        number: 0 for the first connection of the server.
        octets: Received and not yet taken by a read.
    """

    def __init__(
        self,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        requests: list[bytes],
    ) -> None:
        self.number = number
        self.octets = b""
        self._reader = reader
        self._writer = writer
        self._requests = requests

    async def read_request(self) -> bytes | None:
        """The next request, with its content; None when the client has ended."""
        while not (size := _size_of_request(self.octets)):
            more = await self._reader.read(READ_BYTES)
            if not more:
                return None
            self.octets += more
        request, self.octets = self.octets[:size], self.octets[size:]
        self._requests.append(request)
        return request

    async def read_head(self) -> bytes:
        """The head of the next request; what follows it stays."""
        while b"\r\n\r\n" not in self.octets:
            self.octets += await self._read()
        head, end, self.octets = self.octets.partition(b"\r\n\r\n")
        return head + end

    async def read_some(self) -> bytes:
        """What has arrived, or arrives next; empty at the client's FIN."""
        octets, self.octets = self.octets, b""
        return octets or await self._reader.read(READ_BYTES)

    async def _read(self) -> bytes:
        octets = await self._reader.read(READ_BYTES)
        if not octets:
            raise ConnectionAbortedError("the client has ended")
        return octets

    async def read_up_to(self, end: bytes) -> bytes:
        """What comes up to, and with, these octets."""
        octets = self.octets + await self._reader.readuntil(end)
        self.octets = b""
        return octets

    async def read_until_end(self) -> bytes:
        """All octets up to the client's FIN."""
        octets = self.octets + await self._reader.read()
        self.octets = b""
        return octets

    async def send(self, octets: bytes) -> None:
        """Send all of ``octets``; waits while the client does not read."""
        self._writer.write(octets)
        await self._writer.drain()

    def send_now(self, octets: bytes) -> None:
        """Send a few octets before this returns; the loop has not turned since."""
        sock = self._writer.get_extra_info("socket")
        assert os.write(sock.fileno(), octets) == len(octets)

    async def half_close(self) -> None:
        """Send FIN; requests can still be read."""
        self._writer.write_eof()

    def cut_off(self) -> None:
        """Send FIN beneath TLS: no closure alert comes before it."""
        sock = self._writer.get_extra_info("socket")
        with socket.socket(fileno=os.dup(sock.fileno())) as beneath:
            beneath.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Send FIN, after what was sent; may be repeated."""
        self._writer.close()

    async def wait_closed(self) -> None:
        """Wait until the socket is closed, after ``close`` or ``reset``."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self._writer.wait_closed()

    def reset(self) -> None:
        """Send RST."""
        reset_on_close(self._writer.get_extra_info("socket"))
        self._writer.transport.abort()


def _size_of_request(octets: bytes) -> int:
    """Of the request at the start, as a client of ours frames it; 0: not whole."""
    head, separator, content = octets.partition(b"\r\n\r\n")
    if not separator:
        return 0
    start = len(head) + len(separator)
    if b"\r\nTransfer-Encoding: chunked" in head:
        end = (b"\r\n" + content).find(LAST_CHUNK)
        return 0 if end < 0 else start + end + len(LAST_CHUNK) - 2
    length = LENGTH.search(head)
    size = start + (int(length[1]) if length else 0)
    return size if size <= len(octets) else 0


Script = Callable[[Visitor], Awaitable[None]]


class RawServer:
    """On 127.0.0.1, or a unix socket, until the block ends.

    Args:
        script: Is run for each connection, which is closed when it returns; or
            octets that answer each request.
        tls: Its side of TLS.
        name: The host that ``url`` names.
        path: Of a unix socket, instead of a port.

    Attributes:
        requests: All that were read by ``read_request``, in order.
        connections: How many there were.
    """

    def __init__(
        self,
        script: Script | bytes,
        tls: ssl.SSLContext | None = None,
        name: str = "127.0.0.1",
        path: str | None = None,
    ) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._script = _answer_each(script) if isinstance(script, bytes) else script
        self._tls = tls
        self._name = name
        self._path = path
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Without a path: ``http://127.0.0.1:12345``."""
        return f"{'https' if self._tls else 'http'}://{self._name}:{self.port}"

    async def __aenter__(self) -> Self:
        if self._path is not None:
            self._server = await asyncio.start_unix_server(
                self._visit, self._path, ssl=self._tls
            )
            return self
        self._server = await asyncio.start_server(
            self._visit, "127.0.0.1", 0, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await within(asyncio.gather(*self._tasks, return_exceptions=True), TIMEOUT_S)

    async def _visit(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        visitor = Visitor(self.connections, reader, writer, self.requests)
        self.connections += 1
        try:
            await self._script(visitor)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client is gone, or the test is over
        finally:
            writer.close()
            with contextlib.suppress(
                ConnectionError, ssl.SSLError, asyncio.CancelledError
            ):
                await writer.wait_closed()


def _answer_each(octets: bytes) -> Script:
    async def answer(visitor: Visitor) -> None:
        while await visitor.read_request() is not None:
            await visitor.send(octets)

    return answer
