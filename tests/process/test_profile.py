"""``profile SLOT``: what a worker does with its time, by a thread and a timer in it."""

import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.process.service import APP, Service, serialize_get, start_service
from tests.support.clock import block_until
from tests.support.live import LiveServers, resolve, run_to_exit

pytestmark = pytest.mark.slow
CODE = f"""{APP}
import threading

def hot(count):
    return sum(n * n for n in range(count))

@web.route.get("/hot/{{count:int}}")
async def burn(r, count):
    hot(count)
    await io.Deliver.text(r, "done")

@web.route.get("/spin")
async def spin(r):
    while not os.path.exists("stop"):
        hot(1000)
    await io.Deliver.text(r, "done")

@web.route.get("/sleep")
async def sleep(r):
    while not os.path.exists("stop"):
        time.sleep(0.5)
    await io.Deliver.text(r, "done")
"""


@pytest.fixture(params=["uvloop", pytest.param("asyncio", marks=pytest.mark.long)])
def service(
    request: pytest.FixtureRequest, live_server: LiveServers, tmp_path: Path
) -> Service:
    options = ("--control", "c.sock", "--loop", request.param)
    return start_service(live_server, tmp_path, *options, code=CODE, workers=1)


def profile(service: Service, *words: str) -> subprocess.CompletedProcess[str]:
    place = ("--control", str(service.folder / "c.sock"))
    command = ["blazeio-supervisor", "profile", *words, *place]
    return run_to_exit(command, cwd=service.folder, timeout_s=60)


def count(text: str) -> tuple[int, int]:
    """Of collapsed stacks: those in ``hot``, and all."""
    lines = [line.rpartition(" ") for line in text.splitlines()]
    hot = sum(int(n) for stack, _, n in lines if "hot" in stack)
    return hot, sum(int(n) for _, _, n in lines)


@contextmanager
def load(service: Service, path: str) -> Iterator[None]:
    """Ask for this again and again, from four connections."""
    is_over = threading.Event()

    def ask() -> None:
        with service.server.connect() as peer:
            while not is_over.is_set():
                assert peer.exchange(serialize_get(path))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    yield
    is_over.set()
    for thread in threads:
        thread.join()


@pytest.mark.long
def test_a_hot_function_has_most_of_the_samples_below_its_route(
    service: Service,
) -> None:
    hot = total = 0
    with load(service, "/hot/20000"):
        while total < 20:  # a worker that gets no processor has few
            done = profile(service, "0", "--seconds", "2", "--format", "collapsed")
            assert done.returncode == 0, done.stderr
            hot, total = map(sum, zip((hot, total), count(done.stdout), strict=True))
    assert hot >= 0.8 * total, done.stdout
    assert re.search(
        r"^GET /hot/\{count:int\};.*burn \(.*app\.py", done.stdout, re.MULTILINE
    )
    assert service.get().status == 200


@pytest.mark.long
@pytest.mark.parametrize("name", ["spin", "sleep"])
def test_a_blocked_loop_is_seen_whether_it_computes_or_waits(
    service: Service, name: str
) -> None:
    with service.server.connect() as peer:
        peer.send(serialize_get(f"/{name}"))
        service.server.wait_for_log("event=blocked ")
        inside: list[str] = []
        while not inside:  # a worker that gets no processor has no samples
            done = profile(service, "0", "--seconds", "1", "--format", "collapsed")
            assert done.returncode == 0, done.stderr
            inside = [line for line in done.stdout.splitlines() if f"{name} (" in line]
        assert all(line.startswith(f"GET /{name};") for line in inside)
        (service.folder / "stop").touch()
        assert peer.read_response().status == 200


