from collections.abc import Callable
from random import Random

import pytest
from msgspec.structs import replace

from blazeio_supervisor.fleet.actions import (
    Exit,
    ReportStatus,
    Spawn,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.context import Failure, PlanContext
from blazeio_supervisor.fleet.facts import (
    Fact,
    ForkserverExited,
    ForkserverReady,
    ParkAsked,
    RecycleAsked,
    StartAsked,
    StopAsked,
    WorkerExited,
)
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.roster import (
    ForkserverHandle,
    Roster,
    Slot,
    WorkerHandle,
)
from tests.supervisor.fleet.driver import Driver, events, one, only


def test_no_deadline_before_the_first_turn() -> None:
    assert Planner(Policy(), 2).next_deadline_at() is None


def test_turn_without_facts_is_allowed() -> None:
    planner = Planner(Policy(), 2)
    assert planner.plan([], 5.0) == []
    assert planner.next_deadline_at() == 6.0


def test_at_least_one_slot() -> None:
    assert len(Planner(Policy(), 0).snapshot().slots) == 1


def test_same_facts_give_the_same_actions() -> None:
    def run(rng: Random | None) -> list[object]:
        planner = Planner(Policy(), 3, rng)
        found: list[object] = []
        story: list[list[Fact]] = [
            [StartAsked()],
            [ForkserverReady(1)],
            [WorkerExited(1, 1)],
        ]
        for facts in story:
            found += planner.plan(facts, 1.0)
        return found

    assert run(None) == run(None)
    assert run(Random(5)) == run(Random(5))


def test_without_a_source_of_chance_each_planner_draws_the_same() -> None:
    def draw() -> list[float]:
        planner = Planner(Policy(), 3)
        planner.plan([StartAsked()], 1.0)
        planner.plan([ForkserverReady(1)], 1.0)
        return [each.chance for each in planner.state.roster.workers.values()]

    assert draw() == draw()
    assert len(set(draw())) == 3


def test_many_facts_in_one_turn_are_taken_in_order() -> None:
    planner = Planner(Policy(), 1)
    facts: list[Fact] = [StartAsked(), StopAsked(), ForkserverExited(1, 0)]
    assert one(Exit, planner.plan(facts, 1.0)).code == 0


def test_void_turn_asks_for_the_next_one_soon_but_not_at_once() -> None:
    driver = Driver(slots=2).start()
    driver.sleep_through(30)
    due = driver.planner.next_deadline_at()
    assert due is not None
    assert 0.04 < due - driver.now < 0.06


def test_void_turn_in_which_a_deadline_has_passed_is_no_exception() -> None:
    driver = Driver(slots=1, grace_s=5.0).start()
    driver.tell(StopAsked())
    driver.wait(4.9)
    driver.sleep_through(30)
    due = driver.planner.next_deadline_at()
    assert due is not None
    assert 0.04 < due - driver.now < 0.06
    assert StopWorker(1, StopMode.TERM) in driver.wait(0.1)


def rest(driver: Driver) -> Driver:
    for worker, beat in driver.ready.items():
        driver.ready[worker] = replace(beat, rests=True)
    driver.wait(1.0)
    assert driver.planner.is_at_rest
    return driver


@pytest.mark.parametrize("end", [ParkAsked(), StopAsked()])
def test_who_parks_or_stops_is_not_at_rest(end: Fact) -> None:
    driver = rest(Driver(slots=2).start())
    driver.tell(end)
    assert not driver.planner.is_at_rest


@pytest.mark.parametrize("drain_delay_s", [0.0, 5.0])
def test_who_stops_is_not_parked_any_more(drain_delay_s: float) -> None:
    driver = Driver(slots=1, drain_delay_s=drain_delay_s).start()
    driver.tell(StopAsked())
    assert events(driver.tell(ParkAsked())) == []
    assert not driver.planner.snapshot().is_parked


def test_how_much_memory_is_free_is_asked_for_while_workers_are_replaced() -> None:
    driver = Driver(slots=2).start()
    assert not driver.planner.wants_memory
    driver.tell(RecycleAsked(0))
    assert driver.planner.wants_memory
    driver.serve(3)
    driver.exit(1)
    assert not driver.planner.wants_memory
    driver.reload()
    assert driver.planner.wants_memory
    assert Driver(slots=2, most_workers=4).planner.wants_memory


# What must be over before an upgrade


def begin(driver: Driver) -> None:
    """Nothing has happened yet."""


def leave(driver: Driver) -> None:
    driver.start().tell(StopAsked())


def hold(driver: Driver) -> None:
    driver.start().reload_until_holding()


@pytest.mark.parametrize(
    ("live", "policy", "reason"),
    [
        (begin, {}, "the service has not started yet"),
        (Driver.start, {}, ""),
        (lambda driver: driver.start().reload(), {}, "a reload is under way"),
        (hold, {}, "the code before the last reload is still kept"),
        (leave, {}, "the service is stopping"),
        (leave, {"drain_delay_s": 5.0}, "the service is stopping"),
    ],
)
def test_why_no_upgrade_may_begin(
    live: Callable[[Driver], object], policy: dict[str, float], reason: str
) -> None:
    driver = Driver(slots=2, **policy)
    live(driver)
    assert driver.planner.why_not_upgrade() == reason


def test_idle_fleet_does_nothing() -> None:
    driver = Driver(slots=2).start()
    driver.wait(1)
    assert driver.wait(300) == []


def test_deadline_moves_with_the_duties() -> None:
    driver = Driver(slots=1, backoff_jitter=0.0, tick_every_s=100.0).start()
    driver.exit(1, 1)
    driver.fork(2)
    driver.exit(2, 1)
    due = driver.planner.next_deadline_at()
    assert due is not None
    assert 0.24 < due - driver.now <= 0.2501
    assert only(Spawn, driver.wait(0.26)) != []


def context() -> PlanContext:
    return PlanContext(10.0, 10.0, False, Policy(), Roster.with_slots(1), Random(1))


def test_the_earliest_wish_to_wake_wins() -> None:
    it = context()
    for at in (30.0, 20.0, 40.0):
        it.wake(at)
    assert it.due_at == 20.0


@pytest.mark.parametrize(
    ("at", "is_void", "has_come"),
    [(9.0, False, True), (10.0, False, True), (10.5, False, False), (9.0, True, False)],
)
def test_a_time_has_come_unless_the_turn_is_void(
    at: float, is_void: bool, has_come: bool
) -> None:
    it = context()
    it.is_void = is_void
    assert it.has_come(at) is has_come
    assert it.due_at == at


def test_a_report_says_of_what_it_is() -> None:
    it = context()
    worker = WorkerHandle(3, 1, 2, 0.0, None, pid=77)
    for of in (worker, ForkserverHandle(2, None), Slot(1), None):
        it.report("said", "text", "WARNING", of=of, reason="word")
    told: list[dict[str, int]] = [
        {"worker": 3, "slot": 1, "generation": 2, "pid": 77},
        {"generation": 2},
        {"slot": 1},
        {},
    ]
    assert it.actions == [
        ReportStatus("said", "text", "WARNING", reason="word", **whom) for whom in told
    ]


def test_a_failure_has_a_sentence_and_a_word() -> None:
    worker, forkserver = WorkerHandle(3, 1, 2, 0.0, None), ForkserverHandle(2, None)
    late, dead = Failure(worker, "it is late"), Failure(forkserver, "it is gone", -9)
    assert late.sentence == "worker=3 slot=1 gen=2 pid=-: it is late"
    assert dead.sentence == "it is gone"
    assert (late.word, dead.word) == ("late", "SIGKILL")


def test_reports_keep_their_place_among_the_actions() -> None:
    it = context()
    it.report("ready", "serving")
    assert it.actions == [ReportStatus("ready", "serving", "INFO")]
