import os

import msgspec

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.ipc.control_api import ConfigAnswer, StatusAnswer
from tests.supervisor.cli.verbs_room import VerbRoom


async def test_status_is_a_table_or_json(verb_room: VerbRoom) -> None:
    assert "slot" in (await verb_room.run("status")).output
    said = await verb_room.run("status", "--json")
    assert len(msgspec.json.decode(said.output, type=StatusAnswer).workers) == 2


async def test_top_needs_a_terminal(verb_room: VerbRoom) -> None:
    error = (await verb_room.run("top")).exception
    assert isinstance(error, UsageError)
    assert str(error) == "top needs a terminal; `status` does not"


async def test_stack_shows_each_worker(verb_room: VerbRoom) -> None:
    assert (await verb_room.run("stack")).output.count("== slot ") == 2
    assert (await verb_room.run("stack", "1")).output.startswith("== slot 1, pid 1002")


async def test_config_is_a_file_with_the_origin_of_each(verb_room: VerbRoom) -> None:
    lines = (await verb_room.run("config")).output.splitlines()
    assert 'app = "app:web"                           # APP' in lines
    said = await verb_room.run("config", "--json")
    config = msgspec.json.decode(said.output, type=ConfigAnswer)
    assert {each.key for each in config.settings} > {"app", "workers", "backlog"}
    assert config.folder == os.path.dirname(verb_room.place.text)


async def test_status_in_a_pipe_loses_no_column(verb_room: VerbRoom) -> None:
    heads = (await verb_room.run("status")).output.splitlines()[-3]
    assert heads.split()[-7:] == [
        *("flight", "conns", "requests", "queue", "lag", "USS", "weight")
    ]
    assert len(heads.split()) == 13


async def test_config_says_what_was_changed_at_run_time(verb_room: VerbRoom) -> None:
    verb_room.is_obeyed = True
    assert "run time" not in (await verb_room.run("config")).output
    await verb_room.run("scale", "3")
    await verb_room.run("park")
    lines = (await verb_room.run("config")).output.splitlines()
    assert "workers = 3                               # scale, at run time" in lines
    assert lines[-2:] == [
        "# Changed at run time: workers: 3, by `scale`; the settings say 2",
        "# Changed at run time: parked: no worker serves until `resume` or a reload",
    ]
    said = await verb_room.run("config", "--json")
    config = msgspec.json.decode(said.output, type=ConfigAnswer)
    assert [each.value for each in config.settings if each.key == "workers"] == [3]
