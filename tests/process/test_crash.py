import contextlib
import os
import signal
import socket
from pathlib import Path

import psutil
import pytest

from tests.process.service import (
    APP,
    change,
    serialize_get,
    start_service,
)
from tests.process.strict_clients import StrictClients
from tests.support.clock import block_until
from tests.support.live import LiveServers
from tests.support.peer import BlockingPeer

pytestmark = pytest.mark.slow


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_a_killed_worker_is_replaced_at_once(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, workers=1)
    for _ in range(3):
        (pid,) = service.pids()
        kill(pid)
        assert int(service.get().body) != pid  # it waited in the queue of the slot
        service.server.wait_for_log(
            rf" pid={pid}: killed by SIGKILL.*; another one starts at once$"
        )
        service.wait_count(1)


def test_the_death_and_its_signal_are_in_the_log(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path)
    (_, pid) = service.workers()[1]
    kill(pid)
    service.server.wait_for_log(
        rf"WARNING .*slot=1 gen=1 pid={pid}.* killed by SIGKILL"
    )


def test_connections_in_the_queue_of_a_killed_worker_are_served(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, workers=1)
    (pid,) = service.pids()
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(service.server.connect())
        busy.send(serialize_get("/block"))
        block_until(lambda: psutil.Process(pid).status() == "sleeping")
        block_until(lambda: count_connections(pid) == 1)
        queued = [stack.enter_context(service.server.connect()) for _ in range(30)]
        for peer in queued:
            peer.send(serialize_get())
        kill(pid)
        answers = {peer.read_response().body for peer in queued}
    assert answers == {str(each).encode() for each in service.pids()}


def count_connections(pid: int) -> int:
    found = psutil.Process(pid).net_connections("tcp")
    return sum(each.status == psutil.CONN_ESTABLISHED for each in found)


@pytest.mark.long
def test_of_kills_under_load_only_what_was_in_flight_is_lost(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, workers=4)
    with StrictClients(service.server.host, service.server.port) as clients:
        for count in range(1, 4):
            block_until(lambda: clients.answered["slow"] > 20 * count, 20)  # noqa: B023
            kill(service.pids()[0])
            service.wait_count(4)
    never_connected = [each for each in clients.failures if each.phase == "connect"]
    assert not never_connected
    # At most every connection that a quarter of the clients had, three times.
    assert len(clients.failures) <= 3 * 48 / 2, clients.failures


@pytest.mark.long
def test_a_worker_that_keeps_dying_does_not_end_the_service(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path)
    for _ in range(5):
        _, pid = service.workers().get(0, (0, 0))
        if pid:
            kill(pid)
        block_until(lambda: service.workers().get(0, (0, pid))[1] != pid, 10)  # noqa: B023
        assert service.get().status == 200
    reason = r"event=crash_loop slot=0: 3 workers in a row .*: killed by SIGKILL"
    service.server.wait_for_log(reason)
    assert service.server.log.count("event=crash_loop") == 1
    assert service.server.is_running()


def test_a_killed_forkserver_is_replaced(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path)
    (forkserver,) = service.server.children("blazeio: forkserver")
    kill(forkserver.pid)
    block_until(
        lambda: [
            each.pid
            for each in service.server.children("blazeio: forkserver")
            if each.pid != forkserver.pid
        ],
        10,
    )
    assert service.get().status == 200
    kill(service.pids()[0])
    service.wait_count(2)


def test_workers_outlive_a_killed_master_only_for_what_they_have(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path)
    address = (service.server.host, service.server.port)
    group = service.server.group()
    with service.server.connect() as peer, service.server.connect() as queued:
        peer.send(serialize_get("/slow"))
        queued.send(serialize_get())
        block_until(lambda: sum(count_connections(pid) for pid in service.pids()) == 2)
        service.server.signal(signal.SIGKILL)
        assert peer.read_response().body == b"late"
        assert queued.read_response().status == 200
    service.server.wait_exit()
    block_until(lambda: not [each for each in group if is_living(each)], 5)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen()


def is_living(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_blocked_orphan_gives_the_port_back(
    live_server: LiveServers, tmp_path: Path
) -> None:
    code = change(APP, "time.sleep(1.0)", "time.sleep(2.2)")
    service = start_service(live_server, tmp_path, workers=1, code=code)
    host, port = service.server.host, service.server.port
    (pid,) = service.pids()
    with service.server.connect() as busy:
        busy.send(serialize_get("/block"))
        block_until(lambda: count_connections(pid) == 1)
        service.server.signal(signal.SIGKILL)
        service.server.wait_exit()
        block_until(lambda: is_refused(host, port), 1.9)  # long before it unblocks
        assert busy.read_response().body == b"late"
    service.server.wait_group_gone()


def is_refused(host: str, port: int) -> bool:
    try:
        with BlockingPeer(host, port):
            return False
    except ConnectionRefusedError:
        return True


@pytest.mark.long
def test_what_a_killed_worker_left_behind_is_reaped(
    live_server: LiveServers, tmp_path: Path
) -> None:
    code = APP + (
        "\nimport subprocess\n"
        "@web.on_start\n"
        "def start():\n"
        "    subprocess.Popen(['sleep', '0.3'])\n"
    )
    service = start_service(live_server, tmp_path, code=code, workers=1)
    (child,) = service.server.children("sleep 0.3")
    (pid,) = service.pids()
    kill(pid)
    block_until(lambda: not psutil.pid_exists(child.pid), 5)
