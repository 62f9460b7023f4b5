"""``url_for``: the paths of routes by their names."""

import dataclasses
from pathlib import Path
from uuid import UUID

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.errors import ConfigurationError, LocalProtocolError
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.served import served

R = BlazeioServerProtocol


async def handler(r: R) -> None:
    await Deliver.text(r, f"{r.path} {r.query}")


@pytest.fixture
def web() -> App:
    web = App()
    web.add_route(handler, "/", name="home")
    web.add_route(handler, "/users/{id:int}", name="user")
    web.add_route(handler, "/u/{id:uuid}/{word}", name="word")
    web.add_route(handler, "/at/{x:float}", name="at")
    web.add_route(handler, "/files/{rest:path}", name="files")
    web.add_route(handler, "/grün/{name}", name="green")

    @web.route.get("/by-its-name")
    async def plain(r: R) -> None:
        await handler(r)

    return web


CASES = [
    ("home", {}, "/"),
    ("plain", {}, "/by-its-name"),
    ("user", {"id": 7}, "/users/7"),
    ("user", {"id": "7"}, "/users/7"),
    ("user", {"id": 7, "page": 2, "tag": ["a", "b c"], "none": None},
     "/users/7?page=2&tag=a&tag=b+c"),
    ("word", {"id": UUID(int=1), "word": "a b?#%ü"},
     "/u/00000000-0000-0000-0000-000000000001/a%20b%3F%23%25%C3%BC"),
    ("at", {"x": -1.5}, "/at/-1.5"),
    ("files", {"rest": "a b/c.txt"}, "/files/a%20b/c.txt"),
    ("files", {"rest": ""}, "/files/"),
    ("green", {"name": "x"}, "/gr%C3%BCn/x"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "params", "url"), CASES)
async def test_a_path_is_made_and_leads_back(
    web: App, name: str, params: dict[str, object], url: str
) -> None:
    assert web.url_for(name, **params) == url
    async with served(web) as site:
        answer = await site.get(url)
    assert answer.status == 200
    word = params.get("word", "")
    assert str(word) in answer.text


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("nobody", {}, "no route has this name"),
        ("users", {"id": 1}, "did you mean 'user'?"),
        ("user", {}, "needs id"),
        ("user", {"id": "x"}, r"id='x' is no \{id:int\}"),
        ("user", {"id": -1}, r"no \{id:int\}"),
        ("at", {"x": 1e300 * 10}, r"no \{x:float\}"),
        ("word", {"id": UUID(int=1), "word": ""}, r"no \{word:str\}"),
        ("word", {"id": UUID(int=1), "word": "a/b"}, r"no \{word:str\}"),
        ("word", {"id": UUID(int=1), "word": ".."}, r"no \{word:str\}"),
        ("files", {"rest": "../x"}, r"no \{rest:path\}"),
    ],
)
def test_what_cannot_be_made_is_told(
    web: App, name: str, params: dict[str, object], told: str
) -> None:
    with pytest.raises(LocalProtocolError, match=told):
        web.url_for(name, **params)


async def test_a_handler_asks_and_what_is_in_front_is_added(web: App) -> None:
    outer = App(root_path="/below")
    sub = App()
    sub.add_route(handler, "/users/{id:int}", name="user")
    outer.mount("/{tenant}/api", sub, name="api")
    outer.mount("/web", web)

    @outer.route.get("/ask")
    async def ask(r: R) -> None:
        await Deliver.text(r, r.url_for("api.user", tenant="t", id=3))

    expected = "/below/t/api/users/3"
    assert outer.url_for("api.user", tenant="t", id=3) == expected
    assert sub.url_for("user", tenant="t", id=3) == expected
    assert outer.url_for("user", id=3) == "/below/web/users/3"
    assert web.url_for("user", id=3) == "/below/web/users/3"
    async with served(outer) as site:
        assert (await site.get("/ask")).text == expected


def test_names_must_be_clear(web: App, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is the name of"):
        web.add_route(handler, "/other", name="user")
    web.add_route(handler, "/a")
    web.add_route(handler, "/b")
    with pytest.raises(LocalProtocolError, match="give each a name"):
        web.url_for("handler")
    other = App()
    web.route.post("/same", name="same")(handler)
    web.route.get("/same", name="same")(handler)
    assert web.url_for("same") == "/same"
    other.mount("/x", web)
    App().mount("/y", web)
    with pytest.raises(LocalProtocolError, match="mounted twice"):
        web.url_for("same")
    other.add_static("/static", tmp_path)
    other.add_static("/more", tmp_path, name="more")
    assert other.url_for("static", path="a.css") == "/static/a.css"
    assert other.url_for("more", path="a/b.css") == "/more/a/b.css"


def test_an_app_has_a_state() -> None:
    @dataclasses.dataclass
    class State:
        count: int = 0

    web = App(state=State())
    web.state.count += 1
    assert web.state.count == 1
    plain = App()
    plain.state.anything = 5
    assert plain.state.anything == 5
