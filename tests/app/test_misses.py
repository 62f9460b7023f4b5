from pathlib import Path

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.errors import Abort
from blazeio.files.static_server import StaticServer
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.served import served

R = BlazeioServerProtocol


@pytest.fixture
def web() -> App:
    return App()


async def tell(r: R) -> None:
    await Deliver.text(r, f"{r.path} {dict(r.path_params)}")


async def test_an_unknown_path_is_404(web: App) -> None:
    async with served(web) as site:
        answer = await site.get("/nowhere")
    assert (answer.status, answer.text) == (404, "Not Found")


async def test_another_method_is_405_and_says_which_are_allowed(web: App) -> None:
    @web.route.get("/x")
    async def get(r: R) -> None: ...

    @web.route.delete("/x")
    async def delete(r: R) -> None: ...

    @web.add_route
    async def handle_all_middleware(r: R) -> None: ...

    async with served(web) as site:
        answer = await site.ask("POST", "/x", b"content")
    assert answer.status == 405
    assert answer.field("allow") == "DELETE, GET, HEAD, OPTIONS"


async def test_the_fallback_answers_instead_of_404(web: App) -> None:
    @web.add_route
    async def handle_all_middleware(r: R) -> None:
        raise Abort("Route not found, but handled.", 404)

    async with served(web) as site:
        answer = await site.get("/nowhere")
    assert (answer.status, answer.text) == (404, "Route not found, but handled.")


async def test_fallbacks_run_in_turn_until_one_has_answered(web: App) -> None:
    ran: list[str] = []

    async def silent(r: R) -> None:
        ran.append("silent")

    async def answers(r: R) -> None:
        ran.append("answers")
        await Deliver.text(r, "mine")

    async def never(r: R) -> None:
        ran.append("never")

    for each in (silent, answers, never):
        each.__name__ = "handle_all_middleware"
        web.add_route(each)
    async with served(web) as site:
        assert (await site.get("/x")).text == "mine"
    assert ran == ["silent", "answers"]


async def test_the_values_of_the_path_are_with_the_request(web: App) -> None:
    web.add_route(tell, "/users/{id:int}/{rest:path}")
    async with served(web) as site:
        answer = await site.get("/users/7/a/b%20c?x=1")
    assert answer.text == "/users/7/a/b c {'id': 7, 'rest': 'a/b c'}"


async def test_a_handler_takes_them_by_name(web: App) -> None:
    @web.route.get("/users/{id:int}/{name}")
    async def user(r: R, name: str, id: int) -> None:  # noqa: A002 - as users write it
        await Deliver.json(r, [id, name])

    async with served(web) as site:
        assert (await site.get("/users/7/ada")).text == '[7,"ada"]'
        assert (await site.get("/users/x/ada")).status == 404


async def test_they_are_gone_with_the_request(web: App) -> None:
    web.add_route(tell, "/plain")
    web.add_route(tell, "/{name}")
    async with served(web) as site, await site.connect() as peer:
        texts = []
        for path in ("/ada", "/plain", "/bob"):
            await peer.send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
            texts.append((await peer.read_response()).text)
    assert texts == ["/ada {'name': 'ada'}", "/plain {}", "/bob {'name': 'bob'}"]


@pytest.mark.parametrize("path", ["/exact", "/users/7"])
async def test_another_method_is_405_and_options_tells_them_with_parameters_too(
    web: App, path: str
) -> None:
    web.add_route(tell, "/exact", methods=["GET", "PUT"])
    web.add_route(tell, "/users/{id:int}", methods=["GET", "PUT"])
    async with served(web) as site:
        refused = await site.ask("POST", path, b"content")
        told = await site.ask("OPTIONS", path)
        head = await site.ask("HEAD", path)
    assert (refused.status, told.status, head.status) == (405, 204, 200)
    assert refused.field("allow") == told.field("allow") == "GET, HEAD, OPTIONS, PUT"


async def test_an_own_route_for_options_goes_before(web: App) -> None:
    web.route.options("/x")(tell)
    async with served(web) as site:
        assert (await site.ask("OPTIONS", "/x")).text == "/x {}"
        assert (await site.get("/x")).field("allow") == "OPTIONS"


async def test_options_of_the_server_names_every_method(web: App) -> None:
    @web.add_route
    async def handle_all_middleware(r: R) -> None: ...

    web.add_route(tell, "/a", methods=["GET"])
    web.add_route(tell, "/b/{c}", methods=["PATCH"])
    async with served(web) as site:
        answer = await site.ask("OPTIONS", "*")
    assert answer.status == 204
    assert answer.field("allow") == "GET, HEAD, OPTIONS, PATCH"


