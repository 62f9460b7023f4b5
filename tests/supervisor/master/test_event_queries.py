from collections.abc import Iterator

import msgspec
import pytest

from blazeio_supervisor.ipc.control_api import (
    EventsAnswer,
)
from blazeio_supervisor.log.formats import EventRecord
from blazeio_supervisor.log.setup import note
from tests.supervisor.cli.control_harness import ControlServerHarness
from tests.support.clock import wait_until
from tests.support.served import serialize_request


@pytest.fixture
def events(control: ControlServerHarness) -> Iterator[None]:
    """Three that have happened."""
    control.events.attach()
    for text in "abc":
        note("scaled", text)
    yield
    control.events.detach()


async def ask(control: ControlServerHarness, query: str) -> EventsAnswer:
    answer = await control.ask("GET", f"/events{query}")
    return msgspec.json.decode(answer.body, type=EventsAnswer)


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize(
    ("query", "texts"),
    [("", "abc"), ("?after=2", "c"), ("?last=2", "bc"), ("?after=1&last=5", "bc")],
)
async def test_events_are_given_by_number_or_count(
    control: ControlServerHarness, query: str, texts: str
) -> None:
    found = (await ask(control, query)).events
    assert "".join(each.text for each in found) == texts


@pytest.mark.parametrize("query", ["?after=x", "?last=-1", "?before=3"])
async def test_a_query_that_means_nothing_is_refused(
    control: ControlServerHarness, query: str
) -> None:
    refusal = await control.refusal("GET", f"/events{query}")
    assert refusal.startswith("400 the query cannot be read: ")


@pytest.mark.usefixtures("events")
async def test_who_follows_reads_lines_until_the_service_ends(
    control: ControlServerHarness,
) -> None:
    async with await control.connect() as peer:
        await peer.send(serialize_request("GET", "/events?last=1&follow=true"))
        await wait_until(lambda: control.events.is_followed)
        note("stopped", "d")
        control.events.detach()
        await control.server.drain()
        lines = (await peer.read_response()).body.splitlines()
    found = [msgspec.json.decode(line, type=EventRecord) for line in lines]
    assert [each.text for each in found] == ["c", "d"]
