import re
from random import Random

import pytest
from msgspec.structs import replace

from blazeio_supervisor.fleet.actions import (
    AdoptQueue,
    AskStack,
    DumpStack,
    ReleaseQueue,
    ReportStatus,
    Spawn,
    Steer,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.facts import Beat, RecycleAsked, ScaleAsked, Tick
from blazeio_supervisor.fleet.health import (
    LoopWatchdog,
    find_standstill,
    measure_silence_s,
)
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.roster import Roster, State, WorkerHandle
from tests.supervisor.fleet.driver import Driver, deeds, events, one, only


def block(driver: Driver, *workers: int) -> Driver:
    driver.wait(0.5)
    driver.silent |= set(workers)
    return driver


def four() -> Driver:
    return Driver(slots=4).start()


def test_fleet_that_beats_is_left_alone() -> None:
    driver = four()
    driver.wait(1.0)
    assert driver.wait(100) == []


def test_after_100_ms_new_connections_are_steered_away() -> None:
    driver = block(four(), 2)
    assert driver.wait(0.09) == []
    assert driver.wait(0.06) == [Steer((100, 0, 100, 100))]


def test_after_250_ms_its_queue_is_adopted() -> None:
    driver = block(four(), 2)
    assert only(AdoptQueue, driver.wait(0.2)) == []
    assert only(AdoptQueue, driver.wait(0.1)) == [AdoptQueue(1, 1)]


def test_after_1_s_its_stacks_are_dumped_once() -> None:
    driver = block(four(), 2)
    assert only(DumpStack, driver.wait(0.95)) == []
    dump = one(DumpStack, driver.wait(8.0))
    assert dump.worker == 2
    assert 1.0 <= dump.blocked_s < 1.1


def test_long_block_is_dumped_again_at_the_rate_limit() -> None:
    driver = block(four(), 2)
    assert len(only(DumpStack, driver.wait(22))) == 3


def test_after_30_s_it_is_dumped_terminated_and_respawned() -> None:
    driver = block(four(), 2)
    driver.wait(29.9)
    actions = driver.wait(0.2)
    assert one(StopWorker, actions) == StopWorker(2, StopMode.TERM)
    assert isinstance(actions[0], DumpStack)
    assert one(Spawn, actions).slot == 1
    assert "its loop has stood still for 30.0 s" in one(ReportStatus, actions).text


def test_who_ignores_term_is_killed() -> None:
    driver = block(four(), 2)
    assert StopWorker(2, StopMode.KILL) in driver.wait(36)


def test_without_a_timeout_nobody_is_ended() -> None:
    driver = block(Driver(slots=4, timeout_s=float("inf")).start(), 2)
    assert only(StopWorker, driver.wait(200)) == []


def test_slot_returns_after_three_good_beats() -> None:
    driver = block(four(), 2)
    driver.wait(2)
    driver.silent.clear()
    for _ in range(2):
        assert deeds(driver.tell(Tick())) == []
    actions = driver.tell(Tick())
    assert actions == [ReleaseQueue(1, 1), Steer((100, 100, 100, 100))]


def test_a_loop_that_goes_on_is_said_to_once_with_its_span() -> None:
    driver = block(four(), 2)
    driver.wait(2)
    driver.silent.clear()
    found = [r for r in only(ReportStatus, driver.wait(1)) if r.event == "unblocked"]
    assert [(each.worker, each.level) for each in found] == [(2, "INFO")]
    assert re.fullmatch(r"its loop goes on, after 2\.\d s", found[0].text)


def test_one_that_was_late_but_not_dumped_goes_on_without_a_word() -> None:
    driver = block(four(), 2)
    driver.wait(0.5)
    driver.silent.clear()
    assert only(ReportStatus, driver.wait(1)) == []


def test_one_stutter_between_good_beats_begins_the_count_anew() -> None:
    driver = block(four(), 2)
    driver.wait(2)
    driver.silent.clear()
    driver.tell(Tick())
    driver.silent.add(2)
    driver.wait(0.3)
    driver.silent.clear()
    assert deeds(driver.tell(Tick())) == []


def test_booting_worker_is_not_judged_by_its_beats() -> None:
    driver = four()
    spawn = one(Spawn, driver.exit(2, 1))
    driver.fork(spawn.worker)
    assert only(DumpStack, driver.wait(50)) == []


def test_worker_that_never_beats_is_judged_from_its_readiness() -> None:
    driver = four()
    spawn = one(Spawn, driver.exit(2, 1))
    driver.fork(spawn.worker)
    driver.wait(20)
    driver.silent.add(spawn.worker)
    driver.get_ready(spawn.worker)
    assert StopWorker(spawn.worker, StopMode.TERM) not in driver.wait(29.5)
    assert StopWorker(spawn.worker, StopMode.TERM) in driver.wait(1)


def test_canary_that_hangs_while_held_fails_the_reload() -> None:
    driver = Driver(slots=2, canary_hold_s=100.0).start()
    driver.reload()
    canary = driver.load(2)
    driver.serve(canary.worker)
    driver.silent.add(canary.worker)
    actions = driver.wait(31)
    assert "reload_failed" in events(actions)
    assert driver.owners == [1, 2]


# Each step at its very moment


def silent(*spans_s: float) -> PlanContext:
    """A turn in which as many workers serve, and have been silent for so long."""
    roster, now = Roster.with_slots(len(spans_s)), 1000.0
    for slot, silent_s in enumerate(spans_s):
        handle = WorkerHandle(slot + 1, slot, 1, 0.0, None)
        handle.state, handle.ready_at = State.SERVING, 1.0
        handle.health.beat_at = now - silent_s
        roster.workers[slot + 1] = roster.slots[slot].owner = handle
    beats = tuple(Beat(worker, now) for worker in roster.workers)
    return PlanContext(now, now, False, LADDER, roster, Random(1), beats)


def judge(
    silent_s: float, dumped_before_s: float = 99.0
) -> tuple[list[bool], list[type]]:
    """What is done about a worker of three that has been silent for so long."""
    context = silent(0.0, silent_s, 0.0)
    health = context.roster.workers[2].health
    health.dumped_at = context.now - dumped_before_s
    LoopWatchdog().run(context)
    marks = [health.is_late, health.is_avoided, health.needs_adopter]
    return marks, [type(each) for each in context.actions]


LADDER = Policy(
    steer_after_s=0.125,
    adopt_after_s=0.25,
    dump_after_s=1.0,
    dump_every_s=8.0,
    timeout_s=32.0,
)
JUST_BELOW = 1 / 1024


@pytest.mark.parametrize(
    ("since_s", "marks", "deeds"),
    [
        (0.125, [True, True, False], []),
        (0.25, [True, True, True], []),
        (1.0, [True, True, True], [DumpStack]),
        (32.0, [True, True, True], [DumpStack, AskStack, StopWorker]),
    ],
)
def test_each_step_is_taken_when_its_time_has_come_and_not_before(
    since_s: float, marks: list[bool], deeds: list[type]
) -> None:
    assert judge(since_s) == (marks, deeds)
    assert judge(since_s - JUST_BELOW) != (marks, deeds)


def test_who_boots_is_not_silent() -> None:
    booting = WorkerHandle(1, 0, 1, 0.0, None)
    assert measure_silence_s(silent(), booting) == 0.0


@pytest.mark.parametrize(
    ("hung", "slots", "hangs"),
    [
        *((0, 1, False), (1, 1, True), (1, 2, False), (2, 2, True)),
        *((2, 4, False), (3, 4, True), (2, 5, False), (3, 5, True)),
    ],
)
def test_new_code_hangs_where_more_than_half_of_the_workers_do(
    hung: int, slots: int, hangs: bool
) -> None:
    context = silent(*[32.0] * hung, *[32.0 - JUST_BELOW] * (slots - hung))
    text = f"the loops of {hung} of {slots} workers have stood still for 32 s "
    assert find_standstill(context) == (f"{text}(--timeout)" if hangs else "")
    context.is_void = True
    assert find_standstill(context) == ""


def test_stacks_are_dumped_again_when_the_time_for_it_has_come() -> None:
    assert judge(9.0, dumped_before_s=8.0)[1] == [DumpStack]
    assert judge(9.0, dumped_before_s=8.0 - JUST_BELOW)[1] == []


# It is relative


def test_most_late_at_once_is_the_machine_and_nothing_is_done() -> None:
    driver = block(four(), 1, 2, 3)
    actions = driver.wait(50)
    assert events(actions) == ["machine_late"]
    assert len(actions) == 1


def test_half_of_them_late_is_not_the_machine() -> None:
    driver = block(four(), 1, 2)
    assert only(AdoptQueue, driver.wait(1)) == [AdoptQueue(0, 3), AdoptQueue(1, 4)]


def test_excuse_ends_for_workers_that_all_block_for_good() -> None:
    driver = block(four(), 1, 2, 3, 4)
    assert only(StopWorker, driver.wait(59)) == []
    ends = only(StopWorker, driver.wait(2))
    assert {end.mode for end in ends} == {StopMode.TERM}
    assert len(ends) == 4


def test_single_worker_has_no_excuse() -> None:
    driver = block(Driver(slots=1).start(), 1)
    assert only(DumpStack, driver.wait(2)) != []
    assert StopWorker(1, StopMode.TERM) in driver.wait(29)


def test_turn_that_came_late_judges_nobody() -> None:
    driver = block(four(), 2)
    driver.wait(0.05)
    assert driver.sleep_through(60) == []


def test_machine_that_slept_ends_and_steers_nobody_when_beats_are_back() -> None:
    driver = four()
    driver.wait(0.5)
    driver.sleep_through(3600)
    assert driver.wait(10) == []


def test_worker_stopped_while_the_master_slept_gets_its_whole_timeout() -> None:
    driver = block(four(), 2)
    driver.sleep_through(60)
    assert only(StopWorker, driver.wait(29)) == []
    assert StopWorker(2, StopMode.TERM) in driver.wait(2)


def test_rounds_are_asked_for_while_somebody_serves() -> None:
    driver = four()
    due = driver.planner.next_deadline_at()
    assert due is not None
    assert due - driver.now <= driver.policy.beat_every_s


def test_who_was_not_read_is_not_judged() -> None:
    driver = block(Driver(slots=4).start(), 2)
    del driver.ready[2]
    assert driver.wait(50) == []


def test_nobody_is_judged_by_what_was_read_before_a_sleep() -> None:
    driver = block(four(), 2)
    driver.wait(29.9)
    driver.sleep_through(60)
    driver.planner.plan([RecycleAsked(-1)], driver.now + 0.01)
    driver.silent.clear()
    assert only(StopWorker, driver.wait(10)) == []


def test_round_that_was_missed_is_asked_for_again() -> None:
    driver = four()
    driver.ready.clear()
    driver.wait(0.2)
    due = driver.planner.next_deadline_at()
    assert due is not None
    assert 0 < due - driver.now <= driver.policy.beat_every_s


def test_nothing_to_judge_while_nobody_serves() -> None:
    driver = Driver(slots=1).start()
    driver.exit(1, 1)
    assert driver.wait(5) == []


def test_ready_worker_that_never_beat_climbs_the_ladder() -> None:
    driver = Driver(slots=1).start()
    spawn = one(Spawn, driver.tell(ScaleAsked(2)))
    driver.fork(spawn.worker)
    driver.get_ready(spawn.worker)  # its row is blank
    driver.silent.add(spawn.worker)
    actions = driver.wait(30.2)
    assert AdoptQueue(1, 1) in actions
    assert only(Steer, actions)[-1].weights[1] == 0
    assert one(StopWorker, actions) == StopWorker(spawn.worker, StopMode.TERM)
    assert DumpStack in [type(each) for each in actions]


# Workers that nobody asks beat once a second


def rest(driver: Driver, *workers: int) -> Driver:
    driver.wait(0.5)
    for worker in workers:
        driver.ready[worker] = replace(driver.ready[worker], rests=True)
    driver.wait(0.1)
    return driver


def count_turns(driver: Driver, seconds: float) -> int:
    end, turns = driver.now + seconds, 0
    while driver.now < end:
        due = driver.planner.next_deadline_at()
        assert due is not None
        driver.wait(min(due, end) - driver.now + 1e-6)
        turns += 1
    return turns


def test_while_all_rest_there_is_a_round_a_second() -> None:
    driver = rest(four(), 1, 2, 3, 4)
    assert driver.planner.is_at_rest
    assert count_turns(driver, 10) <= 11


def test_one_that_does_not_rest_has_all_read_as_ever() -> None:
    driver = rest(four(), 1, 2, 3)
    assert not driver.planner.is_at_rest
    assert count_turns(driver, 1) >= 19


def test_who_rests_is_late_a_second_later() -> None:
    driver = rest(four(), 2)
    driver.silent.add(2)
    assert driver.wait(1.05) == []
    assert driver.wait(0.12) == [Steer((100, 0, 100, 100))]
    assert only(AdoptQueue, driver.wait(0.2)) == [AdoptQueue(1, 1)]


def test_who_has_rested_and_blocks_at_once_is_late_as_ever() -> None:
    driver = rest(four(), 1, 2, 3, 4)
    driver.ready[2] = replace(driver.ready[2], rests=False)
    driver.wait(0.01)
    driver.tell(Tick())
    driver.silent.add(2)
    assert Steer((100, 0, 100, 100)) in driver.wait(0.2)


def test_a_beat_of_who_rests_is_good_though_it_is_old() -> None:
    driver = block(four(), 2)
    assert AdoptQueue(1, 1) in driver.wait(0.5)
    driver.wait(1.0)
    actions = []
    for _ in range(4):
        driver.ready[2] = Beat(2, driver.now - 0.9, rests=True)
        actions += driver.wait(0.1)
    assert ReleaseQueue(1, 1) in actions
