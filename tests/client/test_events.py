import asyncio
from collections.abc import AsyncIterator

import pytest

import blazeio as io
from blazeio.client.content import (
    LEAST_RETRY_S,
    LONGEST_RETRY_S,
    MOST_RETRY_S,
    RETRY_S,
    decide_delay_s,
)
from blazeio.content.parsers import ServerSentEvent
from blazeio.errors import InvalidResponse, LocalProtocolError, ServerDisconnected
from tests.support.raw_server import RawServer, Script, Visitor

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
NO_MORE = b"HTTP/1.1 204 No Content\r\n\r\n"
FIRST = b"retry: 1\nid: 7\ndata: a\n\n"


async def collect(
    server: RawServer, *, reconnect: bool = False, method: str = "GET"
) -> list[ServerSentEvent]:
    async with io.Session(server.url, method) as resp:
        events = resp.events(reconnect=reconnect, least_retry_s=0.001)
        return [each async for each in events]


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
    ("retry_s", "failures", "least_s", "longest_s"),
    [
        (RETRY_S, 0, RETRY_S, 2 * RETRY_S),
        (RETRY_S, 1, RETRY_S, 4 * RETRY_S),
        (RETRY_S, 3, RETRY_S, 16 * RETRY_S),
        (RETRY_S, 5, RETRY_S, LONGEST_RETRY_S),
        (RETRY_S, 10_000, RETRY_S, LONGEST_RETRY_S),
        (0.0, 0, LEAST_RETRY_S, 2 * LEAST_RETRY_S),
        (0.001, 1, LEAST_RETRY_S, 4 * LEAST_RETRY_S),
        (600.0, 5, 600.0, 1200.0),
        (999_999.999, 0, MOST_RETRY_S, 2 * MOST_RETRY_S),
    ],
)
def test_how_long_is_waited(
    retry_s: float, failures: int, least_s: float, longest_s: float
) -> None:
    assert decide_delay_s(retry_s, failures, 0.0) == least_s
    assert decide_delay_s(retry_s, failures, 1.0) == longest_s
    assert decide_delay_s(retry_s, failures, 0.5) == (least_s + longest_s) / 2


# What a server says decides little


@pytest.mark.slow
async def test_a_server_that_wants_no_pause_gets_a_second() -> None:
    async def script(visitor: Visitor) -> None:  # each response ends by the close
        await visitor.read_request()
        asked_at.append(asyncio.get_running_loop().time())
        await visitor.send(HEAD + b"\r\nretry: 0\ndata: x\n\n")

    asked_at: list[float] = []
    async with RawServer(script) as server, io.Session(server.url) as resp:
        events = resp.events(reconnect=True)
        assert [(await anext(events)).data for _ in range(2)] == ["x", "x"]
    assert len(asked_at) == 2
    assert asked_at[1] - asked_at[0] >= LEAST_RETRY_S


async def listen(server: RawServer) -> list[str]:
    async with io.Session(server.url) as resp:
        events = resp.events(reconnect=True, least_retry_s=0.001)
        return [each.data async for each in events]


AGAIN = HEAD + b"\r\nretry: 1\ndata: a\n\n"


def answered(*answers: bytes) -> Script:
    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(answers[visitor.number])

    return script


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599, 600, 999])
async def test_a_server_in_trouble_is_asked_again_once_there_was_a_stream(
    status: int,
) -> None:
    trouble = b"HTTP/1.1 %d Oh\r\nContent-Length: 2\r\n\r\nno" % status
    async with RawServer(answered(AGAIN, trouble, AGAIN, NO_MORE)) as server:
        assert await listen(server) == ["a", "a"]
    async with RawServer(answered(trouble)) as server:
        with pytest.raises(InvalidResponse, match=f"{status} Oh"):
            await listen(server)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 No\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    ],
)
async def test_another_answer_ends_it(answer: bytes) -> None:
    async with RawServer(answered(AGAIN, answer)) as server:
        with pytest.raises(InvalidResponse):
            await listen(server)
        assert len(server.requests) == 2


