"""Python's collector in the processes that serve."""

from pathlib import Path

import psutil
import pytest

from tests.process.service import change, start_service
from tests.support.live import LiveServers

pytestmark = pytest.mark.slow

APP = """
import gc
import blazeio as io

web = io.App("127.0.0.1", 0)

class Node:
    def __init__(self, size):
        self.content = b"x" * size
        self.itself = self

@web.add_route
async def thresholds(r, route="/"):
    frozen = gc.get_freeze_count() > 1000
    await io.Deliver.json(r, [*gc.get_threshold(), frozen])

@web.add_route
async def cycle(r, route="/cycle"):
    Node(int(r.query))
    await io.Deliver.text(r, "made")

def make():
    return web

if __name__ == "__main__":
    web.runner()
"""
TUNED = b"[10000,20,100,true]"
UNTUNED = change(APP, "0)\n", "0, tune_gc=False)\n")
OWN = change(APP, "import gc", "import gc\ngc.set_threshold(5000, 3, 3)")
MIB = 1024 * 1024
REQUEST = b"GET /cycle?%d HTTP/1.1\r\nHost: a\r\n\r\n"


def ask_alone(live_server: LiveServers, folder: Path, code: str) -> bytes:
    path = folder / "app.py"
    path.write_text(code)
    server = live_server.start(["python", path])
    answer = server.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    return answer.partition(b"\r\n\r\n")[2]


class TestAlone:
    def test_a_script_that_serves_is_tuned(
        self, live_server: LiveServers, tmp_path: Path
    ) -> None:
        assert ask_alone(live_server, tmp_path, APP) == TUNED

    def test_an_app_may_refuse(self, live_server: LiveServers, tmp_path: Path) -> None:
        assert b"10000" not in ask_alone(live_server, tmp_path, UNTUNED)

    def test_thresholds_of_the_app_are_left_alone(
        self, live_server: LiveServers, tmp_path: Path
    ) -> None:
        assert ask_alone(live_server, tmp_path, OWN) == b"[5000,3,3,false]"

    @pytest.mark.long
    def test_garbage_in_cycles_does_not_fill_the_memory(
        self, live_server: LiveServers, tmp_path: Path
    ) -> None:
        path = tmp_path / "app.py"
        path.write_text(APP)
        server = live_server.start(["python", path])
        process = psutil.Process(server.pid)
        before = process.memory_info().rss
        most = 0
        with server.connect() as peer:
            for _ in range(3000):  # 1.5 GB in all
                peer.exchange(REQUEST % (MIB // 2))
                most = max(most, process.memory_info().rss)
        # On a busy machine the looks come late; half of it would be 750 MiB.
        assert most - before < 750 * MIB


@pytest.mark.long
class TestSupervised:
    def test_a_worker_is_tuned(self, live_server: LiveServers, tmp_path: Path) -> None:
        service = start_service(live_server, tmp_path, code=APP)
        assert service.get().body == TUNED

    def test_an_app_may_refuse(self, live_server: LiveServers, tmp_path: Path) -> None:
        service = start_service(live_server, tmp_path, code=UNTUNED)
        assert b"10000" not in service.get().body
