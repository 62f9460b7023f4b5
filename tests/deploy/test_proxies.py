"""The proxies' configurations, in nginx and HAProxy: two machines, one restarted."""

import os
import re
import shutil
import signal
import socket
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.process.service import APP, serialize_get
from tests.support.clock import block_until
from tests.support.live import LiveServer, LiveServers
from tests.support.peer import BlockingPeer
from tests.support.tree import REPOSITORY

pytestmark = pytest.mark.slow
PROXIES = REPOSITORY / "deploy/proxies"
NGINX = """
worker_processes 1; error_log stderr; pid nginx.pid; daemon off; user root;
events {{ }}
http {{ access_log off; include {config}; }}
"""
OPTIONS = ("--workers", "1", "--drain-idle", "0.1", "--drain-delay", "2.5")


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
    (folder / "app.py").write_text(APP)
    bind = ["--bind", f"127.0.0.1:{port}", "--metrics-bind", f"127.0.0.1:{probes}"]
    command = ["blazeio-supervisor", "app:web", *bind, *OPTIONS]
    return live_server.start(command, cwd=folder, ready="first")


def write_config(folder: Path, name: str, ports: dict[str, int]) -> Path:
    """The configuration as it is, with ports that are free here."""
    text = (PROXIES / name).read_text()
    for written, port in ports.items():
        text = re.sub(rf"\b{written}\b", str(port), text)
    (folder / name).write_text(text)
    return folder / name


def find_program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"no {name}")
    return found


@pytest.mark.long
@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_a_machine_is_restarted_and_nobody_sees_it(
    live_server: LiveServers, tmp_path: Path, proxy: str
) -> None:
    program = find_program(proxy)
    one, two, probes, more, front = find_ports(5)
    machine = start_machine(live_server, tmp_path, one, probes)
    other = start_machine(live_server, tmp_path, two, more)
    written = {"8001": one, "8002": two, "9001": probes, "9002": more}
    if proxy == "nginx":
        config = write_config(tmp_path, "nginx.conf", {**written, "8080": front})
        (tmp_path / "main.conf").write_text(NGINX.format(config=config))
        command = [
            "env",
            program,
            "-p",
            str(tmp_path),
            "-c",
            "main.conf",
            "-e",
            "stderr",
        ]
    else:
        config = write_config(tmp_path, "haproxy.cfg", {**written, "8081": front})
        command = ["env", program, "-db", "-f", str(config)]
    live_server.start(command, ready="", cwd=tmp_path)
    block_until(lambda: is_open(front), 10)
    seen: Counter[bytes] = Counter()
    visit(front, seen, 20)
    assert len(seen) == 2
    machine.signal(signal.SIGTERM)
    while machine.is_running():
        visit(front, seen, 5)
    visit(front, seen, 20)
    again = start_machine(live_server, tmp_path, one, probes)
    ends_at = time.monotonic() + 20
    while len(seen) < 3 and time.monotonic() < ends_at:
        visit(front, seen, 5)
    assert len(seen) == 3  # the new one is asked, too
    for each in (other, again):
        each.signal(signal.SIGINT)  # which waits for no balancer


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
