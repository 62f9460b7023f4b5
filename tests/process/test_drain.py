"""What clients, handlers and balancers see of the end of a worker, or of all."""

import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.process.service import (
    Service,
    read_status,
    serialize_get,
    start_service,
)
from tests.process.strict_clients import StrictClients
from tests.support.clock import block_until, scaled
from tests.support.live import LiveServers
from tests.support.peer import BlockingPeer
from tests.support.response import parse_responses
from tests.support.variations import vary

pytestmark = pytest.mark.slow
STAGES = """
import asyncio, os
import blazeio as io

web = io.App("127.0.0.1", 0)

def say(word):
    print(f"said={word}", flush=True)

@web.on_drain
def tell():
    say("on_drain")

@web.on_stop
async def stop():
    say("on_stop")
    await asyncio.sleep(0.2)
    say("stopped")

@web.add_route
async def pid(r, route="/"):
    await io.Deliver.text(r, str(os.getpid()))

@web.add_route
async def wait(r, route="/wait"):
    say("waits")
    await r.draining
    say("seen")
    await io.Deliver.text(r, "bye")

@web.add_route
async def tick(r, route="/endless"):
    async def part(r):
        say("farewell")
        await r.write(b"goodbye")

    await r.prepare({"Content-Type": "text/plain"})
    r.on_shutdown(part)
    say("ticks")
    while True:
        await r.write(b"tick ")
        await asyncio.sleep(0.02)

@web.add_route
async def stay(r, route="/stay"):
    say("stays")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await asyncio.sleep(0.02)
        say("cleaned_up")

@web.add_route
async def talk(r, route="/ws"):
    async with io.WebSocket(r) as ws:
        await ws.send(str(os.getpid()))
        async for message in ws:
            pass
"""


def start(live_server: LiveServers, folder: Path, *options: str) -> Service:
    return start_service(live_server, folder, *options, code=STAGES, workers=1)


def list_words(service: Service) -> list[str]:
    return [
        found["word"] for found in service.server.wait_for_log(r"said=(?P<word>\w+)")
    ]


def read_answer(peer: BlockingPeer) -> tuple[bytes, str | None]:
    """The content of the next response, and what it says about the connection."""
    response = peer.read_response()
    return response.body, response.field("connection")


@vary("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_drain_goes_by_its_stages(
    live_server: LiveServers, tmp_path: Path, number: signal.Signals
) -> None:
    service = start(live_server, tmp_path, "--drain-idle", "0.5")
    with contextlib.ExitStack() as stack:
        endless, waiting, idle, busy = (
            stack.enter_context(service.server.connect()) for _ in range(4)
        )
        endless.send(serialize_get("/endless"))
        waiting.send(serialize_get("/wait"))
        service.server.wait_for_log("said=(ticks|waits)", count=2)
        old = parse_responses(idle.exchange(serialize_get()))[0].body
        busy.exchange(serialize_get())
        service.server.signal(number)
        assert read_answer(waiting) == (b"bye", "close")
        busy.send(serialize_get())
        assert read_answer(busy) == (old, "close")
        assert idle.read_until_end() == b""
        assert endless.read_response().body.endswith(b"tick goodbye")
        assert endless.read_until_end() == b""
    service.server.wait_for_log("said=stopped")
    words = list_words(service)
    assert set(words[2:4]) == {"on_drain", "seen"}
    assert words[4:] == ["farewell", "on_stop", "stopped"]


