"""What a worker says of itself when it is asked by a signal.

The master asks because somebody wants to know, since the loop is blocked, or since
an import takes long. It is answered twice. First by the stacks of all threads, from
faulthandler: it needs nothing of the interpreter, so it also works while C code
holds it. Then, by a handler in Python, what that is about. That runs between two
bytecodes, or when a system call is interrupted; while C code computes it is late, and
says so when that returns.
"""

import asyncio
import faulthandler
import gc
import linecache
import select
import signal
import socket
import time
from collections.abc import AsyncGenerator, Iterable
from types import AsyncGeneratorType
from typing import Any

from msgspec import Struct

from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.server.server import Server
from blazeio_supervisor.ipc.signals import STACK_SIGNAL, STACKS_END, do_nothing
from blazeio_supervisor.worker.process import OwnInstallations, disconnect_sockets

# Where each asyncio task waits, as text.
#
# ``Task.get_stack`` knows only the outermost frame of one that waits. So the chain
# of awaits is followed here, down to what is waited for.


STACK_COUNT = 50
"""More different stacks are only counted."""
FRAME_COUNT = 50
NAME_COUNT = 5
_LINKS = (
    ("cr_frame", "cr_await"),
    ("gi_frame", "gi_yieldfrom"),
    ("ag_frame", "ag_await"),
)


