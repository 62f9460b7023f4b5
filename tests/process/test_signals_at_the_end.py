"""No signal changes how a service ends once it was told to."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.process.service import APP, start_service
from tests.support.live import LiveServer, LiveServers

pytestmark = pytest.mark.slow
STORM = [
    signal.SIGTERM,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGWINCH,
]


def send_until_it_is_gone(server: LiveServer, numbers: list[signal.Signals]) -> int:
    """Send all of them again and again; how often."""
    count = 0
    while server.is_running() and count < 5000:
        for number in numbers:
            try:
                os.kill(server.pid, number)
            except ProcessLookupError:
                return count
        count += 1
        time.sleep(0.001)  # a rate, not a wait
    return count


def read_last_line(server: LiveServer) -> str:
    return server.log.rstrip().rpartition("\n")[2]


@pytest.mark.long
def test_a_storm_of_signals_during_the_stop_changes_nothing(
    live_server: LiveServers, tmp_path: Path
) -> None:
    pid_file = tmp_path / "service.pid"
    socket = tmp_path / "service.sock"
    binds = "--bind", "127.0.0.1:0", "--bind", f"unix:{socket}"
    options = *binds, "--pid-file", str(pid_file)
    server = start_service(live_server, tmp_path, *options).server
    server.signal(signal.SIGTERM)
    assert send_until_it_is_gone(server, STORM) > 0
    assert server.wait_exit() == 0
    assert "event=stopped " in read_last_line(server)
    assert not pid_file.exists()
    assert not socket.exists()


def test_so_it_is_while_the_app_is_being_imported(
    live_server: LiveServers, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(f"import time; time.sleep(60)\n{APP}")
    command = ["blazeio-supervisor", "app:web", "--bind", "127.0.0.1:0"]
    server = live_server.start(command, cwd=tmp_path, ready="event=bound")
    server.signal(signal.SIGTERM)
    send_until_it_is_gone(server, STORM)
    assert server.wait_exit() == 0
    assert "event=stopped " in read_last_line(server)


def test_int_is_heard_to_the_end_and_is_no_failure(
    live_server: LiveServers, tmp_path: Path
) -> None:
    server = start_service(live_server, tmp_path).server
    server.signal(signal.SIGTERM)
    send_until_it_is_gone(server, [signal.SIGINT])
    assert server.wait_exit() == 0
    assert "event=stopped " in read_last_line(server)


def test_a_signal_before_it_can_be_carried_out_waits(
    live_server: LiveServers, tmp_path: Path
) -> None:
    """The pid file is there before the loop runs: whoever reads it may signal."""
    pid_file = tmp_path / "service.pid"
    (tmp_path / "app.py").write_text(APP)
    command = ["blazeio-supervisor", "app:web", "--bind", "127.0.0.1:0"]
    server = live_server.start(
        [*command, "--pid-file", str(pid_file)], cwd=tmp_path, ready=""
    )
    while not pid_file.exists() and server.is_running():
        pass
    server.signal(signal.SIGHUP)
    server.wait_for_log("event=ready ")
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
