"""The app's own metrics over the deaths of workers, reloads and upgrades."""

import os
import re
import signal
from pathlib import Path

import pytest

from tests.process.installation import Installation
from tests.process.service import APP, Service, change, start_service
from tests.support.clock import block_until
from tests.support.live import LiveServers
from tests.support.peer import BlockingPeer
from tests.support.served import serialize_request
from tests.support.variations import vary

pytestmark = pytest.mark.slow
OWN = """
orders = web.metrics.counter("orders_total", "Orders.", labels={"kind": ("book",)})
spans = web.metrics.histogram("spans", "Spans.", buckets=(1, 2))
newest = web.metrics.gauge("newest", "The highest pid.", combine="max")

@web.on_start
def start():
    newest.set(os.getpid())
"""
COUNT = """
    orders.labels("book").inc()
    spans.observe(1.5)
    await io.Deliver.text(r, str(os.getpid()))

@web.add_route
async def fork(r, route="/fork"):
    pid = os.fork()
    if not pid:
        orders.labels("book").inc(1000)
        os._exit(0)
    os.waitpid(pid, 0)
    r.reply(b"")
"""
CODE = change(
    change(
        APP, "@web.add_route\nasync def pid", f"{OWN}\n@web.add_route\nasync def pid"
    ),
    "\n    await io.Deliver.text(r, str(os.getpid()))\n",
    COUNT,
)
BRIDGED = """
import os
from prometheus_client import Counter, Gauge, Histogram

orders = Counter("orders", "Orders.", ["kind"])
spans = Histogram("spans", "Spans.", buckets=(1, 2))
newest = Gauge("newest", "The highest pid.", multiprocess_mode="livemax")

async def web(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"].endswith("startup"):
                newest.set(os.getpid())
            await send({"type": message["type"] + ".complete"})
            if message["type"].endswith("shutdown"):
                return
    orders.labels("book").inc()
    spans.observe(1.5)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""


def read(service: Service) -> dict[str, float]:
    (port,) = re.findall(r"event=metrics .*:(\d+)", service.server.log)
    with BlockingPeer("127.0.0.1", int(port)) as peer:
        peer.send(serialize_request("GET", "/metrics"))
        text = peer.read_response().body.decode()
    lines = [line for line in text.splitlines() if line[0] in "osn"]
    return {name: float(value) for name, _, value in (s.partition(" ") for s in lines)}


def kill_one(service: Service) -> None:
    before = service.workers()
    os.kill(before[0][1], signal.SIGKILL)
    service.wait_for(
        lambda workers: 0 in workers and workers[0] != before[0], "another worker"
    )
    service.server.wait_for_log("event=worker_failed ")


def ask(service: Service, count: int) -> None:
    for _ in range(count):
        assert service.get().status == 200


def check(service: Service, asked: int) -> None:
    def is_exact() -> bool:
        found = read(service)
        is_counted = found['orders_total{kind="book"}'] == asked
        return is_counted and found["newest"] == max(service.pids())

    block_until(is_exact, 10, f"{asked} orders counted, {read(service)}")
    found = read(service)
    assert found['spans_bucket{le="1.0"}'] == 0
    assert found['spans_bucket{le="2.0"}'] == found["spans_count"] == asked
    assert found["spans_sum"] == 1.5 * asked


@vary(
    ("code", "options"),
    [(CODE, ()), (BRIDGED, ("--bridge-prometheus",))],
    ids=["own", "bridged"],
)
def test_nothing_is_lost_over_kill_recycling_and_reload(
    live_server: LiveServers, tmp_path: Path, code: str, options: tuple[str, ...]
) -> None:
    at = ("--metrics-bind", "127.0.0.1:0", "--max-requests", "25")
    service = start_service(live_server, tmp_path, *at, *options, code=code)
    ask(service, 10)
    kill_one(service)
    ask(service, 60)
    service.server.wait_for_log("event=recycling ")
    service.reload(2)
    ask(service, 10)
    service.wait_count(2)
    check(service, 80)


@pytest.mark.long
def test_a_child_of_a_worker_counts_nothing_in_its_row(
    live_server: LiveServers, tmp_path: Path
) -> None:
    at = ("--metrics-bind", "127.0.0.1:0")
    service = start_service(live_server, tmp_path, *at, code=CODE)
    ask(service, 3)
    assert service.get("/fork").status == 200
    ask(service, 3)
    check(service, 6)


@pytest.mark.long
def test_an_upgrade_goes_on_with_the_sums(
    live_server: LiveServers, tmp_path: Path
) -> None:
    installed = Installation(tmp_path / "site")
    at = ("--metrics-bind", "127.0.0.1:0")
    service = start_service(live_server, tmp_path, *at, code=CODE, env=installed.env)
    ask(service, 5)
    kill_one(service)
    ask(service, 5)
    service.server.signal(signal.SIGUSR2)
    service.server.wait_for_log("event=upgraded ", timeout_s=40)
    ask(service, 5)
    kill_one(service)
    check(service, 15)
