import signal
from pathlib import Path

import pytest

from tests.process.service import start_service
from tests.process.strict_clients import StrictClients
from tests.support.live import LiveServers

pytestmark = pytest.mark.slow


def test_ttin_adds_a_worker_and_ttou_takes_it_away(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path)
    service.server.signal(signal.SIGTTIN)
    service.wait_count(3)
    assert sorted(service.workers()) == [0, 1, 2]
    service.wait_everybody_answers()
    service.server.signal(signal.SIGTTOU)
    service.wait_count(2)
    assert sorted(service.workers()) == [0, 1]
    assert {service.get().status for _ in range(30)} == {200}


@pytest.mark.long
def test_scaling_under_load_loses_no_request(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, workers=2)
    with StrictClients(service.server.host, service.server.port) as clients:
        for number, count in (
            (signal.SIGTTIN, 3),
            (signal.SIGTTIN, 4),
            (signal.SIGTTOU, 3),
            (signal.SIGTTOU, 2),
            (signal.SIGTTOU, 1),
            (signal.SIGTTIN, 2),
        ):
            service.server.signal(number)
            service.wait_count(count)
    assert not clients.failures
    assert min(clients.answered[kind] for kind in ("post", "slow", "once")) > 0


@pytest.mark.long
def test_the_last_worker_is_never_taken_away(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, workers=1)
    service.server.signal(signal.SIGTTOU)
    # Of two that wait, the kernel delivers TTIN first.
    service.server.wait_for_log("event=scale_limited ")
    service.server.signal(signal.SIGTTIN)
    service.wait_count(2)
