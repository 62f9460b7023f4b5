"""Whoever else speaks HTTP, with the examples; uploads are in ``test_upload``."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests
from websockets.sync.client import unix_connect

from tests.examples.nginx_front import nginx_before
from tests.support.clock import scaled
from tests.support.live import LiveServer, LiveServers
from tests.support.programs import find_program
from tests.support.served import serialize_request
from tests.support.tree import REPOSITORY

pytestmark = pytest.mark.slow

EXAMPLES = REPOSITORY / "examples"
PUBLIC = EXAMPLES / "static_site" / "public"
PAGE = (PUBLIC / "index.html").read_bytes()
LATTER = {"Range": "bytes=10-"}
Fetch = Callable[[str], tuple[bytes, bytes]]
"""A page, and what of it comes after ten octets."""


def by_program(*command: str) -> bytes:
    command = (find_program(command[0]), *command[1:])
    done = subprocess.run(command, capture_output=True, timeout=scaled(10), check=True)
    return done.stdout


def by_curl(url: str) -> tuple[bytes, bytes]:
    flags = ("curl", "-sS", "--compressed", "--fail")
    return by_program(*flags, url), by_program(*flags, "--range", "10-", url)


def by_wget(url: str) -> tuple[bytes, bytes]:
    flags = ("wget", "-q", "-O", "-")
    return by_program(*flags, url), by_program(*flags, "--start-pos=10", url)


def by_httpx(url: str) -> tuple[bytes, bytes]:
    with httpx.Client(trust_env=False) as client:
        return client.get(url).content, client.get(url, headers=LATTER).content


def by_requests(url: str) -> tuple[bytes, bytes]:
    with requests.Session() as client:
        client.trust_env = False
        return client.get(url).content, client.get(url, headers=LATTER).content


def by_aiohttp(url: str) -> tuple[bytes, bytes]:
    async def fetch() -> tuple[bytes, bytes]:
        async with aiohttp.ClientSession() as client:
            async with client.get(url) as whole:
                page = await whole.read()
            async with client.get(url, headers=LATTER) as latter:
                return page, await latter.read()

    return asyncio.run(fetch())


@pytest.fixture
def serve(live_server: LiveServers, tmp_path: Path) -> Callable[[str], LiveServer]:
    def start(name: str) -> LiveServer:
        app = EXAMPLES / name
        folder = app if app.is_dir() else EXAMPLES
        module = "app" if app.is_dir() else name
        command = ["blazeio-supervisor", f"{module}:web", "--app-dir", str(folder)]
        bind = ["--bind", "127.0.0.1:0", "--workers", "1"]
        return live_server.start([*command, *bind], cwd=tmp_path)

    return start


Serve = Callable[[str], LiveServer]


@pytest.mark.long
def test_a_page_and_a_range_of_it_are_fetched_by_all(serve: Serve) -> None:
    server = serve("static_site")
    url = f"http://127.0.0.1:{server.port}/index.html"
    for fetch in (by_curl, by_wget, by_httpx, by_requests, by_aiohttp):
        assert fetch(url) == (PAGE, PAGE[10:]), fetch.__name__


@pytest.fixture
def nginx() -> str:
    return find_program("nginx")


@pytest.mark.long
def test_events_pass_nginx_as_they_happen(
    serve: Serve, nginx: str, tmp_path: Path
) -> None:
    server = serve("chat_events")
    with nginx_before(nginx, server.port, tmp_path) as peer:
        peer.send(serialize_request("GET", "/events"))
        for text in (b"one", b"two"):
            server.exchange(serialize_request("POST", "/say", text))
            peer.read_until(b"data: " + text)


def test_a_websocket_passes_nginx(serve: Serve, nginx: str, tmp_path: Path) -> None:
    server = serve("chat_websocket")
    with (
        nginx_before(nginx, server.port, tmp_path),
        unix_connect(str(tmp_path / "nginx.sock"), "ws://chat/chat") as ws,
    ):
        ws.send("hello")
        assert str(ws.recv(timeout=scaled(5))).endswith(": hello")
