"""What an operator reads of the lives of a service: each event, whole.

A sentence says what has happened, why, and what is next; programs go by the event, its
level, its reason, and of what it is told.
"""

from collections.abc import Callable

import pytest

from blazeio_supervisor.fleet.actions import ReportStatus, Spawn
from blazeio_supervisor.fleet.facts import (
    Beat,
    ForkserverMisbehaved,
    ForkserverReady,
    ParkAsked,
    RecycleAsked,
    ReloadAsked,
    ResumeAsked,
    ScaleAsked,
    StartAsked,
    StopAsked,
    WorkerExited,
    WorkerMisbehaved,
)
from tests.supervisor.fleet.driver import Driver, only

Life = Callable[[], Driver]
LIVES: dict[str, Life] = {}
BOOTED = (
    "INFO ready (worker 1, slot 0, generation 1, pid 1001): the service is up: this "
    "worker is the first that serves"
)


def life(name: str) -> Callable[[Life], Life]:
    def keep(driving: Life) -> Life:
        LIVES[name] = driving
        return driving

    return keep


def say(report: ReportStatus) -> str:
    """The level, the event, of what, the sentence, and the reason as one word."""
    facts = {
        "worker": report.worker,
        "slot": report.slot,
        "generation": report.generation,
        "pid": report.pid,
    }
    told = ", ".join(
        f"{key} {value}" for key, value in facts.items() if value is not None
    )
    whom = f" ({told})" if told else ""
    word = f" [{report.reason}]" if report.reason else ""
    return f"{report.level} {report.event}{whom}: {report.text}{word}"


@life("a boot, and its end")
def live_a_boot_and_its_end() -> Driver:
    driver = Driver(2).start()
    driver.tell(StopAsked(by="SIGTERM"))
    driver.exit(1)
    driver.exit(2)
    driver.exit_forkserver(1)
    return driver


@life("a worker dies again and again")
def live_a_worker_dies_again_and_again() -> Driver:
    driver = Driver(1).start()
    for worker, status in enumerate((-11, -11, 1, -9), 1):
        driver.exit(worker, status)
        driver.wait(2)
        driver.serve(only(Spawn, driver.log)[-1].worker)
    driver.wait(60)
    return driver


@life("a worker does not get ready")
def live_a_worker_does_not_get_ready() -> Driver:
    driver = Driver(1).start()
    driver.exit(1, -9)
    worker = only(Spawn, driver.log)[-1].worker
    driver.fork(worker)
    driver.wait(40)
    driver.exit(worker, -9)
    return driver


@life("a reload")
def live_a_reload() -> Driver:
    driver = Driver(2).start()
    driver.tell(ReloadAsked(1, by="SIGHUP"))
    driver.roll([driver.load(2)])
    driver.roll(driver.wait(3))
    driver.exit_forkserver(1)
    driver.wait(30)
    return driver


@life("a reload whose code does not import")
def live_a_reload_whose_code_does_not_import() -> Driver:
    driver = Driver(2).start()
    driver.tell(ReloadAsked(1, by="SIGHUP"))
    driver.exit_forkserver(2, 4)
    return driver


@life("a reload whose first worker dies")
def live_a_reload_whose_first_worker_dies() -> Driver:
    driver = Driver(2).start()
    driver.tell(ReloadAsked(1))
    worker = driver.load(2).worker
    driver.serve(worker)
    driver.exit(worker, 1, "boom")
    return driver


@life("new code fails while it is held")
def live_new_code_fails_while_it_is_held() -> Driver:
    driver = Driver(2).start()
    driver.reload_until_holding()
    driver.exit(3, -11)
    driver.roll(driver.wait(1))
    return driver


@life("a first boot fails")
def live_a_first_boot_fails() -> Driver:
    driver = Driver(2)
    driver.tell(StartAsked())
    driver.exit_forkserver(1, 4)
    return driver


@life("a first boot fails in a worker")
def live_a_first_boot_fails_in_a_worker() -> Driver:
    driver = Driver(2)
    driver.tell(StartAsked())
    spawns = only(Spawn, driver.tell(ForkserverReady(1)))
    driver.fork(spawns[0].worker)
    driver.exit(spawns[0].worker, 3)
    driver.exit(spawns[1].worker, 0)
    driver.wait(1)
    return driver


@life("a first boot in development waits")
def live_a_first_boot_in_development_waits() -> Driver:
    driver = Driver(1, is_development=True)
    driver.tell(StartAsked())
    driver.exit_forkserver(1, 4)
    return driver


@life("orders")
def live_orders() -> Driver:
    driver = Driver(2).start()
    driver.tell(ScaleAsked(count=3, by="SIGTTIN"))
    driver.serve(3)
    driver.tell(ScaleAsked(change=-1, by="pid 7"))
    driver.exit(3)
    driver.tell(RecycleAsked(0, by="pid 7"))
    driver.tell(RecycleAsked(9))
    driver.tell(ScaleAsked(count=2))
    return driver


