import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

from blazeio.app.app import App
from blazeio.app.deliver import EventStream, serialize_event
from blazeio.errors import LocalProtocolError
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.clock import scaled, wait_until
from tests.support.served import served

R = BlazeioServerProtocol
GET = b"GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n"


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.mark.parametrize(
    ("data", "written"),
    [
        ("a", b"data: a\n\n"),
        ("", b"data: \n\n"),
        ("a\nb\r\nc\rd", b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
        ("☃", "data: ☃\n\n".encode()),
    ],
)
def test_data_is_written_line_by_line(data: str, written: bytes) -> None:
    assert serialize_event(data) == written


def test_type_and_id_come_first() -> None:
    octets = serialize_event("x", event="tick", event_id="7")
    assert octets == b"event: tick\nid: 7\ndata: x\n\n"


@pytest.mark.parametrize(
    "given", [{"event": "a\nb"}, {"event_id": "a\rb"}, {"event_id": "a\0"}]
)
def test_what_would_end_its_line_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(LocalProtocolError, match="it cannot hold line ends"):
        serialize_event("x", **given)


async def test_what_is_no_text_is_sent_as_json() -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        async with EventStream(r) as events:
            await events.send({"a": [1]}, event="own")

    async with served(web) as site:
        answer = await site.get("/x")
    assert answer.text == 'event: own\ndata: {"a":[1]}\n\n'


async def test_a_stream_has_its_head_and_events() -> None:
    web = App()

    @web.add_route
    async def events(r: R) -> None:
        async with EventStream(r, retry_ms=500) as stream:
            await stream.send(f"after {stream.last_event_id}", event_id="8")
            await stream.comment("note\nwell")

    async with served(web) as site:
        response = await site.ask("GET", "/events", headers={"Last-Event-ID": "7"})
    assert response.field("content-type") == "text/event-stream"
    assert response.field("cache-control") == "no-cache"
    assert response.body == (
        b"retry: 500\n\nid: 8\ndata: after 7\n\n: note\n: well\n\n"
    )


async def test_silence_is_filled() -> None:
    web = App()

    @web.add_route
    async def events(r: R) -> None:
        async with EventStream(r, keep_alive_every_s=scaled(0.05)):
            await asyncio.Event().wait()

    async with served(web) as site, await site.connect() as peer:
        await peer.send(GET)
        octets = b""
        while octets.count(b":\n\n") < 2:
            octets += await peer.read_some()


async def test_a_deadline_of_handlers_does_not_hold() -> None:
    web = App(handler_timeout_s=scaled(0.05))

    @web.add_route
    async def events(r: R) -> None:
        async with EventStream(r) as stream:
            await asyncio.sleep(scaled(0.3))
            await stream.send("still here")

    async with served(web) as site, await site.connect() as peer:
        await peer.send(GET)
        assert (await peer.read_response()).body == b"data: still here\n\n"


async def test_it_ends_well_when_the_server_drains() -> None:
    web = App()

    @web.add_route
    async def events(r: R) -> None:
        async with EventStream(r) as stream:
            await stream.send("one")
            await asyncio.Event().wait()

    async with served(web) as site, await site.connect() as peer:
        await peer.send(GET)
        await wait_until(lambda: site.server.in_flight == 1)
        site.server.start_draining(0)
        assert (await peer.read_response()).body == b"data: one\n\n"


async def test_a_plain_write_loop_has_the_type_that_the_client_accepts() -> None:
    web = App()

    @web.add_route
    async def events(r: R) -> None:
        for number in range(2):
            await r.write(f"data: {number}\n\n")

    async with served(web) as site, await site.connect() as peer:
        await peer.send(GET)
        response = await peer.read_response()
    assert response.field("content-type") == "text/event-stream"
    assert response.field("cache-control") == "no-cache"
    assert response.body == b"data: 0\n\ndata: 1\n\n"
