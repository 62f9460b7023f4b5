"""Fields of all responses: of the app, of a middleware, of a hook."""

import asyncio
from pathlib import Path

import pytest

from blazeio.app.app import App, security_headers
from blazeio.app.deliver import Deliver
from blazeio.errors import Abort, ConfigurationError, FieldInput, LocalProtocolError
from blazeio.files.static_cache import IN_MEMORY_STATIC_CACHE
from blazeio.protocol.options import HeaderConfig
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.clock import scaled
from tests.support.served import Site, serialize_request, served

R = BlazeioServerProtocol

EVERY = [
    ("GET", "/plain", 200),
    ("HEAD", "/plain", 200),
    ("GET", "/own", 200),
    ("GET", "/stream", 200),
    ("GET", "/events", 200),
    ("GET", "/none", 404),
    ("POST", "/plain", 405),
    ("OPTIONS", "/plain", 204),
    ("GET", "/abort", 402),
    ("GET", "/bug", 500),
    ("GET", "/held", 500),
    ("GET", "/empty", 204),
    ("GET", "/static/a.txt", 200),
    ("HEAD", "/static/a.txt", 200),
    ("GET", "/static/none", 404),
    ("GET", "/away", 302),
]


def fill(web: App, folder: Path) -> App:
    (folder / "a.txt").write_text("text")
    web.add_static("/static", folder)

    @web.route.get("/plain")
    async def plain(r: R) -> None:
        await Deliver.text(r, "hi")

    @web.route.get("/own")
    async def own(r: R) -> None:
        await Deliver.text(r, "hi", headers={"X-Own": "own"})

    @web.route.get("/stream")
    async def stream(r: R) -> None:
        await Deliver.stream(r, [b"a", b"b"])

    @web.route.get("/events")
    async def events(r: R) -> None:
        await Deliver.sse(r, ["a"])

    @web.route.get("/abort")
    async def abort(r: R) -> None:
        raise Abort("pay", 402, {"X-Abort": "1"})

    @web.route.get("/bug")
    async def bug(r: R) -> None:
        raise KeyError

    @web.route.get("/held")
    async def held(r: R) -> None:
        await r.prepare({"X-Held": "1"})
        raise KeyError

    @web.route.get("/empty")
    async def empty(r: R) -> None:
        pass

    @web.route.get("/away")
    async def away(r: R) -> None:
        await Deliver.redirect(r, "/plain")

    return web


async def check(site: Site, name: str, value: str) -> None:
    for method, target, status in EVERY:
        answer = await site.ask(method, target)
        assert (answer.status, answer.field(name)) == (status, value), target


@pytest.mark.filterwarnings("ignore")
async def test_the_app_has_fields_for_every_response(tmp_path: Path) -> None:
    web = fill(App(headers={"X-Mine": "1", "X-Own": "app"}), tmp_path)
    async with served(web) as site:
        await check(site, "x-mine", "1")
        assert (await site.get("/own")).field("x-own") == "own"
        assert (await site.get("/plain")).field("x-own") == "app"
        etag = (await site.get("/static/a.txt")).field("etag")
        assert etag is not None
        conditional = {"If-None-Match": etag}
        answer = await site.ask("GET", "/static/a.txt", headers=conditional)
        assert (answer.status, answer.field("x-mine")) == (304, "1")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("by_middleware", [False, True])
async def test_no_field_is_said_twice(tmp_path: Path, by_middleware: bool) -> None:
    fields = {**security_headers(), "Cache-Control": "no-store", "X-Own": "app"}
    web = fill(App(headers=None if by_middleware else fields), tmp_path)
    web.add_static("/listed", tmp_path, listing=True)
    (tmp_path / "large.txt").write_bytes(b"x" * 200_000)
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=str(tmp_path))

    @web.add_route
    async def handle_all_middleware(r: R) -> None:
        await cache.handler(r)

    @web.add_route
    async def before_middleware(r: R) -> None:
        for name, value in fields.items() if by_middleware else ():
            r.add_header(name, value, unless_given=True)

    more = [
        ("GET", "/listed/", 200),
        ("GET", "/listed", 308),
        ("GET", "/static/large.txt", 200),
        ("GET", "/a.txt", 200),
        ("GET", "/large.txt", 200),
    ]
    async with served(web) as site:
        for method, target, status in [*EVERY, *more]:
            answer = await site.ask(method, target)
            names = [name for name, _ in answer.fields]
            assert answer.status == status, target
            assert len(set(names)) == len(names), (target, names)
            assert fields.keys() <= {name.title() for name in names}, target


