"""``web.broadcast`` over real workers."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.process.service import APP, Service, serialize_get, start_service
from tests.support.clock import block_until
from tests.support.live import LiveServers
from tests.support.peer import BlockingPeer
from tests.support.served import serialize_request
from tests.support.variations import vary

pytestmark = pytest.mark.slow
CODE = f"""{APP}
heard = []

@web.on_broadcast
def hear(message):
    heard.append(message)

@web.route.get("/tell/{{first:int}}/{{count:int}}")
async def tell(r, first, count):
    for number in range(first, first + count):
        web.broadcast([os.getpid(), number])
    await io.Deliver.text(r, str(os.getpid()))

@web.route.get("/heard")
async def show(r):
    await io.Deliver.json(r, {{"pid": os.getpid(), "heard": heard}})
"""
FOREIGN = """
import json, os
import blazeio_supervisor

heard = []
blazeio_supervisor.on_broadcast(heard.append)

def answer(path):
    if path == "/tell":
        blazeio_supervisor.broadcast([os.getpid(), 7])
    return json.dumps({"pid": os.getpid(), "heard": heard}).encode()
"""
ASGI = f"""{FOREIGN}
async def web(scope, receive, send):
    assert scope["type"] == "http"
    body = answer(scope["path"])
    await send({{"type": "http.response.start", "status": 200}})
    await send({{"type": "http.response.body", "body": body}})
"""
WSGI = f"""{FOREIGN}
def web(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [answer(environ["PATH_INFO"])]
"""


def ask_each(service: Service) -> dict[int, list[list[int]]]:
    """What each worker has heard, by its pid."""
    found: dict[int, list[list[int]]] = {}

    def have_all() -> bool:
        answer = json.loads(service.get("/heard").body)
        found[answer["pid"]] = answer["heard"]
        return found.keys() >= set(service.pids())

    block_until(have_all)
    return found


def read_metrics(service: Service) -> str:
    (port,) = re.findall(r"event=metrics .*:(\d+)", service.server.log)
    with BlockingPeer("127.0.0.1", int(port)) as peer:
        peer.send(serialize_request("GET", "/metrics"))
        return peer.read_response().body.decode()


def test_every_worker_hears_each_sender_in_order_also_after_a_reload(
    live_server: LiveServers, tmp_path: Path
) -> None:
    at = ("--metrics-bind", "127.0.0.1:0")
    service = start_service(live_server, tmp_path, *at, code=CODE, workers=3)
    senders = {int(service.get(f"/tell/{50 * n}/50").body) for n in range(4)}

    def has_each_heard_all() -> bool:
        return all(len(heard) == 200 for heard in ask_each(service).values())

    block_until(has_each_heard_all)
    for heard in ask_each(service).values():
        for sender in senders:
            numbers = [number for pid, number in heard if pid == sender]
            assert numbers == sorted(numbers)
        assert sorted(number for _, number in heard) == list(range(200))
    text = read_metrics(service)
    assert "blazeio_broadcasts_total 200.0" in text
    assert 'blazeio_broadcast_deliveries_total{result="sent"} 400.0' in text
    assert 'blazeio_broadcast_deliveries_total{result="dropped"} 0.0' in text
    service.reload(2)
    service.wait_count(3)
    os.kill(service.pids()[0], signal.SIGKILL)
    service.server.wait_for_log("event=worker_failed ")
    service.wait_count(3)
    service.wait_everybody_answers()
    (sender,) = {int(service.get("/tell/7/1").body)}
    block_until(lambda: all(h == [[sender, 7]] for h in ask_each(service).values()), 20)


@vary(("code",), [(ASGI,), (WSGI,)], usual=1)
def test_an_app_that_is_no_app_of_ours_tells_all_workers_too(
    live_server: LiveServers, tmp_path: Path, code: str
) -> None:
    at = ("--bind", "127.0.0.1:0")
    service = start_service(live_server, tmp_path, *at, code=code)
    sender = json.loads(service.get("/tell").body)["pid"]
    block_until(lambda: all(h == [[sender, 7]] for h in ask_each(service).values()), 20)


@pytest.mark.long
def test_a_blocked_worker_holds_up_nobody_and_what_it_misses_is_counted(
    live_server: LiveServers, tmp_path: Path
) -> None:
    at = ("--metrics-bind", "127.0.0.1:0")
    long = 'web.broadcast([os.getpid(), number, "x" * 30_000])'
    code = CODE.replace("web.broadcast([os.getpid(), number])", long)
    assert long in code
    code = code.replace("time.sleep(1.0)", "time.sleep(8.0)")
    service = start_service(live_server, tmp_path, *at, code=code)
    with service.server.connect() as peer:
        peer.send(serialize_get("/block"))
        service.server.wait_for_log("event=blocked ")
        dropped = r'deliveries_total\{result="dropped"\} [1-9]'

        def has_dropped() -> bool:
            assert service.get("/tell/0/5").status == 200
            return re.search(dropped, read_metrics(service)) is not None

        block_until(has_dropped)
        assert peer.read_response().status == 200
    assert service.get().status == 200
    assert "event=misbehaved" not in service.server.log
