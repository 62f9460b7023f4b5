"""A generation without its master: the test itself is the master.

It starts a real forkserver process, has real workers forked, and talks with
them over their channels; no planner decides anything in between.
"""

import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Protocol, Self, TypeVar

from blazeio_supervisor.ipc.channel import receive, send
from blazeio_supervisor.ipc.messages import (
    Fork,
    Forked,
    Importing,
    ListenerInfo,
    Load,
    Loaded,
    LoopName,
    Message,
    Overrides,
    Ready,
)
from blazeio_supervisor.ipc.processes import become_subreaper
from blazeio_supervisor.ipc.protocol import find_protocol
from blazeio_supervisor.ipc.scoreboard import Row, make_row_memory
from blazeio_supervisor.ipc.signals import make_pair
from blazeio_supervisor.log.formats import LogConfig
from blazeio_supervisor.master.children import parse_exit
from blazeio_supervisor.worker.starting import spawn_forkserver
from tests.support.clock import block_until, scaled

WAIT_S = 10.0
MessageT = TypeVar("MessageT", bound=Message)

HELLO = """
import asyncio, os, time
import blazeio as io

web = io.App("127.0.0.1", 8000)

@web.add_route
async def hello(r, route="/"):
    await io.Deliver.text(r, str(os.getpid()))

@web.add_route
async def slow(r, route="/slow"):
    await asyncio.sleep(0.3)
    await io.Deliver.text(r, "late")

@web.add_route
async def block(r, route="/block"):
    time.sleep(0.5)
    await io.Deliver.text(r, "late")

@web.on_stop
async def stop():
    open("stopped", "w").close()

if __name__ == "__main__":
    web.runner()
"""
"""An app with a quick, a slow and a blocking route."""


class HasFileno(Protocol):
    """A socket, or a row."""

    def fileno(self) -> int: ...


class MasterEnd:
    """The master's end of one channel, with deadlines."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.settimeout(scaled(WAIT_S))

    def send(self, message: Message, sockets: Sequence[HasFileno] = ()) -> None:
        send(self._sock, message, [sock.fileno() for sock in sockets])

    def hear(self, kind: type[MessageT]) -> MessageT:
        """The next message, which must be of this kind."""
        received = receive(self._sock)
        if received is not None and isinstance(received[0], Importing):
            received = receive(self._sock)  # said before any code of the app runs
        assert received is not None, f"the channel ended before {kind.__name__}"
        message, fds = received
        assert not fds
        assert isinstance(message, kind), message
        return message

    def has_ended(self) -> bool:
        return receive(self._sock) is None

    def close(self) -> None:
        self._sock.close()


class LoneWorker:
    """One forked worker. Its parent is the test."""

    def __init__(self, channel: MasterEnd, pid: int, row: Row) -> None:
        self.channel = channel
        self.pid = pid
        self.row = row
        self.status: int | None = None

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait_exit(self) -> int:
        """Its exit status; minus the number of the signal that ended it."""
        block_until(self._has_ended, WAIT_S, f"the end of pid {self.pid}")
        assert self.status is not None
        return self.status

    def _has_ended(self) -> bool:
        if self.status is None:
            info = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG)
            self.status = None if info is None else parse_exit(info)
        return self.status is not None

    def clean_up(self) -> None:
        self.channel.close()
        self.row.close()
        if not self._has_ended():
            os.kill(self.pid, signal.SIGKILL)
            self.wait_exit()


class LoneGeneration:
    """One forkserver; use it in a ``with``.

    Args:
        folder: The working directory of the service.
        app: The APP argument.
        preload: Have the forkserver import it.
        grace_s: Of its workers.
        overrides: What wins over the App.
        cpus: What its workers are bound to.
        is_factory: The attribute must make the App.
    """

    _open_count: ClassVar[int] = 0
    """While there is one, orphans become children of this process."""

    def __init__(
        self,
        folder: Path,
        app: str = "hello:web",
        *,
        preload: bool = True,
        loop: LoopName | None = None,
        grace_s: float = 5.0,
        overrides: Overrides | None = None,
        cpus: tuple[int, ...] = (),
        is_factory: bool = False,
    ) -> None:
        self._load = Load(
            generation=1,
            app=app,
            folder=str(folder),
            app_dir=str(folder),
            is_preload=preload,
            loop=loop,
            graceful_timeout_s=grace_s,
            drain_idle_s=0.1,
            farewell_window_s=0.1,
            log=LogConfig(),
            master_pid=os.getpid(),
            overrides=overrides or Overrides(),
            cpus=cpus,
            is_factory=is_factory,
        )
        self.workers: list[LoneWorker] = []
        self._is_loaded = False
        self._last_worker = 0

    def __enter__(self) -> Self:
        become_subreaper()
        LoneGeneration._open_count += 1
        sys.stdout.flush()
        own, theirs = make_pair()
        self.channel = MasterEnd(own)
        self._asker, answerer = socket.socketpair()
        send(own, self._load, [answerer.fileno()])
        answerer.close()
        self.pid = spawn_forkserver(theirs, protocol=find_protocol())
        theirs.close()
        self.forkserver = LoneWorker(self.channel, self.pid, Row(make_row_memory()))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end_workers()
        self.forkserver.clean_up()
        self._asker.close()
        LoneGeneration._open_count -= 1
        if not LoneGeneration._open_count:
            become_subreaper(is_wanted=False)

    def end_workers(self) -> None:
        """End those that are left; others may be forked then."""
        while self.workers:
            self.workers.pop().clean_up()

    def fork(
        self, listeners: list[socket.socket], *, is_canary: bool = False
    ) -> LoneWorker:
        """Have a worker forked, once the app is loaded."""
        if not self._is_loaded:
            self.channel.hear(Loaded)
            self._is_loaded = True
        own, theirs = make_pair()
        asker, answerer = socket.socketpair()
        row = Row(make_row_memory())
        terms = (ListenerInfo(),) * len(listeners)
        self._last_worker += 1
        order = Fork(self._last_worker, 0, is_canary, bool(listeners), terms)
        self.channel.send(order, [theirs, answerer, row, *listeners])
        theirs.close()
        answerer.close()
        asker.close()  # nobody asks here
        forked = self.channel.hear(Forked)
        worker = LoneWorker(MasterEnd(own), forked.pid, row)
        self.workers.append(worker)
        return worker

    def fork_ready(
        self, listeners: list[socket.socket], *, is_canary: bool = False
    ) -> LoneWorker:
        """The same, and wait until it is ready."""
        worker = self.fork(listeners, is_canary=is_canary)
        worker.channel.hear(Ready)
        return worker


def make_listener() -> socket.socket:
    """A listener on a free port of the loopback, as the master makes them."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock
