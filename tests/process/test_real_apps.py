"""Real apps, answer by answer the same as on the server that they come from."""

import asyncio
import importlib.util
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from websockets.exceptions import InvalidStatus

from tests.support.clock import scaled
from tests.support.live import LiveServer, LiveServers
from tests.support.tree import REPOSITORY

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

APPS = REPOSITORY / "tests" / "gateways" / "real_apps"
OF_CONNECTION = {
    "connection",
    "content-length",
    "date",
    "expires",
    "keep-alive",
    "server",
    "transfer-encoding",
}
"""Fields that are the server's, or tell the time."""
SET_FIELDS = ("allow", "vary")
"""Fields whose values are a set, which Python gives in any order."""
RANDOM = re.compile(r"(csrftoken=|csrfmiddlewaretoken\W+value\W+)\w+")
CONTENT = b"x" * 200_000


@pytest.fixture(autouse=True)
def keep_what_apps_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Their temporary files lie in a folder of the test, however they end."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@dataclass
class Ask:
    """One request."""

    method: str
    target: str
    options: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


def ask(method: str, target: str = "/", **options: Any) -> Ask:
    return Ask(method, target, options)


def get(target: str = "/", **fields: str) -> Ask:
    return ask("GET", target, headers=fields)


FILE = {"file": ("a.txt", b"abc", "text/plain")}
LARGE_FILE = {"file": ("a.txt", CONTENT, "text/plain")}
BOUNDARY = {"Content-Type": "multipart/form-data; boundary=b"}

FASTAPI = [
    get(),
    get("/items/3?q=a"),
    get("/items/x"),
    ask("POST", "/items", json={"name": "a", "price": 1}),
    ask("POST", "/items", json={"name": "a"}),
    get("/missing"),
    get("/boom"),
    ask("POST", "/form", data={"name": "a", "age": "3"}),
    ask("POST", "/upload", files=LARGE_FILE),
    get("/sync"),
    get("/background"),
    get("/dependency"),
    get("/seen"),  # what both have done after their responses
    get("/stream"),
    get("/big"),
    get("/redirect"),
    get("/client?a=b"),
    ask("HEAD"),
    ask("OPTIONS"),
    get("/none"),
    get("/openapi.json"),
    get(Origin="https://a.example"),
]
STARLETTE = [
    get(),
    get("/html"),
    ask("POST", "/echo", content=b"abc", headers={"Content-Type": "text/x"}),
    ask("PUT", "/echo", content=CONTENT),
    ask("POST", "/stream-in", content=CONTENT),
    get("/session"),
    get("/cookies"),
    get("/stream"),
    get("/empty"),
    get("/not-modified"),
    get("/redirect"),
    get("/background"),
    get("/file"),
    get("/file", Range="bytes=10-19"),
    ask("HEAD", "/file"),
    get("/disconnected"),
    get("/inner"),
    get("/inner/deep"),
    get("/static/file.txt"),
    get("/static/none"),
    ask("HEAD"),
    ask("POST"),
    get("/%C3%A9"),
]
DJANGO = [
    get(),
    get("/admin/"),
    get("/query/3?a=b"),
    ask("POST", "/form", data={"a": "b"}),
    ask("POST", "/upload", files=FILE),
    ask("POST", "/upload", files=LARGE_FILE),
    get("/stream"),
    get("/async-stream"),
    get("/async"),
    get("/file"),
    ask("HEAD", "/file"),
    get("/boom"),
    get("/redirect"),
    get("/none"),
    ask("POST"),
]
LITESTAR = [
    get(),
    get("/items/3?q=a"),
    get("/items/x"),
    ask("POST", "/items", json={"name": "a", "price": 1}),
    ask("POST", "/items", json={"name": 1}),
    ask("POST", "/upload", files=FILE),
    get("/missing"),
    get("/stream"),
    get("/redirect"),
    get("/sync"),
    ask("HEAD"),
    ask("OPTIONS"),
]
QUART = [
    get(),
    get("/items/3?q=a"),
    ask("POST", "/echo", content=CONTENT),
    ask("POST", "/form", data={"a": "b"}),
    ask("POST", "/upload", files=FILE),
    get("/stream"),
    get("/redirect"),
    get("/boom"),
    ask("HEAD"),
    get("/none"),
]
FLASK = [
    get(),
    get("/items/3?q=a"),
    ask("POST", "/echo", content=CONTENT),
    ask("POST", "/form", data={"a": "b"}),
    ask("POST", "/upload", files=LARGE_FILE),
    ask("POST", "/stream-in", content=CONTENT),
    get("/stream"),
    get("/session"),
    get("/cookies"),
    get("/file"),
    get("/file", Range="bytes=0-9"),
    get("/redirect"),
    get("/empty"),
    get("/boom"),
    ask("HEAD"),
    ask("HEAD", "/stream"),
    ask("OPTIONS"),
    get("/%C3%A9"),
    get("/none"),
]
HTTPBIN = [
    get("/get?a=b"),
    ask("POST", "/post", data={"a": "b"}),
    ask("POST", "/post", content=b"--b--\r\n", headers=BOUNDARY),
    get("/headers"),
    get("/status/418"),
    get("/status/204"),
    get("/stream/5"),
    get("/bytes/100?seed=1"),
    get("/drip?numbytes=5&duration=0.1"),
    get("/range/100", Range="bytes=0-9"),
    get("/gzip"),
    get("/redirect/1"),
    get("/cookies/set?a=b"),
    get("/basic-auth/a/b"),
    get("/image/png"),
    get("/etag/x", **{"If-None-Match": "x"}),
    ask("HEAD", "/get"),
    ask("DELETE", "/delete"),
    get("/anything/%C3%A9/x"),
]
STRAWBERRY = [
    ask("POST", json={"query": "{ hello }"}),
    ask("POST", json={"query": "{ none }"}),
    get(Accept="text/html"),
]


