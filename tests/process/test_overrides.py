"""What the command line says instead of the App, with real processes."""

import json
import signal
import threading
from pathlib import Path

import pytest

from tests.process.service import (
    APP,
    Service,
    change,
    serialize_get,
    start_service,
)
from tests.support.clock import block_until
from tests.support.live import LiveServers
from tests.support.response import Response, parse_responses

pytestmark = pytest.mark.slow
TELLS = change(APP, '"127.0.0.1", 0)', '"127.0.0.1", 0, forwarded_allow_ips="9.9.9.9")')
TELLS = change(TELLS, "str(os.getpid())", 'f"{r.client[0]} {r.scheme} {r.authority}"')


def exchange(service: Service, octets: bytes) -> Response:
    (response,) = parse_responses(service.server.exchange(octets))
    return response


@pytest.mark.long
def test_proxies_are_believed_as_the_command_line_says(
    live_server: LiveServers, tmp_path: Path
) -> None:
    options = ["--forwarded-allow-ips", "127.0.0.1, 192.0.2.7"]
    service = start_service(
        live_server, tmp_path, *options, code=TELLS, workers=1, app="app.py"
    )
    fields = ["X-Forwarded-For: 192.0.2.9", "X-Forwarded-Proto: https"]
    response = service.get("/", *fields, "X-Forwarded-Host: site.example")
    assert response.body == b"192.0.2.9 https site.example"


def test_the_proxy_protocol_is_spoken_where_the_command_line_says(
    live_server: LiveServers, tmp_path: Path
) -> None:
    options = ["--proxy-protocol-allow-ips", "127.0.0.1"]
    service = start_service(live_server, tmp_path, *options, code=TELLS, workers=1)
    header = b"PROXY TCP4 192.0.2.9 192.0.2.1 56324 443\r\n"
    request = serialize_get("/", "Connection: close")
    assert exchange(service, header + request).body == b"192.0.2.9 http a"


def test_every_worker_writes_whole_lines_to_one_access_log_and_reopens_it(
    live_server: LiveServers, tmp_path: Path
) -> None:
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    options = ["--access-log", "access.log", "--access-log-format"]
    service = start_service(live_server, tmp_path, *options, "json:worker,target")

    def read(file: Path) -> list[dict[str, str]]:
        return [json.loads(line) for line in file.read_text().splitlines()]

    def ask() -> None:
        for _ in range(50):
            service.get("/" + "x" * 500)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    block_until(lambda: len(read(path)) >= 200, 5)

    def is_written_by_both() -> bool:
        service.get("/new")  # one that is late now and then gets nothing new
        return {line["worker"] for line in read(path)} == {"0", "1"}

    block_until(is_written_by_both, 5)
    path.rename(old)
    service.server.signal(signal.SIGUSR1)
    service.server.wait_for_log("event=logs_reopened")
    block_until(lambda: path.exists(), 5)
    block_until(is_written_by_both, 5)


@pytest.mark.long
def test_more_than_max_in_flight_is_503_at_once(
    live_server: LiveServers, tmp_path: Path
) -> None:
    options = ["--max-in-flight", "1"]
    service = start_service(live_server, tmp_path, *options, workers=1)

    def is_refused() -> bool:
        response = service.get()
        return response.status == 503 and response.field("retry-after") is not None

    with service.server.connect() as peer:
        peer.send(serialize_get("/slow"))
        block_until(is_refused, 5)
    block_until(lambda: service.get().status == 200, 5)
