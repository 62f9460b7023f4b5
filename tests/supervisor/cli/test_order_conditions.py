from blazeio_supervisor.cli.orders import (
    count_failures,
    measure_parking,
    measure_recycling,
    measure_resuming,
    measure_scaling,
)
from blazeio_supervisor.cli.verbs import Extent
from blazeio_supervisor.ipc.status_api import (
    StatusAnswer,
)
from tests.supervisor.cli.test_status_table import (
    make_slot,
    make_status,
    make_worker,
)


def make_service(*states: str, parked: int = 0, **changes: object) -> StatusAnswer:
    """A slot and its owner for each state; the last ones are parked."""
    slots = [
        make_slot(at, is_parked=at >= len(states) - parked) for at in range(len(states))
    ]
    workers = [make_worker(at, state=state) for at, state in enumerate(states)]
    return make_status(slots, [w for w in workers if w.state != "gone"], **changes)


def test_scaling_up_is_done_when_the_new_ones_serve() -> None:
    assert measure_scaling(make_service("serving", "booting"), 2, {}) == Extent(1, 2)
    assert measure_scaling(make_service("serving", "serving"), 2, {}).is_over


def test_scaling_down_is_done_when_nobody_else_serves() -> None:
    before = make_service("serving", "serving", parked=1)
    assert measure_scaling(before, 1, {}) == Extent(0, 1)
    assert measure_scaling(make_service("serving", "draining", parked=1), 1, {}).is_over


def test_who_scales_otherwise_meanwhile_is_told() -> None:
    extent = measure_scaling(make_service("serving", "serving"), 4, {})
    assert extent.fault == "meanwhile 2 are wanted"


def test_a_slot_that_fails_again_and_again_is_not_waited_for() -> None:
    slots = [make_slot(0, failures=3)]
    extent = measure_scaling(make_status(slots, []), 1, {})
    assert extent.fault.startswith("slot 0: 3 workers in a row failed")


def test_failures_from_before_the_order_are_not_its_fault() -> None:
    before = make_status([make_slot(0, failures=6)], [])
    known = count_failures(before)
    assert measure_scaling(before, 1, known) == Extent(0, 1)
    worse = make_status([make_slot(0, failures=7)], [])
    assert measure_scaling(worse, 1, known).fault.startswith("slot 0: 7 workers")


def test_recycling_is_done_when_another_serves_in_each_slot() -> None:
    status = make_service("serving", "serving")
    assert measure_recycling(status, {0: 4713, 1: 99}, {}) == Extent(1, 2)
    assert measure_recycling(status, {0: 98, 1: 99}, {}).is_over
    assert not measure_recycling(make_service("booting"), {0: None}, {}).is_over


def test_parking_is_done_when_nobody_is_left() -> None:
    drains = make_service("draining", "gone", is_parked=True)
    assert measure_parking(drains, 2) == Extent(1, 2)
    assert measure_parking(make_service(is_parked=True), 2).is_over


def test_parking_waits_while_it_will_be_parked() -> None:
    status = make_service("serving", will_park=True)
    assert measure_parking(status, 1) == Extent(0, 1)


def test_parking_that_was_called_off_is_told() -> None:
    extent = measure_parking(make_service("serving"), 1)
    assert extent.fault == "meanwhile it was resumed"


def test_resuming_is_done_when_every_slot_serves() -> None:
    parked = make_service("gone", is_parked=True)
    assert measure_resuming(parked, {}) == Extent(0, 1)
    assert measure_resuming(make_service("booting"), {}) == Extent(0, 1)
    assert measure_resuming(make_service("serving"), {}).is_over


def test_what_is_parked_meanwhile_is_told() -> None:
    status = make_service("gone", is_parked=True)
    assert measure_scaling(status, 1, {}).fault == "the service is parked"


def test_parking_that_is_yet_to_come_is_not_done_though_nobody_serves() -> None:
    status = make_service(is_parked=False, will_park=True)
    assert measure_parking(status, 0) == Extent(0, 1)
