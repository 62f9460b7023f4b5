import contextlib
import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.service import (
    APP,
    Service,
    change,
    serialize_get,
    start_service,
)
from tests.process.strict_clients import StrictClients
from tests.support.clock import block_until, scaled
from tests.support.live import LiveServer, LiveServers, resolve
from tests.support.peer import BlockingPeer
from tests.support.variations import vary

pytestmark = pytest.mark.slow
ENDLESS = change(APP, "r.query or 0.4", "60")


@pytest.fixture
def service(live_server: LiveServers, tmp_path: Path) -> Service:
    return start_service(live_server, tmp_path)


def ask_slowly(
    service: Service, stack: contextlib.ExitStack, count: int
) -> list[BlockingPeer]:
    """So many slow requests in flight."""
    peers = [stack.enter_context(service.server.connect()) for _ in range(count)]
    for peer in peers:
        peer.send(serialize_get("/slow"))
    block_until(lambda: count_accepted(service) >= count)
    return peers


def count_accepted(service: Service) -> int:
    return sum(
        each.status == "ESTABLISHED"
        for worker in service.server.children("blazeio: worker")
        for each in worker.net_connections("tcp")
    )


@vary("number", [signal.SIGTERM, signal.SIGQUIT])
def test_what_is_in_flight_is_answered_then_it_ends_with_0(
    service: Service, number: signal.Signals
) -> None:
    with contextlib.ExitStack() as stack:
        peers = ask_slowly(service, stack, 20)
        service.server.signal(number)
        assert [peer.read_response().body for peer in peers] == [b"late"] * 20
    assert service.server.wait_exit() == 0
    assert not service.server.group()


def test_term_to_the_whole_group_loses_nothing_either(service: Service) -> None:
    with contextlib.ExitStack() as stack:
        peers = ask_slowly(service, stack, 20)
        os.killpg(service.server.pid, signal.SIGTERM)
        assert [peer.read_response().body for peer in peers] == [b"late"] * 20
    assert service.server.wait_exit() == 0
    assert not service.server.group()


@vary("send", [os.kill, os.killpg], ids=["master", "group"])
def test_connections_in_the_queue_are_served_at_the_end(
    live_server: LiveServers, tmp_path: Path, send: Callable[[int, int], None]
) -> None:
    service = start_service(live_server, tmp_path, workers=1)
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(service.server.connect())
        busy.send(serialize_get("/block"))
        block_until(lambda: count_accepted(service) == 1)
        queued = [stack.enter_context(service.server.connect()) for _ in range(10)]
        for peer in queued:
            peer.send(serialize_get())
        send(service.server.pid, signal.SIGTERM)
        assert {peer.read_response().status for peer in queued} == {200}
    assert service.server.wait_exit() == 0


def test_after_term_new_connections_are_refused_while_it_drains(
    service: Service,
) -> None:
    with contextlib.ExitStack() as stack:
        (peer,) = ask_slowly(service, stack, 1)
        service.server.signal(signal.SIGTERM)
        block_until(lambda: is_refused(service.server), 3)
        assert peer.read_response().body == b"late"
    assert service.server.wait_exit() == 0


def is_refused(server: LiveServer) -> bool:
    try:
        socket.create_connection((server.host, server.port)).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.long
def test_a_stop_under_load_refuses_clients_and_resets_none(service: Service) -> None:
    with StrictClients(service.server.host, service.server.port) as clients:
        block_until(lambda: clients.answered["slow"] > 10, 20)
        service.server.signal(signal.SIGTERM)
        assert service.server.wait_exit() == 0
    strange = [each for each in clients.failures if "Refused" not in each.what]
    assert not strange


def test_an_idle_service_ends_at_once(service: Service) -> None:
    with service.server.connect() as kept:
        kept.exchange(serialize_get())
        began_at = time.monotonic()
        service.server.signal(signal.SIGTERM)
        assert service.server.wait_exit() == 0
    assert time.monotonic() - began_at < scaled(15)  # of a grace period of 30 s


