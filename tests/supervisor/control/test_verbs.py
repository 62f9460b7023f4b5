import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

from blazeio_supervisor.control.answers import ReloadAnswer, StatusAnswer
from blazeio_supervisor.control.server import ControlServer
from blazeio_supervisor.control.verbs import verbs
from blazeio_supervisor.errors import SupervisorError, UsageError
from blazeio_supervisor.fleet.actions import ReloadEnded
from blazeio_supervisor.fleet.facts import RecycleAsked, ReloadAsked, ScaleAsked
from blazeio_supervisor.options.process import VERBS
from blazeio_supervisor.options.program import command
from tests.supervisor.control.desk import Desk
from tests.support.clock import wait_until
from tests.support.live import run_to_exit


class Room(Desk):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server = ControlServer(self.service)
        self.server.open(asyncio.get_running_loop())

    async def run(self, *words: str) -> Result:
        """A verb, as from a shell."""
        arguments = [*words, "--control", self.place.text]
        return await asyncio.to_thread(invoke, *arguments)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(verbs, words, standalone_mode=False)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path)
    yield made
    made.server.close()


def test_the_verbs_are_those_that_the_help_lists() -> None:
    assert set(verbs.commands) == set(VERBS)
    text = CliRunner().invoke(command, ["--help"]).output
    assert all(f"  {verb}" in text and what in text for verb, what in VERBS.items())


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_each_says_its_exit_codes_and_its_timeout(verb: str) -> None:
    text = invoke(verb, "--help").output
    assert "--control PATH" in text
    assert "--json" in text
    assert "6 no service is running" in text
    assert "within 5 s" in text


async def test_status_is_a_table_or_json(room: Room) -> None:
    assert "slot" in (await room.run("status")).output
    said = await room.run("status", "--json")
    assert len(msgspec.json.decode(said.output, type=StatusAnswer).workers) == 2


async def test_scale_and_recycle_order_what_they_say(room: Room) -> None:
    assert (await room.run("scale", "3")).output == "3 worker(s) wanted, 2 before\n"
    assert "pid 1002 drains" in (await room.run("recycle", "1")).output
    assert room.facts == [ScaleAsked(count=3), RecycleAsked(1)]


async def test_reload_returns_at_once(room: Room) -> None:
    said = await room.run("reload")
    assert said.return_value == 0
    assert said.output.startswith("reload asked for")
    assert room.facts == [ReloadAsked(1)]


async def end_reload(room: Room, ended: ReloadEnded, *options: str) -> Result:
    room.frames.print("Traceback ...\n", 2)
    running = asyncio.create_task(room.run("reload", "--wait", *options))
    await wait_until(lambda: room.facts)
    room.reloads.end(ended)
    return await running


async def test_a_reload_that_worked_is_one_line(room: Room) -> None:
    said = await end_reload(room, ReloadEnded(1, 2, True))
    assert said.return_value == 0
    assert said.output.startswith("reloaded: generation 2 serves in every slot")


async def test_a_reload_that_failed_shows_what_the_app_raised(room: Room) -> None:
    said = await end_reload(room, ReloadEnded(1, 2, False, "no database"))
    assert isinstance(said.exception, SupervisorError)
    assert said.exception.exit_code == 1
    assert str(said.exception).endswith(": no database")
    assert said.stderr == "Traceback ...\n"


async def test_a_reload_that_failed_is_json_for_machines(room: Room) -> None:
    said = await end_reload(room, ReloadEnded(1, 2, False, "no database"), "--json")
    assert said.return_value == 1
    answer = msgspec.json.decode(said.output, type=ReloadAnswer)
    assert (answer.reason, answer.output) == ("no database", "Traceback ...\n")


async def test_a_service_that_ends_meanwhile_has_not_reloaded(room: Room) -> None:
    running = asyncio.create_task(room.run("reload", "--wait"))
    await wait_until(lambda: room.facts)
    room.server.close()
    said = await running
    assert isinstance(said.exception, SupervisorError)
    assert said.exception.exit_code == 1


async def test_stop_need_not_wait(room: Room) -> None:
    assert "is told to stop" in (await room.run("stop", "--no-wait")).output
    assert room.stops == 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["scale", "many"], "'many' is not a valid integer"),
        (["recycle"], "Missing argument 'SLOT'"),
        (["reload", "now"], "unexpected extra argument (now)"),
    ],
)
def test_wrong_usage_is_told(words: list[str], reason: str) -> None:
    error = invoke(*words).exception
    assert isinstance(error, click.UsageError)
    assert reason in error.format_message()


def test_a_place_that_cannot_be_is_told() -> None:
    error = invoke("status", "--control", "@").exception
    assert isinstance(error, UsageError)
    assert str(error).startswith("--control '@': write a path")


@pytest.mark.slow
def test_a_verb_imports_neither_blazeio_nor_asyncio() -> None:
    code = (
        "import sys, blazeio_supervisor.__main__, blazeio_supervisor.control.verbs;"
        "print([name for name in ('blazeio', 'asyncio') if name in sys.modules])"
    )
    assert run_to_exit(["python", "-c", code]).stdout == "[]\n"
