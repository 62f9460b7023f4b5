"""Lives of a service, each driven from its boot: for tests of what is told of them."""

from collections.abc import Callable

from blazeio_supervisor.fleet.actions import Spawn
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

MIB = 1024 * 1024
Life = Callable[[], Driver]
LIVES: dict[str, Life] = {}


def life(name: str) -> Callable[[Life], Life]:
    def keep(driving: Life) -> Life:
        LIVES[name] = driving
        return driving

    return keep


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


@life("it leaves before it drains")
def live_it_leaves_before_it_drains() -> Driver:
    driver = Driver(1, drain_delay_s=5).start()
    driver.tell(StopAsked(by="SIGTERM"))
    driver.wait(6)
    return driver


@life("it is killed at once")
def live_it_is_killed_at_once() -> Driver:
    driver = Driver(2).start()
    driver.tell(StopAsked(is_quick=True, by="SIGINT"))
    driver.tell(StopAsked(is_quick=True, by="SIGINT"))
    return driver


@life("workers are recycled by their memory and age")
def live_workers_are_recycled_by_their_memory_and_age() -> Driver:
    driver = Driver(1, max_memory_bytes=MIB).start()
    driver.ready[1] = Beat(1, 0.0, memory_bytes=2 * MIB)
    driver.wait(1)
    worker = only(Spawn, driver.log)[-1].worker
    driver.serve(worker)
    driver.ready[worker] = Beat(worker, 0.0, memory_bytes=3 * MIB)
    driver.exit(1)
    driver.wait(40)
    return driver


@life("a worker grows old")
def live_a_worker_grows_old() -> Driver:
    driver = Driver(1, max_lifetime_s=10).start()
    driver.wait(11)
    return driver


@life("the machine stood still")
def live_the_machine_stood_still() -> Driver:
    driver = Driver(2).start()
    driver.sleep_through(5)
    driver.wait(1)
    driver.silent.update((1, 2))
    driver.wait(70)
    return driver


@life("a reload is given up by time")
def live_a_reload_is_given_up_by_time() -> Driver:
    driver = Driver(2).start()
    driver.reload()
    driver.wait(700)
    return driver


@life("new code is taken back whole")
def live_new_code_is_taken_back_whole() -> Driver:
    driver = Driver(2).start()
    driver.reload_until_holding()
    driver.exit(3, -11)
    for _ in range(6):
        driver.roll(driver.wait(1))
    driver.roll(driver.log[-6:])
    driver.wait(5)
    return driver


@life("more workers than may be")
def live_more_workers_than_may_be() -> Driver:
    driver = Driver(2, worker_limit=4).start()
    driver.tell(ScaleAsked(count=9, by="pid 7"))
    driver.tell(ScaleAsked(change=-9, by="pid 7"))
    return driver


@life("parking during a reload")
def live_parking_during_a_reload() -> Driver:
    driver = Driver(2).start()
    driver.reload()
    driver.tell(ParkAsked(by="pid 7"))
    driver.exit_forkserver(2, 4)
    driver.wait(1)
    return driver


@life("a reload while it is parked")
def live_a_reload_while_it_is_parked() -> Driver:
    driver = Driver(1).start()
    driver.tell(ParkAsked())
    driver.exit(1)
    driver.tell(ReloadAsked(4, by="SIGHUP"))
    driver.wait(1)
    return driver


@life("crash loop at boot")
def live_crash_loop_at_boot() -> Driver:
    driver = Driver(2).start()
    driver.exit(2, -11)
    for _ in range(4):
        worker = only(Spawn, driver.log)[-1].worker
        driver.fork(worker)
        driver.exit(worker, 3)
        driver.wait(3)
    return driver
