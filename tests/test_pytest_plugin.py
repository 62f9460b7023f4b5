from collections.abc import Callable, Iterator

import httpx
import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.testing import TestServer

Serve = Callable[[App], TestServer]


async def name(r: BlazeioServerProtocol) -> None:
    await Deliver.text(r, r.path)


def test_serve_app_serves_any_number_of_apps(serve_app: Serve) -> None:
    servers = []
    for path in ("/one", "/two"):
        web = App()
        web.add_route(name, path)
        servers.append(serve_app(web))
    first, second = (httpx.get(f"{server.url}/one") for server in servers)
    assert (first.text, second.status_code) == ("/one", 404)


@pytest.fixture
def stopped() -> list[str]:
    """Looked at when the servers are gone: it was set up before them."""
    return []


@pytest.fixture
def is_stopped_after(stopped: list[str]) -> Iterator[None]:
    yield
    assert stopped == ["stopped"]


def test_the_apps_end_with_the_test(
    is_stopped_after: None, stopped: list[str], serve_app: Serve
) -> None:
    web = App()
    web.on_stop(lambda: stopped.append("stopped"))
    serve_app(web)
    assert stopped == []
