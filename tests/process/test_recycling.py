import re
from pathlib import Path

import pytest

from tests.process.service import APP, Service, serialize_get, start_service
from tests.process.strict_clients import StrictClients
from tests.support.clock import block_until
from tests.support.live import LiveServers

pytestmark = pytest.mark.slow

GROWING = APP + (
    "\nkept = []\n"
    "@web.add_route\n"
    "async def grow(r, route='/grow'):\n"
    "    kept.append(os.urandom(48 * 1024 * 1024))\n"
    "    await io.Deliver.text(r, str(os.getpid()))\n"
)


def count_events(service: Service, event: str) -> int:
    return len(re.findall(rf"event={event} ", service.server.log))


def test_workers_are_replaced_after_their_requests_and_no_request_is_lost(
    live_server: LiveServers, tmp_path: Path
) -> None:
    options = ["--max-requests", "200", "--max-requests-jitter", "100"]
    service = start_service(live_server, tmp_path, *options)
    before = set(service.pids())
    most = 0
    with StrictClients(service.server.host, service.server.port) as clients:

        def have_all_been_replaced() -> bool:
            nonlocal most
            serving_or_booting = len(service.workers())
            most = max(most, serving_or_booting)
            return not before & set(service.pids())

        block_until(have_all_been_replaced, 30)
        block_until(lambda: count_events(service, "recycling") >= 4, 30)
    assert not clients.failures
    assert most == 2  # slots; a drained worker still has its own
    reasons = re.findall(
        r"event=recycling .*: served (\d+) requests", service.server.log
    )
    assert all(int(each) >= 200 for each in reasons)


@pytest.mark.long
def test_workers_are_replaced_when_they_are_old(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, "--max-lifetime", "1")
    before = set(service.pids())
    block_until(lambda: not before & set(service.pids()), 30)
    service.server.wait_for_log(r"event=recycling .*: served for 1 s", count=2)
    service.get()


@pytest.mark.long
def test_a_worker_that_has_grown_is_replaced_and_the_others_are_not(
    live_server: LiveServers, tmp_path: Path
) -> None:
    options = ["--max-memory", "64M"]
    service = start_service(live_server, tmp_path, *options, code=GROWING)
    before = set(service.pids())
    with service.server.connect() as peer:
        peer.send(2 * serialize_get("/grow"))
        pid = int(peer.read_response().body)
        assert int(peer.read_response().body) == pid
    service.server.wait_for_log(
        rf"event=recycling .* pid={pid}: .*uses \d+ MiB", timeout_s=30
    )
    block_until(lambda: pid not in service.pids(), 30)
    service.wait_count(2)
    assert before - set(service.pids()) == {pid}
