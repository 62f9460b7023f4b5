from random import Random

import pytest

from blazeio_supervisor.fleet.policy import Backoff, Policy

STEADY = Policy(backoff_jitter=0.0)


def waits(count: int, policy: Policy, rng: Random) -> list[float]:
    backoff = Backoff()
    found = []
    for _ in range(count):
        backoff.fail(10.0, policy, rng)
        found.append(backoff.next_at - 10.0)
    return found


def test_first_failure_costs_no_wait() -> None:
    assert waits(1, Policy(), Random(1)) == [0.0]


def test_waits_double_up_to_the_most() -> None:
    found = waits(11, STEADY, Random(1))
    assert found == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_thousand_failures_still_wait_the_most() -> None:
    assert waits(1000, STEADY, Random(1))[-1] == 30.0


def test_jitter_varies_each_wait_within_its_share() -> None:
    found = waits(200, Policy(), Random(1))[10:]
    assert min(found) >= 24.0
    assert max(found) <= 36.0
    assert len(set(found)) > 100


def test_jitter_goes_up_where_the_number_drawn_is_high() -> None:
    class High(Random):
        def random(self) -> float:
            return 0.75

    assert waits(2, Policy(backoff_jitter=0.2), High())[1] == pytest.approx(0.275)


def test_reset_forgets_everything() -> None:
    backoff = Backoff(failures=4, next_at=50.0)
    backoff.reset()
    assert backoff == Backoff()


def test_same_seed_draws_the_same_waits() -> None:
    assert waits(9, Policy(), Random(3)) == pytest.approx(waits(9, Policy(), Random(3)))
