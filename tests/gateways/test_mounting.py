import asyncio
import threading
from typing import Any

import pytest

import blazeio as io
from blazeio.app.mounting import GatewayOptions, list_foreign
from blazeio.errors import ConfigurationError
from blazeio.gateways.asgi import LifespanMode
from blazeio.gateways.wsgi import WsgiGateway
from tests.gateways.apps import GET, Receive, Send, Step, body, start
from tests.support.clock import wait_until, within
from tests.support.served import served


async def tell(scope: Any, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        raise NotImplementedError
    text = f"{scope['root_path']} {scope['path']} {scope['raw_path'].decode()}"
    await send(start())
    await send(body(text.encode()))


def tell_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode("latin-1")]


def make(*mounts: tuple[str, Any], **options: Any) -> io.App:
    web = io.App("127.0.0.1", 0, **options)

    @web.add_route
    async def own(r: io.BlazeioServerProtocol, route: str = "/own") -> None:
        await io.Deliver.text(r, "own")

    for prefix, app in mounts:
        web.mount(prefix, app)
    return web


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/x", "/x /x /x"),
        ("/x/", "/x /x/ /x/"),
        ("/x/y/z", "/x /x/y/z /x/y/z"),
        ("/x/y%20z", "/x /x/y z /x/y%20z"),
        ("/x/a%2Fb", "/x /x/a/b /x/a%2Fb"),
    ],
)
async def test_an_asgi_app_is_served_below_a_path(target: str, text: str) -> None:
    async with served(make(("/x", tell))) as site:
        assert (await site.get(target)).text == text
        assert (await site.get("/own")).text == "own"
        assert (await site.get("/xy")).status == 404


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/w", "/w "),
        ("/w/", "/w /"),
        ("/w/y/z", "/w /y/z"),
        ("/w/%C3%A9", "/w /\xc3\xa9"),
    ],
)
async def test_a_wsgi_app_is_served_below_a_path(target: str, text: str) -> None:
    async with served(make(("/w", tell_wsgi))) as site:
        answer = await site.get(target)
        assert answer.body.decode("latin-1") == text


async def test_what_a_proxy_took_away_stands_in_front() -> None:
    web = make(("/x", tell), ("/w", tell_wsgi), root_path="/api")
    async with served(web) as site:
        assert (await site.get("/x/y")).text == "/api/x /api/x/y /api/x/y"
        assert (await site.get("/w/y")).text == "/api/w /y"


async def test_an_app_within_an_app_within_an_app() -> None:
    inner = io.App()
    outer = make(("/in", inner))
    inner.mount("/x", tell)  # later than the inner app itself
    async with served(outer) as site:
        assert (await site.get("/in/x/y")).text == "/in/x /in/x/y /in/x/y"


async def test_all_methods_and_bodies_are_the_apps_own() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        content = (await receive())["body"]
        await send(start(200, (b"x-method", scope["method"].encode())))
        await send(body(content))

    async with served(make(("/x", app))) as site:
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            answer = await site.ask(method, "/x/y", b"ab")
            assert (answer.field("x-method"), answer.body) == (method, b"ab")


async def test_the_lifespan_is_within_the_apps_own() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        while True:
            kind = (await receive())["type"]
            seen.append(kind)
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return

    web = make(("/x", app))
    web.on_start(lambda: seen.append("start"))
    web.on_stop(lambda: seen.append("stop"))
    async with served(web):
        pass
    assert seen == ["start", "lifespan.startup", "lifespan.shutdown", "stop"]


