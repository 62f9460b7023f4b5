"""What a process of the app does at its end: its own part, and no other's."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.process.service import APP, Service, start_service
from tests.support.clock import block_until, scaled
from tests.support.live import LiveServers, run_to_exit

pytestmark = pytest.mark.slow

IMPORTING = (
    APP
    + """
import atexit, subprocess, tempfile, weakref

FOLDER = tempfile.TemporaryDirectory(prefix="blazeio-test-")
HELPER = subprocess.Popen(["sleep", "600"])

def note(what):
    with open("ends", "a") as file:
        file.write(f"{what} {os.getpid()}\\n")

class Made:
    pass

MADE = Made()
weakref.finalize(MADE, note, "finalized")
atexit.register(note, "import")
KEPT = []

@web.on_start
def start():
    atexit.register(note, "worker")
    KEPT.append(Made())
    weakref.finalize(KEPT[0], note, "finalized-worker")

@web.add_route
async def made(r, route="/made"):
    await io.Deliver.text(r, f"{FOLDER.name} {HELPER.pid}")
"""
)


def is_living(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def read_ends(service: Service) -> list[tuple[str, int]]:
    path = service.folder / "ends"
    if not path.exists():
        return []
    lines = [line.split() for line in path.read_text().splitlines()]
    return [(what, int(pid)) for what, pid in lines]


@pytest.mark.long
def test_what_the_import_made_ends_with_its_generation_and_not_before(
    live_server: LiveServers, tmp_path: Path
) -> None:
    options = ("--preload", "--control", "c.sock")
    service = start_service(live_server, tmp_path, *options, code=IMPORTING)
    old = service.pids()
    (forkserver,) = service.server.children("blazeio: forkserver")
    name, pid = service.get("/made").body.decode().split()
    words = ["blazeio-supervisor", "recycle", "0", "--wait", "--control"]
    run_to_exit([*words, str(tmp_path / "c.sock")], timeout_s=30)
    (ended,) = set(old) - set(service.pids())
    block_until(lambda: len(read_ends(service)) == 2)
    assert set(read_ends(service)) == {("finalized-worker", ended), ("worker", ended)}
    assert Path(name).is_dir()
    assert is_living(int(pid))
    rest = service.pids()
    service.reload(2)
    block_until(lambda: not forkserver.is_running(), 10)
    assert not Path(name).exists()
    assert not is_living(int(pid))
    ends = read_ends(service)
    # At last the process that imported, after all that it has forked.
    assert sorted(ends[-2:]) == [
        ("finalized", forkserver.pid),
        ("import", forkserver.pid),
    ]
    assert sorted(pid for what, pid in ends[2:-2] if what == "worker") == rest
    name, pid = service.get("/made").body.decode().split()
    service.server.signal(signal.SIGTERM)
    assert service.server.wait_exit() == 0
    assert not Path(name).exists()
    assert not is_living(int(pid))


POOLING = (
    APP
    + """
import concurrent.futures, multiprocessing, threading

KEPT = []

def rest():
    time.sleep(60)

@web.add_route
async def pools(r, route="/pools"):
    executor = concurrent.futures.ProcessPoolExecutor(1)
    pool = multiprocessing.Pool(1)
    daemon = multiprocessing.Process(target=rest, daemon=True)
    daemon.start()
    pids = [executor.submit(os.getpid).result(), pool.apply(os.getpid), daemon.pid]
    KEPT.extend((executor, pool, daemon))
    await io.Deliver.text(r, " ".join(map(str, pids)))

@web.add_route
async def thread(r, route="/thread"):
    def run():
        time.sleep(float(r.query))
        with open("joined", "a") as file:
            file.write("joined")
    threading.Thread(target=run, name="the late one").start()
    await io.Deliver.text(r, "begun")

@web.add_route
async def calling(r, route="/calling"):
    # A thread of the loop's executor that needs the loop.
    loop = asyncio.get_running_loop()
    def run():
        time.sleep(0.3)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
        with open("joined", "a") as file:
            file.write("called")
    loop.run_in_executor(None, run)
    await io.Deliver.text(r, "begun")
"""
)


@pytest.mark.parametrize(
    "loop", ["uvloop", pytest.param("asyncio", marks=pytest.mark.long)]
)
def test_executors_and_pools_of_a_worker_end_with_it_at_once(
    live_server: LiveServers, tmp_path: Path, loop: str
) -> None:
    service = start_service(
        live_server, tmp_path, "--loop", loop, code=POOLING, workers=1
    )
    pids = [int(word) for word in service.get("/pools").body.split()]
    assert service.get("/calling").body == b"begun"
    assert service.get("/thread?0.4").body == b"begun"
    began_at = time.monotonic()
    service.server.signal(signal.SIGTERM)
    assert service.server.wait_exit() == 0
    assert time.monotonic() - began_at < scaled(5)  # of a grace period of 30 s
    assert not [pid for pid in pids if is_living(pid)]
    assert sorted((tmp_path / "joined").read_text().split("ed")) == ["", "call", "join"]
    assert "threads_cut" not in service.server.log


def test_what_is_not_over_within_the_grace_period_is_named_and_cut(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(
        live_server, tmp_path, "--graceful-timeout", "1", code=POOLING, workers=1
    )
    pids = [int(word) for word in service.get("/pools").body.split()]
    service.get("/thread?60")
    service.server.signal(signal.SIGTERM)
    assert service.server.wait_exit() == 0
    (line,) = service.server.wait_for_log(r"event=threads_cut .*")
    place = next(
        number
        for number, text in enumerate((tmp_path / "app.py").read_text().split("\n"), 1)
        if "time.sleep(float(r.query))" in text
    )
    assert "the grace period of 1 s is over, cutting 1 thread that" in line[0]
    assert f"'the late one' at app.py:{place}" in line[0]
    block_until(lambda: not [pid for pid in pids if is_living(pid)], 5)


LASTING = (
    APP
    + """
import multiprocessing

def rest():
    time.sleep(60)

@web.on_start
def start():
    web.child = multiprocessing.get_context("fork").Process(target=rest)
    web.child.start()

@web.add_route
async def child(r, route="/child"):
    await io.Deliver.text(r, str(web.child.pid))
"""
)


@pytest.mark.long
def test_a_process_that_does_not_end_is_named_and_killed(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(
        live_server, tmp_path, "--graceful-timeout", "0.5", code=LASTING, workers=1
    )
    pid = int(service.get("/child").body)
    service.server.signal(signal.SIGTERM)
    assert service.server.wait_exit() == 0
    (line,) = service.server.wait_for_log(r"event=threads_cut .*")
    assert f"killing processes of multiprocessing that still run: pid {pid}" in line[0]
    block_until(lambda: not is_living(pid), 5)


@pytest.mark.long
def test_a_pool_that_a_signal_to_the_whole_group_has_hit_does_not_hold_up_the_end(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, code=POOLING, workers=1)
    pids = [int(word) for word in service.get("/pools").body.split()]
    began_at = time.monotonic()
    os.killpg(service.server.pid, signal.SIGTERM)
    assert service.server.wait_exit() == 0
    assert time.monotonic() - began_at < scaled(8)  # of a grace period of 30 s
    block_until(lambda: not [pid for pid in pids if is_living(pid)], 5)
