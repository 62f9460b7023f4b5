"""Requests of a client over connections that are kept, for ``instructions``.

The other end of each connection is in the same process: it reads a request as soon as
one has come, and answers always the same. That costs the same whoever asks, and
``BareRequests`` ask by a protocol that does nothing but wait for the octets. So the
two together tell what the client itself costs.
"""

import asyncio
import os
import select
import socket
from typing import Any, cast

import blazeio as io

CONNECTIONS = 4
"""So few that a turn is over while a connection is still trusted, under valgrind, too;
else the kernel is asked about some of them, and the count depends on the machine."""
READ_BYTES = 64 * 1024
REPLY = (
    b"HTTP/1.1 200 OK\r\n"
    b"Server: nginx\r\n"
    b"Date: Mon, 30 Nov 2026 17:00:00 GMT\r\n"
    b"Content-Type: text/plain\r\n"
    b"Content-Length: 13\r\n"
    b"Connection: keep-alive\r\n"
    b"\r\n"
    b"Hello, World!"
)


class SessionRequests:
    """GETs of a session."""

    def __init__(self) -> None:
        self._session: io.Session[io.Session[Any]] | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._poll = select.poll()
        self._poll.register(self._listener, select.POLLIN)
        self._accepted: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]

    async def ask(self, turns: int) -> int:
        """Have each connection ask in so many turns; how many requests that were."""
        begun = [asyncio.ensure_future(self._ask(turns)) for _ in range(CONNECTIONS)]
        while not all(task.done() for task in begun):
            self._reply()
            await asyncio.sleep(0)
        await asyncio.gather(*begun)
        return turns * CONNECTIONS

    def _reply(self) -> None:
        for fd, _ in self._poll.poll(0):
            if fd == self._listener.fileno():
                accepted, _ = self._listener.accept()
                self._poll.register(accepted, select.POLLIN)
                self._accepted.append(accepted)
            else:
                os.read(fd, READ_BYTES)
                os.write(fd, REPLY)

    async def _ask(self, turns: int) -> None:
        if self._session is None:
            self._session = io.Session()
        session, url = self._session, f"http://127.0.0.1:{self.port}/"
        for _ in range(turns):
            async with session.get(url) as resp:
                await resp.aread()

    async def close(self) -> None:
        """Close both ends."""
        if self._session is not None:
            await self._session.aclose()
        for each in (*self._accepted, self._listener):
            each.close()


class BareRequests(SessionRequests):
    """The same octets, by a protocol that does nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self._idle: list[BareProtocol] = []

    async def _ask(self, turns: int) -> None:
        loop = asyncio.get_running_loop()
        if self._idle:
            bare = self._idle.pop()
        else:
            at = "127.0.0.1", self.port
            _, bare = await loop.create_connection(BareProtocol, *at)
        for _ in range(turns):
            bare.waiter = loop.create_future()
            bare.transport.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await bare.waiter
        self._idle.append(bare)

    async def close(self) -> None:
        """Close both ends."""
        for each in self._idle:
            each.transport.close()
        await super().close()


class BareProtocol(asyncio.Protocol):
    """Tells who waits that octets have come."""

    transport: asyncio.Transport
    waiter: asyncio.Future[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.waiter.set_result(None)
