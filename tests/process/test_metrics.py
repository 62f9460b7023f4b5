"""The figures of a real service, beside what its clients have counted."""

import os
import re
import signal
from pathlib import Path

import pytest

from tests.process.service import Service, start_service
from tests.process.strict_clients import StrictClients
from tests.support.clock import block_until
from tests.support.live import LiveServers
from tests.support.peer import BlockingPeer
from tests.support.response import Response
from tests.support.served import serialize_request

pytestmark = pytest.mark.slow
ANSWERED = 'requests_total{status="2xx"}'
CLIENTS = 12


def ask(service: Service, target: str) -> Response:
    (port,) = re.findall(r"event=metrics .*:(\d+)", service.server.log)
    with BlockingPeer("127.0.0.1", int(port)) as peer:
        peer.send(serialize_request("GET", target))
        return peer.read_response()


def read_figure(service: Service, sample: str) -> int:
    text = ask(service, "/metrics").body.decode()
    (value,) = re.findall(rf"^blazeio_{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return round(float(value))


@pytest.mark.long
def test_as_many_requests_are_counted_as_clients_have_had_answers(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, "--metrics-bind", "127.0.0.1:0")
    server = service.server
    with StrictClients(server.host, server.port, count=CLIENTS) as clients:
        block_until(lambda: clients.answered.total() > 100)
        service.reload(2)
        block_until(lambda: clients.answered.total() > 300)
    assert clients.failures == []
    answered = clients.answered.total()
    block_until(lambda: read_figure(service, ANSWERED) == answered)
    assert read_figure(service, 'reloads_total{result="ok"}') == 1
    assert (
        read_figure(service, 'request_duration_seconds_count{status="2xx"}') == answered
    )


def test_a_killed_worker_takes_no_more_along_than_what_was_in_flight(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, "--metrics-bind", "127.0.0.1:0")
    server = service.server
    with StrictClients(server.host, server.port, count=CLIENTS) as clients:
        block_until(lambda: clients.answered.total() > 100)
        os.kill(service.pids()[0], signal.SIGKILL)
        block_until(lambda: clients.answered.total() > 300)
    service.wait_count(2)
    answered = clients.answered.total()
    block_until(lambda: read_figure(service, ANSWERED) >= answered - CLIENTS)
    assert read_figure(service, ANSWERED) <= answered + CLIENTS
    assert read_figure(service, 'respawns_total{reason="SIGKILL"}') == 1


def test_the_probes_follow_the_service(
    live_server: LiveServers, tmp_path: Path
) -> None:
    options = ["--metrics-bind", "127.0.0.1:0", "--drain-delay", "30"]
    service = start_service(live_server, tmp_path, *options)
    block_until(lambda: ask(service, "/readyz").status == 200)
    service.server.signal(signal.SIGTERM)
    block_until(lambda: ask(service, "/readyz").status == 503)
    assert b'"it will drain soon"' in ask(service, "/readyz").body
    assert ask(service, "/livez").status == 200
    assert service.get().status == 200


@pytest.mark.long
def test_an_address_that_is_taken_ends_it_with_5(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, "--metrics-bind", "127.0.0.1:0")
    (port,) = re.findall(r"event=metrics .*:(\d+)", service.server.log)
    command = ["blazeio-supervisor", "app:web", "--metrics-bind", f"127.0.0.1:{port}"]
    second = live_server.start(command, ready="event=cannot_bind", cwd=tmp_path)
    assert second.wait_exit() == 5
    assert f"127.0.0.1:{port} is in use by" in second.log