@life("it is parked and comes back")
def live_it_is_parked_and_comes_back() -> Driver:
    driver = Driver(2).start()
    driver.tell(ParkAsked(by="pid 7"))
    driver.exit(1)
    driver.exit(2)
    driver.exit_forkserver(1)
    driver.wait(1)
    driver.tell(ResumeAsked(by="pid 7"))
    return driver


@life("a worker is blocked for too long")
def live_a_worker_is_blocked_for_too_long() -> Driver:
    driver = Driver(2).start()
    driver.silent.add(1)
    driver.wait(40)
    driver.exit(1, -9)
    return driver


@life("a worker is blocked for a while")
def live_a_worker_is_blocked_for_a_while() -> Driver:
    driver = Driver(2).start()
    driver.silent.add(1)
    driver.wait(3)
    driver.silent.clear()
    driver.wait(3)
    return driver


@life("workers are recycled by their age and requests")
def live_workers_are_recycled_by_their_age_and_requests() -> Driver:
    driver = Driver(1, max_requests=10).start()
    driver.ready[1] = Beat(1, 0.0, requests=11)
    driver.wait(1)
    worker = only(Spawn, driver.log)[-1].worker
    driver.serve(worker)
    driver.exit(1)
    return driver


@life("a worker misbehaves")
def live_a_worker_misbehaves() -> Driver:
    driver = Driver(2).start()
    driver.tell(WorkerMisbehaved(1, "it lies"))
    driver.exit(1, -9)
    return driver


@life("a forkserver misbehaves")
def live_a_forkserver_misbehaves() -> Driver:
    driver = Driver(2).start()
    driver.tell(ForkserverMisbehaved(1, "it lies"))
    driver.exit_forkserver(1, -9)
    driver.wait(1)
    return driver


@life("a stop that takes too long")
def live_a_stop_that_takes_too_long() -> Driver:
    driver = Driver(1).start()
    driver.tell(StopAsked(by="SIGTERM"))
    driver.wait(60)
    driver.exit(1, -9)
    driver.exit_forkserver(1)
    return driver


@life("a quick stop during a reload")
def live_a_quick_stop_during_a_reload() -> Driver:
    driver = Driver(1).start()
    driver.reload()
    driver.tell(StopAsked(is_quick=True, by="SIGINT"))
    driver.wait(5)
    driver.exit(1, -9)
    driver.exit_forkserver(1)
    driver.exit_forkserver(2)
    return driver


@life("the kernel has no memory left")
def live_the_kernel_has_no_memory_left() -> Driver:
    driver = Driver(2, is_oom_fatal=True).start()
    driver.tell(WorkerExited(1, -9, "out of memory", is_oom=True))
    return driver


