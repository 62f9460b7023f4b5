import math

import pytest

from blazeio_supervisor.cli.top_screen import (
    Rates,
    WorkerRates,
    find_percentile,
    measure_rates,
)
from blazeio_supervisor.ipc.status_api import (
    StatusAnswer,
)
from tests.supervisor.cli.test_status_table import (
    make_slot,
    make_status,
    make_worker,
)

BOUNDS_S = [0.001, 0.01]


def look(
    age_s: float, requests: int, *workers: object, **changes: object
) -> StatusAnswer:
    slots = [make_slot(0, requests=requests)]
    return make_status(
        slots,
        list(workers),  # type: ignore[arg-type]
        age_s=age_s,
        lag_bounds_s=BOUNDS_S,
        **changes,
    )


def test_what_was_counted_between_two_looks_is_told_a_second() -> None:
    before = make_worker(0, requests=100, cpu_s=1.0, lag_counts=[10, 0, 0])
    after = make_worker(0, requests=300, cpu_s=2.0, lag_counts=[20, 40, 0])
    rates = measure_rates(look(10.0, 1000, before), look(12.0, 1200, after))
    assert rates == Rates({4713: WorkerRates(100.0, 0.5, 0.01)}, 100.0, 0.0)


def test_the_first_look_tells_no_rate() -> None:
    assert measure_rates(None, look(1.0, 5)) == Rates()


def test_another_master_tells_no_rate() -> None:
    assert measure_rates(look(9.0, 5), look(10.0, 9, pid=99)) == Rates()


def test_a_new_worker_has_none_but_its_slot_goes_on() -> None:
    before, after = make_worker(0, pid=1), make_worker(0, pid=2)
    rates = measure_rates(look(10.0, 10, before), look(11.0, 30, after))
    assert rates == Rates({}, 20.0, 0.0)


def test_a_time_that_cannot_be_seen_is_not_told() -> None:
    worker = make_worker(0)
    rates = measure_rates(look(10.0, 0, worker), look(11.0, 0, worker))
    assert rates.by_pid[4713].cpu is None


@pytest.mark.parametrize(
    ("counts", "bound_s"),
    [
        ([0, 0, 0], 0.0),
        ([99, 1, 0], 0.001),
        ([98, 2, 0], 0.01),
        ([0, 0, 1], math.inf),
        ([], 0.0),
    ],
)
def test_the_percentile_is_the_bound_below_which_99_of_100_are(
    counts: list[int], bound_s: float
) -> None:
    assert find_percentile(counts, BOUNDS_S) == bound_s