def test_the_grace_period_bounds_it_all_and_leaves_a_share_to_on_stop(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start(live_server, tmp_path, "--graceful-timeout", "0.9")
    with service.server.connect() as peer:
        peer.send(serialize_get("/stay"))
        service.server.wait_for_log("said=stays")
        began_at = time.monotonic()
        service.server.signal(signal.SIGTERM)
        assert service.server.wait_exit() == 0
    assert time.monotonic() - began_at < scaled(15)  # the handler would take 60 s
    assert list_words(service) == [
        "stays",
        "on_drain",
        "cleaned_up",
        "on_stop",
        "stopped",
    ]


def test_a_websocket_is_sent_to_the_new_worker_by_a_reload(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start(live_server, tmp_path)
    url = f"ws://127.0.0.1:{service.server.port}/ws"
    with connect(url, proxy=None) as ws:
        old = ws.recv(scaled(5))
        service.server.signal(signal.SIGHUP)
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(scaled(10))
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    with connect(url, proxy=None) as ws:
        assert ws.recv(scaled(5)) not in (old, None)


@pytest.mark.long
def test_websockets_leave_over_the_farewell_window(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start(live_server, tmp_path, "--farewell-window", "4")
    url = f"ws://127.0.0.1:{service.server.port}/ws"
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(connect(url, proxy=None)) for _ in range(10)]
        for ws in sockets:
            ws.recv(scaled(5))
        service.server.signal(signal.SIGHUP)
        with ThreadPoolExecutor(len(sockets)) as threads:
            told_at = list(threads.map(wait_for_close, sockets))
    # The first is due within 0.4 s, the last after 3.6 s; over the default
    # window of 2 s, it would be 1.6 s between them.
    assert max(told_at) - min(told_at) > 2.4


def wait_for_close(ws: ClientConnection) -> float:
    with pytest.raises(ConnectionClosed):
        ws.recv(scaled(30))
    return time.monotonic()


@pytest.mark.long
def test_the_farewell_window_ends_within_the_grace_period(
    live_server: LiveServers, tmp_path: Path
) -> None:
    options = ("--farewell-window", "60", "--graceful-timeout", "3")
    service = start(live_server, tmp_path, *options, "--drain-idle", "0.1")
    url = f"ws://127.0.0.1:{service.server.port}/ws"
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(connect(url, proxy=None)) for _ in range(4)]
        for ws in sockets:
            ws.recv(scaled(5))
        service.server.signal(signal.SIGTERM)
        with ThreadPoolExecutor(len(sockets)) as threads:
            list(threads.map(wait_for_close, sockets))
        codes = [ws.close_code for ws in sockets]
    assert service.server.wait_exit() == 0
    assert codes == [1012] * 4


# Before a balancer has noticed


def start_leaving(
    live_server: LiveServers, folder: Path, delay_s: float, *options: str
) -> Service:
    delay = ("--drain-delay", f"{delay_s:g}")
    service = start_service(live_server, folder, *delay, *options)
    service.server.signal(signal.SIGTERM)
    service.server.wait_for_log("event=leaving asked for by SIGTERM: no longer ready")
    return service


@pytest.mark.long
def test_who_leaves_is_not_ready_and_serves_until_the_delay_is_over(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_leaving(live_server, tmp_path, 3, "--control", "c.sock")
    with StrictClients(service.server.host, service.server.port) as clients:
        status = read_status(service)
        assert (status["is_ready"], status["is_leaving"]) == (False, True)
        block_until(lambda: sum(clients.answered.values()) > 10)
        assert "event=stopping" not in service.server.log
        assert service.server.wait_exit() == 0
    strange = [each for each in clients.failures if "Refused" not in each.what]
    assert not strange


@vary("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_delay(
    live_server: LiveServers, tmp_path: Path, number: signal.Signals
) -> None:
    service = start_leaving(live_server, tmp_path, 60.0)
    service.server.signal(number)
    assert service.server.wait_exit() == 0


@pytest.mark.long
def test_who_dies_while_the_service_leaves_is_replaced(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_leaving(live_server, tmp_path, 60.0)
    dead = service.pids()[0]
    os.kill(dead, signal.SIGKILL)
    service.wait_for(
        lambda workers: len(workers) == 2 and dead not in service.pids(), "a respawn"
    )
    service.server.signal(signal.SIGTERM)
    assert service.server.wait_exit() == 0


def test_a_term_to_all_its_processes_is_the_masters_while_it_leaves(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, "--drain-delay", "60")
    before = service.pids()
    with StrictClients(service.server.host, service.server.port) as clients:
        os.killpg(service.server.pid, signal.SIGTERM)
        service.server.wait_for_log("event=leaving ")
        answered = sum(clients.answered.values())
        block_until(lambda: sum(clients.answered.values()) > answered + 20)
        for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGINT):
            os.kill(before[0], number)
        answered = sum(clients.answered.values())
        block_until(lambda: sum(clients.answered.values()) > answered + 20)
        assert service.pids() == before
        os.killpg(service.server.pid, signal.SIGTERM)
        assert service.server.wait_exit() == 0
    strange = [each for each in clients.failures if "Refused" not in each.what]
    assert not strange
    assert "worker_failed" not in service.server.log
