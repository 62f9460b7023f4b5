import pytest

from blazeio_supervisor.fleet.actions import Notify, Stage
from blazeio_supervisor.fleet.facts import (
    ForkserverExited,
    ForkserverReady,
    ParkAsked,
    ReloadAsked,
    StartAsked,
    StopAsked,
    WorkerExited,
)
from blazeio_supervisor.fleet.lifecycle import (
    EXTEND_EVERY_S,
    EXTEND_S,
    RATE_OVER_S,
)
from tests.supervisor.fleet.driver import Driver


def stages(driver: Driver) -> list[Stage]:
    return [notice.stage for notice in driver.notices if notice.stage is not None]


def statuses(driver: Driver) -> list[str]:
    return [n.status for n in driver.notices if n.status is not None]


def extensions(driver: Driver) -> list[float]:
    return [n.extend_s for n in driver.notices if n.extend_s is not None]


def boot(driver: Driver) -> list[int]:
    driver.tell(StartAsked())
    driver.tell(ForkserverReady(1))
    return [1, 2]


def test_nothing_is_told_before_the_start() -> None:
    driver = Driver(2)
    driver.wait(1)
    assert driver.notices == []


def test_it_is_ready_with_the_first_worker() -> None:
    driver = Driver(2)
    first, _ = boot(driver)
    assert stages(driver) == []
    driver.serve(first)
    assert stages(driver) == [Stage.READY]


def test_it_is_ready_with_the_last_worker_when_asked_to_wait() -> None:
    driver = Driver(2, ready="all")
    first, second = boot(driver)
    driver.serve(first)
    assert stages(driver) == []
    driver.serve(second)
    assert stages(driver) == [Stage.READY]


def test_who_has_to_wait_for_all_is_ready_once() -> None:
    driver = Driver(2, ready="all").start()
    driver.tell(WorkerExited(1, -9))
    assert stages(driver) == [Stage.READY]


def test_a_reload_is_told_from_its_begin_to_its_end() -> None:
    driver = Driver(2).start()
    driver.reload_until_holding()
    assert stages(driver) == [Stage.READY, Stage.RELOADING, Stage.READY]
    driver.wait(driver.policy.hold_s + 0.1)
    assert stages(driver) == [Stage.READY, Stage.RELOADING, Stage.READY]
    assert statuses(driver)[-1] == "2/2 workers, gen 2, 0 requests/s"


def test_each_step_of_a_reload_is_shown() -> None:
    driver = Driver(2).start()
    rolling = driver.reload_until_rolling()
    driver.fork(4)
    driver.exit(4, 1)
    driver.roll(rolling)
    steps = [status.partition("; ")[2] for status in statuses(driver)]
    assert [step for step in dict.fromkeys(steps) if step] == [
        "reload to gen 2: importing",
        "reload to gen 2: canary",
        "reload to gen 2: probation",
        "reload to gen 2: rolling",
        "reload to gen 2: rolling back",
    ]


def test_a_reload_that_fails_says_why_until_one_succeeds() -> None:
    driver = Driver(2).start()
    driver.tell(ReloadAsked(1))
    driver.tell(ForkserverExited(2, 3, "SyntaxError"))
    assert stages(driver)[-2:] == [Stage.RELOADING, Stage.READY]
    assert "the last reload failed: " in statuses(driver)[-1]
    assert statuses(driver)[-1].endswith("SyntaxError")
    driver.roll(driver.reload_until_rolling(2))
    driver.wait(driver.policy.hold_s + 0.1)
    assert statuses(driver)[-1] == "2/2 workers, gen 3, 0 requests/s"


def test_the_steps_of_a_boot_are_shown() -> None:
    driver = Driver(2).start()
    assert statuses(driver) == [
        "starting: 0/2 workers, gen 1",
        "1/2 workers, gen 1, 0 requests/s",
        "2/2 workers, gen 1, 0 requests/s",
    ]


def test_the_rate_is_shown_when_it_has_changed() -> None:
    driver = Driver(1).start()
    driver.wait(RATE_OVER_S + 0.1)
    told = len(driver.notices)
    beat = driver.ready[1]
    driver.ready[1] = type(beat)(1, 0.0, requests=6015)
    driver.wait(RATE_OVER_S - 1)
    assert len(driver.notices) == told
    driver.wait(1.1)
    assert statuses(driver)[-1] == "1/1 workers, gen 1, 1,203 requests/s"


def test_the_end_is_told_once_and_shows_who_is_left() -> None:
    driver = Driver(2).start()
    driver.tell(StopAsked())
    driver.exit(1)
    driver.exit(2)
    driver.exit_forkserver(1)
    assert stages(driver) == [Stage.READY, Stage.STOPPING]
    assert statuses(driver)[-2:] == [
        "draining: workers left 1, requests in flight 0",
        "draining: workers left 0, requests in flight 0",
    ]


def test_a_service_that_leaves_is_stopping_already() -> None:
    driver = Driver(1, drain_delay_s=5.0).start()
    driver.tell(StopAsked())
    assert stages(driver)[-1] is Stage.STOPPING
    assert statuses(driver)[-1].startswith("leaving: ")


def test_a_failed_first_boot_was_never_ready() -> None:
    driver = Driver(2)
    driver.tell(StartAsked())
    driver.tell(ForkserverReady(1))
    driver.fork(1)
    driver.exit(1, 3, "no database")
    assert stages(driver) == [Stage.STOPPING]


@pytest.mark.parametrize("slow", ["boot", "reload", "end"])
def test_what_is_long_asks_for_more_time_and_again(slow: str) -> None:
    driver = Driver(1, tick_every_s=100.0)
    if slow == "boot":
        driver.tell(StartAsked())
    else:
        driver.start()
        driver.wait(1)
        driver.notices.clear()
        driver.tell(ReloadAsked(1) if slow == "reload" else StopAsked())
    due = driver.planner.next_deadline_at()
    assert due is not None
    assert due > driver.now
    driver.wait(2 * EXTEND_EVERY_S + 0.1)
    assert extensions(driver) == [EXTEND_S] * 3


def test_a_boot_that_never_ends_gets_no_more_time() -> None:
    driver = Driver(2, ready="all", boot_timeout_s=10.0)
    first, _ = boot(driver)
    driver.serve(first)
    driver.wait(21)
    driver.notices.clear()
    driver.wait(3 * EXTEND_EVERY_S)
    assert extensions(driver) == []


def test_what_serves_in_peace_is_told_nothing() -> None:
    driver = Driver(2).start()
    driver.wait(2 * RATE_OVER_S)
    driver.notices.clear()
    driver.wait(60)
    assert driver.notices == []
    assert Notify() == Notify(None, None, False, None)


def test_a_parked_service_says_so() -> None:
    driver = Driver(1).start()
    driver.tell(ParkAsked())
    driver.exit(1)
    assert statuses(driver)[-1] == "parked: 0/1 workers, gen 1; connections wait"
    assert stages(driver) == [Stage.READY]