async def test_a_folder_is_served_below_a_path(web: App, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("of the folder")
    web.add_route(StaticServer("/assets", tmp_path), "/assets/{file:path}")
    async with served(web) as site:
        assert (await site.get("/assets/a.txt")).text == "of the folder"
        assert (await site.get("/assets/b.txt")).status == 404
        assert (await site.get("/a.txt")).status == 404


# Slashes


@pytest.fixture
def lenient() -> App:
    web = App(strict_slashes=False)
    web.add_route(tell, "/without", methods=["GET"])
    web.add_route(tell, "/with/", methods=["GET"])
    web.add_route(tell, "/users/{name}")
    return web


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/without/", "/without"),
        ("/with", "/with/"),
        ("/with?a=1&b=%2F", "/with/?a=1&b=%2F"),
        ("/users/a%20%3F%5C%C3%A9/", "/users/a%20%3F%5C%C3%A9"),
        ("http://test/with", "/with/"),
    ],
)
async def test_a_wrong_slash_is_redirected_with_its_query(
    lenient: App, target: str, location: str
) -> None:
    async with served(lenient) as site:
        answer = await site.get(target)
    assert (answer.status, answer.field("location")) == (308, location)


@pytest.mark.parametrize(
    "target", ["/nowhere/", "/users/a/b/", "//with", "/", "/with///"]
)
async def test_what_no_other_slash_helps_is_404(lenient: App, target: str) -> None:
    async with served(lenient) as site:
        assert (await site.get(target)).status == 404


async def test_no_redirect_leads_to_another_host(lenient: App) -> None:
    lenient.add_route(tell, "/{rest:path}", methods=["GET"])
    lenient.add_route(tell, "//other/", methods=["PUT"])
    async with served(lenient) as site:
        assert (await site.ask("PUT", "//other")).status == 405
        assert (await site.ask("POST", "/with", b"")).status == 405


async def test_slashes_are_exact_by_default(web: App) -> None:
    web.add_route(tell, "/without")
    async with served(web) as site:
        assert (await site.get("/without/")).status == 404


# Below a mounted app


async def test_the_inner_fallback_answers_below_its_prefix_alone(web: App) -> None:
    inner = App()

    async def inside(r: R) -> None:
        await Deliver.text(r, "inside")

    async def outside(r: R) -> None:
        await Deliver.text(r, "outside")

    inside.__name__ = outside.__name__ = "handle_all_middleware"
    inner.add_route(inside)
    web.add_route(outside)
    web.mount("/api", inner)
    async with served(web) as site:
        texts = [(await site.get(path)).text for path in ("/api", "/api/x", "/apix")]
    assert texts == ["inside", "inside", "outside"]


async def test_without_an_inner_fallback_the_outer_one_answers(web: App) -> None:
    @web.add_route
    async def handle_all_middleware(r: R) -> None:
        raise Abort("nobody", 404)

    web.mount("/api", App())
    async with served(web) as site:
        assert (await site.get("/api/x")).text == "nobody"


async def test_a_sub_app_answers_below_its_prefix_whatever_the_outer_one_takes(
    web: App,
) -> None:
    inner = App()
    inner.add_route(tell, "/{id:int}")
    web.add_route(tell, "/{rest:path}")
    web.mount("/api", inner)
    async with served(web) as site:
        assert (await site.get("/api/nowhere")).status == 404
        assert (await site.ask("POST", "/api/nowhere", b"")).status == 404
        assert (await site.get("/api/7")).text == "/api/7 {'id': 7}"
        assert (await site.get("/other")).text == "/other {'rest': 'other'}"


async def test_the_innermost_of_two_mounted_apps_is_asked(web: App) -> None:
    middle, inner = App(), App()

    @inner.add_route
    async def handle_all_middleware(r: R) -> None:
        await Deliver.text(r, "innermost")

    web.mount("/a", middle)
    middle.mount("/b", inner)
    async with served(web) as site:
        assert (await site.get("/a/b/x")).text == "innermost"
        assert (await site.get("/a/x")).status == 404


async def test_each_app_has_its_own_word_on_slashes(web: App) -> None:
    inner = App(strict_slashes=False)
    inner.add_route(tell, "/")
    web.add_route(tell, "/x")
    web.mount("/api", inner)
    async with served(web) as site:
        assert (await site.get("/api")).field("location") == "/api/"
        assert (await site.get("/x/")).status == 404
