"""The nine small programs of ``examples``, each served in this process and used."""

import asyncio
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlencode

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver, EventStream
from blazeio.client.session import Session
from blazeio.errors import Abort
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.testing import TestServer
from blazeio.websocket.websocket import ClientWebSocket
from tests.support.clock import scaled, wait_until
from tests.support.tree import REPOSITORY

R = BlazeioServerProtocol
FOLDER = REPOSITORY / "examples"
NAMES = (
    "crud_sqlite", "upload_progress", "sse_page", "chat", "proxy_retries",
    "token_relay", "long_polling", "login", "spa",
)  # fmt: skip
MOST_LINES = 79


def load(name: str) -> ModuleType:
    """The program, imported anew, with the environment of now."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_each_is_under_80_lines(name: str) -> None:
    assert (FOLDER / f"{name}.py").read_text().count("\n") <= MOST_LINES


async def test_crud_with_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOKS", str(tmp_path / "books.sqlite"))
    web = load("crud_sqlite").web
    async with TestServer(web) as server, Session(base_url=server.url) as session:
        emma = {"title": "Emma", "year": 1815}
        async with session.post("/books", json=emma) as resp:
            assert resp.status_code == 201
            place = resp.headers["location"]
            assert await resp.json() == {"id": 1, **emma}
        later = {"title": "Emma", "year": 1816}
        async with session.put(place, json=later) as resp:
            assert await resp.json() == {"id": 1, **later}
        async with session.get("/books") as resp:
            assert await resp.json() == [{"id": 1, **later}]
        async with session.post("/books", json={"title": "x"}) as resp:
            assert resp.status_code == 422
        async with session.delete(place) as resp:
            assert resp.status_code == 200
        async with session.get(place) as resp:
            assert resp.status_code == 404
            assert await resp.json() == {"error": "no such book"}


async def test_upload_with_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPLOADS", str(tmp_path / "files"))
    web = load("upload_progress").web
    go_on = asyncio.Event()

    async def content() -> Any:
        yield b"x" * 1000
        await go_on.wait()
        yield b"y" * 1000

    async with TestServer(web) as server, Session(base_url=server.url) as session:

        async def send() -> int:
            async with session.put("/files/a", body=content()) as resp:
                return resp.status_code

        sending = asyncio.create_task(send())
        await wait_until(lambda: web.state.received.get("a") == 1000)
        async with session.put("/files/a", body=b"z") as resp:
            assert resp.status_code == 409
        seen = []
        async with session.get("/files/a/progress") as resp:
            async for event in resp.events():
                seen.append((event.event, event.data))
                go_on.set()
                if event.event == "end":
                    break
        assert seen[0] == ("message", "1000")
        assert seen[-1] == ("end", "whole")
        assert await sending == 201
        async with session.get("/files/a") as resp:
            assert await resp.aread() == b"x" * 1000 + b"y" * 1000
        for name in ("%2E%2E", "a.part", "%00"):
            async with session.put(f"/files/{name}", body=b"") as resp:
                assert resp.status_code in (400, 404)
    assert [each.name for each in (tmp_path / "files").iterdir()] == ["a"]


async def test_a_page_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERY_S", "0.01")
    web = load("sse_page").web
    async with TestServer(web) as server, Session(base_url=server.url) as session:
        async with session.get("/") as resp:
            assert "EventSource" in await resp.text()
            assert "content-security-policy" in resp.headers
        headers = {"Last-Event-ID": "7"}
        async with session.get("/events", headers=headers) as resp:
            async for event in resp.events():
                assert event.event == "load"
                assert json.loads(event.data)["at"] == 8
                break


async def test_a_chat() -> None:
    module = load("chat")
    async with TestServer(module.web) as server:
        url = server.url.replace("http", "ws") + "/rooms/lobby?name="
        async with ClientWebSocket(url + "ada") as ada:
            assert json.loads(await ada.receive()) == {
                "name": "ada", "text": "is here", "people": 1,
            }  # fmt: skip
            async with ClientWebSocket(url + "bob") as bob:
                assert json.loads(await ada.receive())["people"] == 2
                await bob.receive()
                await bob.send("hello")
                assert json.loads(await ada.receive())["text"] == "hello"
            assert json.loads(await ada.receive())["text"] == "has left"
        await wait_until(lambda: not module.rooms)
        async with Session(f"{server.url}/rooms/lobby") as resp:
            assert resp.status_code == 422


async def test_a_proxy_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    upstream, asked = App(), []

    @upstream.add_route
    async def handle_all_middleware(r: R) -> None:
        asked.append(r.method)
        if r.path == "/flaky" and len(asked) < 3:
            raise Abort("later", 503)
        await Deliver.text(r, f"{r.method} {r.tail} {(await r.read()).decode()}")

    async with TestServer(upstream) as behind:
        monkeypatch.setenv("UPSTREAM", behind.url)
        monkeypatch.setenv("WAIT_S", "0.01")
        web = load("proxy_retries").web
        async with TestServer(web) as server, Session(base_url=server.url) as session:
            async with session.get("/flaky?a=1") as resp:
                assert await resp.text() == "GET /flaky?a=1 "
                assert resp.headers["x-attempts"] == "3"
            asked.clear()
            async with session.post("/flaky", body=b"x") as resp:
                assert resp.status_code == 503
            assert asked == ["POST"]
            async with session.post("/sound", body=b"text") as resp:
                assert await resp.text() == "POST /sound text"
    async with TestServer(web) as server, Session(f"{server.url}/x") as resp:
        assert resp.status_code == 502


@pytest.mark.long
@pytest.mark.slow  # what the relay leaves is read past for 2 s, to be used again
async def test_a_relay_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ended = App(), asyncio.Event()
    seen: dict[str, Any] = {}

    @model.route.post("/complete")
    async def complete(r: R) -> None:
        seen["key"] = r.headers.get("authorization")
        seen["asked"] = json.loads(await r.read())
        try:
            async with EventStream(r) as stream:
                for token in ("It", " rains"):
                    await stream.send(token)
                if seen["asked"]["prompt"] == "for ever":
                    await asyncio.sleep(60)
                await stream.send("[DONE]")
        finally:
            ended.set()

    async with TestServer(model) as behind:
        monkeypatch.setenv("MODEL_URL", f"{behind.url}/complete")
        monkeypatch.setenv("MODEL_KEY", "secret")
        web = load("token_relay").web
        async with TestServer(web) as server, Session(base_url=server.url) as session:
            async with session.post("/ask", json={"prompt": "Why?"}) as resp:
                assert resp.status_code == 401
            headers = {"Authorization": "Bearer letmein"}
            asked = {"prompt": "Why?"}
            async with session.post("/ask", json=asked, headers=headers) as resp:
                found = [(each.event, each.data) async for each in resp.events()]
            assert found == [("message", "It"), ("message", " rains"), ("end", "end")]
            assert seen["key"] == "Bearer secret"
            assert seen["asked"] == {"prompt": "Why?", "stream": True}
            ended.clear()
            asked = {"prompt": "for ever"}
            url = f"{server.url}/ask"
            async with Session(url, "post", headers, json=asked) as resp:
                async for _ in resp.events():
                    break
            async with asyncio.timeout(scaled(10)):
                await ended.wait()  # the client went: so did the relay's request


async def test_long_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAIT_S", "0.05")
    web = load("long_polling").web
    async with TestServer(web) as server, Session(base_url=server.url) as session:
        async with session.get("/news") as resp:
            assert resp.status_code == 204
        async with session.get("/news?after=x") as resp:
            assert resp.status_code == 422
    monkeypatch.setenv("WAIT_S", "30")
    web = load("long_polling").web
    async with TestServer(web) as server, Session(base_url=server.url) as session:

        async def poll() -> Any:
            async with session.get("/news?after=0") as resp:
                return await resp.json()

        polling = asyncio.create_task(poll())
        async with session.post("/news", body=b"it rains") as resp:
            assert resp.status_code == 201
        assert await polling == [{"number": 1, "text": "it rains"}]


async def test_sessions_with_a_login() -> None:
    web = load("login").web
    async with TestServer(web) as server:
        jar: dict[str, str] = {}

        async def ask(method: str, path: str, form: Any = None) -> tuple[int, str]:
            options: dict[str, Any] = {} if form is None else {"form": form}
            if jar:  # the cookie is Secure: http clients but browsers leave it out
                options["headers"] = {"Cookie": urlencode(jar)}
            async with Session(server.url + path, method, **options) as resp:
                if "Max-Age=0" in resp.headers.get("set-cookie", ""):
                    jar.clear()
                jar.update(resp.cookies)
                return resp.status_code, await resp.text()

        assert (await ask("GET", "/"))[0] == 303
        assert "<form" in (await ask("GET", "/login"))[1]
        status, text = await ask("POST", "/login", {"name": "<b>", "password": "x"})
        assert (status, "&lt;b&gt;" in text) == (401, True)
        right = {"name": "ada", "password": "engine"}
        assert (await ask("POST", "/login", right))[0] == 303
        assert "Hello, ada" in (await ask("GET", "/"))[1]
        assert "2 times" in (await ask("GET", "/"))[1]
        assert (await ask("POST", "/logout"))[0] == 303
        assert (await ask("GET", "/"))[0] == 303


async def test_a_single_page_app() -> None:
    web = load("spa").web
    async with TestServer(web) as server, Session(base_url=server.url) as session:
        for path in ("/", "/cities/Rome", "/any/where"):
            async with session.get(path) as resp:
                assert "app.js" in await resp.text()
        async with session.get("/assets/app.js") as resp:
            assert resp.headers["content-type"].startswith("text/javascript")
        async with session.get("/assets/none.js") as resp:
            assert resp.status_code == 404
        async with session.get("/api/cities?least=100000") as resp:
            assert await resp.json() == ["Rome", "Turin"]
        for path, code in (("/api/cities/Oz", "no-city"), ("/api/x", "no-resource")):
            async with session.get(path) as resp:
                assert resp.status_code == 404
                assert (await resp.json())["code"] == code
        headers = {"Origin": "http://localhost:5173"}
        async with session.get("/api/x", headers=headers) as resp:
            assert "access-control-allow-origin" in resp.headers
        async with session.post("/any") as resp:
            assert resp.status_code == 404
