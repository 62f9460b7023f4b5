"""What a worker prints of itself when its loop is blocked.

Two dumps by one signal. First the stacks of all threads, by faulthandler: it
needs nothing of the interpreter, so it also works while C code holds it. Then,
by a handler in Python, which request that is. That runs between two bytecodes,
or when a system call is interrupted; while C code computes it is late, and says
so when that returns.
"""

import asyncio
import faulthandler
import os
import signal
import time
from collections.abc import Iterable
from typing import Any

from blazeio.protocol.server import BlazeioServerProtocol
from blazeio.server.server import Server
from blazeio_supervisor.process.signals import DUMP_SIGNAL

MOST_NAMED = 10
"""More requests in flight are only counted."""

_TARGET_CHARS = 200
_STDERR = 2


class StackDump:
    """Answers the dump signal, from before the app is loaded.

    Args:
        name: Who it is, in front of each line.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._server: Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def arm(self) -> None:
        """Handle the signal from now on."""
        signal.signal(DUMP_SIGNAL, self._say)
        # A descriptor: the app may have put anything in the place of sys.stderr.
        faulthandler.register(DUMP_SIGNAL, _STDERR, all_threads=True, chain=True)

    def watch(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        """Name the requests of this server too."""
        self._server, self._loop = server, loop

    def _say(self, *_: Any) -> None:
        # Not by the logger: this may run in the middle of a line of the log.
        line = f"{self._name}: {self._describe()}\n"
        os.write(_STDERR, line.encode("utf-8", "backslashreplace"))

    def _describe(self) -> str:
        server, loop = self._server, self._loop
        if server is None or loop is None:
            return "it is starting"
        task = asyncio.current_task(loop)
        requests = server.running
        blocking = [r for r in requests if r.handling.is_done_by(task)]
        others = [r for r in requests if not r.handling.is_done_by(task)]
        return f"{_describe_task(task, blocking)}; {_describe_others(others)}"


def _describe_task(
    task: asyncio.Task[Any] | None, blocking: list[BlazeioServerProtocol]
) -> str:
    if blocking:
        return f"its loop is in {_describe_requests(blocking)}"
    if task is None:
        return "its loop is in a callback, in no request"
    name = getattr(task.get_coro(), "__qualname__", "?")
    return f"its loop is in {name}, {task.get_name()}, in no request"


def _describe_others(others: list[BlazeioServerProtocol]) -> str:
    if not others:
        return "nothing else is in flight"
    words = _describe_requests(others[:MOST_NAMED])
    more = len(others) - MOST_NAMED
    return f"also in flight: {words}" + (f" and {more} more" if more > 0 else "")


def _describe_requests(requests: Iterable[BlazeioServerProtocol]) -> str:
    now = time.monotonic()
    return ", ".join(
        f"{r.method} {r.tail[:_TARGET_CHARS]} (for {now - r.handling.begun_at:.1f} s)"
        for r in requests
    )
