"""Proxies, and an App under Starlette's TestClient."""

import json
from typing import Any

import pytest

import blazeio as io
from blazeio.app.mounting import ForeignApp
from blazeio.gateways.interfaces import Interface
from tests.gateways.apps import Receive, Send, body, start
from tests.support.served import served

FORWARDED = b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("trusted", "told"),
    [("127.0.0.1", "https 192.0.2.1"), ("", "http 127.0.0.1")],
)
async def test_a_proxy_is_believed_about_the_client_where_it_is_trusted(
    trusted: str, told: str
) -> None:
    """ASGI HTTP section "HTTP Connection Scope": scheme and client."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send(start())
            await send(body(f"{scope['scheme']} {scope['client'][0]}".encode()))

    web = ForeignApp(app, Interface.ASGI, "tests:app", forwarded_allow_ips=trusted)
    async with served(web) as site, await site.connect() as peer:
        await peer.send(b"GET / HTTP/1.1\r\n" + FORWARDED)
        assert (await peer.read_response()).text == told


async def test_a_websocket_behind_a_proxy_has_the_scheme_wss() -> None:
    """ASGI WebSocket section "Websocket Connection Scope"."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            seen.extend([scope["scheme"], scope["client"][0]])

    web = ForeignApp(app, Interface.ASGI, "tests:app", forwarded_allow_ips="127.0.0.1")
    async with served(web) as site, await site.connect() as peer:
        await peer.send(
            b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n" + FORWARDED
        )
        await peer.read_response()
    assert seen == ["wss", "192.0.2.1"]


def test_an_app_runs_under_the_test_client_of_starlette() -> None:
    testclient = pytest.importorskip("starlette.testclient")
    seen: list[str] = []
    web = io.App()
    web.on_start(lambda: seen.append("start"))
    web.on_stop(lambda: seen.append("stop"))

    @web.route.post("/echo/{name}")
    async def echo(r: io.BlazeioServerProtocol, name: str) -> None:
        got = json.loads(await r.read())
        await io.Deliver.json(r, {"name": name, "got": got}, 201)

    @web.route.get("/stream")
    async def stream(r: io.BlazeioServerProtocol) -> None:
        for number in range(3):
            await r.write(str(number))

    @web.add_route
    async def chat(r: io.BlazeioServerProtocol, route: str = "/ws") -> None:
        async with io.WebSocket(r) as ws:
            async for message in ws:
                await ws.send(message)

    with testclient.TestClient(io.asgi(web)) as client:
        answer = client.post("/echo/a?b=c", json=[1])
        assert (answer.status_code, answer.json()) == (201, {"name": "a", "got": [1]})
        assert client.get("/stream").text == "012"
        assert client.get("/missing").status_code == 404
        with client.websocket_connect("/ws") as socket:
            socket.send_text("hello")
            assert socket.receive_text() == "hello"
        assert seen == ["start"]
    assert seen == ["start", "stop"]
