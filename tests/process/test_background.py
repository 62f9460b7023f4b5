import re
from pathlib import Path

import pytest

from tests.process.service import (
    APP,
    change,
    start_service,
)
from tests.support.clock import block_until
from tests.support.live import LiveServers

pytestmark = pytest.mark.slow

CODE = change(
    APP,
    "def make():",
    """
def say(text):
    os.write(2, f"{text} in {os.getpid()}\\n".encode())

@web.on_stop
def stop():
    say("stopped")

@web.add_task
async def lives():
    say("begun")
    try:
        await asyncio.Event().wait()
    finally:
        say("cancelled")

@web.add_task
async def dies():
    raise RuntimeError("a fault of the task")

def make():""",
)


def find_pids(log: str, text: str) -> list[int]:
    return sorted(int(pid) for pid in re.findall(rf"{text} in (\d+)", log))


def test_tasks_live_as_long_as_their_worker_and_one_that_dies_harms_nobody(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, code=CODE)
    server, pids = service.server, service.pids()
    block_until(lambda: find_pids(server.log, "begun") == pids)
    server.wait_for_log("background task app.dies .* died")
    server.wait_for_log("RuntimeError: a fault of the task")
    assert service.get().status == 200
    assert service.pids() == pids
    service.reload(2)
    block_until(lambda: find_pids(server.log, "cancelled") == pids)
    block_until(lambda: find_pids(server.log, "stopped") == pids)
    first = re.search("(cancelled|stopped) in", server.log)
    assert first is not None
    assert first[1] == "cancelled"
