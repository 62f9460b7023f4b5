"""New code that answers worse than the old one, under load."""

import asyncio
import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.process.service import APP, Service, change, serialize_get, start_service
from tests.support.clock import block_until
from tests.support.live import LiveServers, run_to_exit
from tests.support.peer import RawPeer

pytestmark = pytest.mark.slow

EVERY_S = 0.005
FAILS = """
count = iter(range(10**9))

@web.add_route
async def pid(r, route="/"):
    if next(count) % 5 == 0:
        raise RuntimeError("one of five")
    await io.Deliver.text(r, str(os.getpid()))
"""
OLD = """
@web.add_route
async def pid(r, route="/"):
    await io.Deliver.text(r, str(os.getpid()))
"""


class SteadyLoad:
    """200 requests a second, a connection for each, until it is left.

    Args:
        service: Answers them.

    Attributes:
        statuses: How often each status came; 0: none came.
    """

    def __init__(self, service: Service) -> None:
        self.statuses: Counter[int] = Counter()
        self._server = service.server
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._ask_on(),))

    def __enter__(self) -> Self:
        self._thread.start()
        block_until(lambda: self.statuses[200] >= 100)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()

    async def _ask_on(self) -> None:
        next_at = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            while not self._is_over.is_set():
                tasks.create_task(self._ask())
                next_at = max(next_at + EVERY_S, time.monotonic())
                await asyncio.sleep(next_at - time.monotonic())

    async def _ask(self) -> None:
        try:
            peer = await RawPeer.connect(self._server.host, self._server.port)
            async with peer:
                await peer.send(serialize_get("/", "Connection: close"))
                response = await peer.read_response()
            self.statuses[response.status] += 1
        except (OSError, AssertionError):
            self.statuses[0] += 1


@pytest.mark.long
def test_code_that_fails_one_of_five_goes_back_and_the_reload_says_why(
    live_server: LiveServers, tmp_path: Path
) -> None:
    options = ["--control", "c.sock", "--rollback-5xx", "0.05", "--canary-hold", "60"]
    service = start_service(live_server, tmp_path, *options)
    before = service.workers()
    (tmp_path / "app.py").write_text(change(APP, OLD, FAILS))
    verb = ["blazeio-supervisor", "reload", "--wait", "--control"]
    with SteadyLoad(service) as load:
        done = run_to_exit([*verb, str(tmp_path / "c.sock")], timeout_s=60)
        asked = load.statuses.total()
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "reload failed, after " in line
    assert "5xx: " in line
    assert "(--rollback-5xx 0.05), most of them by GET / in app.pid (" in line
    assert "), which the old code answered, within " in line
    service.wait_count(2)
    assert service.workers() == before
    # A quarter of the connections come to the canary, and a fifth of those fail.
    assert 10 <= load.statuses[500] < 0.15 * asked
    assert load.statuses[0] == 0


@pytest.mark.long
def test_code_that_is_as_good_never_goes_back(
    live_server: LiveServers, tmp_path: Path
) -> None:
    options = ["--rollback-5xx", "0.01", "--rollback-latency", "2"]
    hold = ["--canary-hold", "0.5", "--rollback-min-requests", "20"]
    service = start_service(live_server, tmp_path, *options, *hold)
    with SteadyLoad(service) as load:
        for generation in range(2, 22):
            service.reload(generation)
    assert set(load.statuses) == {200}
    assert "event=rolled_back" not in service.server.log
