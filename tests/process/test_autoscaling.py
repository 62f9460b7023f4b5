"""The number of workers follows their load: ``--workers 1..3``."""

import json
import threading
from pathlib import Path

import pytest

from tests.process.service import APP, Service, start_service
from tests.support.clock import block_until
from tests.support.live import LiveServers, run_to_exit

pytestmark = pytest.mark.slow

SLEEPY = APP + (
    "\n@web.add_route\n"
    "async def nap(r, route='/nap'):\n"
    "    time.sleep(0.02)\n"
    "    await io.Deliver.text(r, 'late')\n"
)
CLIENTS = 80


def run(service: Service, *words: str) -> str:
    place = str(service.folder / "c.sock")
    done = run_to_exit(["blazeio-supervisor", *words, "--control", place], timeout_s=30)
    return done.stdout + done.stderr


@pytest.mark.long
def test_workers_whose_queues_fill_get_others_beside_them(
    live_server: LiveServers, tmp_path: Path
) -> None:
    options = ["--control", "c.sock"]
    service = start_service(
        live_server, tmp_path, *options, code=SLEEPY, workers="1..3"
    )
    assert "1..3 workers" in service.server.log
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            assert service.get("/nap").body == b"late"

    clients = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        service.server.wait_for_log(
            r"event=scaled .*connections waiting: from 1 to 2 workers", timeout_s=30
        )
        block_until(lambda: len(service.workers()) >= 2, 15)
    finally:
        is_over.set()
        for client in clients:
            client.join()
    assert run(service, "scale", "1", "--wait").startswith("1 worker serves")
    config = json.loads(run(service, "config", "--json"))
    assert config["changed"] == ["workers: 1, by `scale`; the settings say 1..3"]
    assert run(service, "scale", "auto") == "1 worker, as before\n"
    config = json.loads(run(service, "config", "--json"))
    assert config["changed"] == ["workers: 1 by load just now"]
