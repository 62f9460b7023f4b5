"""A service that rests: nobody serves, and no connection is lost."""

import signal
from pathlib import Path

import pytest

from tests.process.service import Service, serialize_get, start_service
from tests.support.live import LiveServers, run_to_exit

pytestmark = pytest.mark.slow


@pytest.fixture
def parked(live_server: LiveServers, tmp_path: Path) -> Service:
    service = start_service(live_server, tmp_path, "--control", "c.sock")
    service.server.signal(signal.SIGWINCH)
    service.wait_count(0)
    return service


def run(service: Service, *words: str) -> str:
    place = str(service.folder / "c.sock")
    done = run_to_exit(["blazeio-supervisor", *words, "--control", place], timeout_s=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_who_comes_to_a_parked_service_waits_and_is_answered(parked: Service) -> None:
    assert "parked: connections wait" in run(parked, "status")
    peers = [parked.server.connect(20) for _ in range(8)]  # more than the slots
    for peer in peers:
        peer.send(serialize_get())
    assert run(parked, "resume", "--wait").startswith("every slot serves")
    for peer in peers:
        with peer:
            assert peer.read_response().status == 200


@pytest.mark.long
def test_a_reload_wakes_it_with_new_code(parked: Service) -> None:
    parked.reload(2)
    assert parked.get().status == 200


@pytest.mark.long
def test_what_is_in_flight_is_finished_first(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, "--control", "c.sock")
    with service.server.connect() as peer:
        peer.send(serialize_get("/slow?1"))
        assert run(service, "park", "--wait").startswith("parked: no worker is left")
        assert peer.read_response().body == b"late"
    run(service, "stop")
    assert service.server.wait_exit() == 0
