from dataclasses import FrozenInstanceError, is_dataclass
from typing import get_args

import pytest

from blazeio_supervisor.fleet import facts
from blazeio_supervisor.fleet.facts import Fact, WorkerExited

KINDS = get_args(Fact)


def test_every_fact_is_in_the_union() -> None:
    found = {kind for kind in vars(facts).values() if is_dataclass(kind)}
    assert found == set(KINDS)


def test_facts_are_values() -> None:
    assert WorkerExited(1, 0) == WorkerExited(1, 0, "")
    assert len({WorkerExited(1, 0), WorkerExited(1, 0)}) == 1


def test_facts_cannot_be_changed() -> None:
    fact = WorkerExited(1, 0)
    with pytest.raises(FrozenInstanceError):
        fact.status = 1  # type: ignore[misc]


@pytest.mark.parametrize("kind", KINDS)
def test_every_fact_says_what_was_seen(kind: type) -> None:
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")
