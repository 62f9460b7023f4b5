"""New code that is worse than the old is taken back, and no other."""

from bisect import bisect_left
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from blazeio_supervisor.fleet.actions import (
    ReloadEnded,
    ReloadUndone,
    ReportStatus,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.canary import (
    CHANCE,
    Counts,
    ErrorBudget,
    Lag,
    find_p95_s,
    is_no_chance,
)
from blazeio_supervisor.fleet.facts import SPAN_EDGES_S, Beat, RouteCounts
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.roster import Roster, WorkerHandle
from blazeio_supervisor.ipc.scoreboard import LATENCY_EDGES_S
from tests.supervisor.fleet.driver import Driver, events, one, only

POLICY = Policy(rollback_5xx=0.05, rollback_latency=2.0)
SPANS = len(SPAN_EDGES_S)
TOOK_S = {"fast": 0.02, "middling": 0.04, "slower": 0.1, "slow": 0.2}


def spread(**counts: int) -> tuple[int, ...]:
    """Responses by what they took: ``spread(fast=90, slow=10)``."""
    spans = [0] * SPANS
    for name, count in counts.items():
        spans[bisect_left(SPAN_EDGES_S, TOOK_S[name])] += count
    return tuple(spans)


class Trial:
    """Two old workers, 1 and 2, and a new one, 3, by what their rows say."""

    def __init__(self) -> None:
        self.roster = Roster.with_slots(2)
        for worker, generation in ((1, 1), (2, 1), (3, 2)):
            handle = WorkerHandle(worker, 0, generation, 0.0, None, ready_at=0.0)
            self.roster.workers[worker] = handle
        self.budget = ErrorBudget(generation=2, since=10.0)

    def say(self, worker: int, at: float = 0.0, **row: object) -> None:
        beat = Beat(worker, at, **{"spans": spread(), **row})  # type: ignore[arg-type]
        self.roster.workers[worker].health.beat = beat

    def judge(self, policy: Policy = POLICY) -> str:
        self.budget.take(self.roster)
        return self.budget.judge(policy, 12.0)


def judge_errors(new: tuple[int, int], old: tuple[int, int], **policy: object) -> str:
    """The verdict on answers and errors of the new code and of the old."""
    trial = Trial()
    trial.say(1, requests=5000)
    trial.judge()
    trial.say(1, requests=5000 + old[0], errors=old[1])
    trial.say(3, requests=new[0], errors=new[1])
    return trial.judge(replace(POLICY, **policy))


def test_the_buckets_are_those_of_the_scoreboard() -> None:
    assert LATENCY_EDGES_S[1:] == SPAN_EDGES_S


@pytest.mark.parametrize(
    ("new", "old", "is_worse"),
    [
        ((50, 10), (450, 0), True),
        ((100, 20), (300, 0), True),
        ((100, 20), (300, 60), False),  # it befalls both
        ((100, 3), (300, 0), False),  # within the budget
        ((49, 49), (300, 0), False),  # too few to say
        ((50, 4), (60, 0), False),  # above it, and chance
        ((50, 50), (0, 0), True),
        ((10_000, 700), (10_000, 100), True),
        ((10_000, 500), (10_000, 100), False),
        # One error more and two answers more than the old code had are expected.
        ((100, 13), (50, 0), True),
        ((100, 12), (50, 0), False),
        ((60, 18), (60, 3), True),
        ((60, 17), (60, 3), False),
    ],
)
def test_more_5xx_than_the_budget_allows_are_worse(
    new: tuple[int, int], old: tuple[int, int], is_worse: bool
) -> None:
    assert bool(judge_errors(new, old)) == is_worse
    assert judge_errors(new, old, rollback_5xx=None) == ""


def test_it_is_said_over_which_time() -> None:
    trial = Trial()
    trial.say(1, requests=100)
    trial.say(3, requests=100, errors=100)
    trial.budget.take(trial.roster)
    assert trial.budget.judge(POLICY, 10.2).endswith(", within 0.2 s")


def test_errors_of_the_old_code_count_in_what_is_added_up() -> None:
    trial = Trial()
    trial.say(1, requests=1000, errors=300)
    trial.judge()
    trial.say(1, requests=2000, errors=400)  # a tenth, meanwhile
    trial.say(3, requests=1000, errors=250)
    assert "25.0% of 1000 answers, 10.0% of 1000 of the old code" in trial.judge()


def test_exactly_as_many_as_the_budget_allows_are_not_worse() -> None:
    assert judge_errors((400, 40), (1000, 0), rollback_5xx=0.1) == ""
    assert judge_errors((400, 41), (1000, 0), rollback_5xx=0.1) != ""


@pytest.mark.parametrize("count", [49, 50, 51])
def test_who_answered_enough_meanwhile_is_judged_by_that_alone(count: int) -> None:
    trial = Trial()
    trial.say(1, requests=1000, errors=900)
    trial.judge()
    trial.say(1, requests=1000 + count, errors=900)
    trial.say(3, requests=100, errors=60)
    assert bool(trial.judge()) == (count >= 50)


def test_only_bounds_that_a_bucket_has_are_judged() -> None:
    """Above the last edge nobody knows how long an answer took."""
    slowest = (0,) * (SPANS - 1) + (300,)
    trial = Trial()
    trial.say(1)
    trial.judge()
    trial.say(1, requests=300, spans=slowest)
    trial.say(3, requests=300, spans=slowest)
    assert trial.judge() == ""


def test_of_none_there_is_no_p95() -> None:
    assert find_p95_s((0,) * SPANS) == 0.0
    assert find_p95_s((95, 5, *(0,) * (SPANS - 2))) == SPAN_EDGES_S[0]
    assert find_p95_s((94, 6, *(0,) * (SPANS - 2))) == SPAN_EDGES_S[1]
    assert find_p95_s((1, *(0,) * (SPANS - 1))) == SPAN_EDGES_S[0]


def test_the_share_of_none_is_none() -> None:
    assert Counts().share == 0.0
    assert Counts(4, 1).share == 0.25
    assert Lag().mean_s == 0.0


def test_as_many_as_expected_are_chance() -> None:
    assert not is_no_chance(50, 100, 0.5)
    assert is_no_chance(100, 100, 0.5)
    assert not is_no_chance(1, 1, 0.5, chance=0.5)
    assert is_no_chance(1, 1, 0.49, chance=0.5)


def test_the_figures_are_told_in_one_line() -> None:
    assert judge_errors((98, 20), (743, 1)) == (
        "5xx: 20.4% of 98 answers, 0.1% of 743 of the old code (--rollback-5xx 0.05), "
        "within 2.0 s"
    )


ORDERS, STOCK, OLD = "GET /orders in orders", "GET /stock in stock", "GET /old in old"


def name_routes(new: list[RouteCounts], old: list[RouteCounts]) -> str:
    """What is said of the routes of two workers of the old code, and of a new one."""
    trial = Trial()
    trial.say(1, requests=500, routes=tuple(old))
    trial.say(2, requests=500, routes=tuple(old))
    trial.say(3, requests=100, errors=50, routes=tuple(new))
    text = trial.judge()
    return text.partition("(--rollback-5xx 0.05)")[2].removesuffix(", within 2.0 s")


@pytest.mark.parametrize(
    ("new", "old", "said"),
    [
        ([], [], ""),
        ([RouteCounts(1, 50, 50, ORDERS)], [], f", most of them by {ORDERS}"),
        (
            [RouteCounts(1, 50, 50, ORDERS)],
            [RouteCounts(1, 400, 2)],
            f", most of them by {ORDERS}, which the old code answered",
        ),
        (
            [RouteCounts(1, 50, 50, ORDERS)],
            [RouteCounts(1, 200, 200)],
            f", most of them by {ORDERS}, as before",
        ),
        (
            [RouteCounts(1, 0, 9, OLD), RouteCounts(2, 0, 50, ORDERS)],
            [RouteCounts(1, 0, 9), RouteCounts(2, 300)],
            f", most of them by {ORDERS}, which the old code answered",
        ),
        (
            [RouteCounts(1, 0, 50, OLD), RouteCounts(2, 0, 9, ORDERS)],
            [RouteCounts(1, 0, 9), RouteCounts(2, 300)],
            f", most of them by {OLD}, as before; also {ORDERS}, which the old code "
            "answered",
        ),
        (
            [RouteCounts(1, 0, 9, STOCK), RouteCounts(2, 0, 50, ORDERS)],
            [RouteCounts(1, 300), RouteCounts(2, 300)],
            f", most of them by {ORDERS}, which the old code answered; also {STOCK}, "
            "which the old code answered",
        ),
        (  # one error may be chance
            [RouteCounts(1, 90, 1, STOCK), RouteCounts(2, 0, 50, ORDERS)],
            [RouteCounts(1, 200)],
            f", most of them by {ORDERS}",
        ),
        # Less than elsewhere is asked of a route, which decides nothing.
        (
            [RouteCounts(1, 0, 3, ORDERS)],
            [RouteCounts(1, 2)],
            f", most of them by {ORDERS}, which the old code answered",
        ),
        (
            [RouteCounts(1, 0, 3, ORDERS)],
            [RouteCounts(1, 1)],
            f", most of them by {ORDERS}",
        ),
    ],
)
def test_the_routes_that_fail_are_named_and_how_they_were_before(
    new: list[RouteCounts], old: list[RouteCounts], said: str
) -> None:
    assert name_routes(new, old) == said


def test_few_routes_are_named() -> None:
    failing = [RouteCounts(each, 0, 10, f"route {each}") for each in range(9)]
    text = name_routes(failing, [RouteCounts(each, 300) for each in range(9)])
    assert text == (
        ", most of them by route 0, which the old code answered; also route 1, "
        "route 2, which the old code answered"
    )


def test_who_answered_too_little_meanwhile_counts_with_its_whole_life() -> None:
    trial = Trial()
    trial.say(1, requests=1000, errors=300)
    trial.judge()
    trial.say(1, requests=1010, errors=300)
    trial.say(3, requests=100, errors=30)
    assert trial.judge() == ""
    trial.say(3, requests=100, errors=80)
    assert "29.7% of 1010 of the old code" in trial.judge()


def test_a_worker_that_is_gone_still_counts() -> None:
    trial = Trial()
    trial.say(2, requests=0)
    trial.say(1, requests=1000)
    trial.judge()
    trial.say(1, requests=1500, errors=200)
    trial.judge()
    del trial.roster.workers[1]
    trial.say(3, requests=100, errors=40)
    assert trial.judge() == ""


@pytest.mark.parametrize(
    ("new", "old", "is_worse"),
    [
        (spread(fast=80, slow=20), spread(fast=300), True),
        (spread(fast=95, slow=5), spread(fast=300), False),
        (spread(fast=190, slow=10), spread(fast=300), False),
        (spread(fast=80, slow=20), spread(fast=270, slow=30), False),
        (spread(fast=80, slower=20), spread(fast=300), True),
        (spread(fast=80, middling=20), spread(fast=300), False),  # less than twice
        (spread(fast=80, slow=20), spread(fast=50), True),
        (spread(fast=80, slow=20), spread(fast=49), False),
        (spread(slow=40), spread(fast=300), False),  # too few
        (spread(slow=100), spread(fast=20), False),  # nothing to compare with
    ],
)
def test_a_p95_of_more_than_so_many_times_is_worse(
    new: tuple[int, ...], old: tuple[int, ...], is_worse: bool
) -> None:
    trial = Trial()
    trial.say(1)
    trial.judge()
    trial.say(1, requests=sum(old), spans=old)
    trial.say(3, requests=sum(new), spans=new)
    reason = trial.judge()
    assert bool(reason) == is_worse
    assert trial.judge(replace(POLICY, rollback_latency=None)) == ""
    if is_worse:
        assert reason == (
            "latency: 20.0% of 100 answers took longer than 0.05 s, 95% of the old "
            "code's no longer than 0.025 s (--rollback-latency 2), within 2.0 s"
        )


@pytest.mark.parametrize(
    ("new_s", "old_s", "is_worse"),
    [
        (0.3, 0.001, True),
        (0.3, 0.2, False),
        (0.5, 0.25, False),
        (0.09, 0.001, False),
    ],
)
def test_a_loop_that_is_late_by_more_than_so_many_times_is_worse(
    new_s: float, old_s: float, is_worse: bool
) -> None:
    trial = Trial()
    for number in range(1, 26):
        trial.say(1, at=10 + number / 20, lag_s=old_s)
        trial.say(3, at=10 + number / 20, lag_s=new_s)
        is_judged = bool(trial.judge())
        assert is_judged == (is_worse and number >= 20)
    trial.say(3, at=11.25, lag_s=new_s)
    trial.judge()
    assert trial.budget.lags[1].beats == 25  # the same beat counts once
    trial.say(3, at=11.25, requests=1000)
    assert bool(trial.judge()) == is_worse  # whatever it has answered


@given(st.lists(st.integers(0, 100), min_size=SPANS, max_size=SPANS))
def test_no_more_than_a_twentieth_is_above_the_p95(counts: list[int]) -> None:
    place = (0.0, *SPAN_EDGES_S).index(find_p95_s(tuple(counts)))
    total = sum(counts)
    assert sum(counts[place:]) <= 0.05 * total + 1e-9
    assert not total or sum(counts[place - 1 :]) >= 0.05 * total


@given(st.integers(1, 400), st.floats(0.001, 0.5))
def test_what_is_no_chance_is_rarer_than_promised(total: int, share: float) -> None:
    """The bound is above the true probability, which is summed up here."""
    term, above = (1 - share) ** total, 1.0
    for count in range(total + 1):
        if is_no_chance(count, total, share):
            assert above <= CHANCE * 1.001 + 1e-12
            return
        above -= term
        term *= (total - count) / (count + 1) * share / (1 - share)


# Many runs: what one and the same code does beside itself is chance


def simulate(seed: int, *, fails_more: float = 0.0, is_slower: float = 1.0) -> str:
    """Two seconds beside each other; return the first verdict."""
    rng, trial = Random(seed), Trial()
    error_share = rng.choice([0.0, 0.001, 0.02, 0.2])
    median_s, sigma = rng.choice([0.002, 0.02, 0.2]), rng.uniform(0.1, 1.2)
    rate, tallies = rng.choice([3, 6, 20]), {w: Counts() for w in (1, 2, 3)}
    for beat in range(40):
        for worker, counts in tallies.items():
            is_new, spans = worker == 3, list(counts.spans)
            errors, count = 0, rng.randint(0, rate)
            for number in range(count):
                span_s = median_s * rng.lognormvariate(0, sigma)
                if is_new:
                    is_cold = counts.answered + number < 5
                    span_s *= is_slower * (10 if is_cold else 1)
                errors += rng.random() < error_share + fails_more * is_new
                spans[bisect_left(SPAN_EDGES_S, span_s)] += 1
            tallies[worker] = counts = Counts(
                counts.answered + count, counts.errors + errors, tuple(spans)
            )
            trial.say(
                worker,
                at=10 + beat / 20,
                lag_s=rng.expovariate(200),
                requests=counts.answered,
                errors=counts.errors,
                spans=counts.spans,
            )
        reason = trial.judge()
        if reason:
            return reason
    return ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "seeds", [range(100), pytest.param(range(100, 1100), marks=pytest.mark.long)]
)
def test_clean_code_never_goes_back_in_many_runs(seeds: range) -> None:
    assert [seed for seed in seeds if simulate(seed)] == []


