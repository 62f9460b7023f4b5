"""examples/stays_open.py: the sum goes on over a reload, on the same connection."""

from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.process.service import start_service
from tests.support.clock import block_until
from tests.support.live import LiveServers
from tests.support.tree import REPOSITORY

PROGRAM = (REPOSITORY / "examples" / "stays_open.py").read_text()


@pytest.mark.slow
def test_a_client_goes_on_in_the_next_worker(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, code=PROGRAM.replace("8000", "0"))
    old = set(service.pids())
    with connect(f"ws://127.0.0.1:{service.server.port}/counter", proxy=None) as ws:

        def add(number: str) -> tuple[int, int]:
            ws.send(number)
            total, _, pid = str(ws.recv(timeout=20)).partition(", says worker ")
            return int(total), int(pid)

        assert add("40") == (40, add("x")[1])
        assert add("+2")[0] == 42
        service.reload(2)
        block_until(lambda: add("0")[1] not in old)
        assert add("1")[0] == 43
