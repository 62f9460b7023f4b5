"""One hostile text through every place where the supervisor writes texts."""

import io
import json
import logging
import os
import re
import sys
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

import blazeio.loggers
from blazeio_supervisor.cli import program
from blazeio_supervisor.cli.client import find_client
from blazeio_supervisor.cli.doctor import DoctorReport, format_report
from blazeio_supervisor.cli.doctor_machine import warn
from blazeio_supervisor.cli.orders import format_reload, format_upgrade
from blazeio_supervisor.cli.output import format_status
from blazeio_supervisor.cli.queries import (
    format_config,
    format_event_line,
    format_events,
    format_stacks,
)
from blazeio_supervisor.cli.top import TopSession, paint
from blazeio_supervisor.cli.verbs import ProgressLine, show
from blazeio_supervisor.config.settings import write_toml
from blazeio_supervisor.errors import SupervisorError
from blazeio_supervisor.ipc.control_api import (
    ConfigAnswer,
    EventsAnswer,
    ReloadAnswer,
    ServiceAnswer,
    SettingAnswer,
    StackAnswer,
    UpgradeAnswer,
    WorkerStack,
)
from blazeio_supervisor.ipc.socket_paths import Search, SocketPath
from blazeio_supervisor.log import formats
from blazeio_supervisor.log.formats import (
    EventRecord,
    LogConfig,
    LogOrigin,
    make_formatter,
)
from blazeio_supervisor.log.setup import LineHandler, install_excepthooks, note
from blazeio_supervisor.master.metrics import Exposition
from blazeio_supervisor.master.status import EventRing
from blazeio_supervisor.master.systemd import clean
from tests.hostile import HOSTILE, assert_harmless
from tests.supervisor.cli.small_servers import answer, served
from tests.supervisor.cli.test_status_table import (
    make_slot,
    make_status,
    make_worker,
)
from tests.supervisor.cli.verb_harness import VerbHarness


@pytest.fixture
async def verb_harness(tmp_path: Path) -> AsyncIterator[VerbHarness]:
    made = VerbHarness(tmp_path)
    yield made
    made.server.close()


STATUS = make_status(
    [make_slot(0, failures=3, is_failing=True, failure=HOSTILE)],
    [
        make_worker(
            0,
            retire_reason=HOSTILE,
            is_late=True,
            longest=HOSTILE,
            own_bytes=1,
            shared_bytes=1,
        )
    ],
    name=HOSTILE,
    app=HOSTILE,
    addresses=[HOSTILE],
)
STACK = WorkerStack(
    slot=0, pid=1, generation=1, state=HOSTILE, text=HOSTILE, is_whole=False
)


@pytest.fixture
def event() -> EventRecord:
    """As it is kept once it was noted."""
    ring = EventRing()
    ring.attach()
    note(
        "worker_failed",
        HOSTILE,
        "ERROR",
        reason=HOSTILE,
        traceback=f"Traceback:\n  {HOSTILE}",
        path=HOSTILE,
        paths=[HOSTILE, {HOSTILE: HOSTILE}],
    )
    ring.detach()
    (noted,) = ring.list_after(0)
    return noted


def raised() -> Any:
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        return sys.exc_info()


def make_records(event: EventRecord) -> list[logging.LogRecord]:
    def make(name: str, **more: Any) -> logging.LogRecord:
        record = logging.LogRecord(name, 40, "", 0, HOSTILE, None, None)
        vars(record).update(more)
        return record

    return [
        make("blazeio.master", event=event),
        make("blazeio.app", exc_info=raised()),
        make(HOSTILE),
        make("blazeio.output", origin=LogOrigin(1, 2, 3, 4)),
        make("app", event=HOSTILE, origin=HOSTILE),  # what an app adds is not ours
    ]


