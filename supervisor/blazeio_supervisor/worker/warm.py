"""Requests that the forkserver answers itself, before it forks: ``--warm /``.

What an app makes at its first request (compiled templates, caches, lazy imports) is
then made once, and shared by all workers. It happens in an event loop that is closed
afterwards, without ``on_start`` hooks: what they open must not be shared by processes.
"""

import asyncio
import socket
from collections.abc import Sequence

from blazeio.app.app import App
from blazeio.protocol.process import temporary_loop
from blazeio.server.server import Server

ANSWER_S = 30.0
"""For one answer; an app that waits for longer is not warm."""
_HEAD = "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def warm(app: App, paths: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    """Run the ``on_warm`` hooks, then answer a GET for each path.

    Returns:
        How many hooks and answers went well, and of the others what went wrong.
    """
    count, failures = 0, []
    # A loop of its own, closed before the first fork: its epoll would otherwise be
    # shared by all workers.
    with temporary_loop() as loop:
        failures += loop.run_until_complete(app.warm_hooks())
        count += app.warm_hook_count - len(failures)
        server = app.make_server(loop)
        for path in paths:
            failure = loop.run_until_complete(_ask(server, path))
            if failure:
                failures.append(failure)
            else:
                count += 1
        server.close()
    return count, tuple(failures)


async def _ask(server: Server, path: str) -> str:
    """Have a GET answered; return what went wrong, "" where nothing has."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        theirs.setblocking(False)
        await server.serve(theirs)
        try:
            async with asyncio.timeout(ANSWER_S):
                await loop.sock_sendall(ours, _HEAD.format(path).encode())
                head = await _read_answer(loop, ours)
        except TimeoutError:
            return f"GET {path}: no answer within {ANSWER_S:g} s"
    status = head.partition(b" ")[2][:3].decode(errors="replace")
    return "" if status < "400" and status else f"GET {path}: status {status or 'none'}"


async def _read_answer(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bytes:
    """Read the whole response; return its beginning."""
    first = b""
    while octets := await loop.sock_recv(sock, 65536):
        first = first or octets
    return first
