"""A planner with the state of another one goes on as if nothing had happened."""

from random import Random

import msgspec
import pytest

from blazeio_supervisor.fleet.actions import Action
from blazeio_supervisor.fleet.planner import FleetState, Planner
from tests.simulation import simulate
from tests.simulation.ledger import Step
from tests.simulation.simulate import History

TURNS = 400


class UpgradedHistory(History):
    """The planner is another one after each turn, wherever that may be."""

    upgrades = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.jitter = Random(self.name)
        slots = len(self.planner.snapshot().slots)
        self.planner = Planner(self.policy, slots, self.jitter)

    def _turn(self) -> None:
        super()._turn()
        if not self.planner.why_not_upgrade():
            self.upgrades += 1
            octets = msgspec.msgpack.encode(self.planner.state)
            state = msgspec.msgpack.decode(octets, type=FleetState)
            self.planner = Planner(self.policy, 1, self.jitter, state)


def live(history: History, monkeypatch: pytest.MonkeyPatch) -> list[Action]:
    found: list[Action] = []

    def keep(step: Step, _policy: object) -> None:
        found.extend(step.actions)

    with monkeypatch.context() as patch:
        patch.setattr(simulate, "INVARIANTS", (keep,))
        history.run(TURNS)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(7))
def test_upgrades_change_no_history(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    upgraded = UpgradedHistory(f"upgrade/{seed}")
    plain = History(f"upgrade/{seed}")
    assert live(upgraded, monkeypatch) == live(plain, monkeypatch)
    has_booted = upgraded.ledger.exit_code == 0  # nothing is upgraded before
    assert (upgraded.upgrades > 10) is has_booted
