import json
import logging
import re
import sys
from typing import Any

import pytest

from blazeio_supervisor.log.formats import (
    EventRecord,
    LogConfig,
    LogOrigin,
    find_subject,
    fold_own_frames,
    format_identity,
    make_formatter,
)

EVENT = EventRecord(
    at_s=0,
    event="worker_failed",
    level="WARNING",
    text="it died",
    slot=0,
    reason="SIGKILL",
    fields={"count": 3},
)
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}"
WORKER = LogOrigin(worker=3, slot=0, generation=1, pid=7)


def make_record(text: str, level: str = "INFO", **more: Any) -> logging.LogRecord:
    number = logging.getLevelNamesMapping()[level]
    record = logging.LogRecord("blazeio.master", number, "", 0, text, None, None)
    vars(record).update(more)
    return record


def raised() -> Any:
    try:
        raise ValueError("so")
    except ValueError:
        return sys.exc_info()


def write(
    record: logging.LogRecord, origin: LogOrigin | None = None, **terms: Any
) -> str:
    return make_formatter(LogConfig(**terms), origin).format(record)


def test_text_has_local_time_level_and_message() -> None:
    line = write(make_record("it serves"))
    assert re.fullmatch(rf"{TIME}[+-]\d{{4}} INFO    it serves", line)


def test_for_the_journal_there_is_no_time() -> None:
    assert write(make_record("a"), is_journal=True) == "INFO    a"


def test_on_a_terminal_the_level_and_the_event_are_painted() -> None:
    event = EventRecord(at_s=0, event="x", level="ERROR", text="y")
    record = make_record("", "ERROR", event=event)
    line = write(record, has_color=True, is_journal=True)
    assert line == "\x1b[31mERROR  \x1b[0m \x1b[1mevent=x\x1b[0m y"


def test_a_record_that_is_no_event_does_not_look_like_one() -> None:
    line = write(make_record("event=stopped\nevent=x"), is_journal=True)
    assert line == "INFO    blazeio.master: event=stopped\n  | event=x"


def test_a_traceback_follows_its_line() -> None:
    first, *rest = write(make_record("failed", exc_info=raised())).splitlines()
    assert first.endswith("failed")
    assert (rest[0], rest[-1]) == (
        "  | Traceback (most recent call last):",
        "  | ValueError: so",
    )


def test_a_line_of_a_worker_says_which() -> None:
    line = write(make_record("lost"), WORKER, is_journal=True)
    assert line == "INFO    worker=3 slot=0 gen=1 pid=7: lost"


def test_what_was_printed_says_by_whom_on_each_line() -> None:
    record = make_record("one\ntwo", origin=LogOrigin(slot=0, pid=7))
    lines = write(record, is_journal=True).splitlines()
    assert lines == ["INFO    slot=0 pid=7 | one", "INFO    slot=0 pid=7 | two"]


def test_json_has_an_object_for_each_record() -> None:
    record = make_record("event=...", "WARNING", event=EVENT)
    line = json.loads(write(record, is_json=True))
    assert re.fullmatch(rf"{TIME}Z", line.pop("time"))
    assert line == {
        "level": "WARNING",
        "logger": "blazeio.master",
        "text": "it died",
        "slot": 0,
        "event": "worker_failed",
        "reason": "SIGKILL",
        "count": 3,
    }


def test_json_has_a_traceback_within_its_line() -> None:
    text = write(make_record("failed", exc_info=raised()), WORKER, is_json=True)
    assert "\n" not in text
    line = json.loads(text)
    assert line["traceback"].endswith("ValueError: so")
    assert (line["worker"], line["generation"]) == (3, 1)


def test_json_has_an_object_for_each_line_that_was_printed() -> None:
    record = make_record('one\n"two"', origin=LogOrigin(slot=0))
    lines = [json.loads(line) for line in write(record, is_json=True).splitlines()]
    assert [(line["text"], line["slot"]) for line in lines] == [
        ("one", 0),
        ('"two"', 0),
    ]


@pytest.mark.parametrize(
    ("who", "text"),
    [
        (WORKER, "worker=3 slot=0 gen=1 pid=7"),
        (LogOrigin(generation=2), "gen=2"),
        (LogOrigin(), ""),
    ],
)
def test_an_identity_leaves_out_what_is_not_known(who: LogOrigin, text: str) -> None:
    assert format_identity(who) == text


SAID = """\
Current thread 0x1 (most recent call first):
  File "/srv/app.py", line 8 in block
  File "/lib/blazeio_supervisor/worker/worker.py", line 9 in _serve
  File "/lib/blazeio_supervisor/worker/worker.py", line 5 in run
  File "<frozen runpy>", line 88 in _run_code

worker=1 slot=0 gen=2 pid=77: its loop is in GET /a: b (for 1.0 s); nothing else
"""


def test_how_the_worker_was_started_is_left_out() -> None:
    assert fold_own_frames(SAID).splitlines()[1:4] == [
        '  File "/srv/app.py", line 8 in block',
        "  (from here on the worker's own start)",
        "",
    ]
    assert fold_own_frames("no stack") == "no stack"


def test_what_its_loop_is_in_is_found() -> None:
    said = "its loop is in GET /a: b (for 1.0 s); nothing else"
    assert find_subject(SAID) == said
    assert find_subject(SAID.partition("\n\n")[0]) == ""
