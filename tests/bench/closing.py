"""What becomes of requests to a server that closes its connections.

    python -m tests.bench.client --suite closing

300 requests queue on pools of 1, 10 and 100 connections, by this client, by aiohttp's
and by httpx's. The server, in a process of its own, promises to keep each connection
and closes it all the same. What counts is how many requests fail: of GETs, which may be
repeated, none should, also where the half of a response has come; a POST on its way
when the connection closes may have been done, so that nobody repeats it. The last line
is of POSTs after all idle connections of the pool were closed.
"""

import asyncio
import collections
import contextlib
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

import uvloop

REQUESTS = 300
POOLS = (1, 10, 100)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HOWS = ("after each", "1 ms later", "before each", "half way", "idle ones")
WIDTH = 40
IDLE_S = 0.3
"""How long a connection of "idle ones" waits for its next request."""


# The server


async def serve(how: str) -> None:
    """Serve on a free port, which is printed."""

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            await answer(how, reader, writer)
        writer.close()

    server = await asyncio.start_server(visit, "127.0.0.1", 0, backlog=REQUESTS)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def answer(
    how: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Do with one connection what is to be tried."""
    await read_request(reader)
    writer.write(OK)
    if how == "1 ms later":
        await asyncio.sleep(0.001)
    elif how == "before each":
        await read_request(reader)
    elif how == "half way":
        await read_request(reader)
        writer.write(OK[:-1])
    elif how == "idle ones":
        while True:
            async with asyncio.timeout(IDLE_S):
                await read_request(reader)
            writer.write(OK)


async def read_request(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if b"ength: 1\r\n" in head:
        await reader.readexactly(1)


# The clients: each asks once, and raises what its own error is

Ask = Callable[[], Awaitable[None]]
Client = contextlib.AbstractAsyncContextManager[Ask]


@contextlib.asynccontextmanager
async def by_blazeio(url: str, method: str, connections: int):  # type: ignore[no-untyped-def]
    import blazeio as io

    options = {"body": b"x"} if method == "POST" else {}
    async with io.Session(pool=io.PoolLimits(connections=connections)) as session:

        async def ask() -> None:
            async with session.request(method, url, **options) as resp:  # type: ignore[arg-type]
                assert await resp.aread() == b"ok"

        yield ask


@contextlib.asynccontextmanager
async def by_aiohttp(url: str, method: str, connections: int):  # type: ignore[no-untyped-def]
    import aiohttp

    data = b"x" if method == "POST" else None
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask() -> None:
            async with session.request(method, url, data=data) as resp:
                assert await resp.read() == b"ok"

        yield ask


@contextlib.asynccontextmanager
async def by_httpx(url: str, method: str, connections: int):  # type: ignore[no-untyped-def]
    import httpx

    content = b"x" if method == "POST" else None
    limits = httpx.Limits(max_connections=connections)
    async with httpx.AsyncClient(limits=limits, timeout=60.0) as client:

        async def ask() -> None:
            response = await client.request(method, url, content=content)
            assert response.content == b"ok"

        yield ask


CLIENTS: dict[str, Callable[[str, str, int], Client]] = {
    "blazeio": by_blazeio,
    "aiohttp": by_aiohttp,
    "httpx": by_httpx,
}


async def try_client(
    name: str, url: str, method: str, connections: int, *, goes_idle: bool
) -> tuple[int, float, str]:
    """Return how many have failed, seconds, and by which error most of them."""
    failed: collections.Counter[str] = collections.Counter()

    async def try_once(ask: Ask) -> None:
        try:
            await ask()
        except Exception as error:  # of whichever client
            failed[type(error).__name__] += 1

    async def try_all(ask: Ask) -> None:
        await asyncio.gather(*(try_once(ask) for _ in range(REQUESTS)))

    async with CLIENTS[name](url, method, connections) as ask:
        if goes_idle:
            await try_all(ask)
            failed.clear()
            # The loop has no chance to see that the server closes.
            time.sleep(2 * IDLE_S)  # noqa: ASYNC251
        began_at = time.monotonic()
        await try_all(ask)
        spent_s = time.monotonic() - began_at
    worst = failed.most_common(1)
    return failed.total(), spent_s, worst[0][0] if worst else ""


@contextlib.contextmanager
def serving(how: str) -> Iterator[str]:
    """The URL of the server, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.closing", how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
        finally:
            process.kill()


def compare(names: Sequence[str]) -> None:
    """One line for each way to close, method and pool; failures of each client."""
    print(
        f"{'closes':12} {'method':6} {'pool':>4}" + "".join(f"{n:>30}" for n in names)
    )
    for how in HOWS:
        for method in ("POST",) if how == "idle ones" else ("GET", "POST"):
            for connections in POOLS:
                row = f"{how:12} {method:6} {connections:4}"
                for name in names:
                    with serving(how) as url:
                        failed, spent_s, kind = uvloop.run(
                            try_client(
                                name,
                                url,
                                method,
                                connections,
                                goes_idle=how == "idle ones",
                            )
                        )
                    told = f"{failed} failed {kind[:15]} {spent_s:.2f} s"
                    row += f"{told:>{WIDTH}}"
                print(row, flush=True)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
