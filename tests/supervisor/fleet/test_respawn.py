import pytest

from blazeio_supervisor.fleet.actions import ReportStatus, Spawn
from blazeio_supervisor.fleet.facts import ScaleAsked
from tests.supervisor.fleet.driver import Driver, events, one, only


def die(driver: Driver, slot: int = 0) -> list[Spawn]:
    """Let the slot's worker die; serve its successor when it comes at once."""
    owner = driver.owners[slot]
    assert owner is not None
    return only(Spawn, driver.exit(owner, 1, "boom"))


def test_first_death_is_respawned_at_once_in_its_slot() -> None:
    driver = Driver(slots=2).start()
    assert die(driver, slot=1) == [Spawn(3, 1, 1)]


def test_second_death_in_a_row_waits() -> None:
    driver = Driver(slots=2, backoff_jitter=0.0).start()
    for spawn in die(driver):
        driver.serve(spawn.worker)
    assert die(driver) == []
    assert only(Spawn, driver.wait(0.24)) == []
    assert one(Spawn, driver.wait(0.02)).slot == 0


@pytest.mark.parametrize(
    ("status", "served_s", "is_at_once"),
    [
        (-9, 2.1, True),
        (-15, 2.1, True),
        (-9, 1.9, False),
        (-11, 2.1, False),
        (1, 2.1, False),
    ],
)
def test_who_has_served_and_is_killed_from_outside_is_respawned_at_once(
    status: int, served_s: float, is_at_once: bool
) -> None:
    driver = Driver(slots=2, backoff_jitter=0.0).start()
    crash(driver, 3)
    (spawn,) = only(Spawn, driver.wait(40))
    driver.serve(spawn.worker)
    driver.wait(served_s)
    found = only(Spawn, driver.exit(spawn.worker, status))
    assert bool(found) == is_at_once


def test_death_of_a_stable_worker_is_a_first_one_again() -> None:
    driver = Driver(slots=2).start()
    for spawn in die(driver):
        driver.serve(spawn.worker)
    driver.wait(10)
    assert len(die(driver)) == 1


def test_stable_worker_clears_the_slots_failures() -> None:
    driver = Driver(slots=2).start()
    for spawn in die(driver):
        driver.serve(spawn.worker)
    assert driver.slot(0).failures == 1
    driver.wait(11.1)
    assert driver.slot(0).failures == 0


def test_death_just_when_stable_resets_too() -> None:
    driver = Driver(slots=2, tick_every_s=50.0, stable_after_s=0.0).start()
    for spawn in die(driver):
        driver.serve(spawn.worker)
    assert len(die(driver)) == 1


def crash(driver: Driver, times: int) -> None:
    for _ in range(times):
        owner = driver.owners[0]
        if owner is None:
            owner = only(Spawn, driver.wait(40))[0].worker
        driver.fork(owner)
        driver.exit(owner, 1, "boom")


def test_crash_loop_is_reported_once_with_its_reason() -> None:
    driver = Driver(slots=2).start()
    crash(driver, 12)
    found = [r for r in only(ReportStatus, driver.log) if r.event == "crash_loop"]
    assert len(found) == 1
    assert found[0].level == "ERROR"
    assert "3 workers in a row have failed, 2 before it was ready" in found[0].text
    assert "exit code 1: boom" in found[0].text


@pytest.mark.parametrize(
    ("served", "reason", "words"),
    [
        ([False] * 3, "boot", "did not get ready"),
        ([True] * 3, "serving", "died while they served"),
        (
            [True, False, True],
            "mixed",
            "have failed, 1 before it was ready and 2 while serving",
        ),
    ],
)
def test_a_crash_loop_tells_deaths_while_serving_from_failed_starts(
    served: list[bool], reason: str, words: str
) -> None:
    driver = Driver(slots=1).start()
    spawn = one(Spawn, driver.tell(ScaleAsked(2)))
    for is_serving in served:
        if is_serving:
            driver.serve(spawn.worker)
        else:
            driver.fork(spawn.worker)
        actions = driver.exit(spawn.worker, -9) + driver.wait(2)
        spawn = only(Spawn, actions)[0]
    (found,) = [r for r in only(ReportStatus, driver.log) if r.event == "crash_loop"]
    assert (found.slot, found.reason) == (1, reason)
    assert found.text == (
        f"3 workers in a row {words}, the last one: killed by SIGKILL; others are "
        "tried, with pauses of up to 30 s"
    )


@pytest.mark.parametrize(("deaths", "said"), [(2, 0), (3, 1), (4, 1)])
def test_the_end_of_a_crash_loop_is_said_once(deaths: int, said: int) -> None:
    driver = Driver(slots=2).start()
    crash(driver, deaths)
    for spawn in only(Spawn, driver.wait(4)):
        driver.serve(spawn.worker)
    found = [r for r in only(ReportStatus, driver.wait(30)) if r.event == "recovered"]
    assert [(each.slot, each.level) for each in found] == [(0, "INFO")] * said


def test_crash_loop_never_gives_up() -> None:
    driver = Driver(slots=1).start()
    crash(driver, 30)
    assert len(only(Spawn, driver.wait(40))) == 1


def test_backoff_of_one_slot_leaves_the_others_alone() -> None:
    driver = Driver(slots=2).start()
    crash(driver, 5)
    assert len(die(driver, slot=1)) == 1


def test_each_death_is_reported_with_what_comes_next() -> None:
    driver = Driver(slots=2).start()
    owner = driver.owners[0]
    assert owner is not None
    actions = driver.exit(owner, -11)
    assert events(actions) == ["worker_failed"]
    report = one(ReportStatus, actions)
    assert report.text == "killed by SIGSEGV; another one starts at once"
    assert (report.worker, report.slot, report.pid) == (1, 0, 1001)
    assert report.reason == "SIGSEGV"


def test_snapshot_tells_the_backoff() -> None:
    driver = Driver(slots=2, backoff_jitter=0.0).start()
    crash(driver, 4)
    slot = driver.slot(0)
    assert (slot.failures, slot.owner) == (4, None)
    assert 0.9 < slot.retry_in_s <= 1.0
