"""All changes at once, in random order: none waits for the one before."""

import contextlib
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.process.service import Service, serialize_get
from tests.soak.run import APP, Run, wait_some
from tests.soak.traffic import Deaths, traffic

WORKERS = 4
CALM_S = 60.0
"""After the last change, until every slot has one worker again."""
_EACH = """

@web.add_route
async def before_middleware(r: R) -> None:
    await asyncio.get_running_loop().run_in_executor(None, use)
"""
POOLING = (
    """
import concurrent.futures

@web.on_start
def begin() -> None:
    web.pool = concurrent.futures.ProcessPoolExecutor(1)

def use() -> None:
    assert web.pool.submit(abs, -1).result() == 1
"""
    + _EACH
)
THREADING = (
    """
import queue, threading

WORK = queue.Queue()

def serve() -> None:
    while (done := WORK.get()) is not None:
        done.set()

@web.on_start
def begin() -> None:
    threading.Thread(target=serve).start()

@web.on_stop
def end() -> None:
    WORK.put(None)

def use() -> None:
    done = threading.Event()
    WORK.put(done)
    assert done.wait(10)
"""
    + _EACH
)
HELPING = (
    """
import subprocess, sys, threading

PROGRAM = "import sys\\nfor line in sys.stdin: print(line, end='', flush=True)"
LOCK = threading.Lock()

@web.on_start
def begin() -> None:
    words = [sys.executable, "-c", PROGRAM]
    web.helper = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

def use() -> None:
    with LOCK:
        web.helper.stdin.write("hello\\n")
        assert web.helper.stdout.readline() == "hello\\n"
"""
    + _EACH
)
"""Follow the app: each request is served with the help of others."""


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
        if living:
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
    _cause_chaos(run, "")


def cause_chaos_with_a_pool(run: Run) -> None:
    """Likewise, with an executor of processes in each worker."""
    _cause_chaos(run, POOLING)


def cause_chaos_with_threads(run: Run) -> None:
    """Likewise, with a thread that is not a daemon in each worker."""
    _cause_chaos(run, THREADING)


def cause_chaos_with_a_helper(run: Run) -> None:
    """Likewise, with a helper process of each worker."""
    _cause_chaos(run, HELPING)


def cause_chaos_with_starlette(run: Run) -> None:
    """Likewise, with an ASGI app; its lifespan is once for each worker."""
    log = _cause_chaos(run, "", APP.with_name("starlette_site.py"))
    began = re.findall(r"^lifespan: startup (\d+)$", log, re.MULTILINE)
    ended = re.findall(r"^lifespan: shutdown (\d+)$", log, re.MULTILINE)
    is_once = len(set(began)) == len(began) and len(set(ended)) == len(ended)
    seen = f"{len(began)} and {len(ended)}"
    holds = bool(began) and is_once and set(ended) <= set(began)
    run.check("startups and shutdowns: one for each worker", seen, holds=holds)


def cause_chaos_with_flask(run: Run) -> None:
    """Likewise, with a WSGI app, whose threads run out at times."""
    _cause_chaos(run, "", APP.with_name("flask_site.py"), "--threads", "64")


def _cause_chaos(run: Run, more: str, app: Path = APP, *options: str) -> str:
    """Change things for a while; return the log."""
    seed = random.randrange(10**6)
    deaths = Deaths()
    done: list[str] = []
    code = app.read_text() + more
    with run.serve(*options, workers=WORKERS, code=code) as service:
        with traffic(run, service, deaths):
            chaos = Chaos(service, deaths, seed)
            until = time.monotonic() + run.pick(180.0, 20.0)
            while time.monotonic() < until:
                done.append(chaos.change())
                run.say(f"{len(done)} changes, the last: {done[-1]}")
            has_calmed = calm_down(service)
        run.check(f"after {len(done)} changes it is calm", has_calmed, holds=has_calmed)
    return service.server.log


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
