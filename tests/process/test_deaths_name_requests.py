"""A worker that dies while it serves leaves behind what it was at."""

import os
import re
import signal
from pathlib import Path

import pytest

from tests.process.service import APP, Service, change, serialize_get, start_service
from tests.support.clock import block_until
from tests.support.live import LiveServers
from tests.support.variations import vary

pytestmark = pytest.mark.slow
DIES = change(
    APP,
    "@web.add_route\nasync def fail(",
    """
@web.add_route
async def die(r, route="/die/{number:int}"):
    os.kill(os.getpid(), r.path_params["number"])

@web.add_route
async def fail(""",
)


@pytest.fixture
def service(live_server: LiveServers, tmp_path: Path) -> Service:
    return start_service(live_server, tmp_path, code=DIES, workers=1)


def find_failures(service: Service, count: int) -> list[str]:
    def find() -> list[str]:
        return re.findall("(?m)^.*event=worker_failed.*$", service.server.log)

    block_until(lambda: len(find()) == count, 10)
    return find()


@vary("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_the_request_that_kills_its_worker_is_named(
    service: Service, number: signal.Signals
) -> None:
    path = f"/die/{int(number)}"
    with service.server.connect() as peer:
        peer.send(serialize_get(f"{path}?token=secret"))
        assert peer.read_until_end() == b""
    (line,) = find_failures(service, 1)
    assert f"killed by {number.name}: in flight: GET {path}" in line
    assert "secret" not in line


@pytest.mark.long
def test_what_runs_for_long_is_named_with_its_time_and_what_is_over_is_not(
    service: Service,
) -> None:
    assert service.get("/echo").status == 200
    with service.server.connect() as peer:
        peer.send(serialize_get("/slow?60"))
        service.get("/slow?1.3")  # by then the longest one is named
        (pid,) = service.pids()
        os.kill(pid, signal.SIGKILL)
        peer.read_until_end()
    (line,) = find_failures(service, 1)
    assert re.search(r"killed by SIGKILL: in flight: GET /slow \(for \d\.\d s\)", line)
    assert "/echo" not in line
