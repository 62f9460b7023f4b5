import re

from blazeio_supervisor.cli.queries import format_events
from blazeio_supervisor.ipc.control_api import (
    EventsAnswer,
)
from blazeio_supervisor.log.formats import EventRecord


def test_each_event_is_a_line_with_local_time_level_and_identity() -> None:
    events = [
        EventRecord(at_s=1.25, event="ready", level="INFO", text="it serves", slot=0),
        EventRecord(
            at_s=2, event="app_raised", level="ERROR", text="so", traceback="T\n  E\n"
        ),
    ]
    lines = format_events(EventsAnswer(events=events)).splitlines()
    assert re.fullmatch(
        r"(1970-01-01|1969-12-31) \S{8}\.250 INFO    ready slot=0: it serves", lines[0]
    )
    assert lines[1].endswith(" ERROR   app_raised: so")
    assert lines[2:] == ["  | T", "  |   E"]
