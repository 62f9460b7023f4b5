"""An App as an ASGI app, served again: what is answered is the same."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

import blazeio as io
from blazeio.app.mounting import ForeignApp
from blazeio.gateways.interfaces import Interface
from tests.gateways.apps import Step
from tests.support.clock import wait_until
from tests.support.peer import UnexpectedEndError
from tests.support.served import Site, served

R = io.BlazeioServerProtocol


def make() -> io.App:  # noqa: C901 - a handler of each kind
    web = io.App()

    @web.add_route
    async def root(r: R, route: str = "/") -> None:
        told = {"path": r.path, "root": r.root_path, "query": r.query, "via": r.scheme}
        await io.Deliver.json(r, told)

    @web.route.post("/echo")
    async def echo(r: R) -> None:
        await io.Deliver.text(r, await r.read())

    @web.route.get("/stream")
    async def stream(r: R) -> None:
        await r.prepare([("X-A", "1"), ("X-A", "2")])
        for number in range(5):
            await r.write(str(number))

    @web.route.get("/users/{id:int}")
    async def user(r: R, id: int) -> None:  # noqa: A002 - the name of the parameter
        await io.Deliver.text(r, str(id))

    @web.route.get("/boom")
    async def boom(r: R) -> None:
        raise ValueError("secret")

    @web.route.get("/late")
    async def late(r: R) -> None:
        await r.prepare()
        await r.write("begun")
        await asyncio.sleep(0.01)
        raise ValueError("secret")

    @web.add_route
    async def chat(r: R, route: str = "/chat") -> None:
        async with io.WebSocket(r, subprotocols=["b"]) as ws:
            async for message in ws:
                if message == "bye":
                    await ws.close(3001, "enough")
                    return
                await ws.send(message)

    @web.add_route
    async def closed(r: R, route: str = "/closed") -> None:
        raise io.Abort("not here", 418)

    return web


@asynccontextmanager
async def twice(web: io.App, **options: Any) -> AsyncIterator[Site]:
    app = ForeignApp(io.asgi(web), Interface.ASGI, "tests", **options)
    async with served(app) as site:
        yield site


@pytest.mark.parametrize(
    ("method", "target", "content"),
    [
        ("GET", "/?a=b", None),
        ("GET", "/none", None),
        ("HEAD", "/", None),
        ("POST", "/echo", b"abc"),
        ("POST", "/echo", b""),
        ("POST", "/echo", b"x" * 300_000),
        ("GET", "/stream", None),
        ("GET", "/users/7", None),
        ("GET", "/users/x", None),
        ("DELETE", "/users/7", None),
        ("OPTIONS", "/", None),
        ("GET", "/boom", None),
    ],
)
async def test_it_answers_as_it_does_alone(
    method: str, target: str, content: bytes | None
) -> None:
    async with served(make()) as alone, twice(make()) as site:
        left_out = ("date", "content-length", "transfer-encoding", "x-request-id")
        told = []
        for each in (alone, site):
            answer = await each.ask(method, target, content)
            fields = [pair for pair in answer.fields if pair[0] not in left_out]
            body = re.sub(rb"\(id \w{32}\)", b"", answer.body)
            told.append((answer.status, sorted(fields), body))
    assert told[0] == told[1]


async def test_chunked_content_has_no_length_and_is_read_all_the_same() -> None:
    async with twice(make()) as site, await site.connect() as peer:
        await peer.send(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        )
        assert (await peer.read_response()).body == b"abc"


async def test_date_and_server_are_those_of_the_server_around() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await io.asgi(make())(scope, receive, send)
    names = [name for name, _ in sent[0]["headers"]]
    assert names == [b"content-type", b"content-length"]


async def test_where_it_is_mounted_is_its_root_path() -> None:
    outer = io.App()
    outer.mount("/in", io.asgi(make()))
    async with served(outer) as site:
        assert (await site.get("/in/users/3")).text == "3"
        assert b'"path":"/","root":"/in"' in (await site.get("/in/")).body


async def test_the_hooks_run_within_the_lifespan() -> None:
    seen: list[str] = []
    web = make()
    web.on_start(lambda: seen.append("start"))
    web.on_stop(lambda: seen.append("stop"))
    async with twice(web) as site:
        await site.get("/")
        assert seen == ["start"]
    assert seen == ["start", "stop"]


async def test_a_hook_that_fails_is_a_failed_startup() -> None:
    web = make()

    @web.on_start
    async def fails() -> None:
        raise OSError("no database")

    with pytest.raises(Exception, match="no database"):
        async with twice(web):
            pass


async def test_a_response_that_is_cut_is_cut_around_as_well() -> None:
    async with twice(make()) as site, await site.connect() as peer:
        await peer.send(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
        with pytest.raises((ConnectionResetError, UnexpectedEndError)):
            await peer.read_response()


async def test_a_client_that_goes_away_ends_the_handler() -> None:
    web = make()
    waits = Step()
    ends: list[BaseException] = []

    @web.add_route
    async def wait(r: R, route: str = "/wait") -> None:
        waits.event.set()
        try:
            await asyncio.sleep(3600)
        except BaseException as error:
            ends.append(error)
            raise

    async with twice(web) as site, await site.connect() as peer:
        await peer.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        await waits.wait()
        peer.reset()
        await wait_until(lambda: ends)
        await wait_until(lambda: not site.server.in_flight)
    assert isinstance(ends[0], asyncio.CancelledError)


async def test_content_that_breaks_off_is_told() -> None:
    web = make()
    ends: list[BaseException] = []
    begun = Step()

    @web.add_route
    async def take(r: R, route: str = "/take") -> None:
        try:
            async for _ in r.pull():
                begun.event.set()
        except BaseException as error:
            ends.append(error)
            raise

    async with twice(web) as site, await site.connect() as peer:
        await peer.send(
            b"POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab"
        )
        await begun.wait()
        peer.close()
        await wait_until(lambda: ends)
        await wait_until(lambda: not site.server.in_flight)


async def test_a_handler_sleeps_while_the_client_does_not_read() -> None:
    web = make()
    sent = 0

    @web.add_route
    async def pour(r: R, route: str = "/pour") -> None:
        nonlocal sent
        await r.prepare()
        for _ in range(200):
            await r.write(b"x" * 100_000)
            sent += 1

    async with twice(web) as site, await site.connect() as peer:
        await peer.send(b"GET /pour HTTP/1.1\r\nHost: a\r\n\r\n")
        await wait_until(lambda: sent)
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.02)
        assert sent < 200
        octets = b""
        while not octets.endswith(b"\r\n0\r\n\r\n"):
            octets = octets[-8:] + await peer.read_some()
    assert sent == 200


@asynccontextmanager
async def connected(site: Site, path: str = "/chat", **more: Any) -> AsyncIterator[Any]:
    url = f"ws://127.0.0.1:{site.port}{path}"
    async with websockets.connect(url, close_timeout=2, **more) as ws:
        yield ws


async def test_a_websocket_speaks_both_ways() -> None:
    async with twice(make()) as site, connected(site, subprotocols=["a", "b"]) as ws:
        assert ws.subprotocol == "b"
        for message in ("text", b"octets", "", "\u20ac" * 50_000):
            await ws.send(message)
            assert await ws.recv() == message


async def test_a_close_of_the_handler_has_its_code() -> None:
    async with twice(make()) as site, connected(site) as ws:
        await ws.send("bye")
        with pytest.raises(ConnectionClosed):
            await ws.recv()
        assert (ws.close_code, ws.close_reason) == (3001, "enough")
        await wait_until(lambda: not site.server.in_flight)


async def test_a_close_of_the_client_ends_the_handler() -> None:
    async with twice(make()) as site:
        async with connected(site) as ws:
            await ws.send("a")
            await ws.recv()
        await wait_until(lambda: not site.server.in_flight)


async def test_a_handshake_that_is_refused_is_a_response() -> None:
    async with twice(make()) as site:
        with pytest.raises(InvalidStatus) as caught:
            async with connected(site, "/closed"):
                pass
    assert caught.value.response.status_code == 418


def test_what_is_no_app_is_refused() -> None:
    with pytest.raises(io.ConfigurationError, match="expected an App"):
        io.asgi(make)  # type: ignore[arg-type]
