"""Everything that can be switched on, at once, while workers die and are replaced.

The error budget, workers by load, warming, tasks that run once, the app's own metrics,
broadcasts, a farewell window, WebSockets that are handed over, profiles; and, where
control groups can be made, no memory for a worker beside the one that it replaces.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from types import TracebackType
from typing import Self

import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage

from tests.process.service import Service, serialize_get
from tests.process.strict_clients import Failure, StrictClients
from tests.process.test_error_budget import SteadyLoad
from tests.process.test_headroom import MOUNT, Group
from tests.process.test_once_tasks import Journal
from tests.soak.chaos import calm_down
from tests.soak.run import APP, Run, order, wait_some
from tests.soak.traffic import CLIENTS, EARLY_S, Deaths, judge
from tests.support.clock import block_until, scaled

SOCKETS = 40
ROOM_BYTES = 70 << 20
"""Less than a worker and the reserve of 64 MiB; enough for the next forkserver."""
MORE = """

import json

counted = web.metrics.counter("counted_total", "Requests of the strict clients.")
spans = web.metrics.histogram("spans", "The same.", buckets=(1, 2))
heard = web.metrics.counter("heard_total", "Messages.")
STRICT = {"/", "/echo", "/slow"}


@web.add_route
async def before_middleware(r: R) -> None:
    if r.path in STRICT:
        counted.inc()
        spans.observe(1.5)


@web.on_broadcast
def hear(message: object) -> None:
    heard.inc()


@web.add_route
async def tell(r: R, route: str = "/tell") -> None:
    for number in range(10):
        web.broadcast({"number": number})
    r.reply(b"")


@web.on_warm
def warm() -> None:
    web.warmed = os.getpid()


@web.add_route
async def warmed(r: R, route: str = "/warmed") -> None:
    await io.Deliver.text(r, str(web.warmed not in (0, os.getpid())))


def note(word: str, name: str) -> None:
    with open("journal", "a") as file:
        file.write(f"{word} {name} {os.getpid()} {time.monotonic()}\\n")


@web.add_task(once=True)
async def listen() -> None:
    note("begin", "listen")
    try:
        await asyncio.sleep(3600)
    finally:
        note("end", "listen")


@web.add_task(once=True, every="1s")
async def tick() -> None:
    note("begin", "tick")
    note("end", "tick")


@web.add_route
async def talk(r: R, route: str = "/ws") -> None:
    async with io.WebSocket(r) as ws:
        seen = int(ws.state or 0)
        ws.handover(lambda: str(seen).encode())
        async for message in ws:
            assert int(message) == seen, (message, seen)
            seen += 1
            await ws.send(json.dumps([seen, os.getpid()]))
"""
FAULT = """
    if next(faults) % 5 == 0:
        raise RuntimeError("one of five")
