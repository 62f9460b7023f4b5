"""``status --gate``: whether the next machine may be touched."""

from typing import Any

import pytest
from msgspec.structs import replace

from blazeio_supervisor.cli.queries import find_gate_reason
from blazeio_supervisor.ipc.status_api import Progress, SlotAnswer, StatusAnswer
from blazeio_supervisor.log.formats import EventRecord

WELL = StatusAnswer(
    pid=1,
    name="shop",
    app="app:web",
    age_s=60.0,
    addresses=[],
    listeners="slots",
    steering="load",
    is_steered=True,
    loading="once",
    generation=2,
    has_served=True,
    is_ready=True,
    is_parked=False,
    will_park=False,
    is_leaving=False,
    is_stopping=False,
    reload=None,
    slots=[],
    workers=[],
    forkservers=[],
)
FAILING = SlotAnswer(
    slot=3,
    is_parked=False,
    adopted_by=None,
    weight=100,
    failures=4,
    retry_in_s=1.0,
    requests=0,
    is_failing=True,
)
HOLDING = Progress(step="rolling_back", generation=3, replaced=1, slots=2)


def events(*names: str) -> list[EventRecord]:
    return [
        EventRecord(at_s=1.0, event=each, level="INFO", text=f"{each} it is")
        for each in names
    ]


@pytest.mark.parametrize(
    ("change", "names", "reason"),
    [
        ({}, (), ""),
        ({}, ("reload_ok", "worker_ready"), ""),
        ({}, ("reload_failed", "reload_ok"), ""),
        ({}, ("reload_ok", "reload_failed", "ready"), "reload_failed it is"),
        ({}, ("reload_ok", "rolled_back"), "rolled_back it is"),
        ({"reload": HOLDING}, (), "a reload is in progress: rolling back"),
        ({"slots": [FAILING]}, (), "workers fail again and again: slot 3"),
        ({"dead_listeners": ["0.0.0.0:80 is gone"]}, (), "0.0.0.0:80 is gone"),
        ({"is_ready": False}, ("reload_ok",), "the service is not ready"),
    ],
)
def test_the_first_reason_is_told(
    change: dict[str, Any], names: tuple[str, ...], reason: str
) -> None:
    assert find_gate_reason(replace(WELL, **change), events(*names)) == reason
