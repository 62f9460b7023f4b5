import pytest

from blazeio_supervisor.fleet.actions import (
    ReloadEnded,
    ReloadUndone,
    ReportStatus,
    Spawn,
    StartForkserver,
    StopForkserver,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.facts import (
    Beat,
    ForkserverExited,
    ForkserverReady,
    ReloadAsked,
    ScaleAsked,
)
from tests.supervisor.fleet.driver import Driver, deeds, events, one, only


def fleet(slots: int = 2, **policy: object) -> Driver:
    return Driver(slots, **policy).start()


# The way forward


def test_reload_starts_a_fresh_forkserver_and_touches_nothing() -> None:
    assert deeds(fleet().reload()) == [StartForkserver(2, 1)]


def test_it_is_answered_when_all_slots_are_replaced_and_the_way_back_is_held() -> None:
    driver = fleet(slots=3)
    driver.reload_until_holding(ticket=8)
    assert driver.generations == [2, 2, 2]
    ended = one(ReloadEnded, driver.log)
    assert ended == ReloadEnded((8,), 2, True, way_back_s=2.0)
    assert events(driver.log)[-1] == "reloaded"
    assert driver.phase == "holding"
    assert deeds(driver.wait(1.9)) == []
    assert driver.wait(0.2) == [StopForkserver(1)]
    assert driver.phase == "idle"


def test_without_a_hold_no_way_back_is_promised() -> None:
    driver = fleet(slots=1, hold_s=0.0)
    driver.reload_until_holding()
    assert one(ReloadEnded, driver.log).way_back_s == 0.0
    assert driver.phase == "idle"
    assert said(driver, "reloaded") == ["generation 2 serves in every slot"]


def test_without_the_old_forkserver_no_way_back_is_promised() -> None:
    driver = rolled_to_slot_1()
    driver.exit_forkserver(1, -9)
    driver.serve(6)
    assert one(ReloadEnded, driver.log).way_back_s == 0.0
    assert said(driver, "reloaded") == ["generation 2 serves in every slot"]


def said(driver: Driver, event: str) -> list[str]:
    reports = only(ReportStatus, driver.log)
    return [report.text for report in reports if report.event == event]


def test_after_the_last_slot_there_is_a_least_hold_whatever_was_proven() -> None:
    driver = fleet(slots=1, least_hold_s=0.25)
    driver.reload()
    driver.serve(driver.load(2).worker)
    driver.ready[2] = Beat(2, 0.0, requests=300)
    driver.wait(0.3)
    assert driver.phase == "holding"
    driver.wait(0.15)
    assert driver.phase == "holding"
    driver.wait(0.15)
    assert driver.phase == "idle"


def test_reload_after_reload_counts_generations_on() -> None:
    driver = fleet(slots=1)
    driver.reload_until_holding()
    driver.wait(2.1)
    driver.exit_forkserver(1)
    assert StartForkserver(3, 1) in driver.reload()


def test_next_reload_waits_until_the_last_forkserver_is_gone() -> None:
    driver = fleet(slots=1)
    driver.reload_until_holding()
    driver.wait(2.1)
    assert only(StartForkserver, driver.reload(2)) == []
    assert driver.exit_forkserver(1) == [StartForkserver(3, 2)]


def test_dead_slot_gets_the_old_code_while_the_canary_is_tried() -> None:
    driver = fleet()
    driver.reload()
    driver.load(2)
    assert one(Spawn, driver.exit(2, 1)).generation == 1


def test_dead_slot_gets_the_new_code_while_rolling() -> None:
    driver = fleet(slots=3)
    driver.reload_until_rolling()
    assert one(Spawn, driver.exit(3, 1)) == Spawn(6, 2, 2)


def test_old_code_that_still_boots_is_ended_when_rolling_begins() -> None:
    driver = fleet()
    driver.reload()
    canary = driver.load(2)
    booting = one(Spawn, driver.exit(2, 1))
    driver.fork(booting.worker)
    driver.serve(canary.worker)
    actions = driver.wait(2.1)
    assert StopWorker(booting.worker, StopMode.TERM) in actions
    assert only(Spawn, actions)[-1].generation == 2


# What fails before any old worker was touched


def failed_import(driver: Driver) -> list[object]:
    return [*driver.tell(ForkserverExited(2, 1, "SyntaxError: bad"))]


def failed_canary_boot(driver: Driver) -> list[object]:
    driver.load(2)
    driver.fork(3)
    return [*driver.exit(3, 3, "on_start raised")]


def failed_canary_hold(driver: Driver) -> list[object]:
    driver.load(2)
    driver.serve(3)
    return [*driver.wait(1.0), *driver.exit(3, -11)]


def canary_never_ready(driver: Driver) -> list[object]:
    driver.load(2)
    driver.fork(3)
    return [*driver.wait(60.6)]


def import_never_ends(driver: Driver) -> list[object]:
    return [*driver.wait(60.6)]


def dead_forkserver_after_import(driver: Driver) -> list[object]:
    driver.load(2)
    return [*driver.exit_forkserver(2, -9)]


@pytest.mark.parametrize(
    ("fail", "reason"),
    [
        (failed_import, "exit code 1: SyntaxError: bad"),
        (failed_canary_boot, "exit code 3: on_start raised"),
        (failed_canary_hold, "killed by SIGSEGV"),
        (
            canary_never_ready,
            "not ready within 60 s (--boot-timeout); event=boot_slow says where",
        ),
        (
            import_never_ends,
            "not ready within 60 s (--boot-timeout); event=boot_slow says where",
        ),
        (dead_forkserver_after_import, "killed by SIGKILL"),
    ],
)
def test_failure_of_the_canary_leaves_every_old_worker_untouched(
    fail: object, reason: str
) -> None:
    driver = fleet()
    driver.reload(ticket=6)
    assert callable(fail)
    actions = fail(driver)
    ended = one(ReloadEnded, actions)
    assert (ended.tickets, ended.is_ok) == ((6,), False)
    assert ended.is_reported  # by an event of its own
    assert ended.reason.endswith(reason)
    assert driver.owners == [1, 2]
    assert not [end for end in only(StopWorker, driver.log) if end.worker in {1, 2}]
    assert driver.slot(0).failures == 0


def test_failed_reload_stops_the_new_forkserver() -> None:
    driver = fleet()
    driver.reload()
    driver.load(2)
    driver.fork(3)
    assert StopForkserver(2) in driver.exit(3, 3)


def test_canary_failure_is_reported_and_not_held_against_the_slot() -> None:
    driver = fleet()
    driver.reload()
    failed_canary_boot(driver)
    failed = [r for r in only(ReportStatus, driver.log) if r.event == "worker_failed"]
    assert failed[0].text.endswith("; the reload fails by it")


# What fails later: all the way back


def rolled_to_slot_1(**policy: object) -> Driver:
    """Slots 0 and 1 are new (workers 4, 5), slot 2 is old, its successor boots."""
    driver = fleet(slots=3, **policy)
    driver.reload(ticket=2)
    driver.serve(driver.load(2).worker)
    driver.wait(2.1)
    driver.serve(5)
    return driver


def test_failed_successor_brings_every_slot_back() -> None:
    driver = rolled_to_slot_1()
    driver.fork(6)
    actions = driver.exit(6, 3, "out of licences")
    assert one(StopForkserver, actions).generation == 2
    assert one(Spawn, actions) == Spawn(7, 0, 1)
    driver.roll(actions)
    assert driver.generations == [1, 1, 1]
    ended = one(ReloadEnded, driver.log)
    assert not ended.is_ok
    assert ended.reason.endswith("out of licences; rolled back")
    assert driver.owners[2] == 3


def test_rollback_never_drains_before_the_old_code_serves_again() -> None:
    driver = rolled_to_slot_1()
    driver.fork(6)
    driver.exit(6, 3)
    assert only(StopWorker, driver.fork(7)) == []
    assert only(StopWorker, driver.get_ready(7)) == [StopWorker(4, StopMode.DRAIN)]


def test_old_code_that_fails_on_the_way_back_is_respawned_like_any_other() -> None:
    driver = rolled_to_slot_1()
    driver.fork(6)
    driver.exit(6, 3)
    assert (one(Spawn, driver.exit(3, -11)).slot, driver.phase) == (2, "rolling_back")
    driver.fork(7)
    driver.exit(7, -11)
    assert driver.phase == "rolling_back"
    assert only(ReloadEnded, driver.log) == []


def test_rollback_ends_the_successor_that_boots() -> None:
    driver = rolled_to_slot_1()
    driver.fork(6)
    assert StopWorker(6, StopMode.TERM) in driver.exit(5, 1)
    assert driver.generations[1] == 1


def test_worker_that_dies_while_held_brings_every_slot_back() -> None:
    driver = fleet(slots=2)
    driver.reload_until_holding()
    driver.wait(1.0)
    actions = driver.exit(4, -11)
    spawns = only(Spawn, actions)
    assert [(s.slot, s.generation) for s in spawns] == [(0, 1), (1, 1)]
    driver.roll(actions)
    assert driver.generations == [1, 1]


def test_who_boots_in_a_slot_that_was_opened_while_it_is_held_does_not_hang() -> None:
    driver = fleet(slots=1)
    driver.reload_until_holding()
    opened = only(Spawn, driver.tell(ScaleAsked(4)))
    assert {spawn.generation for spawn in opened} == {2}
    assert events(driver.wait(5.0)) == []
    assert driver.phase == "holding"  # one that fails would bring the old code back
    for spawn in opened:
        driver.serve(spawn.worker)
    assert driver.phase == "idle"
    assert driver.generations == [2, 2, 2, 2]


def test_a_return_after_the_answer_is_an_event_and_takes_the_settings_back() -> None:
    driver = fleet(slots=1)
    driver.reload_until_holding()
    assert one(ReloadEnded, driver.log).is_ok
    driver.roll(driver.exit(2, -11))
    assert one(ReloadUndone, driver.log).generation == 2
    (report,) = [r for r in only(ReportStatus, driver.log) if r.event == "rolled_back"]
    assert report.level == "ERROR"
    assert "generation 2 was taken back, 1 serves: " in report.text
    assert "killed by SIGSEGV" in report.text
    assert len(only(ReloadEnded, driver.log)) == 1
    assert driver.planner.state.rollout.backoff.failures == 0


def test_new_forkserver_that_dies_while_rolling_brings_every_slot_back() -> None:
    driver = rolled_to_slot_1()
    driver.roll(driver.exit_forkserver(2, -9))
    assert driver.generations == [1, 1, 1]


def test_reload_that_takes_too_long_is_rolled_back() -> None:
    driver = fleet(slots=2, rollout_timeout_s=30.0)
    driver.reload_until_rolling()
    actions = driver.wait(30)
    assert "rolling_back" in events(actions)
    driver.roll(actions)
    assert one(ReloadEnded, driver.log).reason == (
        "not done within 30 s (--rollout-timeout): still rolling, 1 of 2 slots done; "
        "rolled back"
    )
    assert driver.generations == [1, 1]


def test_reload_whose_last_worker_is_there_is_not_too_late_while_it_is_held() -> None:
    driver = fleet(slots=2, rollout_timeout_s=3.0, canary_hold_s=2.0, hold_s=5.0)
    driver.reload_until_holding()
    driver.wait(4.0)
    assert driver.phase == "holding"
    assert driver.wait(1.1) == [StopForkserver(1)]
    assert driver.generations == [2, 2]


def test_reload_whose_import_takes_longer_than_the_whole_may_is_ended() -> None:
    driver = fleet(rollout_timeout_s=5.0)
    driver.reload()
    assert one(ReloadEnded, driver.wait(5.1)).reason == (
        "not done within 5 s (--rollout-timeout): still importing"
    )


def test_without_the_old_forkserver_there_is_no_way_back() -> None:
    driver = rolled_to_slot_1()
    driver.exit_forkserver(1, -9)
    driver.fork(6)
    actions = driver.exit(6, 3)
    reason = one(ReloadEnded, actions).reason
    assert reason.endswith("no way back: what forked the old workers is gone")
    texts = [each.text for each in actions if isinstance(each, ReportStatus)]
    assert f"generation 2 does not serve in every slot: {reason}" in texts
    driver.roll(actions)
    assert driver.generations == [2, 2, 2]


def test_old_forkserver_that_dies_on_the_way_back_ends_the_reload() -> None:
    driver = rolled_to_slot_1()
    driver.fork(6)
    driver.exit(6, 3, "boom")
    actions = driver.exit_forkserver(1, -9)
    reason = one(ReloadEnded, actions).reason
    assert "boom; the way back: killed by SIGKILL" in reason
    assert "reloading" in events(actions)
    assert driver.exit_forkserver(2) == [StartForkserver(3)]


def test_rollback_that_takes_too_long_answers_and_goes_on() -> None:
    driver = rolled_to_slot_1(rollout_timeout_s=40.0)
    driver.fork(6)
    spawn = one(Spawn, driver.exit(6, 3))
    driver.exit_forkserver(2)
    reason = one(ReloadEnded, driver.wait(41)).reason
    assert reason.endswith(
        "the way back: not done within 40 s (--rollout-timeout): still rolling back, "
        "1 of 3 slots done"
    )
    driver.roll([spawn])
    assert driver.generations == [1, 1, 1]


# Asked again


def test_second_reload_supersedes_before_the_canary_is_ready() -> None:
    driver = fleet()
    driver.reload(ticket=1)
    driver.load(2)
    driver.fork(3)
    actions = driver.reload(ticket=2)
    assert StopWorker(3, StopMode.TERM) in actions
    (report,) = [a for a in only(ReportStatus, actions) if "overtaken" in a.text]
    assert (report.event, report.generation) == ("reload_superseded", 2)
    assert driver.exit_forkserver(2) == [StartForkserver(3, 2)]
    driver.serve(driver.load(3).worker)
    driver.roll(driver.wait(2.1))
    ended = one(ReloadEnded, driver.log)
    assert ended == ReloadEnded((1, 2), 3, True, superseded=(1,), way_back_s=2.0)


def test_second_reload_supersedes_the_import_too() -> None:
    driver = fleet()
    driver.reload(ticket=1)
    actions = driver.reload(ticket=2)
    assert StopForkserver(2, StopMode.TERM) in actions
    assert driver.phase == "importing"


def test_superseded_before_its_forkserver_was_started() -> None:
    driver = fleet(slots=1)
    for ticket in (1, 2, 3):
        driver.reload(ticket)
    assert only(ReloadEnded, driver.log) == []
    assert driver.exit_forkserver(2) == [StartForkserver(4, 3)]
    ended = one(ReloadEnded, driver.exit_forkserver(4, 1))
    assert (ended.tickets, ended.superseded) == ((1, 2, 3), (1, 2))
    assert not ended.is_ok


def test_reloads_asked_later_wait_and_become_one() -> None:
    driver = fleet(slots=1)
    driver.reload_until_holding(ticket=1)
    driver.reload(ticket=2)
    driver.reload(ticket=3)
    assert one(ReloadEnded, driver.log).tickets == (1,)
    assert not driver.planner.is_held
    driver.wait(2.1)
    driver.exit_forkserver(1)
    driver.serve(driver.load(3).worker)
    assert one(ReloadEnded, driver.wait(5)).tickets == (2, 3)


def test_reload_waits_once_the_canary_is_ready() -> None:
    driver = fleet()
    driver.reload(ticket=1)
    driver.serve(driver.load(2).worker)
    assert driver.reload(ticket=2) == []


def test_reloads_asked_in_one_turn_share_one() -> None:
    driver = fleet()
    actions = driver.tell(ReloadAsked(1), ReloadAsked(2))
    assert deeds(actions) == [StartForkserver(2, 2)]


# A forkserver that dies unasked


def test_forkserver_that_dies_is_replaced_through_a_canary() -> None:
    driver = fleet()
    assert driver.exit_forkserver(1, -9)[-1] == StartForkserver(2)
    driver.serve(driver.load(2).worker)
    driver.roll(driver.wait(2.1))
    driver.wait(2.1)
    assert (driver.generations, driver.phase) == ([2, 2], "idle")
    assert only(ReloadEnded, driver.log) == []


def test_dead_slot_waits_for_the_new_forkserver() -> None:
    driver = fleet()
    driver.exit_forkserver(1, -9)
    assert only(Spawn, driver.exit(2, 1)) == []
    canary = driver.load(2)
    driver.serve(canary.worker)
    assert only(Spawn, driver.wait(2.1))[0].generation == 2


def test_replacement_of_a_dead_forkserver_backs_off_when_it_fails() -> None:
    driver = fleet(backoff_jitter=0.0)
    driver.exit_forkserver(1, -9)
    assert StartForkserver(3) in driver.exit_forkserver(2, 1)
    assert only(StartForkserver, driver.exit_forkserver(3, 1)) == []
    assert only(StartForkserver, driver.wait(0.24)) == []
    assert only(StartForkserver, driver.wait(0.02)) == [StartForkserver(4)]


def test_reload_asked_meanwhile_does_not_wait_for_the_backoff() -> None:
    driver = fleet(backoff_jitter=0.0)
    driver.exit_forkserver(1, -9)
    driver.exit_forkserver(2, 1)
    driver.exit_forkserver(3, 1)
    assert StartForkserver(4, 1) in driver.reload()


def test_late_words_of_an_unknown_forkserver_are_ignored() -> None:
    driver = fleet()
    assert driver.tell(ForkserverReady(9), ForkserverExited(9, 0)) == []


def test_one_slot_at_a_time_gets_a_successor() -> None:
    driver = Driver(slots=4).start()
    assert len(only(Spawn, driver.reload_until_rolling())) == 1


def test_old_worker_drains_only_when_its_successor_serves() -> None:
    driver = Driver(slots=2).start()
    successor = only(Spawn, driver.reload_until_rolling())[0]
    assert only(StopWorker, driver.fork(successor.worker)) == []
    assert StopWorker(2, StopMode.DRAIN) in driver.get_ready(successor.worker)


def test_next_slot_does_not_wait_for_the_drain() -> None:
    driver = Driver(slots=3).start()
    successor = only(Spawn, driver.reload_until_rolling())[0]
    actions = driver.serve(successor.worker)
    assert [spawn.slot for spawn in only(Spawn, actions)] == [2]


def test_successor_takes_over_when_the_owner_dies_first() -> None:
    driver = Driver(slots=2).start()
    successor = only(Spawn, driver.reload_until_rolling())[0]
    driver.fork(successor.worker)
    assert only(Spawn, driver.exit(2, 1)) == []
    assert driver.owners[1] == successor.worker
