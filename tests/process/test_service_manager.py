"""What a service says to its manager, heard by a manager of the tests' own."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.service import APP, Service, start_service
from tests.support.clock import block_until
from tests.support.live import LiveServer, LiveServers, resolve, run_to_exit
from tests.support.service_manager import ListeningManager
from tests.support.variations import vary

pytestmark = pytest.mark.slow

OPEN_AND_EXEC = """
import os, socket, sys
count, name, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
opened = []
for at in range(count):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(opened[0].getsockname() if opened else ("127.0.0.1", 0))
    sock.listen()
    opened.append(sock)
address = "%s:%d" % opened[0].getsockname()
for at, sock in enumerate(opened):
    os.dup2(sock.fileno(), 50 + at)
for at in range(count):
    os.dup2(50 + at, 3 + at)
    os.close(50 + at)
os.environ.update(
    LISTEN_PID=str(os.getpid()),
    LISTEN_FDS=str(count),
    LISTEN_FDNAMES=":".join([name] * count),
)
os.execv(command[0], [word.replace("ADDRESS", address) for word in command])
"""
"""Opens sockets, as systemd does for a unit, and becomes the command."""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ListeningManager]:
    with ListeningManager(str(tmp_path / "notify")) as made:
        yield made


def manage(manager: ListeningManager, **variables: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.address, **variables}


def told(manager: ListeningManager) -> list[str]:
    """The stages in order."""
    stages = ("READY=1", "RELOADING=1", "STOPPING=1")
    return [line for line in manager.lines if line in stages]


def test_the_whole_life_is_told(
    live_server: LiveServers, tmp_path: Path, manager: ListeningManager
) -> None:
    service = start_service(live_server, tmp_path, env=manage(manager))
    block_until(lambda: told(manager) == ["READY=1"])
    assert manager.value("MAINPID") == str(service.server.pid)
    block_until(lambda: manager.value("STATUS").startswith("2/2 workers, gen 1, "))
    service.reload(2)
    block_until(lambda: told(manager) == ["READY=1", "RELOADING=1", "READY=1"])
    (message,) = [m for m in manager.messages if "RELOADING=1" in m]
    assert "MONOTONIC_USEC=" in message
    service.server.signal(signal.SIGTERM)
    assert service.server.wait_exit() == 0
    assert told(manager)[-1] == "STOPPING=1"
    assert manager.value("STATUS").startswith("draining: ")
    assert manager.value("EXTEND_TIMEOUT_USEC")


@pytest.mark.long
def test_a_reload_of_broken_code_is_told_with_its_reason(
    live_server: LiveServers, tmp_path: Path, manager: ListeningManager
) -> None:
    service = start_service(live_server, tmp_path, env=manage(manager))
    (tmp_path / "app.py").write_text("raise RuntimeError('no database')")
    service.server.signal(signal.SIGHUP)
    block_until(lambda: "RuntimeError: no database" in manager.value("STATUS"))
    assert told(manager) == ["READY=1", "RELOADING=1", "READY=1"]
    assert service.get().status == 200


def test_a_first_boot_that_fails_says_why_before_it_ends(
    tmp_path: Path, manager: ListeningManager
) -> None:
    done = run_to_exit(
        ["blazeio-supervisor", "nowhere:web", "--bind", "127.0.0.1:0"],
        env=manage(manager),
        cwd=tmp_path,
    )
    assert done.returncode == 4
    assert "no module named 'nowhere'" in manager.value("STATUS")
    assert "READY=1" not in manager.lines


@pytest.mark.long
def test_an_address_that_is_taken_is_told_with_the_kernels_number(
    tmp_path: Path, manager: ListeningManager
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        (tmp_path / "app.py").write_text("import blazeio as io\nweb = io.App()\n")
        done = run_to_exit(
            ["blazeio-supervisor", "app:web", "--bind", bind],
            env=manage(manager),
            cwd=tmp_path,
        )
    assert done.returncode == 5
    assert manager.value("ERRNO") == "98"


@pytest.mark.long
def test_an_idle_service_is_alive_and_a_blocked_one_is_not(
    live_server: LiveServers, tmp_path: Path, manager: ListeningManager
) -> None:
    service = start_service(
        live_server,
        tmp_path,
        workers=1,
        env=manage(manager, WATCHDOG_USEC="1000000"),
    )
    block_until(lambda: manager.lines.count("WATCHDOG=1") >= 3)
    assert service.get("/block").body == b"late"
    # After that second in which nobody was served it is alive again.
    before = manager.lines.count("WATCHDOG=1")
    block_until(lambda: manager.lines.count("WATCHDOG=1") > before)


def start_with_sockets(
    live_server: LiveServers, folder: Path, count: int, name: str, *options: str
) -> LiveServer:
    (folder / "app.py").write_text(APP)
    command = ["blazeio-supervisor", "app:web", "--drain-idle", "0.2", *options]
    opener = ["python", "-c", OPEN_AND_EXEC, str(count), name]
    words = [*opener, *resolve(command)]
    return live_server.start(words, cwd=folder, ready="event=ready")


@vary(("count", "mode"), [(1, "one shared queue"), (3, "a queue per slot")])
def test_sockets_of_a_unit_are_served_whatever_the_app_says(
    live_server: LiveServers, tmp_path: Path, count: int, mode: str
) -> None:
    server = start_with_sockets(
        live_server, tmp_path, count, "web.socket", "--workers", "3"
    )
    service = Service(server, tmp_path)
    service.wait_count(3)
    service.wait_everybody_answers()
    assert f", {mode}, " in server.log
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0


@pytest.mark.long
def test_queues_that_were_kept_are_all_served_by_fewer_workers(
    live_server: LiveServers, tmp_path: Path
) -> None:
    options = ("--workers", "1", "--bind", "ADDRESS")
    server = start_with_sockets(live_server, tmp_path, 4, "blazeio_tcp", *options)
    service = Service(server, tmp_path)
    assert {service.get().status for _ in range(40)} == {200}
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0


def test_a_descriptor_that_is_no_socket_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    (program,) = resolve(["blazeio-supervisor"])
    command = f"exec {program} app:web --fd 3 3</dev/null"
    done = run_to_exit(["bash", "-c", command], cwd=tmp_path)
    assert done.returncode == 2
    assert "descriptor 3 is not a socket" in done.stderr
    assert "Traceback" not in done.stderr
