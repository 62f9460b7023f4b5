"""The proxies' configurations, in nginx, HAProxy and Caddy, before two machines."""

import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.process.service import APP, change, serialize_get
from tests.support.clock import block_until
from tests.support.live import LiveServer, LiveServers
from tests.support.peer import BlockingPeer
from tests.support.programs import find_program
from tests.support.tree import REPOSITORY

pytestmark = pytest.mark.slow
PROXIES = REPOSITORY / "deploy/proxies"
NGINX = """
worker_processes 1; error_log stderr; pid nginx.pid; daemon off; user root;
events {{ }}
http {{ access_log off; include {config}; }}
"""
WEB = change(
    APP,
    "def make():",
    """@web.add_route
async def socket(r, route="/socket"):
    async with io.WebSocket(r) as ws:
        async for message in ws:
            await ws.send(message)

@web.add_route
async def client(r, route="/client"):
    await io.Deliver.text(r, f"{r.ip_host} {r.scheme} {r.authority}")

def make():""",
)
OPTIONS = (
    "--forwarded-allow-ips",
    "127.0.0.1",
    "--workers",
    "1",
    "--drain-idle",
    "0.1",
    "--drain-delay",
    "2.5",
)


def find_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def start_machine(
    live_server: LiveServers, folder: Path, port: int, probes: int
) -> LiveServer:
    (folder / "app.py").write_text(WEB)
    bind = ["--bind", f"127.0.0.1:{port}", "--metrics-bind", f"127.0.0.1:{probes}"]
    command = ["blazeio-supervisor", "app:web", *bind, *OPTIONS]
    return live_server.start(command, cwd=folder, ready="first")


def write_config(folder: Path, name: str, ports: dict[str, int]) -> Path:
    """The configuration as it is, with ports that are free here."""
    text = (PROXIES / name).read_text().replace("/run/haproxy/", f"{folder}/")
    for written, port in ports.items():
        text = re.sub(rf"\b{written}\b", str(port), text)
    (folder / name).write_text(text)
    return folder / name


PORTS = {"nginx": "8080", "haproxy": "8081", "caddy": "8082"}
FILES = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "caddy": "Caddyfile"}


class Site:
    """Two machines, and a proxy before them."""

    def __init__(self, live_server: LiveServers, folder: Path, proxy: str) -> None:
        program = find_program(proxy)
        self._live_server, self._folder = live_server, folder
        one, two, probes, more, self.front, stats = find_ports(6)
        self._own = one, probes
        self.machine = start_machine(live_server, folder, one, probes)
        self.other = start_machine(live_server, folder, two, more)
        ports = {"8001": one, "8002": two, "9001": probes, "9002": more}
        ports |= {PORTS[proxy]: self.front, "8404": stats}
        config = str(write_config(folder, FILES[proxy], ports))
        (folder / "main.conf").write_text(NGINX.format(config=config))
        words = {
            "nginx": ["-p", str(folder), "-c", "main.conf", "-e", "stderr"],
            "haproxy": ["-db", "-f", config],
            "caddy": ["run", "--adapter", "caddyfile", "--config", config],
        }
        command = ["env", f"HOME={folder}", program, *words[proxy]]
        live_server.start(command, ready="", cwd=folder)
        block_until(lambda: is_open(self.front), 10)

    def start_again(self) -> LiveServer:
        return start_machine(self._live_server, self._folder, *self._own)


@pytest.fixture(params=list(PORTS))
def site(
    live_server: LiveServers, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Site]:
    made = Site(live_server, tmp_path, request.param)
    yield made
    for each in (made.machine, made.other):
        if each.is_running():
            each.signal(signal.SIGINT)  # which waits for no balancer


@pytest.mark.long
def test_a_machine_is_restarted_and_nobody_sees_it(site: Site) -> None:
    front, machine = site.front, site.machine
    seen: Counter[bytes] = Counter()
    visit(front, seen, 20)
    assert len(seen) == 2
    machine.signal(signal.SIGTERM)
    while machine.is_running():
        visit(front, seen, 5)
    visit(front, seen, 20)
    again = site.start_again()
    ends_at = time.monotonic() + 20
    while len(seen) < 3 and time.monotonic() < ends_at:
        visit(front, seen, 5)
    assert len(seen) == 3  # the new one is asked, too
    again.signal(signal.SIGINT)


@pytest.mark.long
def test_what_a_client_sends_goes_through(site: Site) -> None:
    with connect(f"ws://127.0.0.1:{site.front}/socket") as socket:
        socket.send("hello")
        assert socket.recv(timeout=10) == "hello"
    with BlockingPeer("127.0.0.1", site.front, timeout_s=10) as peer:
        size = 3 << 20
        peer.send(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
        )
        peer.send(b"x" * size)
        response = peer.read_response()
        assert (response.status, len(response.body)) == (200, size)


@pytest.mark.long
def test_what_a_client_says_of_itself_goes_no_further(site: Site) -> None:
    lies = (
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Port: 6",
        "X-Forwarded-Prefix: /evil",
        "X-Real-IP: 6.6.6.6",
        "Forwarded: for=6.6.6.6;host=evil.example;proto=https",
        "Connection: close",
    )
    with BlockingPeer("127.0.0.1", site.front, timeout_s=10) as peer:
        peer.send(serialize_get("/client", *lies))
        response = peer.read_response()
    assert response.body == b"127.0.0.1 http a", response


def is_open(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def visit(port: int, seen: Counter[bytes], count: int) -> None:
    """So many visitors; each must be answered well."""
    for _ in range(count):
        with BlockingPeer("127.0.0.1", port, timeout_s=10) as peer:
            peer.send(serialize_get("/", "Connection: close"))
            response = peer.read_response()
            assert response.status == 200, response
            seen[response.body] += 1
        time.sleep(0.01)