async def test_also_what_never_was_a_request(tmp_path: Path) -> None:
    web = fill(App(headers={"X-Mine": "1"}), tmp_path)

    @web.add_route
    async def before_middleware(r: R) -> None:
        r.add_header("X-Of", "the request before")

    async with served(web) as site, await site.connect() as peer:
        await peer.send(serialize_request("GET", "/plain"))
        assert (await peer.read_response()).field_all("x-of")
        await peer.send(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n")
        answer = await peer.read_response()
        assert (answer.status, answer.field("x-mine")) == (400, "1")
        assert not answer.field_all("x-of")


@pytest.mark.slow
async def test_also_what_took_too_long_and_what_is_turned_away() -> None:
    web = App(headers={"X-Mine": "1"}, in_flight=1)
    began = asyncio.Event()

    @web.add_route
    async def before_middleware(r: R) -> None:
        r.add_header("X-Too", "2")

    @web.route.get("/slow", handler_timeout_s=scaled(0.5))
    async def slow(r: R) -> None:
        began.set()
        await asyncio.sleep(60)

    async with served(web) as site, await site.connect() as peer:
        await peer.send(serialize_request("GET", "/slow"))
        await began.wait()
        away = await site.get("/slow")
        assert (away.status, away.field("x-mine")) == (503, "1")
        late = await peer.read_response()
        assert (late.status, late.field("x-mine")) == (503, "1")
        assert late.field("x-too") == "2"


async def test_a_middleware_adds_fields_to_every_response(tmp_path: Path) -> None:
    web = fill(App(), tmp_path)

    @web.add_route
    async def before_middleware(r: R) -> None:
        r.add_header("X-Mine", "1")
        r.add_header("X-Own", "middleware", unless_given=True)

    async with served(web) as site:
        await check(site, "x-mine", "1")
        assert (await site.get("/own")).field("x-own") == "own"
        assert (await site.get("/plain")).field("x-own") == "middleware"


async def test_a_hook_is_told_the_status_and_its_fields_are_said_once(
    tmp_path: Path,
) -> None:
    web = fill(App(), tmp_path)

    @web.add_route
    async def before_middleware(r: R) -> None:
        r.on_head(lambda status: {"X-Status": status})

    async with served(web) as site:
        for method, target, status in EVERY:
            answer = await site.ask(method, target)
            assert answer.field("x-status") == str(status), target


async def test_a_hook_that_fails_is_a_500_and_not_asked_again() -> None:
    web = App()
    asked = []

    def fail(status: int) -> FieldInput:
        asked.append(status)
        raise KeyError

    @web.add_route
    async def _x(r: R) -> None:
        r.on_head(fail)
        await Deliver.text(r, "hi")

    async with served(web) as site:
        assert (await site.get("/x")).status == 500
    assert asked == [200]


async def test_it_is_too_late_once_there_is_a_head() -> None:
    web, told = App(), []

    @web.add_route
    async def _x(r: R) -> None:
        await Deliver.text(r, "hi")
        try:
            r.add_header("X-Late", "1")
        except LocalProtocolError as error:
            told.append(str(error))

    async with served(web) as site:
        await site.get("/x")
    assert told == ["X-Late: the head has already been prepared"]


async def test_an_abort_may_be_json() -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        raise Abort("no", 409, {"X-Mine": "1"}, json={"code": 7})

    @web.add_route
    async def _y(r: R) -> None:
        raise Abort("no", 409, json={"code": object()})

    async with served(web) as site:
        answer = await site.get("/x")
        assert (answer.status, answer.text) == (409, '{"code":7}')
        assert answer.field("content-type") == "application/json"
        assert answer.field("x-mine") == "1"
        assert (await site.get("/y")).status == 500


def test_the_apps_fields_count_before_the_servers() -> None:
    server = HeaderConfig(fields=(("X-A", "server"), ("X-C", "server")), has_date=False)
    both = server.under(HeaderConfig(fields=(("x-a", "app"), ("X-B", "app"))))
    fields = (("x-a", "app"), ("X-B", "app"), ("X-C", "server"))
    assert both == HeaderConfig(fields=fields, has_date=False)


@pytest.mark.parametrize(
    "headers", [{"Content-Length": "1"}, {"X": "a\r\nb"}, {"b ad": "1"}]
)
def test_a_field_that_cannot_be_is_told(headers: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        App(headers=headers)
