import asyncio
import socket

from blazeio.app.app import App
from blazeio_supervisor.fleet.facts import Answered, Fact
from blazeio_supervisor.master.executor import Probes
from tests.support.clock import wait_until

WORKER = 7


class ProbesHarness:
    """Probes, and a worker that serves what it is handed when it is told to."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.handed: list[socket.socket] = []
        self.probes = Probes(self._connect, self.facts.append)

    def _connect(self, worker: int) -> socket.socket | None:
        if worker != WORKER:
            return None
        own, theirs = socket.socketpair()
        own.setblocking(False)
        theirs.setblocking(False)
        self.handed.append(theirs)
        return own


async def test_who_serves_answers_without_a_request() -> None:
    harness = ProbesHarness()
    server = App().make_server(asyncio.get_running_loop())
    harness.probes.begin(WORKER)
    await server.serve(harness.handed[0])
    await wait_until(lambda: harness.facts == [Answered(WORKER)])
    assert server.request_count == 0
    server.close()
    await server.drained()


async def test_who_is_silent_is_not_asked_again_until_it_answers() -> None:
    harness = ProbesHarness()
    for _ in range(3):
        harness.probes.begin(WORKER)
    assert len(harness.handed) == 1
    harness.handed[0].close()
    await wait_until(lambda: harness.facts == [Answered(WORKER)])
    harness.probes.begin(WORKER)
    assert len(harness.handed) == 2
    harness.handed[1].close()
    await wait_until(lambda: len(harness.facts) == 2)


async def test_who_is_gone_is_not_asked() -> None:
    harness = ProbesHarness()
    harness.probes.begin(8)
    assert harness.facts == []
    assert harness.handed == []
