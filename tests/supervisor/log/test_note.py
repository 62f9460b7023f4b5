import logging

import pytest

from blazeio_supervisor.log.formats import EventRecord, format_event
from blazeio_supervisor.log.setup import note


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            EventRecord(at_s=0, event="ready", level="INFO", text="it serves"),
            "event=ready it serves",
        ),
        (
            EventRecord(at_s=0, event="x", level="INFO", text="t", slot=0, pid=7),
            "event=x slot=0 pid=7: t",
        ),
        (
            EventRecord(at_s=0, event="x", level="INFO", text="t", traceback="T\nE\n"),
            "event=x t\n  | T\n  | E",
        ),
    ],
)
def test_an_event_is_a_line_and_its_traceback_follows(
    event: EventRecord, line: str
) -> None:
    assert format_event(event) == line


def test_what_is_noted_is_one_record_that_carries_the_event(
    caplog: pytest.LogCaptureFixture,
) -> None:
    note("scaled", "from 2 to 4", "WARNING", slot=1, reason="asked", count=4)
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "blazeio.master")
    assert record.getMessage() == "event=scaled slot=1: from 2 to 4"
    event: EventRecord = record.event  # type: ignore[attr-defined]
    assert (event.slot, event.reason, event.fields) == (1, "asked", {"count": 4})
    assert event.at_s == pytest.approx(record.created, abs=1)


def test_what_nobody_wants_is_not_made(caplog: pytest.LogCaptureFixture) -> None:
    note("steered", "weights 1 1", "DEBUG")
    assert caplog.records == []
