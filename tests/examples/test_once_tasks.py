"""examples/once_tasks.py under the supervisor: one worker runs them, then another."""

import os
import signal
from pathlib import Path

import pytest

from tests.process.service import start_service
from tests.support.clock import block_until
from tests.support.live import LiveServers
from tests.support.tree import REPOSITORY

PROGRAM = (REPOSITORY / "examples" / "once_tasks.py").read_text()


@pytest.mark.long
@pytest.mark.slow
def test_another_worker_goes_on(live_server: LiveServers, tmp_path: Path) -> None:
    service = start_service(live_server, tmp_path, code=PROGRAM.replace("8000", "0"))
    journal = tmp_path / "journal.txt"

    def begun() -> list[int]:
        lines = journal.read_text().splitlines() if journal.exists() else []
        return [int(line.split()[1]) for line in lines if line.startswith("begin")]

    block_until(lambda: len(begun()) == 1)
    assert begun()[0] in service.pids()
    os.kill(begun()[0], signal.SIGKILL)
    block_until(lambda: len(begun()) == 2)
    block_until(lambda: "tick" in journal.read_text(), 10)
    assert b"tick" in service.get().body