def test_a_flame_graph_is_written_and_nothing_is_left_behind(
    service: Service,
) -> None:
    (pid,) = service.pids()
    worker = psutil.Process(pid)
    with load(service, "/hot/5000"):  # the loop opens what it needs at the first one
        block_until(lambda: service.get().status == 200)
    block_until(lambda: len(worker.net_connections("tcp4")) == 1)
    before = worker.num_threads(), worker.num_fds()
    name = f"profile-0-{pid}.svg"
    graph = ""
    with load(service, "/hot/5000"):
        while "<title>GET /hot/{count:int}" not in graph:
            done = profile(service, "0", "--seconds", "1")
            assert done.returncode == 0, done.stderr
            assert f"written to {name}" in done.stdout
            graph = (service.folder / name).read_text()
    block_until(lambda: (worker.num_threads(), worker.num_fds()) <= before)
    assert service.get().status == 200


@pytest.mark.long
def test_what_waits_is_shown_when_it_is_asked_for(service: Service) -> None:
    with service.server.connect() as peer:
        peer.send(serialize_get("/slow?20"))
        done = profile(service, "0", "--seconds", "1", "--all", "--format", "collapsed")
        assert "waiting tasks;GET /slow;" in done.stdout


@pytest.mark.long
def test_one_is_taken_at_a_time_and_ctrl_c_ends_it(service: Service) -> None:
    (pid,) = service.pids()
    before = psutil.Process(pid).num_threads()
    place = ("--control", str(service.folder / "c.sock"))
    words = ["blazeio-supervisor", "profile", "0", "--seconds", "500", *place]
    with subprocess.Popen(resolve(words), stderr=subprocess.PIPE, text=True) as first:
        block_until(lambda: psutil.Process(pid).num_threads() > before)
        refused = profile(service, "0", "--seconds", "1")
        assert refused.returncode == 1
        assert "one at a time" in refused.stderr
        first.send_signal(signal.SIGINT)
        assert first.wait(20) != 0
        assert first.stderr is not None
        assert "no longer waited for" in first.stderr.read()
    block_until(lambda: psutil.Process(pid).num_threads() == before)
    done = profile(service, "0", "--seconds", "0.5", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["slot"] == 0


@pytest.mark.long
def test_a_slot_that_is_not_there_is_named(service: Service) -> None:
    done = profile(service, "7")
    assert done.returncode == 2
    assert "slot 7: expected 0 to 0" in done.stderr


@pytest.mark.long
def test_one_that_serves_no_more_in_the_middle_is_said(service: Service) -> None:
    (pid,) = service.pids()
    place = ("--control", str(service.folder / "c.sock"))
    words = ["blazeio-supervisor", "profile", "0", "--seconds", "60", *place]
    before = psutil.Process(pid).num_threads()
    with subprocess.Popen(resolve(words), stderr=subprocess.PIPE, text=True) as process:
        block_until(lambda: psutil.Process(pid).num_threads() > before)
        psutil.Process(pid).kill()
        _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "no profile of slot 0: the worker has ended meanwhile" in said


@pytest.mark.long
def test_memory_is_compared_where_the_app_traces_it(
    live_server: LiveServers, tmp_path: Path
) -> None:
    keep = "\nkept = []\n\n@web.route.get('/keep')\nasync def keep(r):\n"
    code = f"{APP}{keep}    kept.append(bytes(1_000))\n    r.reply(b'')\n"
    options = ("--control", "c.sock", "--env", "PYTHONTRACEMALLOC=1")
    service = start_service(live_server, tmp_path, *options, code=code, workers=1)
    grown = None
    with load(service, "/keep"):
        while grown is None:
            done = profile(service, "0", "--seconds", "1", "--memory")
            assert done.returncode == 0, done.stderr
            first = done.stdout.splitlines()[1]
            grown = re.search(r"^ *\+.* [KM]iB .*/app\.py:\d+$", first)


@pytest.mark.long
def test_memory_needs_the_app_to_trace_it(service: Service) -> None:
    done = profile(service, "0", "--seconds", "1", "--memory")
    assert done.returncode == 1
    assert (
        "the app does not trace its memory: start the service with --env" in done.stderr
    )
