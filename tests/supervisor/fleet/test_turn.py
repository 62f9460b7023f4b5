from random import Random

from blazeio_supervisor.fleet.actions import ReportStatus
from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.roster import Roster


def context() -> PlanContext:
    return PlanContext(10.0, 10.0, False, Policy(), Roster.with_slots(1), Random(1))


def test_the_earliest_wish_to_wake_wins() -> None:
    it = context()
    for at in (30.0, 20.0, 40.0):
        it.wake(at)
    assert it.due_at == 20.0


def test_reports_keep_their_place_among_the_actions() -> None:
    it = context()
    it.report("ready", "serving")
    assert it.actions == [ReportStatus("ready", "serving", "INFO")]
