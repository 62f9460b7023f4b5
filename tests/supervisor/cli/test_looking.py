import os

import msgspec

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.ipc.control_api import (
    ConfigAnswer,
)
from blazeio_supervisor.ipc.status_api import (
    StatusAnswer,
)
from tests.supervisor.cli.verb_harness import VerbHarness


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