@pytest.mark.long
def test_what_outlasts_the_grace_period_is_cut(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(
        live_server, tmp_path, "--graceful-timeout", "0.5", code=ENDLESS
    )
    with contextlib.ExitStack() as stack:
        ask_slowly(service, stack, 2)
        service.server.signal(signal.SIGTERM)
        assert service.server.wait_exit() == 0
    service.server.wait_for_log("grace period of .* is over")


def test_int_ends_it_within_a_second_or_so(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, code=ENDLESS)
    with contextlib.ExitStack() as stack:
        ask_slowly(service, stack, 2)
        service.server.signal(signal.SIGINT)
        assert service.server.wait_exit() == 0
    assert not service.server.group()


def test_a_second_int_ends_it_at_once(live_server: LiveServers, tmp_path: Path) -> None:
    code = change(APP, "time.sleep(1.0)", "time.sleep(60)")
    service = start_service(live_server, tmp_path, code=code, workers=1)
    with service.server.connect() as peer:
        peer.send(serialize_get("/block"))
        block_until(lambda: count_accepted(service) == 1)
        service.server.signal(signal.SIGINT)
        service.server.wait_for_log("event=stopping")
        service.server.signal(signal.SIGINT)
        service.server.wait_for_log("event=killing ")
        assert service.server.wait_exit() == 0
    assert not service.server.group()


@pytest.mark.long
def test_a_signal_of_the_masters_ends_nobody_else(service: Service) -> None:
    os.killpg(service.server.pid, signal.SIGUSR1)
    service.server.signal(signal.SIGTTIN)
    service.wait_count(3)


class Terminal:
    """A master in the foreground of a terminal of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._own, theirs = os.openpty()
        command = ["blazeio-supervisor", "app:web", "--workers", "2"]
        self.process = subprocess.Popen(
            [*resolve(["setsid", "--ctty"]), *words, *resolve(command)],
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        os.set_blocking(self._own, False)
        self.said = ""

    def type(self, octets: bytes) -> None:
        os.write(self._own, octets)

    def wait_for(self, is_there: Callable[[str], object]) -> None:
        def is_said() -> bool:
            with contextlib.suppress(BlockingIOError, OSError):
                self.said += os.read(self._own, 65536).decode()
            return bool(is_there(self.said))

        block_until(is_said, 10, self.said)

    def resize(self) -> None:
        """As a window does; the kernel tells the foreground group."""
        size = struct.pack("4H", 50, 120, 0, 0)
        fcntl.ioctl(self._own, termios.TIOCSWINSZ, size)

    def hang_up(self) -> None:
        """As a window that is closed."""
        os.close(self._own)
        self._own = -1

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self._own >= 0:
            os.close(self._own)


def test_a_key_in_the_terminal_stops_the_master_and_hits_no_worker(
    tmp_path: Path,
) -> None:
    (tmp_path / "app.py").write_text(APP)
    terminal = Terminal(tmp_path)
    try:
        terminal.wait_for(lambda said: "event=ready" in said)
        port = int(terminal.said.partition("http://127.0.0.1:")[2].partition(":")[0])
        with BlockingPeer("127.0.0.1", port) as peer:
            peer.send(serialize_get("/slow"))
            terminal.resize()  # parks nobody here
            with BlockingPeer("127.0.0.1", port) as other:
                other.exchange(serialize_get())
            terminal.type(b"\x03")
            assert peer.read_response().body == b"late"
        assert terminal.process.wait(scaled(5)) == 0
        terminal.wait_for(lambda said: "event=stopping" in said)
        assert "event=park" not in terminal.said
        assert "KeyboardInterrupt" not in terminal.said
        assert "Traceback" not in terminal.said
    finally:
        terminal.close()


def test_a_service_ends_with_the_terminal_in_whose_foreground_it_is(
    tmp_path: Path,
) -> None:
    (tmp_path / "app.py").write_text(APP)
    log = tmp_path / "log"
    reset = ("/usr/bin/env", "--default-signal=HUP")  # whoever runs us may ignore it
    terminal = Terminal(tmp_path, *reset, f"BLAZEIO_LOG_FILE={log}")
    try:
        block_until(lambda: log.exists() and "event=ready" in log.read_text(), 20)
        terminal.hang_up()
        assert terminal.process.wait(scaled(10)) == 0
        assert "stopping asked for by SIGHUP, its terminal is gone" in log.read_text()
    finally:
        terminal.close()


@pytest.mark.long
def test_nohup_keeps_a_service_whose_terminal_is_gone(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    log = tmp_path / "log"
    terminal = Terminal(
        tmp_path, "/usr/bin/nohup", "/usr/bin/env", f"BLAZEIO_LOG_FILE={log}"
    )
    try:
        block_until(lambda: log.exists() and "event=ready" in log.read_text(), 20)
        terminal.hang_up()
        block_until(lambda: "event=reload_ok" in log.read_text(), 20)
        assert terminal.process.poll() is None
    finally:
        terminal.close()


LEAVES = """
import os, pathlib, signal, subprocess, sys, time

signal.signal(signal.SIGTTOU, signal.SIG_IGN)
log = pathlib.Path(sys.argv[1])
service = subprocess.Popen(sys.argv[2:], process_group=0)
os.tcsetpgrp(0, service.pid)
while not log.exists() or "event=ready" not in log.read_text():
    time.sleep(0.05)
os.tcsetpgrp(0, os.getpgrp())
"""
"""As a shell: a job of the foreground goes to the background, then the session ends."""


@pytest.mark.long
def test_who_was_left_by_its_terminal_reloads_by_a_later_signal(
    tmp_path: Path,
) -> None:
    (tmp_path / "app.py").write_text(APP)
    log = tmp_path / "log"
    shell = [sys.executable, "-c", LEAVES, str(log)]
    terminal = Terminal(tmp_path, *shell, "/usr/bin/env", f"BLAZEIO_LOG_FILE={log}")
    try:
        terminal.process.wait(scaled(30))
        (pid,) = re.findall(r"event=listening .*pid (\d+)", log.read_text())
        time.sleep(scaled(1.5))  # it has seen that its terminal is gone
        os.kill(int(pid), signal.SIGHUP)
        block_until(lambda: "event=reload_ok" in log.read_text(), 20)
        os.kill(int(pid), signal.SIGTERM)
        block_until(lambda: "event=stopped" in log.read_text(), 20)
    finally:
        terminal.close()


@pytest.mark.long
def test_at_the_end_new_clients_are_refused_and_none_is_left_waiting(
    service: Service,
) -> None:
    """A first packet that is dropped is sent again after a second."""
    place = ("127.0.0.1", service.server.port)
    waits, answered = [], 0
    with service.server.connect() as peer:
        peer.send(serialize_get("/slow"))
        block_until(lambda: count_accepted(service) >= 1)
        service.server.signal(signal.SIGTERM)
        while service.server.is_running():
            began_at = time.monotonic()
            with socket.socket() as sock:
                sock.settimeout(scaled(10))
                answered += sock.connect_ex(place) == 0
            waits.append(time.monotonic() - began_at)
        assert peer.read_response().body == b"late"
    assert answered < len(waits)
    late = [each for each in waits if each > 0.95]
    assert not late, late