"""
OPTIONS = (
    *("--rollback-5xx", "0.05", "--rollback-latency", "20"),
    # A hold ends early, by what new code answers; where it fails, this is the time.
    *("--canary-hold", "10", "--farewell-window", "1"),
    *("--warm", "/health", "--slot-env", "SLOT={slot}"),
)


class Sockets:
    """WebSockets that talk until they are left; each answer must be the next number.

    Args:
        service: Answers them.

    Attributes:
        failures: Those that broke.
        pids: Who has answered.
        said: How many messages were answered.
    """

    def __init__(self, service: Service) -> None:
        self._url = f"ws://127.0.0.1:{service.server.port}/ws"
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._talk_all()))
        self.failures: list[Failure] = []
        self.pids: Counter[int] = Counter()
        self.said = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()

    async def _talk_all(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(SOCKETS):
                tasks.create_task(self._talk_on())

    async def _talk_on(self) -> None:
        while not self._is_over.is_set():
            connected_at, port, number, phase = time.monotonic(), 0, 0, "connect"
            try:
                async with connect(
                    self._url, proxy=None, ping_interval=None, compression=None
                ) as ws:
                    port, phase = ws.local_address[1], "answer"
                    while not self._is_over.is_set():
                        await self._say(ws, number)
                        number += 1
                        await asyncio.sleep(0.1)
            except (
                ConnectionClosed,
                InvalidMessage,
                OSError,
                TimeoutError,
                AssertionError,
            ) as error:
                self.failures.append(
                    Failure(
                        kind="websocket",
                        phase=phase,
                        what=f"{type(error).__name__} {error}",
                        connected_at=connected_at,
                        failed_at=time.monotonic(),
                        answered=number,
                        local_port=port,
                    )
                )

    async def _say(self, ws: ClientConnection, number: int) -> None:
        await ws.send(str(number))
        async with asyncio.timeout(scaled(20)):
            seen, pid = json.loads(await ws.recv())
        assert seen == number + 1, (seen, number)
        self.pids[pid] += 1
        self.said += 1


class Changes:
    """Changes to the service, drawn one after the other; each waits for its end.

    Args:
        service: The one.
        deaths: Told of the killed workers.

    Attributes:
        killed: When each was, by pid.
        done: How often each change was made.
        failed: What has failed, in words.
    """

    def __init__(self, service: Service, deaths: Deaths) -> None:
        self._service = service
        self._deaths = deaths
        self.killed: dict[int, float] = {}
        self.done: Counter[str] = Counter()
        self.failed: list[str] = []
        self._next: list[Callable[[], None]] = []

    @property
    def is_round_over(self) -> bool:
        """Whether each change was made as often as any other."""
        return not self._next

    def change(self) -> str:
        """Do something; its name."""
        if not self._next:
            self._next = [
                self._reload,
                self._kill,
                self._recycle,
                self._profile,
                self._tell,
            ]
            random.shuffle(self._next)
        act = self._next.pop()
        act()
        name = act.__name__.strip("_")
        self.done[name] += 1
        return name

    def _order(self, *words: str) -> None:
        done = order(self._service, *words)
        if done.returncode:
            self.failed.append(f"{words[0]}: {done.stderr.strip()}")

    def _reload(self) -> None:
        self._order("reload", "--wait")

    def _recycle(self) -> None:
        self._order("recycle", "0")

    def _profile(self) -> None:
        words = ["profile", "0", "--seconds", "1", "--format", "table"]
        done = order(self._service, *words)
        if done.returncode and "the worker has ended" not in done.stderr:
            self.failed.append(f"profile: {done.stderr.strip()}")

    def _tell(self) -> None:
        for _ in range(5):
            assert self._service.get("/tell").status == 200
        assert self._service.get("/warmed").body == b"True"

    def _kill(self) -> None:
        pid = random.choice(self._service.pids())
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            self._deaths.kill(pid)
            self.killed[pid] = time.monotonic()
        wait_some(0.5)


def switch_all_on(run: Run) -> None:
    """For some minutes; then code that fails must be taken back."""
    code = APP.read_text() + MORE
    deaths = Deaths()
    with (
        _make_group() as group,
        run.serve(
            *OPTIONS,
            workers="2..4",
            code=code,
            wrap=None if group is None else group.wrap,
        ) as service,
    ):
        server = service.server
        clients = StrictClients(server.host, server.port, CLIENTS, EARLY_S)
        changes = Changes(service, deaths)
        began_at = time.monotonic()
        with Sockets(service) as sockets, clients:
            _block_loops(service)
            if group is not None:
                # What the master imports for the first verb is not to be counted.
                order(service, "status")
                group.limit(group.used + ROOM_BYTES)
            until = began_at + run.pick(180.0, 20.0)
            while time.monotonic() < until or not changes.is_round_over:
                name = changes.change()
                run.say(f"{changes.done.total()} changes, the last: {name}")
            wait_some(2.0)
        span_s = time.monotonic() - began_at
        judge(run, clients, deaths)
        _judge_sockets(run, sockets, deaths)
        _judge_sums(run, service, clients)
        _judge_tasks(run, service, changes, span_s)
        run.check(
            f"orders fail: 0 of {dict(changes.done)}",
            changes.failed,
            holds=not changes.failed,
        )
        has_calmed = calm_down(service)
        run.check("it is calm afterwards", has_calmed, holds=has_calmed)
        if group is not None:
            _judge_room(run, service, group)
        _judge_bad_code(run, service, code)
        _judge_events(run, service)


@contextlib.contextmanager
def _make_group() -> Iterator[Group | None]:
    """A control group of its own; None where this machine does not let us."""
    try:
        group = Group(MOUNT / f"blazeio-soak-{os.getpid()}")
    except OSError:
        yield None
        return
    yield group
    block_until(lambda: not (group.folder / "cgroup.procs").read_text(), 20)
    group.folder.rmdir()


def _judge_room(run: Run, service: Service, group: Group) -> None:
    kills = group.oom_kills
    run.check("killed for lack of memory: 0", kills, holds=not kills)
    made = service.server.log.count("event=making_room ")
    run.check("workers make room for others", f"{made} times", holds=made > 0)


def _block_loops(service: Service) -> None:
    """Have connections wait to be accepted, until there are more workers."""

    def have_come() -> bool:
        with contextlib.ExitStack() as stack:
            peers = []
            for _ in range(160):
                peer = stack.enter_context(service.server.connect())
                # At once: the loops stand still while the next ones connect. Else a
                # quiet machine has accepted all of them before the first one asks.
                peer.send(serialize_get("/block?0.05", "Connection: close"))
                peers.append(peer)
            for peer in peers:
                assert peer.read_response().status == 200
        return "event=scaled " in service.server.log

    block_until(have_come, 60, "more workers")


def _judge_sockets(run: Run, sockets: Sockets, deaths: Deaths) -> None:
    """Those that no killed worker had must have stayed open."""
    lost = [each for each in sockets.failures if not deaths.explain(each)]
    seen = f"{len(lost)}, {len(sockets.failures)} in all, {sockets.said:,} answers"
    run.check("WebSockets lost without cause: 0", seen, holds=not lost)
    for failure in lost[:5]:
        run.note(str(failure))


def _read(service: Service) -> dict[str, float]:
    text = order(service, "metrics").stdout
    found = re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def _judge_sums(run: Run, service: Service, clients: StrictClients) -> None:
    """Each answered request was counted once; a failed one perhaps."""
    metrics = _read(service)
    counted, answered = metrics["counted_total"], clients.answered.total()
    failed = len(clients.failures)
    run.check(
        f"0 <= counted - answered <= {failed} that failed",
        f"{counted - answered:g} of {answered:,}",
        holds=0 <= counted - answered <= failed,
    )
    is_same = metrics["spans_count"] == counted
    is_exact = metrics["spans_sum"] == 1.5 * counted
    seen = f"{metrics['spans_count']:g}, {metrics['spans_sum']:g}"
    run.check("the histogram has the same", seen, holds=is_same and is_exact)
    heard = metrics["heard_total"]
    run.check("broadcasts are heard", f"{heard:g}", holds=heard > 0)


def _judge_tasks(run: Run, service: Service, changes: Changes, span_s: float) -> None:
    """Never two at once, and the schedule goes on."""
    journal = Journal(service.folder)
    try:
        journal.check(dict.fromkeys(changes.killed, 0.0))
        holds, seen = True, f"{len(journal.holders())} holders"
    except AssertionError as error:
        holds, seen = False, f"{error}"
    run.check("tasks that run once run nowhere twice", seen, holds=holds)
    begins = [at for word, _, at in journal.read("tick") if word == "begin"]
    gaps = [b - a for a, b in pairwise(begins)]
    run.check(
        "the schedule of 1 s is kept: at least half of its runs",
        f"{len(begins)} in {span_s:.0f} s, {max(gaps, default=0.0):.1f} s between two",
        holds=len(begins) >= span_s / 2 and min(gaps, default=1.0) > 0.9,
    )


def _judge_bad_code(run: Run, service: Service, code: str) -> None:
    """A fifth of its answers are errors: it must be taken back, and say where."""
    name = 'async def pid(r: R, route: str = "/") -> None:'
    assert name in code
    bad = code.replace(name, f"{name}{FAULT}") + "\nfaults = iter(range(10**9))\n"
    (service.folder / "app.py").write_text(bad)
    with SteadyLoad(service) as load:
        done = order(service, "reload", "--wait")
    told = done.stderr.strip()
    is_back = done.returncode == 1 and "--rollback-5xx" in told and "GET /" in told
    run.check("code with 20 % of 5xx is taken back", told[-160:], holds=is_back)
    share = load.statuses[500] / load.statuses.total()
    run.check_most("of all answers, 5xx", share, 0.15)


def _judge_events(run: Run, service: Service) -> None:
    """A kill within the hold takes new code back; nothing else goes wrong."""
    log = service.server.log
    taken_back = re.findall(r"event=rolled_back .*", log)
    unasked = [each for each in taken_back if "killed by SIGKILL" not in each]
    seen = f"{len(unasked)} of {len(taken_back)}"
    run.check("code is taken back without a kill: 0", seen, holds=not unasked)
    faults = ("misbehaved", "crash_loop", "worker_killed", "turn_failed", "task_failed")
    bad = {each: log.count(f"event={each} ") for each in faults}
    run.check("events of faults: none", bad, holds=not any(bad.values()))
    moves = log.count("event=scaled ")
    run.check("workers by load", f"{moves} moves", holds=moves > 0)
