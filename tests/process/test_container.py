import re
import signal
from pathlib import Path

import psutil
import pytest

from tests.process.service import APP, Service, serialize_get
from tests.support.clock import block_until
from tests.support.live import LiveServer, LiveServers, resolve, run_to_exit
from tests.support.namespaces import (
    as_first_process,
    let_everybody_read_python,
    on_a_read_only_disk,
)
from tests.support.variations import vary

pytestmark = pytest.mark.slow
COMMAND = ["blazeio-supervisor", "app:web", "--workers", "2", "--drain-idle", "0.2"]
COMMAND += ["--canary-hold", "0"]


def start(
    live_server: LiveServers, folder: Path, wrapped: list[str], code: str = APP
) -> LiveServer:
    (folder / "app.py").write_text(code)
    server = live_server.start(wrapped, ready="event=ready", cwd=folder)
    block_until(lambda: len(server.children("blazeio: worker")) == 2, 10)
    return server


def find_master(server: LiveServer) -> psutil.Process:
    (master,) = server.children("blazeio: master")
    return master


@vary("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_process_of_a_container_ends_as_asked(
    live_server: LiveServers, tmp_path: Path, number: signal.Signals
) -> None:
    server = start(live_server, tmp_path, as_first_process(resolve(COMMAND)))
    master = find_master(server)
    with server.connect() as peer:
        peer.send(serialize_get("/slow"))
        block_until(lambda: has_client(server), 5)
        master.send_signal(number)
        assert peer.read_response().body == b"late"
    assert server.wait_exit() == 0
    assert server.log.count("event=stopping") == 1


def has_client(server: LiveServer) -> bool:
    return any(
        each.status == psutil.CONN_ESTABLISHED
        for worker in server.children("blazeio: worker")
        for each in worker.net_connections("tcp")
    )


def find_strangers(server: LiveServer, master: psutil.Process) -> list[psutil.Process]:
    """Children of the master that it has not made."""
    own = {each.pid for each in master.children()}
    return [each for each in server.children("sleep 3") if each.pid in own]


@pytest.mark.long
def test_the_first_process_reaps_strangers_and_is_upgraded_and_reloaded(
    live_server: LiveServers, tmp_path: Path
) -> None:
    # Its parent ends at once, so that it becomes a child of PID 1.
    code = APP + (
        "\nimport subprocess\n"
        "@web.on_start\n"
        "def start():\n"
        "    subprocess.run(['sh', '-c', 'sleep 3 &'])\n"
    )
    server = start(live_server, tmp_path, as_first_process(resolve(COMMAND)), code)
    master = find_master(server)
    block_until(lambda: bool(find_strangers(server, master)))
    strangers = find_strangers(server, master)
    block_until(lambda: not any(psutil.pid_exists(each.pid) for each in strangers))
    master.send_signal(signal.SIGUSR2)
    server.wait_for_log("event=upgraded .* pid 1 and 2 ", timeout_s=20)
    master.send_signal(signal.SIGHUP)
    server.wait_for_log("event=reloaded generation 2 ", timeout_s=20)
    master.send_signal(signal.SIGTERM)
    assert server.wait_exit() == 0


@pytest.mark.long
def test_nothing_needs_a_path_that_can_be_written(
    live_server: LiveServers, tmp_path: Path
) -> None:
    wrapped = on_a_read_only_disk(resolve(COMMAND))
    server = start(live_server, tmp_path, wrapped)
    service = Service(server, tmp_path)
    service.reload(2)
    assert service.get().status == 200
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert "Read-only" not in server.log
    assert "ERROR" not in server.log


@pytest.mark.long
def test_a_user_without_an_entry_or_a_home_needs_none_on_a_read_only_disk(
    live_server: LiveServers, open_folder: Path
) -> None:
    user = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"]

    def wrap(words: list[str]) -> list[str]:
        command = resolve(["env", "-u", "HOME", *user, *resolve(words)])
        aside = open_folder / "aside"
        return let_everybody_read_python(on_a_read_only_disk(command), aside)

    server = start(live_server, open_folder, wrap(COMMAND))
    service = Service(server, open_folder)
    assert psutil.Process(server.pid).uids().real == 12345
    for verb, said in (
        (["status"], f"app:web: master pid {server.pid}"),
        (["reload", "--wait"], "reloaded: generation 2"),
        (["doctor"], f"The service of pid {server.pid}"),
        (["stop"], f"pid {server.pid} is gone"),
    ):
        done = run_to_exit(wrap(["blazeio-supervisor", *verb]), timeout_s=20)
        assert done.stdout.startswith(said), done.stderr
        if verb != ["stop"]:
            assert service.get().status == 200
    assert server.wait_exit() == 0
    lines = server.log.splitlines()
    # A machine that is late is the tests' own doing.
    warned = [each for each in lines if re.search(r"WARNING (?!event=machine_)", each)]
    assert not warned
    assert "ERROR" not in server.log
