"""Which worker runs the tasks that run once."""

from collections.abc import Sequence
from random import Random

import pytest

from blazeio_supervisor.fleet.actions import (
    Action,
    GrantLease,
    ReportStatus,
    Spawn,
    StopWorker,
)
from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.facts import (
    Beat,
    ForkserverReady,
    LeaseReturned,
    ParkAsked,
    RecycleAsked,
    ResumeAsked,
    ScaleAsked,
    StartAsked,
    StopAsked,
    WorkerMisbehaved,
    WorkerReady,
)
from blazeio_supervisor.fleet.health import _rank
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.roster import Roster, WorkerHandle
from tests.supervisor.fleet.driver import Driver, one, only


class Tasked(Driver):
    """A fleet whose code has tasks."""

    has_tasks = True

    def get_ready(self, worker: int) -> list[Action]:
        actions = self.tell(WorkerReady(worker, self.has_tasks))
        self.ready[worker] = Beat(worker, 0.0)
        return actions

    @property
    def holder(self) -> int | None:
        return self.planner.snapshot().task_holder


def granted(actions: Sequence[Action]) -> list[int]:
    return [action.worker for action in only(GrantLease, actions)]


@pytest.fixture
def fleet() -> Tasked:
    fleet = Tasked(3)
    fleet.start()
    return fleet


def test_the_first_that_serves_gets_it_and_nobody_else() -> None:
    fleet = Tasked(3)
    fleet.tell(StartAsked())
    spawns = only(Spawn, fleet.tell(ForkserverReady(1)))
    assert granted(fleet.fork(spawns[1].worker)) == []
    first = fleet.get_ready(spawns[1].worker)
    assert granted(first) == [spawns[1].worker]
    (report,) = only(ReportStatus, first)[1:]
    assert (report.event, report.worker) == ("tasks_leased", spawns[1].worker)
    assert report.text == "it runs the tasks that run once, from now on"
    assert granted(fleet.serve(spawns[0].worker)) == []
    assert granted(fleet.wait(100)) == []


def test_code_without_tasks_needs_none() -> None:
    fleet = Driver(2).start()
    assert granted(fleet.log) == []
    assert fleet.planner.snapshot().task_holder is None


def test_the_death_of_the_holder_moves_it_in_the_same_turn(fleet: Tasked) -> None:
    assert fleet.holder == 1
    assert granted(fleet.exit(1, -9)) == [2]


def test_the_death_of_another_one_moves_nothing(fleet: Tasked) -> None:
    assert granted(fleet.exit(3, -9)) == []
    assert fleet.holder == 1


def test_who_is_told_to_drain_keeps_it_until_it_is_returned(fleet: Tasked) -> None:
    fleet.tell(RecycleAsked(0))
    (spawn,) = only(Spawn, fleet.log)[3:]
    drained = fleet.serve(spawn.worker)
    assert one(StopWorker, drained).worker == 1
    assert granted([*drained, *fleet.wait(0.5)]) == []
    assert granted(fleet.tell(LeaseReturned(1))) == [4]
    assert granted(fleet.exit(1)) == []


def test_who_is_drained_and_says_nothing_keeps_it_until_its_end(
    fleet: Tasked,
) -> None:
    fleet.tell(RecycleAsked(0))
    fleet.serve(4)
    assert granted(fleet.wait(29)) == []
    assert granted(fleet.exit(1, -9)) == [4]


def test_who_misbehaves_keeps_it_until_it_is_dead(fleet: Tasked) -> None:
    assert granted(fleet.tell(WorkerMisbehaved(1, "it lies"))) == []
    assert granted(fleet.exit(1, -9)) == [2]


def test_who_has_returned_it_does_not_get_it_again(fleet: Tasked) -> None:
    assert granted(fleet.tell(LeaseReturned(1))) == [2]
    assert granted(fleet.tell(LeaseReturned(2))) == [3]
    assert granted(fleet.tell(LeaseReturned(3))) == []
    assert granted(fleet.wait(10)) == []


