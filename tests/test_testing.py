import asyncio
import threading

import httpx
import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.errors import ConfigurationError
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.testing import TestServer
from tests.support.clock import wait_until, within
from tests.support.peer import RawPeer
from tests.support.served import serialize_request

R = BlazeioServerProtocol


@pytest.fixture
def web() -> App:
    web = App()

    @web.add_route
    async def _hello(r: R) -> None:
        await Deliver.text(r, threading.current_thread().name)

    return web


@pytest.fixture
def seen(web: App) -> list[str]:
    """What ran of the app's life."""
    seen: list[str] = []
    web.on_start(lambda: seen.append("start"))
    web.on_drain(lambda: seen.append("drain"))
    web.on_stop(lambda: seen.append("stop"))
    return seen


def test_a_client_that_blocks_is_served_from_a_thread(
    web: App, seen: list[str]
) -> None:
    with TestServer(web) as server:
        assert seen == ["start"]
        answer = httpx.get(f"{server.url}/hello")
    assert answer.text.startswith("<TestServer")
    assert seen == ["start", "drain", "stop"]
    assert threading.active_count() == 1


async def test_the_loop_of_the_test_serves_too(web: App, seen: list[str]) -> None:
    async with TestServer(web) as server, httpx.AsyncClient() as client:
        answer = await client.get(f"{server.url}/hello")
    assert answer.text == "MainThread"
    assert seen == ["start", "drain", "stop"]


def test_an_app_is_served_again(web: App, seen: list[str]) -> None:
    server = TestServer(web)
    for _ in range(2):
        with server:
            assert httpx.get(f"{server.url}/hello").status_code == 200
        assert server.port == 0
    assert seen == ["start", "drain", "stop"] * 2


def test_a_start_hook_that_fails_is_raised_where_the_block_begins(
    web: App, seen: list[str]
) -> None:
    @web.on_start
    async def fails() -> None:
        raise ValueError("no database")

    with pytest.raises(ValueError, match="no database"), TestServer(web):
        pytest.fail("it began")
    assert seen == ["start", "stop"]


def test_a_host_that_cannot_be_bound_is_refused(web: App, seen: list[str]) -> None:
    with (
        pytest.raises(ConfigurationError, match=r"cannot bind 192\.0\.2\.1:0"),
        TestServer(web, host="192.0.2.1"),
    ):
        pytest.fail("it began")
    assert seen == ["start", "stop"]


def test_the_url_tells_scheme_host_and_port(web: App) -> None:
    with TestServer(web, host="::1") as server:
        assert server.url == f"http://[::1]:{server.port}"
        assert repr(server) == f"<TestServer {server.url} of {web!r}>"


async def test_what_is_in_flight_is_answered(web: App) -> None:
    may_go_on = asyncio.Event()
    begun: list[R] = []

    @web.add_route
    async def _slow(r: R) -> None:
        begun.append(r)
        await may_go_on.wait()
        await Deliver.text(r, "done")

    web.on_drain(may_go_on.set)
    async with TestServer(web) as server:
        peer = await RawPeer.connect(server.host, server.port)
        await peer.send(serialize_request("GET", "/slow"))
        await wait_until(lambda: begun)
    async with peer:
        assert (await peer.read_response()).text == "done"


async def test_what_takes_longer_is_cut(web: App) -> None:
    seen: list[str] = []

    @web.add_route
    async def _wait(r: R) -> None:
        seen.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    async with TestServer(web, grace_s=0) as server:
        peer = await RawPeer.connect(server.host, server.port)
        await peer.send(serialize_request("GET", "/wait"))
        await wait_until(lambda: seen)
    assert seen == ["begun", "ended"]
    async with peer:
        with pytest.raises((ConnectionError, AssertionError)):
            await within(peer.read_response())


def test_pytest_does_not_take_it_for_a_test() -> None:
    assert TestServer.__test__ is False
