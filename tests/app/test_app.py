import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.app.request import Request
from blazeio.app.runner import run_hook
from blazeio.errors import ConfigurationError
from blazeio.limits import Limits
from blazeio.protocol.carrier import make_trust
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.clock import wait_until, within
from tests.support.peer import RawPeer
from tests.support.served import serialize_request, served

R = BlazeioServerProtocol


@pytest.fixture
def web() -> App:
    return App("127.0.0.1", 0)


async def handler(r: R) -> None:
    await Deliver.text(r, "hi")


async def overridden(r: R, route: str = "/fp") -> None:
    await Deliver.text(r, route)


class Server:
    """As the first users write it, ``app`` for self."""

    def __init__(app) -> None:  # noqa: N805
        app.greeting = "from the class"

    async def before_middleware(app, r: R) -> None:  # noqa: N805
        r.store = {"json_data": await Request.body_or_params(r)}

    async def handle_all_middleware(app, r: R) -> None:  # noqa: N805
        await Deliver.text(r, f"fallback {r.path}")

    async def _api_ip(app, r: R) -> None:  # noqa: N805
        await Deliver.json(r, {"ip": r.ip_host, **r.store["json_data"]})

    async def _greet(app, r: R) -> None:  # noqa: N805
        await Deliver.text(r, app.greeting)


def test_the_defaults_are_those_of_the_readme() -> None:
    web = App()
    assert (web.host, web.port, web.limits) == ("0.0.0.0", 8000, Limits())
    assert repr(web) == "<App 0.0.0.0:8000 0 paths>"


def test_limits_are_given_by_name() -> None:
    assert App(head_bytes=1000).limits == Limits(head_bytes=1000)


def test_an_unknown_limit_is_refused_with_a_near_one() -> None:
    with pytest.raises(ConfigurationError, match="did you mean head_bytes"):
        App(heads_bytes=1)  # type: ignore[call-arg]


