from typing import get_args

import pytest
from msgspec import Struct

from blazeio_supervisor.fleet import actions
from blazeio_supervisor.fleet.actions import (
    Action,
    StopForkserver,
    StopMode,
    StopWorker,
)

KINDS = get_args(Action)


def test_every_action_is_in_the_union() -> None:
    kinds = Struct.__subclasses__()
    found = {kind for kind in kinds if kind.__module__ == actions.__name__}
    assert found == set(KINDS)


def test_actions_are_values() -> None:
    assert StopWorker(1, StopMode.TERM) == StopWorker(1, StopMode.TERM)
    assert len({StopWorker(1, StopMode.TERM), StopWorker(1, StopMode.TERM)}) == 1


def test_actions_cannot_be_changed() -> None:
    action = StopWorker(1, StopMode.TERM)
    with pytest.raises(AttributeError, match="immutable"):
        action.worker = 2  # type: ignore[misc]


def test_forkserver_is_stopped_gently_unless_said_otherwise() -> None:
    assert StopForkserver(1).mode is StopMode.DRAIN


@pytest.mark.parametrize("kind", KINDS)
def test_every_action_says_what_the_master_does(kind: type) -> None:
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")
