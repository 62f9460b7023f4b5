"""Peers that trickle, stall, half-close and abort, while others are served."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence

import psutil

from tests.process.service import Service, serialize_get
from tests.soak.run import Run, wait_some
from tests.support.clock import block_until
from tests.support.peer import BlockingPeer

CONNECTIONS = 1000
MOST_P99_S = 0.05
PAUSE_S = 0.005
ATTACKS = {
    "slow heads": ["-H", "-i", "2"],
    "slow content": ["-B", "-i", "2", "-s", "8192"],
    "ranges": ["-R", "-a", "10", "-b", "3000"],
    "slow reading": ["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "32", "-k", "3"],
}
"""The modes of slowhttptest."""
PATHS = {"slow content": "/echo", "slow reading": "/big"}


def attack_slowly(run: Run) -> None:
    """slowhttptest in each of its modes, and somebody else who asks."""
    program = shutil.which("slowhttptest")
    if program is None:
        run.check("slowhttptest is there", "apt-get install slowhttptest", holds=False)
        return
    for name, options in ATTACKS.items():
        run.say(name)
        with run.serve(workers=2) as service:
            path = PATHS.get(name, "/")
            url = f"http://{service.server.host}:{service.server.port}{path}"
            size = ["-c", str(CONNECTIONS), "-r", "500", "-l", str(run.pick(30, 6))]
            command = [program, *options, *size, "-u", url, "-v", "0"]
            spans = sorted(ask_during(service, command))
            run.check_most(
                f"{name}: p99 of {len(spans):,} others",
                spans[len(spans) * 99 // 100] * 1e3,
                MOST_P99_S * 1e3,
                " ms",
            )


def ask_during(service: Service, command: list[str]) -> Iterator[float]:
    """Ask on new connections while a command runs; seconds of each answer."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as attack:
        while attack.poll() is None:
            asked_at = time.monotonic()
            assert service.get().status == 200
            yield time.monotonic() - asked_at
            wait_some(PAUSE_S)


STALLED = 50
STALLED_FOR_S = 6.0
MOST_EACH_MB = {"/big": 0.1, "/whole": 0.1, "/chunks": 0.2}
"""By path. Each handler of the last holds a piece of its own, 64 KiB, as well."""
MOST_CPU_SHARE = 0.02


def stall_readers(run: Run) -> None:
    """50 clients ask for 32 MiB and read nothing; on both loops."""
    for loop in ("uvloop", "asyncio"):
        for path in MOST_EACH_MB:
            with run.serve("--loop", loop, workers=1) as service:
                stall(run, service, f"{loop} {path}", path)


def stall(run: Run, service: Service, name: str, path: str) -> None:
    """One server, one kind of large answer."""
    assert len(service.get(f"{path}?20").body) == 20 * 64 * 1024  # the heap grows
    (worker,) = service.server.children("blazeio: worker")
    server = service.server
    before_bytes = worker.memory_info().rss
    with contextlib.ExitStack() as stack:
        for _ in range(STALLED):
            peer = BlockingPeer(server.host, server.port, receive_buffer_bytes=4096)
            stack.enter_context(peer).send(serialize_get(path))
        wait_some(1.0)
        peak_bytes, before_s = worker.memory_info().rss, cpu_s(worker)
        until = time.monotonic() + STALLED_FOR_S
        while time.monotonic() < until:
            wait_some(0.2)
            peak_bytes = max(peak_bytes, worker.memory_info().rss)
        share = (cpu_s(worker) - before_s) / STALLED_FOR_S
    each_mb = (peak_bytes - before_bytes) / STALLED / 1e6
    most_mb = MOST_EACH_MB[path]
    run.check_most(f"{name}: a stalled reader costs", each_mb, most_mb, " MB")
    run.check_most(f"{name}: CPU while all stall", share, MOST_CPU_SHARE)


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


HALF_CLOSED = 1000
BATCH = 100


