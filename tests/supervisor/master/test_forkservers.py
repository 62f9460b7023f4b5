import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from blazeio_supervisor.config.command_line import parse_app_path
from blazeio_supervisor.config.environment import ControlGroup
from blazeio_supervisor.config.settings import Settings
from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.fleet.actions import Spawn, StopMode
from blazeio_supervisor.fleet.facts import (
    Fact,
    ForkserverExited,
    ForkserverReady,
    WorkerExited,
    WorkerForked,
    WorkerReady,
)
from blazeio_supervisor.ipc.messages import (
    Drain,
)
from blazeio_supervisor.ipc.processes import become_subreaper
from blazeio_supervisor.ipc.scoreboard import RowAllocator
from blazeio_supervisor.log.setup import FramesPrinter
from blazeio_supervisor.master.children import ChildContext, Reaper
from blazeio_supervisor.master.forkservers import Forkservers
from blazeio_supervisor.master.resources import OOM_REASON, OomKills
from blazeio_supervisor.master.worker_record import WorkerOrders
from blazeio_supervisor.master.workers import Workers
from blazeio_supervisor.sockets.address import TcpAddress
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.worker.starting import EarlyForkserver
from tests.supervisor.worker.lone_generation import HELLO
from tests.support.clock import wait_until

pytestmark = pytest.mark.slow


class ForkserversHarness:
    """Forkservers and workers, without the planner."""

    def __init__(self, folder: Path, app: str) -> None:
        loop = asyncio.get_running_loop()
        self.facts: list[Fact] = []
        self.schemes: list[bool] = []
        self.addresses: list[tuple[str, int]] = []
        self.reaper = Reaper(loop)
        self.listeners = Listeners(1)
        self.listeners.open(TcpAddress("127.0.0.1", 0))
        self.frames = FramesPrinter()
        self.child_context = ChildContext(
            loop=loop,
            reaper=self.reaper,
            put_fact=self.facts.append,
            need_address=self._need_address,
            note_scheme=self._note_scheme,
            frames=self.frames,
        )
        ledger = RowAllocator()
        self.workers = Workers(self.child_context, ledger, self.listeners)
        self.orders = WorkerOrders(self.workers.records, self.reaper, self.listeners)
        settings = Settings(
            app=parse_app_path(app),
            workers=1,
            binds=(),
            folder=str(folder),
            graceful_timeout_s=5.0,
        )
        self.forkservers = Forkservers(
            self.child_context, lambda _: settings, self.workers
        )

    def _note_scheme(self, generation: int, *, is_tls: bool) -> None:
        self.schemes.append(is_tls)

    def _need_address(self, host: str, port: int, then: Callable[[], None]) -> None:
        self.addresses.append((host, port))
        then()

    async def wait_for(self, kind: type[Fact], count: int = 1) -> Fact:
        def told() -> list[Fact]:
            return [fact for fact in self.facts if isinstance(fact, kind)]

        await wait_until(lambda: len(told()) >= count, 10, f"{kind.__name__}")
        return told()[-1]

    def forkserver_pids(self) -> list[int]:
        children = psutil.Process().children()
        return [c.pid for c in children if "blazeio" in " ".join(c.cmdline())]

    async def close(self) -> None:
        for generation in (1, 2):
            self.forkservers.stop(generation, StopMode.KILL)
        for worker in range(1, 5):
            self.orders.end(worker, StopMode.KILL, Drain(0.0))
        await wait_until(lambda: not len(self.reaper), 5)
        self.listeners.shut()