def require(*packages: str) -> None:
    """Skip where a package is missing."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def find_port() -> int:
    """A port that was free a moment ago: the other servers cannot tell theirs."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Pair:
    """One app, served twice.

    Attributes:
        own: Its port here.
        other: Its port on the other server.
    """

    def __init__(self, own: LiveServer, other_port: int) -> None:
        self.own = own.port
        self.other = other_port

    async def differences(self, asks: list[Ask]) -> list[str]:
        """What is answered otherwise here."""
        found = []
        async with httpx.AsyncClient(timeout=scaled(10)) as client:
            for each in asks:
                own = await self._ask(client, self.own, each)
                other = await self._ask(client, self.other, each)
                if own != other:
                    found.append(f"{each}: {own} where it was {other}")
        return found

    async def _ask(
        self, client: httpx.AsyncClient, port: int, each: Ask
    ) -> tuple[int, list[tuple[str, str]], str]:
        url = f"http://127.0.0.1:{port}{each.target}"
        client.cookies.clear()
        answer = await client.request(each.method, url, **each.options)
        fields = sorted(
            (name.lower(), self._normal(port, name.lower(), value))
            for name, value in answer.headers.multi_items()
            if name.lower() not in OF_CONNECTION
        )
        content = self._normal(port, "", answer.content.decode("latin-1"))
        return answer.status_code, fields, content

    def _normal(self, port: int, name: str, text: str) -> str:
        if name in SET_FIELDS:
            return ", ".join(sorted(text.split(", ")))
        if name == "set-cookie":
            text = re.sub(r"expires=[^;]+", "", text)
        return RANDOM.sub(r"\1", text.replace(f":{port}", ":port"))


def start_pair(live_server: LiveServers, module: str, *, is_wsgi: bool) -> Pair:
    """Serve an app here and by uvicorn, or by gunicorn's threads."""
    port = find_port()
    options = ["--bind", "127.0.0.1:0", "--workers", "1"]
    own = live_server.start(["blazeio-supervisor", module, *options], cwd=APPS)
    own.wait_for_log("event=ready ", timeout_s=30)
    if is_wsgi:
        words = ["gunicorn", "--threads", "4", "-b", f"127.0.0.1:{port}", module]
        ready = "Booting worker"
    else:
        words = ["uvicorn", "--port", str(port), module]
        ready = "Uvicorn running"
    live_server.start(words, cwd=APPS, ready=ready, timeout_s=30)
    return Pair(own, port)


@pytest.mark.parametrize(
    ("module", "package", "asks"),
    [
        ("fastapi_app:app", "fastapi", FASTAPI),
        ("starlette_app:app", "starlette", STARLETTE),
        ("django_app:app", "django", DJANGO),
        ("litestar_app:app", "litestar", LITESTAR),
        ("quart_app:app", "quart", QUART),
        ("strawberry_app:app", "strawberry", STRAWBERRY),
    ],
)
async def test_an_asgi_app_answers_as_on_uvicorn(
    live_server: LiveServers, module: str, package: str, asks: list[Ask]
) -> None:
    require("uvicorn", package)
    pair = start_pair(live_server, module, is_wsgi=False)
    assert await pair.differences(asks) == []


