import asyncio

import click
import msgspec
import pytest
from click.testing import Result

from blazeio_supervisor.errors import SupervisorError, UsageError
from blazeio_supervisor.fleet.actions import ReloadEnded
from blazeio_supervisor.fleet.facts import (
    ParkAsked,
    RecycleAsked,
    ReloadAsked,
    ResumeAsked,
    ScaleAsked,
)
from blazeio_supervisor.ipc.control_api import (
    ReloadAnswer,
    UpgradeAnswer,
)
from tests.supervisor.cli.master_harness import US
from tests.supervisor.cli.verb_harness import VerbHarness
from tests.support.clock import wait_until


async def test_scale_and_recycle_order_what_they_say(verb_harness: VerbHarness) -> None:
    assert (
        await verb_harness.run("scale", "3")
    ).output == "3 workers wanted, 2 before\n"
    assert "pid 1002 drains" in (await verb_harness.run("recycle", "1")).output
    assert verb_harness.facts == [ScaleAsked(count=3, by=US), RecycleAsked(1, by=US)]


async def test_reload_returns_at_once(verb_harness: VerbHarness) -> None:
    said = await verb_harness.run("reload")
    assert said.return_value == 0
    assert said.output.startswith("reload asked for")
    assert verb_harness.facts == [ReloadAsked(1, by=US)]


async def end_reload(
    verb_harness: VerbHarness, ended: ReloadEnded, *options: str
) -> Result:
    verb_harness.frames.print("Traceback ...\n", 2)
    running = asyncio.create_task(verb_harness.run("reload", "--wait", *options))
    await wait_until(lambda: verb_harness.facts)
    verb_harness.reloads.end(ended)
    return await running


async def test_a_reload_that_worked_is_one_line(verb_harness: VerbHarness) -> None:
    said = await end_reload(verb_harness, ReloadEnded((1,), 2, True))
    assert said.return_value == 0
    assert said.output.startswith("reloaded: generation 2 serves in every slot")


async def test_a_reload_that_failed_shows_what_the_app_raised(
    verb_harness: VerbHarness,
) -> None:
    said = await end_reload(verb_harness, ReloadEnded((1,), 2, False, "no database"))
    assert isinstance(said.exception, SupervisorError)
    assert said.exception.exit_code == 1
    assert str(said.exception).endswith(": no database")
    assert said.stderr == "Traceback ...\n"


async def test_a_reload_that_failed_is_json_for_machines(
    verb_harness: VerbHarness,
) -> None:
    said = await end_reload(
        verb_harness, ReloadEnded((1,), 2, False, "no database"), "--json"
    )
    assert said.return_value == 1
    answer = msgspec.json.decode(said.output, type=ReloadAnswer)
    assert (answer.reason, answer.output) == ("no database", "Traceback ...\n")


async def test_a_service_that_ends_meanwhile_has_not_reloaded(
    verb_harness: VerbHarness,
) -> None:
    running = asyncio.create_task(verb_harness.run("reload", "--wait"))
    await wait_until(lambda: verb_harness.facts)
    verb_harness.server.close()
    said = await running
    assert isinstance(said.exception, SupervisorError)
    assert said.exception.exit_code == 1


async def test_stop_need_not_wait(verb_harness: VerbHarness) -> None:
    assert "is told to stop" in (await verb_harness.run("stop", "--no-wait")).output
    assert verb_harness.stops == [False]


async def test_a_quick_stop_is_ordered_as_one(verb_harness: VerbHarness) -> None:
    await verb_harness.run("stop", "--quick", "--no-wait")
    assert verb_harness.stops == [True]


@pytest.mark.parametrize(("word", "count"), [("3", 3), ("+2", 4), ("-1", 1), ("+1", 3)])
async def test_scale_takes_a_count_or_a_change(
    verb_harness: VerbHarness, word: str, count: int
) -> None:
    await verb_harness.run("scale", word)
    assert verb_harness.facts == [ScaleAsked(count=count, by=US)]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("scale", "many"), "'many' is not a count: write N, +N, -N or auto"),
        (("scale", "+-1"), "'+-1' is not a count"),
        (("scale", "9" * 5000), "'9999"),
        (("scale", "--now"), "'--now' is not a count"),
        (("recycle", "-1"), "No such option"),
        (("recycle", "first"), "'first' is not a slot: write its number, or all"),
    ],
)
async def test_what_cannot_be_read_is_told(
    verb_harness: VerbHarness, words: tuple[str, ...], reason: str
) -> None:
    error = (await verb_harness.run(*words)).exception
    assert isinstance(error, UsageError | click.UsageError)
    text = error.format_message() if isinstance(error, click.UsageError) else str(error)
    assert text.startswith(reason)
    assert verb_harness.facts == []


async def test_scale_waits_until_they_serve(verb_harness: VerbHarness) -> None:
    verb_harness.is_obeyed = True
    said = await verb_harness.run("scale", "3", "--wait")
    assert said.output.startswith("3 workers serve, 2 before (")


async def test_recycle_waits_for_all(verb_harness: VerbHarness) -> None:
    verb_harness.is_obeyed = True
    said = await verb_harness.run("recycle", "all", "--wait")
    assert said.output.startswith("2 workers replaced (")


async def test_park_waits_until_nobody_is_left(verb_harness: VerbHarness) -> None:
    verb_harness.is_obeyed = True
    said = await verb_harness.run("park", "--wait")
    assert said.output.startswith("parked: no worker is left (")
    said = await verb_harness.run("resume", "--wait")
    assert said.output.startswith("every slot serves (")


async def test_park_and_resume_return_at_once(verb_harness: VerbHarness) -> None:
    assert (await verb_harness.run("park")).output.startswith(
        "parked: the workers drain"
    )
    assert (await verb_harness.run("resume")).output.startswith("resumed")
    assert verb_harness.facts == [ParkAsked(by=US), ResumeAsked(by=US)]


async def test_a_refusal_is_one_line_with_its_reason(verb_harness: VerbHarness) -> None:
    said = await verb_harness.run("upgrade")
    assert isinstance(said.exception, SupervisorError)
    assert said.exception.exit_code == 1
    text = "no upgrade, the running code goes on: the running program could not be kept"
    assert str(said.exception).startswith(text)


@pytest.mark.parametrize("option", ["--check", "--check-upgrade"])
async def test_a_check_has_two_names(verb_harness: VerbHarness, option: str) -> None:
    said = await verb_harness.run("upgrade", option, "--json")
    assert said.return_value == 1
    answer = msgspec.json.decode(said.output, type=UpgradeAnswer)
    assert (answer.number, answer.is_over, answer.is_ok) == (0, True, False)
