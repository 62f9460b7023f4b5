import asyncio

import msgspec
import pytest

from blazeio_supervisor.control.answers import EventAnswer, EventsAnswer
from blazeio_supervisor.observe.events.noting import note
from tests.supervisor.control.verbs.room import VerbRoom
from tests.support.clock import wait_until


@pytest.mark.parametrize(
    ("words", "texts"), [((), ["a", "b"]), (("--last", "1"), ["b"])]
)
async def test_events_are_lines_or_json(
    room: VerbRoom, words: tuple[str, ...], texts: list[str]
) -> None:
    room.events.attach()
    for text in "ab":
        note("scaled", text)
    said = (await room.run("events", *words)).output
    assert [line[-1] for line in said.splitlines()] == texts
    said = (await room.run("events", *words, "--json")).output
    found = msgspec.json.decode(said, type=EventsAnswer).events
    assert [each.text for each in found] == texts
    room.events.detach()


async def test_events_are_followed_to_the_end_of_the_service(room: VerbRoom) -> None:
    room.events.attach()
    note("ready", "a")
    run = asyncio.create_task(room.run("events", "--follow", "--json"))
    await wait_until(lambda: room.events.is_followed)
    note("stopped", "b")
    room.events.detach()
    await room.server.drain()
    done = await run
    lines = done.output.splitlines()
    found = [msgspec.json.decode(line, type=EventAnswer) for line in lines]
    assert [each.text for each in found] == ["a", "b"]
    assert done.return_value == 0
