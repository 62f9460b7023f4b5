from typing import get_args

import pytest
from msgspec import Struct

from blazeio_supervisor.fleet import facts
from blazeio_supervisor.fleet.facts import Beat, Fact, RouteCounts, WorkerExited

KINDS = get_args(Fact)
PARTS = (RouteCounts,)


def test_every_fact_is_in_the_union() -> None:
    kinds = Struct.__subclasses__()
    found = {kind for kind in kinds if kind.__module__ == facts.__name__}
    assert found == {*KINDS, *PARTS}


def test_facts_are_values() -> None:
    assert WorkerExited(1, 0) == WorkerExited(1, 0, "")
    assert len({WorkerExited(1, 0), WorkerExited(1, 0)}) == 1


def test_what_is_not_in_flight_is_answered() -> None:
    assert Beat(1, 0.0, requests=5, in_flight=2).answered == 3
    assert Beat(1, 0.0, requests=0, in_flight=0).answered == 0
    assert Beat(1, 0.0, requests=1, in_flight=2).answered == 0  # read in between


def test_facts_cannot_be_changed() -> None:
    fact = WorkerExited(1, 0)
    with pytest.raises(AttributeError, match="immutable"):
        fact.status = 1  # type: ignore[misc]


@pytest.mark.parametrize("kind", KINDS)
def test_every_fact_says_what_was_seen(kind: type) -> None:
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")
