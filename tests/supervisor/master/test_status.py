import os
from pathlib import Path

from blazeio_supervisor.fleet.actions import Spawn
from blazeio_supervisor.fleet.facts import ScaleAsked, StopAsked, WorkerForked
from blazeio_supervisor.ipc.scoreboard import ThreadLoad
from blazeio_supervisor.master.dashboard import (
    describe_progress,
    describe_service,
    describe_status,
)
from blazeio_supervisor.master.resources import Memory
from blazeio_supervisor.sockets.address import TcpAddress, UnixAddress
from tests.supervisor.cli.master_harness import MasterHarness
from tests.supervisor.fleet.driver import only


async def test_a_service_says_who_it_is(tmp_path: Path) -> None:
    answer = describe_service(MasterHarness(tmp_path).service)
    assert (answer.pid, answer.app, answer.addresses) == (os.getpid(), "app:web", [])
    assert answer.name == "app:web"


async def test_each_slot_shows_its_worker(tmp_path: Path) -> None:
    status = describe_status(MasterHarness(tmp_path).service)
    assert (status.generation, status.has_served, status.reload) == (1, True, None)
    first, second = status.workers
    assert (first.slot, first.pid, first.role, first.state) == (
        0,
        1001,
        "owner",
        "serving",
    )
    assert (second.slot, second.own_bytes) == (1, None)


async def test_load_and_memory_are_as_last_measured(tmp_path: Path) -> None:
    harness = MasterHarness(tmp_path, slots=1)
    order, ends = harness.workers.prepare(Spawn(1, 0, 1))
    row = harness.workers.records[order.worker].row
    row.count(2, 3, 40, background=1, threads=ThreadLoad(4, 3, 12))
    row.beat(1.0, 0.5)
    harness.readings.note_memory(order.worker, Memory(300, 400))
    status = describe_status(harness.service)
    harness.workers.forget_unanswered(1)
    for end in ends:
        end.close()
    (worker,) = status.workers
    assert (worker.in_flight, worker.connections, worker.requests) == (2, 3, 40)
    assert (worker.background, worker.threads) == (1, 4)
    assert (worker.threads_busy, worker.waiting) == (3, 12)
    assert worker.lag_s == 0.25
    assert (worker.own_bytes, worker.shared_bytes) == (300, 400)
    assert status.slots[0].requests == 40


async def test_the_mode_of_the_listeners_is_shown(tmp_path: Path) -> None:
    harness = MasterHarness(tmp_path)
    assert describe_status(harness.service).listeners == "unbound"
    harness.listeners.open(UnixAddress(str(tmp_path / "a.sock")))
    assert describe_status(harness.service).listeners == "shared"
    harness.listeners.open(TcpAddress("127.0.0.1", 0))
    assert describe_status(harness.service).listeners == "slots and shared"
    assert not describe_status(harness.service).is_steered
    harness.service.steerer.apply(harness.service.listeners, (1, 1))
    assert describe_status(harness.service).is_steered
    harness.listeners.unix.pop().sock.close()
    assert describe_status(harness.service).listeners == "slots"
    harness.listeners.shut()


async def test_workers_that_no_forkserver_has_preloaded_import_the_app(
    tmp_path: Path,
) -> None:
    assert describe_status(MasterHarness(tmp_path).service).loading == "each worker"


async def test_a_parked_slot_shows_who_adopts_it(tmp_path: Path) -> None:
    harness = MasterHarness(tmp_path)
    harness.driver.tell(ScaleAsked(1))
    slot = describe_status(harness.service).slots[1]
    assert (slot.is_parked, slot.adopted_by) == (True, 0)


async def test_a_reload_shows_its_step_and_its_canary(tmp_path: Path) -> None:
    harness = MasterHarness(tmp_path)
    harness.driver.reload()
    canary = harness.driver.load(2)
    harness.driver.tell(WorkerForked(canary.worker, 77))
    status = describe_status(harness.service)
    assert status.reload is not None
    assert (status.reload.step, status.reload.generation) == ("canary", 2)
    assert (status.reload.replaced, status.reload.slots) == (0, 2)
    assert [w.role for w in status.workers if w.pid == 77] == ["canary"]


async def test_a_reload_counts_the_slots_that_are_done(tmp_path: Path) -> None:
    harness = MasterHarness(tmp_path)
    harness.driver.reload()
    harness.driver.serve(harness.driver.load(2).worker)
    spawns = only(Spawn, harness.driver.wait(1.0))
    progress = describe_progress(harness.driver.planner.snapshot())
    assert progress is not None
    assert (progress.step, progress.replaced) == ("rolling", 1)
    roles = {w.role for w in describe_status(harness.service).workers}
    assert roles == {"owner", "successor", "leaving"}
    assert len(spawns) == 1


async def test_the_end_is_shown(tmp_path: Path) -> None:
    harness = MasterHarness(tmp_path)
    assert describe_status(harness.service).is_ready
    harness.driver.tell(StopAsked())
    status = describe_status(harness.service)
    assert (status.is_stopping, status.is_leaving, status.is_ready) == (
        True,
        False,
        False,
    )


async def test_what_steers_is_shown(tmp_path: Path) -> None:
    assert describe_status(MasterHarness(tmp_path).service).steering == "load"