class Spot(Struct, frozen=True):
    """One frame."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        text = f'  File "{self.file}", line {self.line} in {self.function}'
        code = linecache.getline(self.file, self.line).strip()
        return f"{text}\n    {code}" if code else text


def trace(awaitable: Any) -> tuple[Spot, ...]:
    """Follow a coroutine to what it waits for, the outermost frame first."""
    spots: list[Spot] = []
    while awaitable is not None and len(spots) < FRAME_COUNT:
        for frame_name, next_name in _LINKS:
            frame = getattr(awaitable, frame_name, None)
            if frame is not None:
                code = frame.f_code
                spots.append(Spot(code.co_filename, frame.f_lineno, code.co_qualname))
                awaitable = getattr(awaitable, next_name)
                break
        else:
            awaitable = _find_generator(awaitable)
    return tuple(spots)


def _find_generator(awaitable: Any) -> AsyncGenerator[Any, Any] | None:
    """Return the generator behind a step of ``async for``; None: there is none."""
    if not type(awaitable).__name__.startswith("async_generator_"):
        return None
    referents = gc.get_referents(awaitable)  # it has no attribute for that
    return next((r for r in referents if isinstance(r, AsyncGeneratorType)), None)


def describe_tasks(
    tasks: Iterable[asyncio.Task[Any]],
    current: asyncio.Task[Any] | None,
    names: dict[asyncio.Task[Any], str],
) -> str:
    """Return the stack of each task; those that wait at the same place are one.

    Args:
        tasks: All of the loop.
        current: The one that runs: its frames are in the stack of its thread.
        names: What a task is for, where that is known.
    """
    stacks: dict[tuple[Spot, ...], list[str]] = {}
    for task in tasks:
        if task is not current and not task.done():
            name = names.get(task, task.get_name())
            stacks.setdefault(trace(task.get_coro()), []).append(name)
    by_count = sorted(stacks.items(), key=lambda item: -len(item[1]))
    lines = [_describe_stack(*item) for item in by_count[:STACK_COUNT]]
    more = len(by_count) - STACK_COUNT
    if more > 0:
        lines.append(f"and {more} more stacks")
    return "\n".join(lines)


def _describe_stack(spots: tuple[Spot, ...], names: list[str]) -> str:
    count = "Task" if len(names) == 1 else f"{len(names)} tasks"
    named = ", ".join(names[:NAME_COUNT])
    if len(names) > NAME_COUNT:
        named += ", ..."
    # As faulthandler writes the threads: the innermost first.
    frames = [str(spot) for spot in reversed(spots)] or ["  in C code"]
    return "\n".join([f"{count} (most recent call first): {named}", *frames])


MOST_NAMED = 10
"""More requests in flight are only counted."""

_TARGET_CHARS = 200
_UNREAD_S = 0.2  # then the master does not read, and the loop must go on


class StackDump:
    """Answers the signal, from before the app is loaded.

    Args:
        name: Who it is, in front of what is said in Python.
        asker: Where the master reads.

    Attributes:
        asker: As given; the order of a profile comes there.
        loop: Of what is watched; None: nothing is, so far.
    """

    def __init__(self, name: str, asker: socket.socket) -> None:
        self._name = name
        self.asker = asker
        self._server: Server | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self._own_task: asyncio.Task[Any] | None = None

    def arm(self, own: OwnInstallations) -> None:
        """Handle the signal from now on, in this process only."""
        own.handle(STACK_SIGNAL, self._answer)
        fd = self.asker.fileno()
        # Behind our own handler, which it has to find: with ``chain`` it calls that one
        # after it has written the stacks.
        faulthandler.register(STACK_SIGNAL, fd, all_threads=True, chain=True)
        own.undo_in_children(self._disarm)
        own.unblock(STACK_SIGNAL)

    def end(self, own: OwnInstallations) -> None:
        """Stop answering; the signal, which may still come, does nothing."""
        faulthandler.unregister(STACK_SIGNAL)
        own.handle(STACK_SIGNAL, do_nothing, restarts=True)
        self.asker.close()

    def _disarm(self) -> None:
        # It restores the handler before it, which is ours, too.
        faulthandler.unregister(STACK_SIGNAL)
        signal.signal(STACK_SIGNAL, signal.SIG_DFL)
        disconnect_sockets(self.asker.fileno())

    def watch(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        """Write the requests of this server too, and the task that runs now."""
        self._server, self.loop = server, loop
        self._own_task = asyncio.current_task(loop)  # not one of all_tasks()

    def _answer(self, *_: Any) -> None:
        try:
            text = f"\n{self._name}: {self._describe()}\n{self._describe_tasks()}\n"
        except Exception as error:  # in the midst of anything: it must go on
            text = f"\n{self._name}: {type(error).__name__}: {error}\n"
        self._send(text.encode("utf-8", "backslashreplace") + STACKS_END)

    def _send(self, octets: bytes) -> None:
        while octets and select.select([], [self.asker], [], _UNREAD_S)[1]:
            try:
                octets = octets[self.asker.send(octets, socket.MSG_DONTWAIT) :]
            except OSError:
                return  # the master is gone

    def _describe_tasks(self) -> str:
        if self._server is None or self.loop is None:
            return ""
        names = {
            task: _describe_requests([r])
            for r in self._server.running
            if (task := r.handler_task.task) is not None
        }
        current = asyncio.current_task(self.loop)
        tasks = asyncio.all_tasks(self.loop)
        if self._own_task is not None:
            tasks.add(self._own_task)
        return describe_tasks(tasks, current, names)

    def _describe(self) -> str:
        server, loop = self._server, self.loop
        if server is None or loop is None:
            return "it is starting"
        task = asyncio.current_task(loop)
        requests = server.running
        blocking = [r for r in requests if r.handler_task.runs_in(task)]
        others = [r for r in requests if not r.handler_task.runs_in(task)]
        return f"{_describe_task(task, blocking)}; {_describe_others(others)}"


def _describe_task(
    task: asyncio.Task[Any] | None, blocking: list[BlazeioServerProtocol]
) -> str:
    if blocking:
        return f"its loop is in {_describe_requests(blocking)}"
    if task is None:
        return "its loop is in no request: it waits, or runs a callback"
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
        f"{r.method} {r.tail[:_TARGET_CHARS]} "
        f"(for {now - r.handler_task.begun_at:.1f} s)"
        for r in requests
    )
