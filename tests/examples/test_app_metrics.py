"""examples/app_metrics.py, alone and under the supervisor."""

import json
import re
from pathlib import Path

import pytest

from tests.support.clock import block_until
from tests.support.live import LiveServer, LiveServers
from tests.support.peer import BlockingPeer
from tests.support.response import Response, parse_responses
from tests.support.served import serialize_request
from tests.support.tree import REPOSITORY

PROGRAM = (REPOSITORY / "examples" / "app_metrics.py").read_text()


def order(server: LiveServer, kind: str, price: float) -> Response:
    content = json.dumps({"kind": kind, "price": price}).encode()
    octets = server.exchange(serialize_request("POST", "/orders", content))
    (response,) = parse_responses(octets)
    return response


def read(text: bytes) -> dict[str, float]:
    lines = [line for line in text.decode().splitlines() if line.startswith("shop_")]
    return {name: float(value) for name, _, value in (s.partition(" ") for s in lines)}


@pytest.mark.slow
def test_orders_are_counted_by_kind(live_server: LiveServers, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(PROGRAM.replace("8000", "0"))
    words = ["blazeio-supervisor", "shop:web", "--workers", "2"]
    at = ["--metrics-bind", "127.0.0.1:0"]
    server = live_server.start([*words, *at], cwd=tmp_path)
    server.wait_for_log("event=worker_ready ", count=2)
    for kind, price in (("book", 12.5), ("pen", 0.5), ("book", 1000)):
        assert order(server, kind, price).status == 200
    assert order(server, "ink", 1).status == 422
    (port,) = re.findall(r"event=metrics .*:(\d+)", server.log)

    def fetch() -> dict[str, float]:
        with BlockingPeer("127.0.0.1", int(port)) as peer:
            peer.send(serialize_request("GET", "/metrics"))
            return read(peer.read_response().body)

    block_until(lambda: fetch()["shop_price_count"] == 3)
    figures = fetch()
    assert figures['shop_orders_total{kind="book"}'] == 2
    assert figures['shop_orders_total{kind="pen"}'] == 1
    assert figures["shop_price_sum"] == 1013
    assert figures["shop_started_seconds"] > 1e9


@pytest.mark.slow
def test_alone_it_shows_its_own(live_server: LiveServers, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(PROGRAM.replace("8000", "0"))
    server = live_server.start(["python", "shop.py"], cwd=tmp_path)
    order(server, "book", 3)
    octets = server.exchange(serialize_request("GET", "/own-metrics"))
    (response,) = parse_responses(octets)
    assert read(response.body)['shop_orders_total{kind="book"}'] == 1
