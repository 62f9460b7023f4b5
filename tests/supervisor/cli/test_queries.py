import asyncio
import os
import time
import tomllib

import click
import msgspec
import pytest

from blazeio_supervisor.errors import ExitCode, UsageError
from blazeio_supervisor.ipc.control_api import ConfigAnswer, EventsAnswer
from blazeio_supervisor.ipc.status_api import StatusAnswer
from blazeio_supervisor.log.setup import note
from tests.supervisor.cli.verb_harness import VerbHarness, invoke


async def test_status_is_a_table_or_json(verb_harness: VerbHarness) -> None:
    assert "slot" in (await verb_harness.run("status")).output
    said = await verb_harness.run("status", "--json")
    assert len(msgspec.json.decode(said.output, type=StatusAnswer).workers) == 2


async def test_top_needs_a_terminal(verb_harness: VerbHarness) -> None:
    error = (await verb_harness.run("top")).exception
    assert isinstance(error, UsageError)
    assert str(error) == "top needs a terminal; `status` does not"


async def test_stack_shows_each_worker(verb_harness: VerbHarness) -> None:
    assert (await verb_harness.run("stack")).output.count("== slot ") == 2
    assert (await verb_harness.run("stack", "1")).output.startswith(
        "== slot 1, pid 1002"
    )


async def test_config_is_a_file_with_the_origin_of_each(
    verb_harness: VerbHarness,
) -> None:
    lines = (await verb_harness.run("config")).output.splitlines()
    assert 'app = "app:web"                           # APP' in lines
    said = await verb_harness.run("config", "--json")
    config = msgspec.json.decode(said.output, type=ConfigAnswer)
    assert {each.key for each in config.settings} > {"app", "workers", "backlog"}
    assert config.folder == os.path.dirname(verb_harness.place.text)


async def test_status_in_a_pipe_loses_no_column(verb_harness: VerbHarness) -> None:
    heads = (await verb_harness.run("status")).output.splitlines()[-3]
    assert heads.split()[-7:] == [
        *("flight", "conns", "requests", "queue", "lag", "USS", "weight")
    ]
    assert len(heads.split()) == 13


async def test_config_says_what_was_changed_at_run_time(
    verb_harness: VerbHarness,
) -> None:
    verb_harness.is_obeyed = True
    assert "run time" not in (await verb_harness.run("config")).output
    await verb_harness.run("scale", "3")
    await verb_harness.run("park")
    lines = (await verb_harness.run("config")).output.splitlines()
    assert "workers = 3                               # scale, at run time" in lines
    assert lines[-2:] == [
        "# Changed at run time: workers: 3, by `scale`; the settings say 2",
        "# Changed at run time: parked: no worker serves until `resume` or a reload",
    ]
    said = await verb_harness.run("config", "--json")
    config = msgspec.json.decode(said.output, type=ConfigAnswer)
    assert [each.value for each in config.settings if each.key == "workers"] == [3]


async def test_a_variable_names_the_service_unless_it_is_typed(
    verb_harness: VerbHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLAZEIO_INSTANCE", "no-such-service")
    assert "slot" in (await verb_harness.run("status")).output  # --control is typed
    error = (await asyncio.to_thread(invoke, "status")).exception
    assert "no service is called 'no-such-service'" in str(error)
    typed = await asyncio.to_thread(invoke, "status", "--instance", "another")
    assert "'another'" in str(typed.exception)


async def test_events_of_a_span_are_those_of_its_time(
    verb_harness: VerbHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    verb_harness.events.attach()
    note("scaled", "a")
    verb_harness.events.detach()
    whole = (await verb_harness.run("events", "--json")).output
    events = msgspec.json.decode(whole, type=EventsAnswer).events
    assert events
    recent = (await verb_harness.run("events", "--json", "--since", "1d")).output
    assert msgspec.json.decode(recent, type=EventsAnswer).events == events
    later = time.time() + 3600
    monkeypatch.setattr("blazeio_supervisor.cli.queries.time.time", lambda: later)
    recent = (await verb_harness.run("events", "--json", "--since", "10m")).output
    assert msgspec.json.decode(recent, type=EventsAnswer).events == []


async def test_a_span_that_is_none_is_named(verb_harness: VerbHarness) -> None:
    error = (await verb_harness.run("events", "--since", "soon")).exception
    assert isinstance(error, click.BadParameter)
    assert error.message == "'soon' is not a span: write 30s, 10m, 2h or 7d"


async def test_status_is_shown_again_until_the_service_is_gone(
    verb_harness: VerbHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter([None, None])

    def sleep(_: float) -> None:
        if next(left, KeyboardInterrupt) is KeyboardInterrupt:
            raise KeyboardInterrupt

    monkeypatch.setattr("blazeio_supervisor.cli.queries.time.sleep", sleep)
    done = await verb_harness.run("status", "--watch", "0.5")
    assert done.output.count("slot  ") == 3
    assert done.return_value == ExitCode.INTERRUPTED


async def test_a_sample_of_the_settings_needs_no_service() -> None:
    text = (await asyncio.to_thread(invoke, "config", "--sample")).output
    assert tomllib.loads(text) == {"app": "app:web"}
