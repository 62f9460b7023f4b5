"""Random histories against the invariants; ``make simulate`` lives many more."""

import pytest

from blazeio_supervisor.fleet.actions import Action, Spawn
from tests.simulation import simulate
from tests.simulation.invariants import INVARIANTS
from tests.simulation.ledger import InvariantError, Step
from tests.simulation.simulate import History, HistoryError, run_history, run_many

SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 6))]
EVENTS = 10_000  # each; 50,000 in all


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_random_histories_hold(seed: int) -> None:
    turns, _ = run_many(EVENTS, seed)
    assert turns >= EVENTS


def live(name: str, monkeypatch: pytest.MonkeyPatch) -> list[Action]:
    found: list[Action] = []

    def keep(step: Step, _policy: object) -> None:
        found.extend(step.actions)

    monkeypatch.setattr(simulate, "INVARIANTS", (keep,))
    run_history(name, 300)
    return found


def test_same_name_lives_the_same_history(monkeypatch: pytest.MonkeyPatch) -> None:
    assert live("7/3", monkeypatch) == live("7/3", monkeypatch)


def test_other_name_lives_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert live("7/3", monkeypatch) != live("7/4", monkeypatch)


def nobody_is_spawned(step: Step, _policy: object) -> None:
    if any(isinstance(action, Spawn) for action in step.actions):
        raise InvariantError("somebody was")


def test_broken_invariant_tells_its_name_and_how_to_replay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(simulate, "INVARIANTS", (nobody_is_spawned,))
    with pytest.raises(HistoryError) as caught:
        run_history("3/1", 100)
    text = str(caught.value)
    assert "history 3/1 failed at turn" in text
    assert "nobody_is_spawned: somebody was" in text
    assert "--replay 3/1" in text


def test_every_invariant_says_what_it_promises() -> None:
    assert all(invariant.__doc__ for invariant in INVARIANTS)
    assert len({invariant.__name__ for invariant in INVARIANTS}) == len(INVARIANTS)


def test_history_prints_what_happens_when_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    History("2/1", is_verbose=True).run(20)
    assert "StartForkserver(generation=1, ticket=None)" in capsys.readouterr().out
