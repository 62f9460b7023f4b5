from collections.abc import Iterator

import msgspec
import pytest

from blazeio_supervisor.ipc.control_api import EventsAnswer
from blazeio_supervisor.log.events import EventRecord
from blazeio_supervisor.log.note import note
from tests.supervisor.cli.room import Room
from tests.support.clock import wait_until
from tests.support.served import serialize_request


@pytest.fixture
def events(room: Room) -> Iterator[None]:
    """Three that have happened."""
    room.events.attach()
    for text in "abc":
        note("scaled", text)
    yield
    room.events.detach()


async def ask(room: Room, query: str) -> EventsAnswer:
    answer = await room.ask("GET", f"/events{query}")
    return msgspec.json.decode(answer.body, type=EventsAnswer)


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize(
    ("query", "texts"),
    [("", "abc"), ("?after=2", "c"), ("?last=2", "bc"), ("?after=1&last=5", "bc")],
)
async def test_events_are_given_by_number_or_count(
    room: Room, query: str, texts: str
) -> None:
    found = (await ask(room, query)).events
    assert "".join(each.text for each in found) == texts


@pytest.mark.parametrize("query", ["?after=x", "?last=-1", "?before=3"])
async def test_a_query_that_means_nothing_is_refused(room: Room, query: str) -> None:
    refusal = await room.refusal("GET", f"/events{query}")
    assert refusal.startswith("400 the query cannot be read: ")


@pytest.mark.usefixtures("events")
async def test_who_follows_reads_lines_until_the_service_ends(room: Room) -> None:
    async with await room.connect() as peer:
        await peer.send(serialize_request("GET", "/events?last=1&follow=true"))
        await wait_until(lambda: room.events.is_followed)
        note("stopped", "d")
        room.events.detach()
        await room.server.drain()
        lines = (await peer.read_response()).body.splitlines()
    found = [msgspec.json.decode(line, type=EventRecord) for line in lines]
    assert [each.text for each in found] == ["c", "d"]