REPORTS = {
    "a boot, and its end": [
        BOOTED,
        (
            "INFO stopping: asked for by SIGTERM: what is in flight has 30 s, "
            "then it is cut"
        ),
    ],
    "a worker dies again and again": [
        BOOTED,
        (
            "WARNING worker_failed (worker 1, slot 0, generation 1, pid 1001): "
            "killed by SIGSEGV; another one starts at once [SIGSEGV]"
        ),
        (
            "WARNING worker_failed (worker 2, slot 0, generation 1, pid 1002): "
            "killed by SIGSEGV; another one starts in 0.27 s [SIGSEGV]"
        ),
        (
            "WARNING worker_failed (worker 3, slot 0, generation 1, pid 1003): "
            "exit code 1; another one starts in 0.51 s [exit_1]"
        ),
        (
            "ERROR crash_loop (slot 0): 3 workers in a row died while they "
            "served, the last one: exit code 1; others are tried, with pauses "
            "of up to 30 s [serving]"
        ),
        (
            "WARNING worker_failed (worker 4, slot 0, generation 1, pid 1004): "
            "killed by SIGKILL; another one starts in 0.82 s [SIGKILL]"
        ),
        (
            "INFO recovered (worker 5, slot 0, generation 1, pid 1005): it has "
            "served for 10 s: its slot fails no more"
        ),
    ],
    "a worker does not get ready": [
        BOOTED,
        (
            "WARNING worker_failed (worker 1, slot 0, generation 1, pid 1001): "
            "killed by SIGKILL; another one starts at once [SIGKILL]"
        ),
        (
            "WARNING worker_failed (worker 2, slot 0, generation 1, pid 1002): "
            "killed by SIGKILL; another one starts in 0.27 s [SIGKILL]"
        ),
    ],
    "a reload": [
        BOOTED,
        "INFO reloading: loading generation 2: asked for by SIGHUP",
        (
            "INFO reloaded: generation 2 serves in every slot; generation 1 is "
            "kept for 2 s at most, and comes back if this one fails"
        ),
    ],
    "a reload whose code does not import": [
        BOOTED,
        "INFO reloading: loading generation 2: asked for by SIGHUP",
        (
            "ERROR reload_failed: generation 2 was not taken, 1 goes on: exit "
            "code 4: the app could not be imported"
        ),
    ],
    "a reload whose first worker dies": [
        BOOTED,
        "INFO reloading: loading generation 2: asked for",
        (
            "ERROR reload_failed: generation 2 was not taken, 1 goes on: "
            "worker=3 slot=0 gen=2 pid=1003: exit code 1: boom"
        ),
        (
            "WARNING worker_failed (worker 3, slot 0, generation 2, pid 1003): "
            "exit code 1: boom; the reload fails by it [exit_1]"
        ),
    ],
    "new code fails while it is held": [
        BOOTED,
        "INFO reloading: loading generation 2: asked for",
        (
            "INFO reloaded: generation 2 serves in every slot; generation 1 is "
            "kept for 2 s at most, and comes back if this one fails"
        ),
        (
            "ERROR rolling_back: generation 2 fails, going back to 1: worker=3 "
            "slot=0 gen=2 pid=1003: killed by SIGSEGV"
        ),
        (
            "WARNING worker_failed (worker 3, slot 0, generation 2, pid 1003): "
            "killed by SIGSEGV; the reload fails by it [SIGSEGV]"
        ),
    ],
    "a first boot fails": [
        (
            "ERROR boot_failed: the app did not start, so the service ends: "
            "exit code 4: the app could not be imported"
        ),
    ],
    "a first boot fails in a worker": [
        (
            "ERROR boot_failed: the app did not start, so the service ends: "
            "worker=1 slot=0 gen=1 pid=1001: exit code 3: the app failed to "
            "start"
        ),
    ],
    "a first boot in development waits": [
        (
            "ERROR boot_waits: exit code 4: the app could not be imported; "
            "waiting for a change of the code"
        ),
    ],
    "orders": [
        BOOTED,
        "INFO scaled: asked for by SIGTTIN: from 2 to 3 workers [asked]",
        "INFO scaled: asked for by pid 7: from 3 to 2 workers [asked]",
        (
            "INFO recycling (worker 1, slot 0, generation 1, pid 1001): asked "
            "for by pid 7: its successor starts, then it drains [asked]"
        ),
        (
            "WARNING recycle_refused: slot 9 is not in use: there is no worker "
            "to replace"
        ),
    ],
    "it is parked and comes back": [
        BOOTED,
        (
            "INFO parked: asked for by pid 7: the workers drain, connections "
            "wait until `resume` or HUP"
        ),
        "INFO resumed: asked for by pid 7: a worker starts in each slot",
        ("INFO reloading: loading generation 2: what forked the workers is gone"),
    ],
    "a worker is blocked for too long": [
        BOOTED,
        (
            "WARNING worker_failed (worker 1, slot 0, generation 1, pid 1001): "
            "its loop has stood still for 30.0 s (--timeout); another one "
            "starts at once [blocked]"
        ),
    ],
    "a worker is blocked for a while": [
        BOOTED,
        (
            "INFO unblocked (worker 1, slot 0, generation 1, pid 1001): its "
            "loop goes on, after 3.0 s"
        ),
    ],
    "workers are recycled by their age and requests": [
        BOOTED,
        (
            "INFO recycling (worker 1, slot 0, generation 1, pid 1001): served "
            "11 requests (--max-requests): its successor starts, then it drains"
            " [requests]"
        ),
    ],
    "a worker misbehaves": [
        BOOTED,
        (
            "WARNING worker_failed (worker 1, slot 0, generation 1, pid 1001): "
            "it misbehaved: it lies; another one starts at once [misbehaved]"
        ),
    ],
    "a forkserver misbehaves": [
        BOOTED,
        ("INFO reloading: loading generation 2: what forked the workers is gone"),
    ],
    "a stop that takes too long": [
        BOOTED,
        (
            "INFO stopping: asked for by SIGTERM: what is in flight has 30 s, "
            "then it is cut"
        ),
    ],
    "a quick stop during a reload": [
        BOOTED,
        "INFO reloading: loading generation 2: asked for",
        (
            "INFO stopping: asked for by SIGINT: what is in flight has 1 s, "
            "then it is cut"
        ),
    ],
    "the kernel has no memory left": [
        BOOTED,
        (
            "INFO stopping: the kernel has killed a worker: out of memory "
            "(--exit-on-oom): what is in flight has 30 s, then it is cut"
        ),
    ],
}


@pytest.mark.parametrize("name", LIVES)
def test_each_event_is_told_whole(name: str) -> None:
    driver = LIVES[name]()
    assert [say(each) for each in only(ReportStatus, driver.log)] == REPORTS[name]
