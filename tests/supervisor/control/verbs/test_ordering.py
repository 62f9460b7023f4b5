import asyncio

import msgspec
from click.testing import Result

from blazeio_supervisor.control.answers import ReloadAnswer
from blazeio_supervisor.errors import SupervisorError
from blazeio_supervisor.fleet.actions import ReloadEnded
from blazeio_supervisor.fleet.facts import RecycleAsked, ReloadAsked, ScaleAsked
from tests.supervisor.control.verbs.room import Room
from tests.support.clock import wait_until


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
