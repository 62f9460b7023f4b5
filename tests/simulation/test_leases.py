"""Very short histories of the lease alone; ``tests.simulation.leases`` lives more."""

import pytest

from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.health import TaskLease
from tests.simulation.leases import LeaseHistory
from tests.simulation.ledger import InvariantError

HISTORIES = 2_000


def live(count: int = HISTORIES) -> None:
    for number in range(count):
        LeaseHistory(f"test/{number}").run()


def test_random_histories_hold() -> None:
    live()


def test_a_lease_that_is_free_too_early_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = TaskLease.run

    def hasty(self: TaskLease, context: PlanContext) -> None:
        holder = context.roster.workers.get(self.holder or 0)
        if holder is not None and not holder.is_serving:
            self.holder = None  # it drains, and its tasks go on
        run(self, context)

    monkeypatch.setattr(TaskLease, "run", hasty)
    with pytest.raises(InvariantError, match="run them, or are about to"):
        live()


def test_a_lease_that_nobody_gets_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TaskLease, "_grant", lambda self, context: None)
    with pytest.raises(InvariantError, match="nobody has it"):
        live()