@pytest.mark.parametrize("is_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("is_journal", [False, True], ids=["file", "journal"])
def test_the_log(
    tmp_path: Path, event: EventRecord, is_json: bool, is_journal: bool
) -> None:
    terms = LogConfig(is_json=is_json, is_journal=is_journal)
    with (tmp_path / "log").open("wb") as file:
        for origin in (None, LogOrigin(1, 2, 3, 4)):
            handler = LineHandler(file.fileno(), is_journal=is_journal)
            handler.setFormatter(make_formatter(terms, origin))
            for record in make_records(event):
                handler.emit(record)
    octets = (tmp_path / "log").read_bytes()
    assert_harmless(octets)
    assert b"pwned" in octets
    if is_json:
        lines = octets.decode().split("\n")[:-1]
        read = [json.loads(re.sub("^<[0-9]>", "", line)) for line in lines]
        assert sum("forged" in json.dumps(each) for each in read) >= 10


def test_a_traceback_keeps_its_lines(event: EventRecord) -> None:
    text = make_formatter(LogConfig()).format(make_records(event)[1])
    _, *rest = text.split("\n")
    assert "  | Traceback (most recent call last):" in rest
    assert all(line.startswith("  | ") for line in rest)


def test_what_nobody_has_a_logger_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((sys, "excepthook"), (sys, "unraisablehook")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(logging, "lastResort", None)
    monkeypatch.setattr("warnings.showwarning", None)
    monkeypatch.setattr("threading.excepthook", None)
    with (tmp_path / "log").open("wb") as file:
        handler = LineHandler(file.fileno())
        handler.setFormatter(make_formatter(LogConfig()))
        install_excepthooks(handler)
        sys.excepthook(*raised())
        logging.lastResort.handle(make_records(None)[2])  # type: ignore[arg-type, union-attr]
    assert_harmless((tmp_path / "log").read_bytes())


def test_the_verbs_that_look(
    event: EventRecord, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    setting = SettingAnswer(key="k", value=HOSTILE, origin=HOSTILE)
    text = f"k = 1  # {HOSTILE}"
    finding = warn("x", HOSTILE, HOSTILE, HOSTILE)
    raw = EventRecord(at_s=0, event="x", level="INFO", text=HOSTILE, traceback=HOSTILE)
    shown: list[tuple[msgspec.Struct, Any]] = [
        (STATUS, format_status),
        (EventsAnswer(events=[event, raw]), format_events),
        (raw, format_event_line),
        (StackAnswer([STACK]), format_stacks),
        (
            DoctorReport(pid=1, findings=[finding]),
            lambda given: format_report(given, 80),
        ),
        (
            ReloadAnswer(is_over=True, reason=HOSTILE, needs_restart=(HOSTILE,)),
            format_reload,
        ),
        (
            UpgradeAnswer(
                number=1,
                is_over=True,
                is_ok=False,
                reason=HOSTILE,
                version="",
                took_s=1,
            ),
            lambda given: format_upgrade(given, is_check=False),
        ),
    ]
    for given, write in shown:
        show(given, False, write)
        show(given, True, write)
    show(ConfigAnswer(settings=[setting], needs_restart=[HOSTILE], text="x"), True, str)
    octets = capfdbinary.readouterr().out
    assert_harmless(octets)
    assert octets.count(b"pwned") > 2 * len(shown)
    # What was written by the service stays its own lines.
    show(ConfigAnswer(settings=[], needs_restart=[], text=text), False, format_config)
    assert b"\x1b" not in capfdbinary.readouterr().out


async def test_the_verbs_ask_a_service(verb_harness: VerbHarness) -> None:
    verb_harness.events.attach()
    note("worker_failed", HOSTILE, "ERROR", reason=HOSTILE, traceback=HOSTILE)
    try:
        for words in (("events",), ("events", "--json"), ("metrics",), ("status",)):
            said = await verb_harness.run(*words)
            assert said.exit_code in (0, None), said.exception
            assert_harmless(said.stdout_bytes)
            assert "pwned" in said.output or words == ("status",)
    finally:
        verb_harness.events.detach()


async def test_the_metrics_are_still_read(verb_harness: VerbHarness) -> None:
    verb_harness.events.attach()
    note("worker_exited", "x", reason=HOSTILE)
    verb_harness.events.detach()
    octets = Exposition(verb_harness.service).write()
    assert_harmless(octets)
    assert list(text_string_to_metric_families(octets.decode()))


def test_top(tmp_path: Path) -> None:
    place = SocketPath(str(tmp_path / "c.sock"))
    content = msgspec.json.encode(formats.escape_answer(STATUS))
    hostile = content.replace(b"pwned", rb"\u001b]0;pwned\u0007\n\u009b")
    with served(place, answer(hostile)) as client:
        session = TopSession(client, 1.0)
        session.look()
        screen = io.StringIO()
        painted = paint(session.draw(300, 40))
        Console(file=screen, width=300, color_system=None).print(painted)
    assert_harmless(screen.getvalue().encode())
    assert "pwned" in screen.getvalue()


def test_what_is_found_and_what_is_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    service = ServiceAnswer(pid=1, name=HOSTILE, app=HOSTILE, addresses=[HOSTILE])
    octets = answer(formats.encode_json(service))
    places = [SocketPath(str(tmp_path / name)) for name in ("a", "b")]
    uid = os.geteuid()

    class Choosing:
        def main(self, *_: object, **__: object) -> None:
            with served(places[0], octets), served(places[1], octets):
                find_client(Search(places, ["x", HOSTILE]), uid)

    class Missing:
        def main(self, *_: object, **__: object) -> None:
            others = [SocketPath(f"@blazeio/1/{HOSTILE}")]
            find_client(Search([], ["x", HOSTILE], others), uid)

    class Failing:
        def main(self, *_: object, **__: object) -> None:
            raise SupervisorError(HOSTILE)

    for command in (Choosing(), Missing(), Failing()):
        chosen = (command, False)
        monkeypatch.setattr(program, "_choose_command", lambda _, now=chosen: now)
        assert program.run_words([]) != 0
    told = capfdbinary.readouterr().err
    assert_harmless(told)
    assert told.count(b"pwned") >= 5


def test_lines_that_are_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    ProgressLine().write(HOSTILE)
    assert_harmless(terminal.getvalue().removeprefix("\r\x1b[2K").encode(), lines=False)


def test_the_service_manager() -> None:
    assert_harmless(clean(HOSTILE).encode(), lines=False)


def test_a_setting_as_toml_is_the_same_when_it_is_read() -> None:
    text = HOSTILE.replace("\udcff", "").replace("\ud800", "").replace("\U000e0041", "")
    written = write_toml(text)
    assert_harmless(written.encode(), lines=False)
    assert tomllib.loads(f"a = {written}")["a"] == text


def test_json_is_the_same_when_it_is_read() -> None:
    text = HOSTILE.replace("\udcff", "").replace("\ud800", "")
    octets = formats.encode_json({"a": [text]})
    assert_harmless(octets, lines=False)
    assert json.loads(octets) == {"a": [text]}


def test_an_escape_is_plain_text() -> None:
    once = formats.escape_line(HOSTILE)
    assert_harmless(once.encode(), lines=False)
    assert formats.escape_line(once) == once
    assert formats.escape_line("grüße, 世界 🎉 \\x1b") == "grüße, 世界 🎉 \\x1b"


def test_both_packages_have_the_same_table() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert blazeio.loggers.escape_line(everything) == formats.escape_line(everything)
    assert blazeio.loggers.escape_lines(everything) == formats.escape_lines(everything)


def test_an_event_that_was_noted_is_escaped_by_then(event: EventRecord) -> None:
    assert_harmless(event.text.encode(), lines=False)
    assert_harmless(event.reason.encode(), lines=False)
    assert_harmless(str(event.fields).encode(), lines=False)