async def test_middlewares_are_around_it_and_work_after_it_holds_up_nothing() -> None:
    ends = Step()
    seen: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await tell(scope, receive, send)
        if scope["path"] == "/x/slow":
            await ends.wait()
            seen.append("ended")

    web = make(("/x", app))

    @web.middleware
    async def note(r: io.BlazeioServerProtocol, call_next: Any) -> None:
        await call_next(r)
        seen.append(f"{r.path} {r.status}")

    async with served(web) as site, await site.connect() as peer:
        await peer.send(b"GET /x/slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await within(peer.read_response())
        await peer.send(b"GET /own HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await within(peer.read_response())).text == "own"
        assert seen == ["/x/slow 200", "/own 200"]
        assert site.server.in_flight == 1
        ends.event.set()
        await wait_until(lambda: not site.server.in_flight)
    assert seen[-1] == "ended"


async def test_a_middleware_may_change_what_the_app_is_asked() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await send(start())
        await send(body(b"%b %b" % (scope["method"].encode(), scope["query_string"])))

    web = make(("/x", app))

    @web.middleware
    async def change(r: io.BlazeioServerProtocol, call_next: Any) -> None:
        r.method, r.query = "PUT", "a=1"
        await call_next(r)

    async with served(web) as site:
        assert (await site.get("/x")).text == "PUT a=1"


async def test_what_goes_on_after_the_response_has_the_handlers_deadline() -> None:
    ends: list[BaseException] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await tell(scope, receive, send)
        try:
            await asyncio.sleep(3600)
        except BaseException as error:
            ends.append(error)
            raise

    web = make(("/x", app), handler_timeout_s=0.05)
    async with served(web) as site:
        assert (await site.get("/x")).status == 200
        await wait_until(lambda: ends)
        await wait_until(lambda: not site.server.in_flight)


async def test_an_error_of_the_app_is_500(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raise ValueError("secret")

    async with served(make(("/x", app))) as site:
        assert (await site.get("/x")).status == 500
    assert [record.getMessage() for record in caplog.records] == [
        "GET /x: the app at /x: ValueError: secret"
    ]


async def test_a_disconnect_is_told_and_cancels_nothing() -> None:
    received: list[str] = []
    waits = Step()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await receive()
        waits.event.set()
        received.append((await receive())["type"])
        await asyncio.sleep(0.01)  # a cancellation would come here
        received.append((await receive())["type"])

    async with served(make(("/x", app))) as site, await site.connect() as peer:
        await peer.send(GET.replace(b"/ ", b"/x ", 1))
        await waits.wait()
        peer.reset()
        await wait_until(lambda: len(received) == 2)
    assert received == ["http.disconnect"] * 2


async def test_what_hangs_is_cancelled_at_the_end() -> None:
    cancelled: list[bool] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async with served(make(("/x", app))) as site, await site.connect() as peer:
        await peer.send(GET.replace(b"/ ", b"/x ", 1))
        await wait_until(lambda: site.server.in_flight)
    await wait_until(lambda: cancelled)


async def raises_at_startup(scope: Any, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"


@pytest.mark.parametrize(
    ("own", "others", "is_asked"),
    [
        ({}, LifespanMode.AUTO, True),
        ({"lifespan": "on"}, LifespanMode.AUTO, False),
        ({}, LifespanMode.ON, False),
        ({"lifespan": "off"}, LifespanMode.ON, True),
    ],
)
async def test_whether_a_lifespan_has_to_be_is_said_of_all_or_of_one(
    own: dict[str, Any], others: LifespanMode, is_asked: bool
) -> None:
    web, inner = make(), io.App()
    web.mount("/in", inner)
    inner.mount("/x", raises_at_startup, **own)
    for part in list_foreign(web):
        part.configure(GatewayOptions(lifespan=others))
    if is_asked:
        await web.init()
    else:
        with pytest.raises(AssertionError):
            await web.init()
    await web.stop_hooks()


@pytest.mark.parametrize(
    ("own", "others", "most"), [({}, 1, 1), ({}, 2, 2), ({"threads": 2}, 1, 2)]
)
async def test_as_many_requests_of_a_wsgi_app_run_at_once_as_it_has_threads(
    own: dict[str, Any], others: int, most: int
) -> None:
    goes_on = threading.Event()
    running: list[bool] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        running.append(environ["wsgi.multithread"])
        goes_on.wait(5)
        assert environ["wsgi.multiprocess"]
        return tell_wsgi(environ, start_response)

    web = make()
    web.mount("/w", app, **own)
    (part,) = list_foreign(web)
    part.configure(GatewayOptions(threads=others, is_multiprocess=True))
    gateway = part.gateway
    assert isinstance(gateway, WsgiGateway)
    async with served(web) as site:
        asked = [asyncio.ensure_future(site.get("/w")) for _ in range(4)]
        await wait_until(lambda: (len(running), gateway.waiting) == (most, 4 - most))
        goes_on.set()
        assert {answer.status for answer in await asyncio.gather(*asked)} == {200}
    assert running == [most > 1] * 4


@pytest.mark.parametrize(
    ("app", "options", "words"),
    [
        (tell, {"threads": 2}, "an ASGI app has no threads"),
        (tell, {"lifespan": "maybe"}, "expected 'auto', 'on' or 'off'"),
        (tell, {"lifspan": "on"}, "takes no lifspan"),
        (tell_wsgi, {"lifespan": "on"}, "a WSGI app has no lifespan"),
        (tell_wsgi, {"threads": 0}, "threads=0, expected a number from 1"),
        (io.App(), {"threads": 2}, "an App takes no threads"),
    ],
)
def test_an_option_that_is_not_for_the_app_is_refused(
    app: Any, options: Any, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        io.App().mount("/x", app, **options)


@pytest.mark.parametrize(
    ("prefix", "app", "words"),
    [
        ("/x/", tell, "no '/' at its end"),
        ("/x", 7, "of type 'int'"),
        ("/x", lambda scope: None, "ASGI 2"),
        ("/x", lambda: None, "expected an ASGI or a WSGI app"),
        (tell, "/x", "the prefix comes first, then the app"),
    ],
)
def test_what_cannot_be_mounted_is_refused(prefix: Any, app: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        io.App().mount(prefix, app)