def half_close(run: Run) -> None:
    """Clients that send FIN behind their request and then read."""
    content = b"x" * 5000
    post = serialize_get("/echo", f"Content-Length: {len(content)}")
    requests = [
        (serialize_get("/slow"), b"late"),
        (post.replace(b"GET", b"POST", 1) + content, content),
        (serialize_get("/echo"), b""),
    ]
    for loop in ("uvloop", "asyncio"):
        with run.serve("--loop", loop, workers=2) as service:
            answered = sum(
                ask_half_closed(service, *requests[number % len(requests)])
                for number in range(HALF_CLOSED // BATCH)
            )
        seen = f"{answered} of {HALF_CLOSED}"
        what = f"{loop}: every half-closed client is answered"
        run.check(what, seen, holds=answered == HALF_CLOSED)


def ask_half_closed(service: Service, request: bytes, wanted: bytes) -> int:
    """A batch at once; how many answers were as they should be."""
    host, port = service.server.host, service.server.port
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(BlockingPeer(host, port)) for _ in range(BATCH)]
        for peer in peers:
            peer.send(request)
            peer.half_close()
        return sum(is_answered(peer, wanted) for peer in peers)


def is_answered(peer: BlockingPeer, wanted: bytes) -> bool:
    try:
        return peer.read_response().body == wanted
    except (OSError, AssertionError):
        return False


SCRIPTS = (
    b"",
    serialize_get("/forever"),
    serialize_get("/")[:7],
    serialize_get("/") * 50,
    serialize_get("/big"),
    serialize_get("/whole"),
    b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n" + b"x" * 400000,
    b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    b"POST /forever HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n"
    + b"x" * 400000,
    b"no http at all\r\n\r\n",
)
"""What clients have sent when they abort."""
WARM_UP = 6000
"""Aborts until caches and the heap have their size."""
MOST_GROWTH_MIB = 1.5


def abort_connections(run: Run) -> None:
    """10,000 resets at every stage of a request; on both loops."""
    count = run.pick(10_000, 2_000)
    for loop in ("uvloop", "asyncio"):
        with run.serve("--loop", loop, workers=1) as service:
            idle = look(service)
            abort(run, service, max(count, WARM_UP))
            before = look_when_idle(service, idle)
            abort(run, service, count)
            after = look_when_idle(service, before)
        for name, was, now in zip(
            ("tasks", "descriptors"), before, after, strict=False
        ):
            run.check(
                f"{loop}: {name} do not grow", f"{was} -> {now}", holds=now <= was
            )
        grown_mib = (after[2] - before[2]) / 1024**2
        run.check_most(f"{loop}: memory grows", grown_mib, MOST_GROWTH_MIB, " MiB")


def abort(run: Run, service: Service, count: int) -> None:
    """Rounds of one connection for each script."""
    host, port = service.server.host, service.server.port
    for number in range(count // len(SCRIPTS)):
        run.say(f"round {number} of {count // len(SCRIPTS)}")
        peers = [BlockingPeer(host, port) for _ in SCRIPTS]
        for peer, octets in zip(peers, SCRIPTS, strict=True):
            with contextlib.suppress(ConnectionError):
                peer.send(octets)
        for peer in peers:
            peer.reset()


def look_when_idle(service: Service, wanted: Sequence[int]) -> tuple[int, int, int]:
    """The same as ``look``, as soon as no more tasks and files are left than these."""

    def is_idle() -> bool:
        tasks, files, _ = look(service)
        return tasks <= wanted[0] and files <= wanted[1]

    with contextlib.suppress(AssertionError):  # the check then says how many
        block_until(is_idle, 5)
    return look(service)


def look(service: Service) -> tuple[int, int, int]:
    """Tasks, descriptors and private memory of the only worker."""
    tasks = int(service.get("/tasks").body)
    (worker,) = service.server.children("blazeio: worker")
    return tasks, worker.num_fds(), worker.memory_full_info().uss