@pytest.mark.parametrize(
    ("module", "package", "asks"),
    [
        ("flask_app:app", "flask", FLASK),
        ("django_app:wsgi", "django", DJANGO),
        ("httpbin_app:app", "httpbin", HTTPBIN),
    ],
)
async def test_a_wsgi_app_answers_as_on_gunicorn(
    live_server: LiveServers, module: str, package: str, asks: list[Ask]
) -> None:
    require("gunicorn", package)
    pair = start_pair(live_server, module, is_wsgi=True)
    assert await pair.differences(asks) == []


@asynccontextmanager
async def served(live_server: LiveServers, module: str) -> AsyncIterator[str]:
    """Serve an app here; give its address."""
    options = ["--bind", "127.0.0.1:0", "--workers", "1"]
    own = live_server.start(["blazeio-supervisor", module, *options], cwd=APPS)
    own.wait_for_log("event=ready ", timeout_s=30)
    yield f"127.0.0.1:{own.port}"


@pytest.mark.parametrize("module", ["django_app:app", "django_app:wsgi"])
async def test_django_lets_its_admin_in(live_server: LiveServers, module: str) -> None:
    require("django")
    async with (
        served(live_server, module) as address,
        httpx.AsyncClient(base_url=f"http://{address}") as client,
    ):
        page = await client.get("/admin/login/")
        (token,) = re.findall(r'csrfmiddlewaretoken" value="(\w+)"', page.text)
        data = {
            "username": "admin",
            "password": "password",
            "csrfmiddlewaretoken": token,
            "next": "/admin/",
        }
        answer = await client.post("/admin/login/", data=data)
        assert (answer.status_code, answer.headers["location"]) == (302, "/admin/")
        assert "Site administration" in (await client.get("/admin/")).text


@pytest.mark.parametrize(
    ("module", "package", "said", "heard"),
    [
        ("fastapi_app:app", "fastapi", "a", '{"got":"a"}'),
        ("starlette_app:app", "starlette", b"a", b"a"),
        ("litestar_app:app", "litestar", "a", '{"got":"a"}'),
        ("quart_app:app", "quart", "a", "got a"),
    ],
)
async def test_a_websocket_of_each_framework(
    live_server: LiveServers,
    module: str,
    package: str,
    said: str | bytes,
    heard: str | bytes,
) -> None:
    require(package)
    async with (
        served(live_server, module) as address,
        websockets.connect(f"ws://{address}/ws") as ws,
    ):
        for _ in range(3):
            await ws.send(said)
            assert await ws.recv() == heard


async def test_starlette_denies_a_websocket(live_server: LiveServers) -> None:
    require("starlette")
    async with served(live_server, "starlette_app:app") as address:
        with pytest.raises(InvalidStatus) as caught:
            await websockets.connect(f"ws://{address}/refuse")
    assert caught.value.response.status_code == 418


async def test_socketio_by_polling_and_by_websocket(live_server: LiveServers) -> None:
    """Engine.IO 4, without a client of theirs."""
    require("socketio")
    async with (
        served(live_server, "socketio_app:app") as address,
        httpx.AsyncClient(base_url=f"http://{address}") as client,
    ):
        target = "/socket.io/?EIO=4&transport=polling"
        opened = (await client.get(target)).text
        assert opened.startswith("0{")
        session = f"{target}&sid={json.loads(opened[1:])['sid']}"
        assert (await client.post(session, content="40")).status_code == 200
        heard = ""
        while "hello" not in heard:
            heard += (await client.get(session)).text
        await client.post(session, content='420["echo",1]')
        while "430" not in heard:
            heard += (await client.get(session)).text
        assert '430[{"echo":1}]' in heard
        url = f"ws://{address}/socket.io/?EIO=4&transport=websocket"
        async with websockets.connect(url) as ws:
            assert str(await ws.recv()).startswith("0{")
            await ws.send("40")
            await ws.send('420["echo",2]')
            texts = [str(await ws.recv()) for _ in range(3)]
        assert '430[{"echo":2}]' in texts


async def test_a_graphql_subscription(live_server: LiveServers) -> None:
    require("strawberry")
    async with (
        served(live_server, "strawberry_app:app") as address,
        websockets.connect(
            f"ws://{address}/",
            subprotocols=[websockets.Subprotocol("graphql-transport-ws")],
        ) as ws,
    ):
        await ws.send('{"type": "connection_init"}')
        assert json.loads(await ws.recv())["type"] == "connection_ack"
        query = {"query": "subscription { count(upto: 3) }"}
        await ws.send(json.dumps({"id": "1", "type": "subscribe", "payload": query}))
        heard = []
        async with asyncio.timeout(scaled(5)):
            while (message := json.loads(await ws.recv()))["type"] == "next":
                heard.append(message["payload"]["data"]["count"])
    assert heard == [0, 1, 2]