def test_who_does_not_hold_it_returns_nothing(fleet: Tasked) -> None:
    assert granted(fleet.tell(LeaseReturned(2), LeaseReturned(99))) == []
    assert fleet.holder == 1
    assert granted(fleet.exit(1)) == [2]


def test_new_code_is_preferred(fleet: Tasked) -> None:
    fleet.reload_until_rolling()
    assert fleet.holder == 1
    actions = fleet.tell(LeaseReturned(1))
    assert granted(actions) == [fleet.owners[0]]
    assert fleet.generations[0] == 2


def test_a_reload_to_code_without_tasks_ends_it(fleet: Tasked) -> None:
    fleet.has_tasks = False
    fleet.reload_until_holding()
    assert fleet.holder is None
    assert granted(fleet.wait(10)) == []


def test_a_canary_on_trial_does_not_get_it(fleet: Tasked) -> None:
    fleet.reload()
    canary = fleet.load(2).worker
    fleet.serve(canary)
    assert granted(fleet.tell(LeaseReturned(1))) == [2]


def test_one_whose_loop_stands_still_is_not_chosen(fleet: Tasked) -> None:
    fleet.silent = {2}
    fleet.wait(0.5)
    assert granted(fleet.exit(1, -9)) == [3]


def test_one_that_will_be_replaced_is_not_chosen(fleet: Tasked) -> None:
    fleet.tell(RecycleAsked(1))
    assert granted(fleet.exit(1, -9)) == [3]


def test_scaling_away_moves_it() -> None:
    fleet = Tasked(2)
    fleet.tell(StartAsked())
    spawns = only(Spawn, fleet.tell(ForkserverReady(1)))
    fleet.serve(spawns[1].worker)
    fleet.serve(spawns[0].worker)
    assert fleet.holder == 2
    fleet.tell(ScaleAsked(1))
    assert granted(fleet.tell(LeaseReturned(2))) == [1]


def test_a_parked_service_runs_none_and_a_resumed_one_does(fleet: Tasked) -> None:
    fleet.tell(ParkAsked())
    assert granted(fleet.tell(LeaseReturned(1))) == []
    for worker in (1, 2, 3):
        fleet.exit(worker)
    assert fleet.holder is None
    spawns = only(Spawn, fleet.tell(ResumeAsked()))
    assert granted(fleet.serve(spawns[0].worker)) == [spawns[0].worker]


def test_a_service_that_ends_grants_nothing(fleet: Tasked) -> None:
    fleet.tell(StopAsked())
    assert granted(fleet.tell(LeaseReturned(1))) == []


def test_a_service_that_leaves_serves_on_and_moves_it() -> None:
    fleet = Tasked(2, drain_delay_s=10)
    fleet.start()
    fleet.tell(StopAsked())
    assert granted(fleet.exit(1, -9)) == [2]


def test_the_next_image_goes_on_with_it(fleet: Tasked) -> None:
    import msgspec

    from blazeio_supervisor.fleet.planner import FleetState, Planner
    from blazeio_supervisor.ipc.packing import (
        pack,
        unpack,
    )

    state = unpack(pack(fleet.planner.state), FleetState)
    assert msgspec.structs.asdict(state.lease) == {"holder": 1}
    fleet.planner = Planner(fleet.policy, 3, state=state)
    assert granted(fleet.wait(5)) == []
    assert granted(fleet.exit(1, -9)) == [2]


@pytest.mark.parametrize(
    ("is_late", "is_avoided"), [(True, False), (False, True), (True, True)]
)
def test_who_is_late_or_avoided_comes_behind(is_late: bool, is_avoided: bool) -> None:
    context = PlanContext(10.0, 10.0, False, Policy(), Roster.with_slots(2), Random(1))
    worse, better = (WorkerHandle(slot + 1, slot, 0, 0.0, None) for slot in (0, 1))
    assert _rank(context, worse) < _rank(context, better)
    worse.health.is_late, worse.health.is_avoided = is_late, is_avoided
    assert _rank(context, better) < _rank(context, worse)
