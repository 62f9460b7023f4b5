"""What the supervisor promises of an App holds for Starlette and Flask apps, too."""

import importlib.util
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.process.service import Service, start_service
from tests.support.clock import block_until
from tests.support.live import LiveServers
from tests.support.peer import BlockingPeer

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

STARLETTE = """
import os, sys, time
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

def say(word):  # in one write: print makes four, between those of other workers
    sys.stderr.write(f"{word} {os.getpid()}\\n")

@asynccontextmanager
async def lifespan(app):
    say("startup")
    yield
    say("shutdown")

async def pid(request):
    return PlainTextResponse(str(os.getpid()))

async def block(request):
    time.sleep(60)

app = Starlette(lifespan=lifespan, routes=[Route("/", pid), Route("/block", block)])
"""
FLASK = """
import os, threading
from flask import Flask

app = Flask(__name__)

@app.get("/")
def pid():
    return str(os.getpid())

@app.get("/block")
def block():
    threading.Event().wait()
"""
CLIENTS = 4
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
BOTH = pytest.mark.parametrize("code", [STARLETTE, FLASK], ids=["starlette", "flask"])


@pytest.fixture(autouse=True)
def need_frameworks() -> None:
    for package in ("starlette", "flask"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


class Load:
    """Clients that ask one request after the other.

    Attributes:
        answered: How many requests were answered by 200.
        refused: How many clients could not connect any more, and have ended.
        failed: What went wrong.
    """

    def __init__(self, service: Service) -> None:
        self.answered = self.refused = 0
        self.failed: list[str] = []
        self._service = service
        self._ends = threading.Event()

    def ask_on(self) -> None:
        """Ask until the end; a connection that says close is left."""
        while not self._ends.is_set():
            try:
                peer = self._service.server.connect()
            except ConnectionRefusedError:
                self.refused += 1
                return
            with peer:
                self._ask_on(peer)

    def _ask_on(self, peer: BlockingPeer) -> None:
        while not self._ends.is_set():
            try:
                answer = peer.exchange(GET)
            except (OSError, AssertionError) as error:
                self.failed.append(repr(error))
                return
            if not answer.startswith(b"HTTP/1.1 200 "):
                self.failed.append(answer[:40].decode())
            self.answered += 1
            if b"\r\nConnection: close\r\n" in answer:
                return
            time.sleep(0.002)

    def end(self) -> None:
        self._ends.set()


@contextmanager
def loaded(service: Service) -> Iterator[Load]:
    load = Load(service)
    threads = [threading.Thread(target=load.ask_on) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        block_until(lambda: load.answered > 20, 20)
        yield load
    finally:
        load.end()
        for thread in threads:
            thread.join()


def start(live_server: LiveServers, folder: Path, code: str, *options: str) -> Service:
    bind = "--bind", "127.0.0.1:0"
    return start_service(live_server, folder, *bind, *options, app="app", code=code)


@BOTH
def test_reloads_under_load_lose_nothing(
    live_server: LiveServers, tmp_path: Path, code: str
) -> None:
    service = start(live_server, tmp_path, code)
    with loaded(service) as load:
        for generation in (2, 3):
            service.server.signal(signal.SIGHUP)
            service.server.wait_for_log(f"event=reload_ok gen={generation}:")
    assert load.failed == []
    assert not load.refused
    service.server.signal(signal.SIGTERM)
    assert service.server.wait_exit() == 0
    if code is STARLETTE:
        log = service.server.log
        began = sorted(re.findall(r"^startup (\d+)$", log, re.MULTILINE))
        ended = sorted(re.findall(r"^shutdown (\d+)$", log, re.MULTILINE))
        assert began == ended, log
        assert len(began) == len(set(began)) == 6, log


@BOTH
def test_a_broken_deploy_leaves_the_old_code_serving(
    live_server: LiveServers, tmp_path: Path, code: str
) -> None:
    service = start(live_server, tmp_path, code)
    before = service.pids()
    with loaded(service) as load:
        (tmp_path / "app.py").write_text("import nothing_of_that_name\n")
        service.server.signal(signal.SIGHUP)
        service.server.wait_for_log("event=reload_failed", timeout_s=30)
    assert load.failed == []
    assert service.pids() == before


@BOTH
def test_a_worker_that_is_killed_comes_back(
    live_server: LiveServers, tmp_path: Path, code: str
) -> None:
    service = start(live_server, tmp_path, code)
    killed = service.pids()[0]
    with loaded(service) as load:
        os.kill(killed, signal.SIGKILL)
        service.wait_for(
            lambda found: (
                len(found) == 2 and killed not in [pid for _, pid in found.values()]
            ),
            "respawned",
            30,
        )
        service.wait_everybody_answers()
    # What the killed one had in hand is lost, at most one request of each client.
    assert len(load.failed) <= CLIENTS
    assert not load.refused


@BOTH
def test_term_under_load_answers_what_has_come(
    live_server: LiveServers, tmp_path: Path, code: str
) -> None:
    service = start(live_server, tmp_path, code)
    with loaded(service) as load:
        service.server.signal(signal.SIGTERM)
        assert service.server.wait_exit() == 0
        block_until(lambda: load.refused == CLIENTS, 20)
    assert load.failed == []


def test_a_loop_that_is_blocked_is_replaced_and_others_serve_on(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start(live_server, tmp_path, STARLETTE, "--timeout", "1")
    before = service.pids()
    with service.server.connect() as peer:
        peer.send(b"GET /block HTTP/1.1\r\nHost: a\r\n\r\n")
        with loaded(service) as load:
            service.wait_for(
                lambda found: (
                    len(found) == 2
                    and sorted(pid for _, pid in found.values()) != before
                ),
                "replaced",
                30,
            )
    assert load.answered > 20


def connect_to(service: Service, pid: int, stack: ExitStack) -> list[BlockingPeer]:
    """Open three connections to one worker."""
    found: list[BlockingPeer] = []
    while len(found) < 3:
        peer = stack.enter_context(service.server.connect())
        if peer.exchange(GET).endswith(b"\r\n%d" % pid):
            found.append(peer)
    return found


def test_threads_that_all_hang_are_told_and_others_serve_on(
    live_server: LiveServers, tmp_path: Path
) -> None:
    """A thread cannot be ended from outside; its worker gets no new connections."""
    options = "--threads", "2", "--log-level", "debug", "--graceful-timeout", "4"
    service = start(live_server, tmp_path, FLASK, *options)
    before = service.pids()
    with ExitStack() as stack:
        held = connect_to(service, before[0], stack)
        service.server.wait_for_log("event=steered .*: 100 100$")
        steered = re.compile("event=steered .*: (0 1[0-9]0|1[0-9]0 0)$", re.MULTILINE)
        booted = len(service.server.log)  # while it boots, only one has connections
        for peer in held:
            peer.send(b"GET /block?secret HTTP/1.1\r\nHost: a\r\n\r\n")
        block_until(lambda: steered.search(service.server.log[booted:]), 20)
        with loaded(service) as load:
            block_until(lambda: load.answered > 200, 20)
            log = "event=thread_stuck .*: for 10 s none of its 2 threads has come back"
            service.server.wait_for_log(log, timeout_s=30)
        assert load.failed == []
        assert not load.refused
        assert {service.get().status for _ in range(50)} == {200}
        service.server.wait_for_log("and 1 wait for one: GET /block, GET /block$")
        service.server.wait_for_log('File ".*app.py", line .* in block')
        assert service.pids() == before
        service.server.signal(signal.SIGTERM)
        assert service.server.wait_exit() == 0
    service.server.wait_for_log(
        "event=thread_stuck .*left behind, still at work at the end: GET /block"
    )
    assert "secret" not in service.server.log


def test_a_thread_that_hangs_holds_up_no_other(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start(live_server, tmp_path, FLASK, "--handler-timeout", "1")
    with service.server.connect() as peer, loaded(service) as load:
        peer.send(b"GET /block HTTP/1.1\r\nHost: a\r\n\r\n")
        assert peer.read_response().status == 503
        service.server.wait_for_log(
            "event=thread_stuck .*beyond its time, and holds a thread: GET /block"
        )
        answered = load.answered
        block_until(lambda: load.answered > answered + 50, 20)
    assert load.failed == []
