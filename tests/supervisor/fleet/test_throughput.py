from random import Random

from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.facts import Beat, Fact
from blazeio_supervisor.fleet.lifecycle import RATE_OVER_S, Throughput
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.roster import Roster, WorkerHandle


def context(now: float, *facts: Fact, workers: tuple[int, ...] = (1, 2)) -> PlanContext:
    roster = Roster.with_slots(2)
    for worker in workers:
        roster.workers[worker] = WorkerHandle(worker, 0, 1, 0.0, None)
    return PlanContext(now, now, False, Policy(), roster, Random(0), facts)


def beat(worker: int, requests: int) -> Beat:
    return Beat(worker, 1.0, requests=requests)


def test_requests_of_all_workers_count_once() -> None:
    throughput = Throughput()
    assert throughput.take(context(0.0, beat(1, 3), beat(2, 4))) == 7
    assert throughput.take(context(0.1, beat(1, 5), beat(2, 4))) == 2


def test_the_rate_is_that_of_the_last_whole_span() -> None:
    throughput = Throughput()
    throughput.take(context(0.0))
    throughput.take(context(1.0, beat(1, 100)))
    assert throughput.rate == 0
    throughput.take(context(RATE_OVER_S))
    assert throughput.rate == 100 / RATE_OVER_S
    throughput.take(context(2 * RATE_OVER_S))
    assert throughput.rate == 0


def test_who_is_gone_takes_nothing_back() -> None:
    throughput = Throughput()
    throughput.take(context(0.0, beat(1, 100)))
    assert throughput.take(context(0.1, workers=(2,))) == 0
    assert throughput.take(context(0.2, beat(2, 1))) == 1
