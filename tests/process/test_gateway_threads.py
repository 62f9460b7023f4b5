"""What an operator sees of the threads of a WSGI app, and of work after a response."""

import re
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.process.service import (
    Service,
    read_status,
    serialize_get,
    start_service,
)
from tests.support.clock import block_until
from tests.support.live import LiveServers, run_to_exit

pytestmark = pytest.mark.slow

WSGI = """
import os, time

def app(environ, start_response):
    while not os.path.exists("go"):
        time.sleep(0.02)
    start_response("200 OK", [])
    return [b"done"]
"""
ASGI = """
import asyncio, os

async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})
    while not os.path.exists("go"):
        await asyncio.sleep(0.02)
"""


def start(live_server: LiveServers, folder: Path, code: str, *options: str) -> Service:
    words = ["--bind", "127.0.0.1:0", "--control", "c.sock", *options]
    return start_service(live_server, folder, *words, app="app", code=code, workers=1)


def ask(service: Service, *words: str) -> str:
    place = str(service.folder / "c.sock")
    done = run_to_exit(["blazeio-supervisor", *words, "--control", place])
    return done.stdout


def read_worker(service: Service) -> Any:
    (worker,) = read_status(service)["workers"]
    return worker


@pytest.mark.long
def test_what_waits_for_a_thread_holds_up_neither_status_nor_the_loop(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start(live_server, tmp_path, WSGI, "--threads", "1")
    with ExitStack() as stack:
        peers = [stack.enter_context(service.server.connect()) for _ in range(1000)]
        for peer in peers:
            peer.send(serialize_get("/slow"))
        block_until(lambda: read_worker(service)["waiting"] == 999)
        worker = read_worker(service)
        assert (worker["threads"], worker["threads_busy"]) == (1, 1)
        block_until(lambda: not read_worker(service)["is_late"])
        assert re.search(r" 1000 +1/1 \+999 ", ask(service, "status"))
        metrics = ask(service, "metrics")
        assert 'blazeio_threads{slot="0",state="busy"} 1.0' in metrics
        assert 'blazeio_requests_waiting{slot="0"} 999.0' in metrics
        for peer in peers[1:]:
            peer.close()
        block_until(lambda: read_worker(service)["waiting"] == 0)
        block_until(lambda: read_worker(service)["in_flight"] == 1)
        (tmp_path / "go").touch()
        assert peers[0].read_response().body == b"done"


@pytest.mark.long
def test_work_after_the_response_is_shown_and_counted_by_the_drain(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start(live_server, tmp_path, ASGI)
    assert service.get("/").body == b"done"
    block_until(lambda: read_worker(service)["background"] == 1)
    assert read_worker(service)["in_flight"] == 1
    assert "1 of them after the response" in ask(service, "status")
    assert 'blazeio_requests_background{slot="0"} 1.0' in ask(service, "metrics")
    service.server.signal(signal.SIGTERM)
    block_until(lambda: read_worker(service)["state"] != "serving")
    assert "1 of them after the response" in ask(service, "status")
    (tmp_path / "go").touch()
    assert service.server.wait_exit() == 0
    assert "requests_cut" not in service.server.log


def test_a_thread_that_is_left_behind_is_an_event_with_its_stack(
    live_server: LiveServers, tmp_path: Path
) -> None:
    options = "--handler-timeout", "0.2", "--graceful-timeout", "4"
    service = start(live_server, tmp_path, WSGI, *options)
    for _ in range(4):
        assert service.get("/slow?secret").status == 503
    beyond = "beyond its time, and holds a thread: GET /slow .{} of 4 are at work"
    for count in (1, 2, 3):
        service.server.wait_for_log(f"event=thread_stuck .*{beyond.format(count)}")
    # There may be many: from here on in the log alone.
    service.server.wait_for_log(f"WARNING .*{beyond.format(4)}")
    service.server.signal(signal.SIGTERM)
    assert service.server.wait_exit() == 0
    events = re.findall("event=thread_stuck .*", service.server.log)
    assert len(events) == 4
    slow = ", ".join(["GET /slow"] * 4)
    assert f"left behind, still at work at the end: {slow}" in events[3]
    assert service.server.log.count("app.py") == 8
    assert "secret" not in service.server.log
