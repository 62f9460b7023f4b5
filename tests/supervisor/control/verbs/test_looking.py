import msgspec

from blazeio_supervisor.control.answers.orders import ConfigAnswer, StatusAnswer
from blazeio_supervisor.errors import UsageError
from tests.supervisor.control.verbs.room import VerbRoom


async def test_status_is_a_table_or_json(room: VerbRoom) -> None:
    assert "slot" in (await room.run("status")).output
    said = await room.run("status", "--json")
    assert len(msgspec.json.decode(said.output, type=StatusAnswer).workers) == 2


async def test_top_needs_a_terminal(room: VerbRoom) -> None:
    error = (await room.run("top")).exception
    assert isinstance(error, UsageError)
    assert str(error) == "top needs a terminal; `status` does not"


async def test_stack_shows_each_worker(room: VerbRoom) -> None:
    assert (await room.run("stack")).output.count("== slot ") == 2
    assert (await room.run("stack", "1")).output.startswith("== slot 1, pid 1002")


async def test_config_is_a_file_with_the_origin_of_each(room: VerbRoom) -> None:
    lines = (await room.run("config")).output.splitlines()
    assert 'app = "app:web"                           # APP' in lines
    said = await room.run("config", "--json")
    config = msgspec.json.decode(said.output, type=ConfigAnswer)
    assert {each.key for each in config.settings} > {"app", "workers", "backlog"}


async def test_status_in_a_pipe_loses_no_column(room: VerbRoom) -> None:
    heads = (await room.run("status")).output.splitlines()[-3]
    assert heads.split()[-7:] == [
        *("flight", "conns", "requests", "queue", "lag", "USS", "weight")
    ]
    assert len(heads.split()) == 13


async def test_config_says_what_was_changed_at_run_time(room: VerbRoom) -> None:
    room.is_obeyed = True
    assert "run time" not in (await room.run("config")).output
    await room.run("scale", "3")
    await room.run("park")
    lines = (await room.run("config")).output.splitlines()
    assert "workers = 3                               # scale, at run time" in lines
    assert lines[-2:] == [
        "# Changed at run time: workers: 3, by `scale`; the settings say 2",
        "# Changed at run time: parked: no worker serves until `resume` or a reload",
    ]
    said = await room.run("config", "--json")
    config = msgspec.json.decode(said.output, type=ConfigAnswer)
    assert [each.value for each in config.settings if each.key == "workers"] == [3]
