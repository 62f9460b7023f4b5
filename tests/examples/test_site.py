"""The example of the project's description, run as it is written there."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.live import LiveServer, LiveServers
from tests.support.peer import BlockingPeer
from tests.support.response import Response
from tests.support.served import serialize_request
from tests.support.tree import REPOSITORY

SITE = REPOSITORY / "examples" / "site"
PAGE = (SITE / "page" / "index.html").read_text()

# Written as its first users write it; mended only where that was not valid Python.
AS_DESCRIBED = '''
import Blazeio as io
from asyncio import new_event_loop
from os import path

web = io.App("0.0.0.0", 8000)

# OOP IMPLEMENTATION
class Server:
    @classmethod
    async def setup(app):
        app = app()
        """
            Automatically registers VALID API ENDPOINTS methods to the app.
            VALID API ENDPOINTS here are those that start with _ but not __, then _ will
            be replaced with / when adding them to the registry.
        """
        await web.append_class_routes(app)

        app.static = await io.IN_MEMORY_STATIC_CACHE.init(
            run_time_cache={
                "/page/index.html": {"route": "/"}
            },
            chunk_size=1024,
            home_dir=path.abspath(path.dirname(__file__))
        )

        return app

    async def before_middleware(app, r):
        r.store = {"json_data": await io.Request.body_or_params(r)}

    # /
    async def _redirect(app, r):
        # Redirect users to the IP endpoint
        await io.Deliver.redirect(r, "/api/ip")

    # handle undefined endpoints and serve static files
    async def handle_all_middleware(app, r):
        await app.static.handler(r, override="/page/index.html")  # Will override for /

    # /api/ip/
    async def _api_ip(app, r):
        data = {
            "ip": str(r.ip_host) + str(r.ip_port)
        }

        await io.Deliver.json(r, data)


# FP Implementation
@web.add_route
async def this_function_name_wont_be_used_as_the_route_if_overriden_in_the_route_param(r, route="/fp"):
    message = "Hello from some functional endpoint"

    # Send a text response
    await io.Deliver.text(r, message)

if __name__ == "__main__":
    io.loop.run_until_complete(Server.setup())
    web.runner()
'''  # noqa: E501

pytestmark = pytest.mark.slow


ALONE = ("python", "app.py")
SUPERVISED = ("blazeio-supervisor", "app.py", "--workers", "4")


@pytest.fixture(
    params=[
        pytest.param((True, ALONE), id="ours alone"),
        pytest.param((True, SUPERVISED), id="ours supervised"),
        pytest.param((False, ALONE), id="described alone", marks=pytest.mark.long),
        pytest.param(
            (False, SUPERVISED), id="described supervised", marks=pytest.mark.long
        ),
    ],
)
def server(
    request: pytest.FixtureRequest, live_server: LiveServers, tmp_path: Path
) -> LiveServer:
    is_ours, command = request.param
    copy_site(tmp_path, (SITE / "app.py").read_text() if is_ours else AS_DESCRIBED)
    return live_server.start(command, cwd=tmp_path)


def copy_site(folder: Path, source: str) -> None:
    shutil.copytree(SITE / "page", folder / "page")
    source = source.replace('"0.0.0.0", 8000', '"127.0.0.1", 0')
    (folder / "app.py").write_text(source)


def ask(peer: BlockingPeer, target: str, method: str = "GET") -> Response:
    peer.send(serialize_request(method, target))
    return peer.read_response(method=method)


def test_it_answers_as_described(server: LiveServer) -> None:
    with server.connect() as peer:
        check_each_route(peer)
        # The source is not there either.
        for target in ("/nowhere", "/api/ip/", "/app.py", "/../app.py", "/fp/x"):
            assert ask(peer, target).status == 404
        check_that_json_is_read_before_the_route(peer)


def check_each_route(peer: BlockingPeer) -> None:
    assert ask(peer, "/").text == PAGE
    assert ask(peer, "/page/index.html").text == PAGE
    assert ask(peer, "/fp").text == "Hello from some functional endpoint"
    redirect = ask(peer, "/redirect")
    assert (redirect.status, redirect.field("location")) == (302, "/api/ip")
    ip = json.loads(ask(peer, "/api/ip").body)
    assert ip == {"ip": f"127.0.0.1{peer.local_port}"}
    head = ask(peer, "/", "HEAD")
    assert head.field("content-length") == str(len(PAGE))


def check_that_json_is_read_before_the_route(peer: BlockingPeer) -> None:
    headers = {"Content-Type": "application/json"}
    peer.send(serialize_request("POST", "/fp", b'{"a": 1}', headers))
    assert peer.read_response().status == 200
    peer.send(serialize_request("POST", "/fp", b"{", headers))
    assert peer.read_response().status == 400


@pytest.mark.long
def test_it_ends_by_a_signal(server: LiveServer) -> None:
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert "Traceback" not in server.log


@pytest.mark.long
def test_the_functional_route_is_served_without_the_script(
    live_server: LiveServers, tmp_path: Path
) -> None:
    copy_site(tmp_path, AS_DESCRIBED)
    command = ["blazeio-supervisor", "app:web", "--workers", "8"]
    server = live_server.start(command, cwd=tmp_path)
    with server.connect() as peer:
        assert ask(peer, "/fp").text == "Hello from some functional endpoint"
        assert ask(peer, "/api/ip").status == 404  # of the class, attached by setup
