"""Asking a worker for its health path, over a connection of the master's own.

The canary accepts from nowhere yet, so one end of a socket pair is handed to
it, and it serves that like any connection: what answers is the app's real code.
HTTP/1.0, so that the answer ends where the connection does; plain HTTP, whatever
the app speaks outside.
"""

import asyncio
import re
import socket
from collections.abc import Callable

from blazeio_supervisor.fleet.facts import Answered, Fact, HealthChecked

ANSWER_BYTES = 64 * 1024
"""More of an answer is not read."""

NEWS_OF_DEATH_S = 0.2
"""A worker that died while it was asked: its exit status says more."""

MOST_S = 600.0
"""An answer is not waited for any longer. The planner ends the worker long before
that; but a process that it has left behind may hold the connection."""

_LINE_CHARS = 200
_STATUS_LINE = re.compile(rb"HTTP/1\.\d (\d{3})[^\r\n]*\r\n")
_LOCATION = re.compile(rb"\r\nlocation:[ \t]*([^\r\n]+)", re.IGNORECASE)


async def ask(sock: socket.socket, path: str) -> tuple[bool, str]:
    """Send a GET for the path over a connected socket, which is closed in the end.

    Healthy is a 2xx, nothing else: a redirect says that somebody else may be.


    Returns:
        Whether it is healthy; if not, why, in one line.
    """
    reader, writer = await asyncio.open_connection(sock=sock, limit=ANSWER_BYTES)
    try:
        writer.write(_serialize_request(path))
        async with asyncio.timeout(MOST_S):
            octets = await _read(reader)
        # The worker has closed the connection without a word: perhaps it has died, and
        # then its exit status, which the reaper is about to read, says more than this.
        if not octets:
            await asyncio.sleep(NEWS_OF_DEATH_S)
    except TimeoutError:
        return False, f"GET {path}: no answer within {MOST_S:g} s"
    except OSError as error:
        return False, f"GET {path}: {error.strerror or error}"
    finally:
        writer.close()
    return judge(path, octets)


def judge(path: str, octets: bytes) -> tuple[bool, str]:
    """Judge an answer by its status; the reason has the first line of its body."""
    match = _STATUS_LINE.match(octets)
    if match is None:
        what = "an answer that is not HTTP" if octets else "no answer"
        return False, f"GET {path}: the connection ended with {what}"
    status = int(match[1])
    if 200 <= status <= 299:
        return True, ""
    head, _, body = octets.partition(b"\r\n\r\n")
    words = _first_line(body)
    location = _LOCATION.search(head)
    if location is not None:
        words = f"to {_first_line(location[1])}; only 2xx is healthy"
    reason = f"GET {path} answered {status}"
    return False, f"{reason}: {words}" if words else reason


def _serialize_request(path: str) -> bytes:
    fields = "Host: localhost\r\nUser-Agent: blazeio-supervisor\r\nAccept: */*"
    return f"GET {path} HTTP/1.0\r\n{fields}\r\n\r\n".encode("ascii")


async def _read(reader: asyncio.StreamReader) -> bytes:
    octets = b""
    while len(octets) < ANSWER_BYTES:
        more = await reader.read(ANSWER_BYTES - len(octets))
        if not more:
            break
        octets += more
    return octets


def _first_line(octets: bytes) -> str:
    lines = octets.strip().splitlines()
    line = lines[0].decode("utf-8", "replace") if lines else ""
    return "".join(c if c.isprintable() else "?" for c in line)[:_LINE_CHARS]


class HealthChecks:
    """The health checks under way; the planner bounds them.

    Args:
        path: What is asked for.
        connect: Returns a connection to a worker; None: it is gone.
        put_fact: Takes the answer as a fact.

    Attributes:
        path: As given; a reload may bring another one.
    """

    def __init__(
        self,
        path: str,
        connect: Callable[[int], socket.socket | None],
        put_fact: Callable[[Fact], None],
    ) -> None:
        self.path = path
        self._connect = connect
        self._put_fact = put_fact
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, worker: int) -> None:
        """Ask one worker; a worker that ends closes the connection."""
        sock = self._connect(worker)
        if sock is not None:
            task = asyncio.create_task(self._ask(worker, sock))
            # The loop refers to its tasks weakly (asyncio.create_task).
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, worker: int, sock: socket.socket) -> None:
        is_healthy, reason = await ask(sock, self.path)
        self._put_fact(HealthChecked(worker, is_healthy, reason))


# Probes: does a worker serve, tried over a connection of the master's own.
#
# The master ends the connection at once, without a request, and a worker that serves
# closes it too. That takes a loop that runs and the code that serves, runs no handler
# of the app, and counts as no request.


class Probes:
    """The probes under way: at most one for each worker.

    Args:
        connect: Returns a connection to a worker; None: it is gone.
        put_fact: Takes the answer as a fact; silence is none.
    """

    def __init__(
        self,
        connect: Callable[[int], socket.socket | None],
        put_fact: Callable[[Fact], None],
    ) -> None:
        self._connect = connect
        self._put_fact = put_fact
        self._open: dict[int, asyncio.Task[None]] = {}

    def begin(self, worker: int) -> None:
        """Ask one worker; one that has yet to answer is not asked again."""
        sock = None if worker in self._open else self._connect(worker)
        if sock is not None:
            self._open[worker] = asyncio.create_task(self._ask(worker, sock))

    async def _ask(self, worker: int, sock: socket.socket) -> None:
        # The worker reads the end of file, and closes a connection that has brought no
        # request: its close is the answer.
        sock.shutdown(socket.SHUT_WR)
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            async with asyncio.timeout(MOST_S):
                await reader.read(1)
        except OSError:  # also TimeoutError
            return
        finally:
            writer.close()
            del self._open[worker]
        # The end of a worker closes it too: then the news of that come first.
        await asyncio.sleep(NEWS_OF_DEATH_S)
        self._put_fact(Answered(worker))