@pytest.mark.slow
def test_code_that_fails_or_is_slow_goes_back_in_each_of_100_runs() -> None:
    for seed in range(100):
        assert simulate(seed, fails_more=0.6).startswith("5xx: ")
        assert simulate(seed, is_slower=100.0)


# In a reload


def budgeted(**policy: object) -> Driver:
    driver = Driver(2, rollback_5xx=0.05, **policy).start()
    for worker in (1, 2):
        serve(driver, worker, 1000)
    driver.wait(0.1)
    driver.reload(ticket=4)
    driver.serve(driver.load(2).worker)
    driver.wait(0.1)
    return driver


def serve(driver: Driver, worker: int, requests: int, errors: int = 0) -> None:
    spans = spread(fast=requests)
    beat = Beat(worker, 0.0, requests=requests, errors=errors, spans=spans)
    driver.ready[worker] = beat


def test_beats_say_more_only_while_a_reload_is_judged() -> None:
    assert not Driver(1).start().planner.wants_spans
    driver = Driver(1, rollback_latency=2.0).start()
    assert not driver.planner.wants_spans
    driver.reload()
    assert driver.planner.wants_spans


def test_both_are_watched_from_the_moment_at_which_the_canary_serves() -> None:
    driver = Driver(1, rollback_5xx=0.05).start()
    rollout = driver.planner.state.rollout
    driver.reload()
    canary = driver.load(2)
    driver.fork(canary.worker)
    driver.wait(0.2)
    assert (driver.phase, rollout.budget) == ("canary", None)
    driver.get_ready(canary.worker)
    budget = rollout.budget
    assert budget is not None
    assert budget.since == driver.now
    driver.wait(0.2)
    assert rollout.budget is budget


