"""Every verb against a real service."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.service import (
    APP,
    Service,
    change,
    read_status,
    start_service,
)
from tests.process.strict_clients import StrictClients
from tests.support.clock import block_until, scaled
from tests.support.descriptors import list_open
from tests.support.live import LiveServers, run_to_exit
from tests.support.variations import vary

pytestmark = pytest.mark.slow
PROGRAM = "blazeio-supervisor"
NOT_RUNNING = 6


def run(service: Service, *words: str) -> subprocess.CompletedProcess[str]:
    """A verb for this service."""
    place = str(service.folder / "c.sock")
    return run_to_exit([PROGRAM, *words, "--control", place], timeout_s=30)


@pytest.fixture(scope="module")
def shared(
    shared_servers: LiveServers, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    """Of all that only look."""
    folder = tmp_path_factory.mktemp("shared")
    return start_service(shared_servers, folder, "--control", "c.sock")


@pytest.fixture
def service(live_server: LiveServers, tmp_path: Path) -> Service:
    return start_service(live_server, tmp_path, "--control", "c.sock")


def test_status_shows_the_service_and_each_worker(shared: Service) -> None:
    shared.wait_everybody_answers()
    block_until(lambda: all(w["own_bytes"] for w in read_status(shared)["workers"]))
    block_until(lambda: read_status(shared)["slots"][1]["requests"] > 0)
    status = json.loads(run(shared, "status", "--json").stdout)
    assert (status["pid"], status["app"]) == (shared.server.pid, "app:web")
    assert status["addresses"] == [f"http://127.0.0.1:{shared.server.port}"]
    assert (status["listeners"], status["loading"]) == ("slots", "once")
    assert [each["pid"] for each in status["workers"]] == [
        shared.workers()[slot][1] for slot in (0, 1)
    ]
    assert all(each["state"] == "serving" for each in status["workers"])
    table = run(shared, "status").stdout
    assert f"app:web: master pid {shared.server.pid}, generation 1" in table
    assert str(shared.pids()[0]) in table


def test_reload_waits_for_the_new_code(service: Service) -> None:
    code = change(APP, "str(os.getpid())", "'new code'")
    (service.folder / "app.py").write_text(code)
    done = run(service, "reload", "--wait")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("reloaded: generation 2 serves in every slot")
    service.server.wait_for_log(r"event=reload_ok .*that pid \d+ asked for")
    block_until(lambda: {service.get().body for _ in range(8)} == {b"new code"})


@pytest.mark.long
@pytest.mark.parametrize(
    ("code", "reason", "output"),
    [
        ("1 / 0\n", "app failed to import", "ZeroDivisionError"),
        (
            APP + "\n@web.on_start\ndef start():\n    raise OSError('no database')\n",
            "failed to start",
            'in start\n    raise OSError("no database")'.replace('"', "'"),
        ),
        (
            APP + "\n@web.on_start\nasync def start():\n    await asyncio.sleep(60)\n",
            "not ready within",
            "",
        ),
        (
            APP + "\n@web.on_start\ndef s():\n    io.loop.call_later(0.3, os._exit, 9)",
            "exit code 9",
            "",
        ),
    ],
    ids=["import", "on_start", "never ready", "dies after ready"],
)
def test_reload_of_broken_code_fails_and_says_why(
    live_server: LiveServers, tmp_path: Path, code: str, reason: str, output: str
) -> None:
    options = ("--control", "c.sock", "--canary-hold", "1")
    service = start_service(live_server, tmp_path, *options)
    before = service.workers()
    (tmp_path / "app.py").write_text(code)
    if "not ready" in reason:
        (tmp_path / "blazeio.toml").write_text("boot_timeout = 1.5\n")
    done = run(service, "reload", "--wait")
    assert (done.returncode, done.stdout) == (1, "")
    assert output in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"{PROGRAM}: reload failed, after ")
    assert reason in last
    service.wait_count(2)
    assert service.workers() == before


@pytest.mark.long
def test_code_that_fails_soon_after_it_served_everywhere_is_taken_back(
    live_server: LiveServers, tmp_path: Path
) -> None:
    options = ("--control", "c.sock", "--canary-hold", f"{scaled(2):g}")
    service = start_service(live_server, tmp_path, *options)
    dies = (
        "\ndef look():\n"
        "    io.loop.call_later(0.05, look)\n"
        "    if os.path.exists('die'):\n"
        "        os._exit(9)\n"
        "\n@web.on_start\ndef begin():\n    look()\n"
    )
    code = change(APP, "str(os.getpid())", "'new code'") + dies
    (service.folder / "app.py").write_text(code)
    done = run(service, "reload", "--wait")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"; for \S+ s at most the code before is kept", done.stdout)
    (service.folder / "die").touch()
    service.server.wait_for_log(
        r"event=rolled_back .*generation 2 was taken back, 1 serves: .*exit code 9"
    )
    service.wait_for(
        lambda workers: {generation for generation, _ in workers.values()} == {1},
        "generation 1 everywhere",
    )
    assert service.get().body != b"new code"


@pytest.mark.long
def test_a_reload_that_nobody_waits_for_goes_on(service: Service) -> None:
    assert run(service, "reload").returncode == 0
    service.server.wait_for_log("event=reload_ok", timeout_s=10)


@pytest.mark.long
def test_scaling_up_and_down_loses_no_request(service: Service) -> None:
    with StrictClients(service.server.host, service.server.port) as clients:
        for count in (4, 8, 2):
            assert run(service, "scale", str(count)).returncode == 0
            service.wait_count(count)
    assert not clients.failures
    status = read_status(service)
    assert [slot["is_parked"] for slot in status["slots"]] == [False] * 2 + [True] * 6


def test_recycle_replaces_the_worker_of_one_slot(service: Service) -> None:
    before = service.workers()
    done = run(service, "recycle", "1")
    assert done.stdout.startswith(f"slot 1: pid {before[1][1]} drains")
    service.wait_for(lambda now: len(now) == 2 and now[1] != before[1], "a new one")
    service.wait_count(2)
    assert service.workers()[0] == before[0]


@vary(
    ("words", "line"),
    [
        (["recycle", "7"], "slot 7: expected 0 to 1"),
        (["scale", "0"], "0 workers: expected 1 to 256"),
    ],
)
def test_an_order_that_cannot_be_is_wrong_usage(
    shared: Service, words: list[str], line: str
) -> None:
    done = run(shared, *words)
    assert (done.returncode, done.stderr) == (2, f"{PROGRAM}: {line}\n")


def test_stack_shows_the_line_that_blocks_a_worker(
    live_server: LiveServers, tmp_path: Path
) -> None:
    code = change(APP, "time.sleep(1.0)", "time.sleep(20)")
    service = start_service(live_server, tmp_path, "--control", "c.sock", code=code)
    with service.server.connect() as peer, service.server.connect() as other:
        other.send(b"GET /slow?20 HTTP/1.1\r\nHost: a\r\n\r\n")
        block_until(
            lambda: any(each["in_flight"] for each in read_status(service)["workers"])
        )
        peer.send(b"GET /block HTTP/1.1\r\nHost: a\r\n\r\n")
        block_until(lambda: "in block\n" in run(service, "stack").stdout)
        said = run(service, "stack").stdout
    assert "== slot 1, pid" in said
    assert "Task (most recent call first): GET /slow?20 (for" in said
    assert "await asyncio.sleep(float(r.query or 0.4))" in said
    assert run(service, "stop", "--quick").returncode == 0


@pytest.mark.long
def test_stop_returns_when_the_master_is_gone(service: Service) -> None:
    with service.server.connect() as peer:
        peer.send(b"GET /slow?2 HTTP/1.1\r\nHost: a\r\n\r\n")
        block_until(
            lambda: any(each["in_flight"] for each in read_status(service)["workers"])
        )
        done = run(service, "stop")
        assert done.stdout == f"pid {service.server.pid} is gone\n"
        assert service.server.wait_exit() == 0
        assert peer.read_response().body == b"late"
    assert not (service.folder / "c.sock").exists()
    after = run(service, "status")
    assert after.returncode == NOT_RUNNING
    assert "no service is running on " in after.stderr


@pytest.mark.long
def test_what_kill_9_left_is_replaced_by_the_next(
    live_server: LiveServers, service: Service
) -> None:
    service.server.signal(signal.SIGKILL)
    service.server.wait_exit()
    assert run(service, "status").returncode == NOT_RUNNING
    service.server.wait_group_gone()
    second = start_service(live_server, service.folder, "--control", "c.sock")
    assert read_status(second)["pid"] == second.server.pid


def test_neither_forkserver_nor_worker_has_the_control_socket(
    shared: Service,
) -> None:
    master = open_unix_sockets(shared.server.pid)
    assert str(shared.folder / "c.sock") in master
    for child in shared.server.children():
        assert str(shared.folder / "c.sock") not in open_unix_sockets(child.pid)


def open_unix_sockets(pid: int) -> set[str]:
    """The paths of the unix sockets that a process holds."""
    paths = {}
    for line in Path("/proc/net/unix").read_text().splitlines():
        fields = line.split()
        if len(fields) == 8:
            paths[f"socket:[{fields[6]}]"] = fields[7]
    return {paths[link] for link in list_open(pid) if link in paths}


@pytest.mark.long
def test_two_services_are_told_apart(live_server: LiveServers, tmp_path: Path) -> None:
    services = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        services.append(start_service(live_server, tmp_path / name, workers=1))
    done = run_to_exit([PROGRAM, "status"], env={"RUNTIME_DIRECTORY": ""})
    assert done.returncode == 2
    assert "services are running, say which by one of:" in done.stderr
    for service in services:
        pid = service.server.pid
        line = rf"--instance {pid} +pid {pid}  app:web  http"  # others may be listed
        assert re.search(line, done.stderr)
        status = run_to_exit([PROGRAM, "status", "--json", "--instance", str(pid)])
        assert json.loads(status.stdout)["pid"] == service.server.pid


@pytest.mark.long
def test_inside_a_unit_its_own_service_is_meant(
    live_server: LiveServers, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "run").mkdir(parents=True)
    service, _ = (
        start_service(
            live_server,
            tmp_path / name,
            workers=1,
            env={"RUNTIME_DIRECTORY": str(tmp_path / name / "run")},
        )
        for name in ("one", "two")
    )
    inside = {"RUNTIME_DIRECTORY": str(tmp_path / "one" / "run")}
    status = run_to_exit([PROGRAM, "status", "--json"], env=inside)
    assert json.loads(status.stdout)["pid"] == service.server.pid


def test_a_place_that_cannot_be_made_is_one_line_and_no_error(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, "--control", "/proc/c.sock")
    assert service.server.log.count("event=no_control") == 1
    assert service.get().status == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_another_user_is_refused(live_server: LiveServers, tmp_path: Path) -> None:
    service = start_service(live_server, tmp_path, workers=1)
    (place,) = re.findall(
        r"event=control verbs reach this service at (@[^\s;]+)", service.server.log
    )
    words = [PROGRAM, "stop", "--control", place]
    done = subprocess.run(
        [sys.executable, "-c", AS_ANOTHER, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(10),
    )
    assert done.returncode == 1
    line = "you are uid 4242: it answers only to uid 0 and root"
    assert done.stderr == f"{PROGRAM}: {line}\n"
    assert service.get().status == 200


AS_ANOTHER = """
import os, sys
import locale  # by gettext, when it is first asked
# The other user may not read these.
from blazeio_supervisor.cli import client, orders, program, queries
from blazeio_supervisor.worker import starting
from blazeio_supervisor.__main__ import main
os.setresuid(4242, 4242, 4242)
sys.argv = sys.argv[1:]
main()
"""