@pytest.fixture
async def harness(
    tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[ForkserversHarness]:
    (tmp_path / "hello.py").write_text(HELLO)
    (tmp_path / "unsafe.py").write_text(
        HELLO + "\nimport threading\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    (tmp_path / "sleeps.py").write_text("import time; time.sleep(60)")
    become_subreaper()
    made = ForkserversHarness(tmp_path, getattr(request, "param", "hello:web"))
    yield made
    await made.close()
    become_subreaper(is_wanted=False)


async def test_a_generation_loads_and_forks(harness: ForkserversHarness) -> None:
    harness.forkservers.start(1)
    await harness.wait_for(ForkserverReady)
    assert harness.addresses == [("127.0.0.1", 8000)]
    assert harness.schemes == [False]
    assert harness.forkservers.has_preloaded(1)
    assert not harness.forkservers.has_preloaded(2)
    harness.forkservers.fork(Spawn(1, 0, 1))
    await harness.wait_for(WorkerReady)
    assert isinstance(harness.facts[-2], WorkerForked)  # its pid is known before


async def test_what_can_wait_is_done_once_the_first_worker_was_ordered(
    harness: ForkserversHarness,
) -> None:
    called: list[int] = []
    harness.forkservers.on_first = lambda: called.append(1)
    harness.forkservers.start(1)
    await harness.wait_for(ForkserverReady)
    assert not called
    for worker in (1, 2):
        harness.forkservers.fork(Spawn(worker, 0, 1))
    await harness.wait_for(WorkerReady, 2)
    assert called == [1]


async def test_the_first_one_may_have_been_started_before(
    harness: ForkserversHarness,
) -> None:
    with EarlyForkserver({}, is_privileged=False, interpreter="") as early:
        harness.forkservers.early = early
        harness.forkservers.start(1)
        taken = early.take({}, is_privileged=False, interpreter="", protocol="")
        assert taken is None
    await harness.wait_for(ForkserverReady)
    harness.forkservers.start(2)
    await harness.wait_for(ForkserverReady, 2)


async def test_one_that_was_started_before_and_has_ended_is_told(
    harness: ForkserversHarness,
) -> None:
    with EarlyForkserver({}, is_privileged=False, interpreter="") as early:
        (pid,) = harness.forkserver_pids()
        os.kill(pid, signal.SIGKILL)
        await wait_until(
            lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 10
        )
        harness.forkservers.early = early
        harness.forkservers.start(1)
    exited = await harness.wait_for(ForkserverExited)
    assert isinstance(exited, ForkserverExited)
    assert exited.status == -signal.SIGKILL


async def test_told_to_stop_it_ends_after_the_forks_it_owes(
    harness: ForkserversHarness,
) -> None:
    harness.forkservers.start(1)
    await harness.wait_for(ForkserverReady)
    harness.forkservers.fork(Spawn(1, 0, 1))
    harness.forkservers.stop(1, StopMode.DRAIN)
    await harness.wait_for(WorkerReady)
    # And after the worker that it has forked.
    (record,) = harness.workers.records.values()
    record.channel.send(Drain(1.0))
    assert await harness.wait_for(ForkserverExited) == ForkserverExited(1, 0)


@pytest.mark.parametrize("harness", ["sleeps:web"], indirect=True)
async def test_told_to_stop_in_mid_import_it_ends_at_once(
    harness: ForkserversHarness,
) -> None:
    harness.forkservers.start(1)
    await wait_until(lambda: harness.forkserver_pids(), 5)
    harness.forkservers.stop(1, StopMode.DRAIN)
    assert await harness.wait_for(ForkserverExited) == ForkserverExited(1, -15)


@pytest.mark.parametrize("harness", ["none:web"], indirect=True)
async def test_an_app_that_cannot_be_had_is_told_with_its_reason(
    harness: ForkserversHarness,
) -> None:
    harness.forkservers.start(1)
    exited = await harness.wait_for(ForkserverExited)
    assert isinstance(exited, ForkserverExited)
    assert exited.status == ExitCode.NOT_IMPORTABLE
    assert exited.reason.startswith("no module named 'none'")


@pytest.mark.parametrize("harness", ["unsafe:web"], indirect=True)
async def test_an_app_that_cannot_be_forked_is_imported_by_its_workers(
    harness: ForkserversHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.forkservers.start(1)
    await harness.wait_for(ForkserverReady)
    assert "so each worker imports the app by itself" in caplog.text
    assert not any(isinstance(fact, ForkserverExited) for fact in harness.facts)
    harness.forkservers.fork(Spawn(1, 0, 1))
    await harness.wait_for(WorkerReady)


async def test_two_generations_live_side_by_side(harness: ForkserversHarness) -> None:
    harness.forkservers.start(1)
    harness.forkservers.start(2)
    await harness.wait_for(ForkserverReady, 2)
    harness.forkservers.stop(1, StopMode.DRAIN)
    assert await harness.wait_for(ForkserverExited) == ForkserverExited(1, 0)
    harness.forkservers.fork(Spawn(1, 0, 2))
    await harness.wait_for(WorkerReady)


async def test_a_fork_of_a_generation_that_is_gone_fails_at_once(
    harness: ForkserversHarness,
) -> None:
    harness.forkservers.fork(Spawn(1, 0, 1))
    exited = await harness.wait_for(WorkerExited)
    assert exited == WorkerExited(1, 1, "the process that forks it is gone")


async def test_a_forkserver_that_the_kernel_killed_says_so(
    harness: ForkserversHarness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 0\n")
    child_context = replace(
        harness.child_context, oom_kills=OomKills(ControlGroup(tmp_path, 2))
    )
    monkeypatch.setattr(harness.forkservers, "_child_context", child_context)
    harness.forkservers.start(1)
    await harness.wait_for(ForkserverReady)
    counter.write_text("oom_kill 1\n")
    (pid,) = harness.forkserver_pids()
    os.kill(pid, signal.SIGKILL)
    exited = await harness.wait_for(ForkserverExited)
    assert exited == ForkserverExited(1, -9, OOM_REASON)


async def test_a_forkserver_that_is_killed_voids_the_forks_it_owes(
    harness: ForkserversHarness,
) -> None:
    harness.forkservers.start(1)
    await harness.wait_for(ForkserverReady)
    (pid,) = harness.forkserver_pids()
    os.kill(pid, 19)
    harness.forkservers.fork(Spawn(1, 0, 1))
    assert harness.workers.is_forking
    harness.forkservers.stop(1, StopMode.KILL)
    assert await harness.wait_for(ForkserverExited) == ForkserverExited(1, -9)
    assert not harness.workers.is_forking


async def test_an_interpreter_that_is_gone_is_an_end_with_a_reason(
    harness: ForkserversHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/no/such/python")
    harness.forkservers.start(1)
    exited = await harness.wait_for(ForkserverExited)
    assert isinstance(exited, ForkserverExited)
    assert exited.reason == ("cannot start /no/such/python: No such file or directory")