async def test_no_content_ends_it_without_an_error() -> None:
    async with RawServer(answered(AGAIN, NO_MORE)) as server:
        assert await listen(server) == ["a"]


async def test_retry_after_is_heeded_and_has_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[float] = []

    def decide(retry_s: float, *_: float) -> float:
        asked.append(retry_s)
        return 0.0

    monkeypatch.setattr("blazeio.client.content.decide_delay_s", decide)
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: %b\r\n\r\n"
    waits = [b"7", b"9999999999", b"-1", b"x", b"Fri, 31 Dec 1999 23:59:59 GMT", b"8"]
    script = answered(AGAIN, *(busy % each for each in waits), NO_MORE)
    async with RawServer(script) as server:
        await listen(server)
    least = 0.001  # what the stream itself has asked for
    assert asked == [least, 7.0, least, least, least, least, 8.0]
    assert decide_delay_s(999_999_999.0, 0, 1.0) == 2 * MOST_RETRY_S


async def test_an_id_that_no_server_would_read_is_not_sent() -> None:
    large = HEAD + b"\r\nretry: 1\nid: " + b"i" * 5000 + b"\ndata: a\n\n"
    async with RawServer(answered(large, NO_MORE)) as server:
        await listen(server)
    assert b"Last-Event-ID" not in server.requests[1]


# Redirects and what else comes on the way


def found(status: int, path: str) -> bytes:
    location = f"Location: {path}\r\nContent-Length: 0\r\n\r\n"
    return f"HTTP/1.1 {status} Found\r\n{location}".encode()


@pytest.mark.parametrize(
    ("statuses", "again"),
    [
        ([302], "/"),
        ([307], "/"),
        ([303], "/"),
        ([301], "/1"),
        ([308], "/1"),
        ([301, 308], "/2"),
        ([301, 302], "/"),
    ],
)
async def test_a_redirect_that_is_not_permanent_is_asked_for_anew(
    statuses: list[int], again: str
) -> None:
    hops = [found(each, f"/{at}") for at, each in enumerate(statuses, 1)]
    script = answered(*hops, AGAIN, NO_MORE)
    async with (
        RawServer(script) as server,
        io.Session(
            server.url, follow_redirects=True, auth=("me", "x"), cookies={"a": "b"}
        ) as resp,
    ):
        events = resp.events(reconnect=True, least_retry_s=0.001)
        assert [each.data async for each in events] == ["a"]
    last = server.requests[-1]
    assert last.startswith(f"GET {again} HTTP/1.1\r\n".encode())
    assert b"\r\nAuthorization: Basic " in last
    assert b"\r\nCookie: a=b\r\n" in last


async def test_credentials_are_told_again_to_whom_they_are_for() -> None:
    """A temporary redirect to another origin makes nobody forget them for good."""
    async with RawServer(answered(AGAIN, NO_MORE)) as other:
        place = found(307, f"{other.url}/x")
        async with (
            RawServer(answered(place, place)) as server,
            io.Session(server.url, follow_redirects=True, auth=("me", "x")) as resp,
        ):
            events = resp.events(reconnect=True, least_retry_s=0.001)
            assert [each.data async for each in events] == ["a"]
    assert [b"Authorization" in each for each in server.requests] == [True, True]
    assert [b"Authorization" in each for each in other.requests] == [False, False]


@pytest.mark.slow
async def test_what_comes_before_each_answer_does_not_add_up() -> None:
    """Interim responses, redirects and their history, of 20 answers."""
    hints = b"HTTP/1.1 103 Early Hints\r\n\r\n"

    async def script(visitor: Visitor) -> None:
        request = await visitor.read_request()
        assert request is not None
        if b" /x " in request:
            await visitor.send(hints + (AGAIN if visitor.number < 40 else NO_MORE))
        else:
            await visitor.send(hints + found(302, "/x"))

    async with (
        RawServer(script) as server,
        io.Session(server.url, follow_redirects=True) as resp,
    ):
        events = resp.events(reconnect=True, least_retry_s=0.001)
        assert [each.data async for each in events] == ["a"] * 20
        assert (len(resp.history), len(resp.interims)) == (1, 2)
