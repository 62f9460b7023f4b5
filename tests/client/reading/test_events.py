import asyncio
from collections.abc import AsyncIterator

import pytest

import blazeio as io
from blazeio.client.reading.events import LONGEST_RETRY_S, RETRY_S, decide_delay_s
from blazeio.content.event_stream import ServerSentEvent
from blazeio.errors import InvalidResponse, LocalProtocolError, ServerDisconnected
from tests.support.raw_server import RawServer, Visitor

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
NO_MORE = b"HTTP/1.1 204 No Content\r\n\r\n"
FIRST = b"retry: 1\nid: 7\ndata: a\n\n"


async def collect(
    server: RawServer, *, reconnect: bool = False, method: str = "GET"
) -> list[ServerSentEvent]:
    async with io.Session(server.url, method) as resp:
        return [each async for each in resp.events(reconnect=reconnect)]


async def test_events_are_given_as_they_come() -> None:
    came = asyncio.Event()

    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(HEAD + b"\r\ndata: 1\n\nda")
        await came.wait()
        await visitor.send(b"ta: 2\n\ndata: cut")

    async with RawServer(script) as server, io.Session(server.url) as resp:
        events = resp.events()
        assert (await anext(events)).data == "1"
        came.set()
        assert [each.data async for each in events] == ["2"]


async def test_a_stream_that_ends_is_asked_for_again_from_where_it_was() -> None:
    answers = [HEAD + b"\r\n" + FIRST, b"", HEAD + b"\r\ndata: b\n\n", NO_MORE]

    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(answers[visitor.number])

    async with RawServer(script) as server:
        events = await collect(server, reconnect=True)
    assert [(each.data, each.event_id) for each in events] == [("a", "7"), ("b", "7")]
    assert b"Last-Event-ID" not in server.requests[0]
    assert all(
        each.count(b"\r\nLast-Event-ID: 7\r\n") == 1 for each in server.requests[1:]
    )
    assert len(server.requests) == len(answers)


async def test_a_stream_that_breaks_off_is_an_error_unless_it_is_asked_for_again() -> (
    None
):
    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        chunk = b"%x\r\n%b\r\n" % (len(FIRST), FIRST)
        await visitor.send(NO_MORE if visitor.number > 1 else CHUNKED + chunk)

    async with RawServer(script) as server:
        with pytest.raises(ServerDisconnected):
            await collect(server)
        events = await collect(server, reconnect=True)
    assert [each.data for each in events] == ["a"]


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200 OK, no type"),
        (HEAD.replace(b"200 OK", b"404 Not Found") + b"\r\n", "404 Not Found"),
        (HEAD.replace(b"event-stream", b"html") + b"\r\n", "text/html"),
    ],
)
async def test_what_is_no_event_stream_is_an_error(octets: bytes, message: str) -> None:
    async with RawServer(octets) as server:
        with pytest.raises(InvalidResponse, match=message):
            await collect(server, reconnect=True)


async def test_what_was_asked_by_a_stream_is_not_asked_again() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"

    async with (
        RawServer(HEAD + b"Content-Length: 0\r\n\r\n") as server,
        io.Session(server.url, "post", body=pieces()) as resp,
    ):
        with pytest.raises(LocalProtocolError, match="cannot be asked"):
            await anext(resp.events(reconnect=True))


@pytest.mark.parametrize(
    ("failures", "chance", "delay_s"),
    [
        (0, 0.0, RETRY_S),
        (0, 1.0, RETRY_S),
        (1, 0.0, 2 * RETRY_S),
        (1, 1.0, 1.5 * RETRY_S),
        (3, 0.0, 8 * RETRY_S),
        (5, 0.0, LONGEST_RETRY_S),
        (10_000, 0.0, LONGEST_RETRY_S),
    ],
)
def test_each_attempt_that_brings_nothing_waits_longer(
    failures: int, chance: float, delay_s: float
) -> None:
    assert decide_delay_s(RETRY_S, failures, chance) == delay_s


def test_a_server_may_want_more_time_than_that() -> None:
    assert decide_delay_s(600.0, 5, 0.5) == 600.0
