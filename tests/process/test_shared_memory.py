"""What the import has made is there once, however many workers there are."""

from pathlib import Path

import psutil
import pytest

from tests.process.service import APP, start_service
from tests.support.clock import block_until
from tests.support.live import LiveServers

pytestmark = [pytest.mark.slow, pytest.mark.long]
MIB = 1024 * 1024
MODEL_BYTES = 200 * MIB
WORKERS = 8
MOST_BESIDE_BYTES = 200 * MIB
"""Of the master, the forkserver and all workers: a fifth of a model of 1 GB."""
MODEL = f"""{APP}
import array, random

model = array.array("d", bytes({MODEL_BYTES}))
for at in range(0, len(model), 512):  # each page of it
    model[at] = at

@web.route.get("/ask")
async def ask(r):
    places = random.sample(range(0, len(model), 512), 1000)
    assert [model[at] for at in places] == places
    await io.Deliver.text(r, str(os.getpid()))
"""


def test_eight_workers_of_a_model_take_little_more_than_the_model(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, code=MODEL, workers=WORKERS)
    asked: dict[int, int] = dict.fromkeys(service.pids(), 0)

    def has_each_been_asked() -> bool:
        asked[int(service.get("/ask").body)] += 1
        return min(asked.values()) >= 5

    block_until(has_each_been_asked, 60)
    master = psutil.Process(service.server.pid)
    processes = [master, *service.server.children()]
    assert len(processes) >= WORKERS + 2
    total = sum(each.memory_full_info().pss for each in processes)
    assert MODEL_BYTES < total < MODEL_BYTES + MOST_BESIDE_BYTES, total / MIB
