"""All changes at once, in random order: none waits for the one before."""

import contextlib
import random
import signal
import time
from collections.abc import Callable

import psutil

from tests.process.service import Service, serialize_get
from tests.soak.run import Run, wait_some
from tests.soak.traffic import Deaths, traffic

WORKERS = 4
CALM_S = 60.0
"""After the last change, until every slot has one worker again."""


class Chaos:
    """Changes to one service, drawn one after the other.

    Args:
        service: The one.
        deaths: Told of the killed workers.
        seed: Of the order; the moments are the machine's.
    """

    def __init__(self, service: Service, deaths: Deaths, seed: int) -> None:
        self._service = service
        self._deaths = deaths
        self._random = random.Random(seed)
        self._changes: list[Callable[[], None]] = [
            self._reload,
            self._kill_worker,
            self._kill_forkserver,
            self._add_worker,
            self._take_worker,
            self._block_worker,
        ]

    def change(self) -> str:
        """Do something; its name."""
        act = self._random.choice(self._changes)
        act()
        wait_some(self._random.uniform(0.0, 1.5))
        return act.__name__.strip("_")

    def _reload(self) -> None:
        self._service.server.signal(signal.SIGHUP)

    def _kill_worker(self) -> None:
        living = self._service.server.children("blazeio: worker")
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            self._deaths.kill(self._random.choice(living).pid)

    def _kill_forkserver(self) -> None:
        living = self._service.server.children("blazeio: forkserver")
        if living:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._random.choice(living).kill()

    def _add_worker(self) -> None:
        if len(self._service.workers()) < 2 * WORKERS:
            self._service.server.signal(signal.SIGTTIN)

    def _take_worker(self) -> None:
        if len(self._service.workers()) > 2:
            self._service.server.signal(signal.SIGTTOU)

    def _block_worker(self) -> None:
        with self._service.server.connect() as peer:
            peer.send(serialize_get("/block?1"))


def cause_chaos(run: Run) -> None:
    """For some minutes; then one good reload must bring calm."""
    seed = random.randrange(10**6)
    deaths = Deaths()
    done: list[str] = []
    with run.serve(workers=WORKERS) as service:
        with traffic(run, service, deaths):
            chaos = Chaos(service, deaths, seed)
            until = time.monotonic() + run.pick(180.0, 20.0)
            while time.monotonic() < until:
                done.append(chaos.change())
                run.say(f"{len(done)} changes, the last: {done[-1]}")
            has_calmed = calm_down(service)
        run.check(f"after {len(done)} changes it is calm", has_calmed, holds=has_calmed)


def calm_down(service: Service) -> bool:
    """One worker in each slot, one forkserver, and no more of them."""

    def is_calm(workers: dict[int, tuple[int, int]]) -> bool:
        count = len(service.server.children("blazeio: worker"))
        forkservers = len(service.server.children("blazeio: forkserver"))
        generations = {generation for generation, _ in workers.values()}
        return count == len(workers) and forkservers == 1 == len(generations)

    try:
        service.wait_for(is_calm, "calm", CALM_S)
    except AssertionError:
        return False
    return service.get().status == 200
