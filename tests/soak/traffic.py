"""Strict clients around a scenario, and what they must have seen."""

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator

import psutil

from tests.process.service import Service
from tests.process.strict_clients import Failure, StrictClients
from tests.soak.run import Run

CLIENTS = 48
EARLY_S = 1.5
"""The default of ``--drain-idle`` is 2 s."""
SHOWN = 5


class Deaths:
    """Workers that were killed, with the connections that they had accepted.

    A worker is stopped first, so that what it has accepted can be listed: a
    client cannot tell a queue from a worker.
    """

    def __init__(self) -> None:
        self._deaths: list[tuple[float, frozenset[int]]] = []

    def kill(self, pid: int) -> None:
        """Kill one worker."""
        os.kill(pid, signal.SIGSTOP)
        accepted = psutil.Process(pid).net_connections("tcp")
        ports = [each.raddr.port for each in accepted if each.raddr]
        self.add(time.monotonic(), ports)
        os.kill(pid, signal.SIGKILL)

    def add(self, died_at: float, ports: Iterable[int]) -> None:
        """A worker died, with connections from these ports in its hands."""
        self._deaths.append((died_at, frozenset(ports)))

    def explain(self, failure: Failure) -> bool:
        """Whether a killed worker had accepted that connection."""
        return any(
            failure.local_port in ports
            and failure.connected_at <= killed_at <= failure.failed_at
            for killed_at, ports in self._deaths
        )


@contextlib.contextmanager
def traffic(run: Run, service: Service, deaths: Deaths | None = None) -> Iterator[None]:
    """Clients ask until the block ends; then their failures are judged."""
    deaths = deaths or Deaths()
    server = service.server
    clients = StrictClients(server.host, server.port, CLIENTS, EARLY_S)
    with clients:
        yield
    judge(run, clients, deaths)


def judge(run: Run, clients: StrictClients, deaths: Deaths) -> None:
    """Record what was lost."""
    unexplained = [each for each in clients.failures if not deaths.explain(each)]
    unaccepted = [each for each in unexplained if "Reset" in each.what]
    count = sum(clients.answered.values())
    lost = len(clients.failures) - len(unexplained)
    seen = f"{len(unexplained)} of {count:,}, {lost} in killed workers"
    run.check("requests lost without cause: 0", seen, holds=not unexplained)
    run.check("reset, yet never accepted: 0", len(unaccepted), holds=not unaccepted)
    kinds = Counter(clients.answered)
    is_each_there = all(kinds[kind] for kind in ("post", "slow", "once"))
    run.check("every kind of client was answered", dict(kinds), holds=is_each_there)
    for failure in unexplained[:SHOWN]:
        run.note(str(failure))