def test_a_worse_canary_fails_the_reload_and_costs_no_old_worker() -> None:
    driver = budgeted()
    serve(driver, 3, 100, 20)
    actions = driver.wait(0.2)
    ended = one(ReloadEnded, actions)
    assert (ended.tickets, ended.is_ok) == ((4,), False)
    assert ended.reason.startswith("5xx: 20.0% of 100 answers")
    assert only(StopWorker, actions) == [StopWorker(3, StopMode.DRAIN)]
    assert driver.owners == [1, 2]


def test_new_code_that_grows_worse_while_slots_are_replaced_goes_back() -> None:
    driver = budgeted()
    rolling = driver.wait(2.0)
    assert driver.phase == "rolling"
    serve(driver, 3, 300, 100)
    actions = driver.wait(0.1)
    assert "rolling_back" in events(actions)
    driver.roll([*rolling, *actions])
    assert driver.generations == [1, 1]
    assert one(ReloadEnded, driver.log).reason.endswith("; rolled back")


def test_new_code_that_grows_worse_after_the_answer_is_taken_back() -> None:
    driver = budgeted()
    driver.roll(driver.wait(2.0))
    assert one(ReloadEnded, driver.log).is_ok
    serve(driver, 3, 300, 100)
    driver.roll(driver.wait(0.2))
    assert driver.generations == [1, 1]
    assert one(ReloadUndone, driver.log).generation == 2
    (report,) = [r for r in only(ReportStatus, driver.log) if r.event == "rolled_back"]
    assert "5xx: 33.3% of 300 answers" in report.text


def test_code_that_is_as_good_takes_its_way() -> None:
    driver = budgeted(rollback_latency=2.0)
    serve(driver, 3, 300)
    driver.roll(driver.wait(0.4))
    driver.wait(2.1)
    assert one(ReloadEnded, driver.log).is_ok
    assert driver.phase == "idle"