def test_an_unknown_limit_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="known: target_bytes, "):
        App(zzz=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_cannot_be_is_refused(port: int) -> None:
    with pytest.raises(ConfigurationError, match="expected 0 to 65535"):
        App(port=port)


# Routes


def test_add_route_is_a_decorator_and_gives_the_function_back(web: App) -> None:
    assert web.add_route(handler) is handler
    assert web.routes.find("GET", "/handler") is handler


def test_add_route_takes_the_path_from_the_route_parameter(web: App) -> None:
    web.add_route(overridden)
    assert web.routes.find("GET", "/fp") is overridden


def test_add_route_is_a_decorator_with_path_and_methods(web: App) -> None:
    assert web.add_route("/x", methods=["PUT"])(handler) is handler
    assert web.routes.find("PUT", "/x") is handler
    assert web.routes.find("GET", "/x") is None


def test_add_route_is_a_decorator_with_methods_alone(web: App) -> None:
    web.add_route(methods="PUT")(overridden)
    assert web.routes.find("PUT", "/fp") is overridden


def test_add_route_is_a_call(web: App) -> None:
    assert web.add_route(overridden, "/x", methods=["GET"]) is overridden
    assert web.routes.find("HEAD", "/x") is overridden
    assert web.routes.find("GET", "/fp") is None


def test_method_routes_are_decorators(web: App) -> None:
    web.route.get("/x")(handler)
    assert web.routes.find("GET", "/x") is handler


def test_a_plain_function_is_refused(web: App) -> None:
    with pytest.raises(ConfigurationError, match="must be defined with `async def`"):

        @web.add_route  # type: ignore[type-var]
        def _x(r: R) -> None: ...


@pytest.mark.parametrize(
    "name", ["before_middleware", "handle_all_middleware", "after_middleware"]
)
def test_a_middleware_is_no_route_and_there_may_be_more(web: App, name: str) -> None:
    async def middleware(request: R) -> None: ...

    middleware.__name__ = name
    web.add_route(middleware)
    web.add_route(middleware)
    assert len(web.routes) == 0


def test_a_middleware_given_a_path_is_a_route(web: App) -> None:
    async def before_middleware(request: R) -> None: ...

    web.add_route(before_middleware, "/x")
    assert web.routes.find("GET", "/x") is before_middleware


async def test_a_middleware_is_refused_once_the_app_is_served(web: App) -> None:
    async def before_middleware(request: R) -> None: ...

    async with served(web):
        with pytest.raises(ConfigurationError, match="it is too late"):
            web.add_route(before_middleware)


# Classes


async def test_the_methods_of_an_instance_are_routes_and_middlewares(web: App) -> None:
    await web.append_class_routes(Server())
    async with served(web) as site:
        assert (await site.get("/api/ip?a=1")).text == '{"ip":"127.0.0.1","a":"1"}'
        assert (await site.get("/greet")).text == "from the class"
        assert (await site.get("/x")).text == "fallback /x"


async def test_attach_takes_an_instance_and_gives_it_back(web: App) -> None:
    server = Server()
    assert web.attach(server) is server
    assert web.routes.find("GET", "/greet") == server._greet


async def test_attach_makes_the_instance_of_a_class(web: App) -> None:
    server: Server = web.attach(Server)
    assert isinstance(server, Server)
    assert web.routes.find("GET", "/greet") == server._greet


def test_two_classes_with_the_same_route_collide(web: App) -> None:
    class Other:
        async def _greet(self, r: R) -> None: ...

    web.attach(Server)
    with pytest.raises(ConfigurationError, match=r"Other\._greet .*Server\._greet"):
        web.attach(Other)


# Sub-apps


async def test_a_mounted_app_is_served_with_its_hooks_and_tasks(web: App) -> None:
    seen: list[str] = []
    inner = App()
    web.mount("/api", inner)
    inner.add_route(handler, "/hi")
    inner.on_start(lambda: seen.append("start"))
    inner.on_stop(lambda: seen.append("stop"))

    @inner.add_task
    async def background() -> None:
        seen.append("task")

    async with served(web) as site:
        assert (await site.get("/api/hi")).text == "hi"
    assert seen == ["start", "task", "stop"]


def test_an_app_with_a_main_handler_is_not_mounted(web: App) -> None:
    inner = App()
    inner.main_handler(handler)
    with pytest.raises(ConfigurationError, match="has a main handler and no routes"):
        web.mount("/api", inner)


def test_an_app_is_not_mounted_in_itself(web: App) -> None:
    with pytest.raises(ConfigurationError, match="within itself"):
        web.mount("/api", web)


async def test_nothing_is_mounted_once_the_app_is_served(web: App) -> None:
    async with served(web):
        with pytest.raises(ConfigurationError, match="it is too late"):
            web.mount("/api", App())


# Background tasks


async def test_a_task_lives_as_long_as_the_app_is_served(
    web: App, ran: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    @web.add_task
    async def background() -> None:
        ran.append("task begins")
        try:
            await asyncio.Event().wait()
        finally:
            ran.append("task ends")

    task, _ = await run_somewhere(web, capsys)
    await wait_until(lambda: "task begins" in ran)
    await within(web.exit())
    await within(task)
    assert ran[2:] == ["task begins", "task ends", "stop 2", "stop 1"]


# Hooks


@pytest.fixture
def ran(web: App) -> list[str]:
    """The hooks that ran: two of each kind, one of them async."""
    ran: list[str] = []

    @web.on_start
    def first() -> None:
        ran.append("start 1")

    @web.on_start
    async def second() -> None:
        ran.append("start 2")

    @web.on_stop
    async def stop_first() -> None:
        ran.append("stop 1")

    @web.on_stop
    def stop_second() -> None:
        ran.append("stop 2")

    return ran


async def test_start_hooks_run_once_in_order(web: App, ran: list[str]) -> None:
    await web.init()
    await web.init()
    assert ran == ["start 1", "start 2"]


async def test_stop_hooks_run_once_in_reverse(web: App, ran: list[str]) -> None:
    await web.init()
    ran.clear()
    await web.stop_hooks()
    await web.stop_hooks()
    assert ran == ["stop 2", "stop 1"]


async def test_stop_hooks_do_not_run_where_nothing_started(
    web: App, ran: list[str]
) -> None:
    await web.stop_hooks()
    await web.exit()
    assert ran == []


async def test_a_failing_start_hook_fails_the_start(web: App) -> None:
    @web.on_start
    async def fails() -> None:
        raise ValueError("no database")

    with pytest.raises(ValueError, match="no database"):
        await web.run()


async def test_a_failing_stop_hook_is_logged_and_the_others_run(
    web: App, ran: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    @web.on_stop
    def fails() -> None:
        raise ValueError("too bad")

    await web.init()
    await web.stop_hooks()
    assert ran[-2:] == ["stop 2", "stop 1"]
    assert "fails (" in caplog.text
    assert "too bad" in caplog.text


async def test_drain_hooks_run_in_order_also_after_one_that_failed(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    ran = []

    @web.on_drain
    def fails() -> None:
        raise ValueError("too bad")

    @web.on_drain
    async def second() -> None:
        ran.append("second")

    await web.drain_hooks()
    assert ran == ["second"]
    assert "on_drain hook" in caplog.text


# Running


async def run_somewhere(
    web: App, capsys: pytest.CaptureFixture[str]
) -> tuple[asyncio.Task[None], int]:
    """Run an app in a task; the task, and its port as it was printed."""
    task = asyncio.ensure_future(web.run())
    printed: list[str] = []

    def is_printed() -> bool:
        printed.append(capsys.readouterr().err)
        return task.done() or "://" in printed[-1]

    await wait_until(is_printed)
    return task, int("".join(printed).partition("127.0.0.1:")[2].split()[0])


async def test_run_serves_until_exit(
    web: App, ran: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    web.add_route(handler)
    task, port = await run_somewhere(web, capsys)
    async with await RawPeer.connect("127.0.0.1", port) as peer:
        answer = await peer.exchange(serialize_request("GET", "/handler"))
    assert answer.endswith(b"hi")
    await within(web.exit())
    assert ran == ["start 1", "start 2", "stop 2", "stop 1"]
    await within(task)


async def test_exit_answers_what_is_in_flight(
    web: App, capsys: pytest.CaptureFixture[str]
) -> None:
    may_go_on = asyncio.Event()
    begun: list[Any] = []

    @web.add_route
    async def _slow(r: R) -> None:
        begun.append(r)
        await may_go_on.wait()
        await Deliver.text(r, "done")

    task, port = await run_somewhere(web, capsys)
    async with await RawPeer.connect("127.0.0.1", port) as peer:
        await peer.send(serialize_request("GET", "/slow"))
        await wait_until(lambda: begun)
        leaving = asyncio.ensure_future(web.exit())
        await wait_until(lambda: _refuses(port))
        may_go_on.set()
        answer = await peer.read_response()
    assert (answer.text, answer.field("connection")) == ("done", "close")
    await within(leaving)
    await within(task)


def _refuses(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


async def test_an_app_can_be_run_again(
    web: App, ran: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        task, _ = await run_somewhere(web, capsys)
        await within(web.exit())
        await within(task)
    assert ran == ["start 1", "start 2", "stop 2", "stop 1"] * 2


async def test_an_app_is_not_run_twice_at_once(
    web: App, capsys: pytest.CaptureFixture[str]
) -> None:
    task, _ = await run_somewhere(web, capsys)
    with pytest.raises(ConfigurationError, match="is already served"):
        await web.run()
    await within(web.exit())
    await within(task)


async def test_an_address_in_use_is_refused_before_the_hooks_run(
    web: App, ran: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    task, port = await run_somewhere(App("127.0.0.1", 0), capsys)
    web.port = port
    with pytest.raises(ConfigurationError, match="cannot bind"):
        await web.run()
    assert ran == []
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancelled_run_cuts_its_connections_and_stops(
    web: App, ran: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    @web.add_route
    async def _wait(r: R) -> None:
        ran.append("route")
        await asyncio.Event().wait()

    task, port = await run_somewhere(web, capsys)
    async with await RawPeer.connect("127.0.0.1", port) as peer:
        await peer.send(serialize_request("GET", "/wait"))
        await wait_until(lambda: "route" in ran)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert ran[-2:] == ["stop 2", "stop 1"]


async def test_the_main_handler_takes_connections_before_http(web: App) -> None:
    @web.main_handler
    async def shout(r: R) -> None:
        async for octets in r.request():
            await r.writer(octets.upper())
        await r.writer(b"bye")

    async with served(web) as site, await site.connect() as peer:
        await peer.send(b"hello")
        assert await peer.read_some() == b"HELLO"
        peer.half_close()
        assert await peer.read_until_end() == b"bye"


def test_a_main_handler_that_is_no_coroutine_function_is_refused(web: App) -> None:
    with pytest.raises(ConfigurationError, match="async def"):
        web.main_handler(lambda r: None)  # type: ignore[type-var]


# Proxies and the access log


async def test_a_trusted_proxy_tells_the_client() -> None:
    web = App("127.0.0.1", 0, forwarded_allow_ips=["127.0.0.1", "unix"])
    web.attach(Server())
    async with served(web) as site:
        headers = {"X-Forwarded-For": "192.0.2.1"}
        response = await site.ask("GET", "/api/ip", headers=headers)
    assert response.body == b'{"ip":"192.0.2.1"}'


async def test_a_balancer_says_who_connected() -> None:
    web = App("127.0.0.1", 0, proxy_protocol_allow_ips="127.0.0.1")
    web.attach(Server())
    async with served(web) as site, await site.connect() as peer:
        await peer.send(b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n")
        await peer.send(serialize_request("GET", "/api/ip"))
        assert (await peer.read_response()).body == b'{"ip":"192.0.2.7"}'


async def test_nobody_is_trusted_by_default(web: App) -> None:
    assert web.trust is None
    assert web.access_log is None


async def test_the_access_log_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    web = App("127.0.0.1", 0, access_log=str(path), access_log_format="{path} {status}")
    web.add_route(handler, "/a")
    assert not path.exists()
    async with served(web) as site:
        await site.get("/a")
        await site.get("/b")
        await wait_until(lambda: path.read_text() == "/a 200\n/b 404\n")


async def test_whoever_serves_may_say_otherwise(web: App) -> None:
    web.add_route(handler, "/a")
    trust = make_trust(forwarded_allow_ips="*")
    server = web.make_server(asyncio.get_running_loop(), trust=trust)
    assert server.context.trust is trust
    server.close()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"forwarded_allow_ips": "localhost"}, "expected an address, a network"),
        ({"proxy_protocol_allow_ips": ["10.0.0.1/8"]}, "has host bits set"),
        ({"access_log_format": "{statsu}"}, "did you mean status?"),
    ],
)
def test_what_cannot_be_read_is_refused_when_the_app_is_made(
    settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        App(**settings)
    assert reason in str(caught.value)


async def test_a_log_that_cannot_be_opened_is_said_when_it_is_served(
    tmp_path: Path,
) -> None:
    web = App("127.0.0.1", 0, access_log=str(tmp_path))
    with pytest.raises(ConfigurationError, match="Is a directory"):
        await web.run()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "page").mkdir(parents=True)
    (folder / "page" / "index.html").write_text("page")
    (folder / "a.txt").write_text("text")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


@pytest.mark.parametrize("prefix", ["/assets", "/assets/", "/"])
async def test_a_folder_is_served_below_its_prefix(
    web: App, folder: Path, prefix: str
) -> None:
    web.add_static(prefix, folder, headers={"Cache-Control": "no-cache"})
    web.add_route(handler, "/assets/route")
    start = prefix.rstrip("/")
    async with served(web) as site:
        answer = await site.get(f"{start}/a.txt")
        assert (answer.text, answer.field("cache-control")) == ("text", "no-cache")
        assert (await site.get(f"{start}/page/")).text == "page"
        redirect = await site.get(f"{start}/page?a=b")
        assert redirect.field("location") == f"{start}/page/?a=b"
        assert (await site.get("/assets/route")).text == "hi"
        assert (await site.ask("POST", f"{start}/a.txt")).status == 405
        for target in ("/none", "/../secret.txt", "/%2e%2e/secret.txt", "//a.txt"):
            assert (await site.get(start + target)).status == 404


async def test_the_prefix_without_its_slash_redirects_to_an_index(
    web: App, folder: Path
) -> None:
    web.add_static("/page", folder / "page")
    web.add_static("/none", folder)
    async with served(web) as site:
        assert (await site.get("/page")).field("location") == "/page/"
        assert (await site.get("/none")).status == 404


async def test_a_folder_of_a_mounted_app_is_served(web: App, folder: Path) -> None:
    other = App()
    other.add_static("/assets", folder)
    web.mount("/api", other)
    async with served(web) as site:
        assert (await site.get("/api/assets/a.txt")).text == "text"
        redirect = await site.get("/api/assets/page")
        assert redirect.field("location") == "/api/assets/page/"


def test_an_app_is_served_by_its_host_where_there_is_one() -> None:
    web = App()
    served: list[App] = []
    token = run_hook.set(served.append)
    try:
        web.runner()
    finally:
        run_hook.reset(token)
    assert served == [web]


def test_there_is_no_host_unless_one_is_set() -> None:
    assert run_hook.get() is None
