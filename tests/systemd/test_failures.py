"""What systemd does when the service fails, and what clients see of it."""

import subprocess

import pytest

from tests.process.service import APP
from tests.support.clock import block_until
from tests.systemd.machine import Machine, Unit

BROKEN = "raise RuntimeError('no database')"
QUICK = "[Service]\nRestartSec=100ms\n"
WATCHED = "[Service]\nWatchdogSec=4s\n"
HANG = """
@web.add_route
async def hang(r, route="/hang"):
    time.sleep(60)
"""
SETTINGS = ("canary_hold = 0", "drain_idle = 0.1")


def add(machine: Machine, name: str, port: int, code: str, *settings: str) -> Unit:
    unit = machine.add_app(
        name, code, f'bind = ["127.0.0.1:{port}"]', *SETTINGS, *settings
    )
    machine.add_drop_in(unit.name, "quick.conf", QUICK)
    return unit


def test_who_serves_nobody_is_ended_by_the_watchdog_and_comes_back(
    machine: Machine,
) -> None:
    unit = add(machine, "hang", 8001, APP + HANG, "workers = 1")
    machine.add_drop_in(unit.name, "watched.conf", WATCHED)
    unit.systemctl("start")
    pid = machine.get("http://127.0.0.1:8001/")
    hung = machine.popen("curl", "-sS", "http://127.0.0.1:8001/hang")
    unit.wait_for("active/running", NRestarts="1", timeout_s=30)
    hung.communicate(timeout=20)
    assert machine.get("http://127.0.0.1:8001/") != pid
    said = unit.journal()
    assert "Watchdog timeout" in said
    assert "Fatal Python error: Aborted" in said  # of the master, with its stack
    assert "its loop has stood still" in said  # of the worker: the cause


def test_who_idles_is_not_ended(machine: Machine) -> None:
    unit = add(machine, "idle", 8002, APP, "workers = 1")
    machine.add_drop_in(unit.name, "watched.conf", WATCHED)
    unit.systemctl("start")
    pid = unit.show("MainPID")
    # Twice the span, in which nobody asks.
    machine.run("sleep", "8")
    assert unit.show("MainPID") == pid
    assert unit.is_in("active/running", NRestarts="0")


def test_a_first_start_that_fails_is_reported_and_tried_until_it_is_mended(
    machine: Machine,
) -> None:
    unit = add(machine, "broken", 8003, BROKEN, "workers = 1")
    done = unit.systemctl("start", may_fail=True)
    assert done.returncode == 1
    assert unit.show("ExecMainStatus") == {"ExecMainStatus": "4"}
    block_until(lambda: unit.show("NRestarts")["NRestarts"] != "0", 20)
    unit.write_code(APP)
    unit.wait_for("active/running", timeout_s=30)
    assert "RuntimeError: no database" in unit.journal()


def test_settings_that_are_wrong_are_one_line_at_each_of_many_attempts(
    machine: Machine,
) -> None:
    unit = add(machine, "wrong", 8007, APP, "wrokers = 4")
    assert unit.systemctl("start", may_fail=True).returncode == 1
    # More often than the default of StartLimitBurst lets.
    block_until(lambda: int(unit.show("NRestarts")["NRestarts"]) > 6, 30)
    unit.systemctl("stop")
    assert "wrokers" in unit.journal()
    assert "Traceback" not in unit.journal()


def wait(machine: Machine, port: int) -> "subprocess.Popen[bytes]":
    url = f"http://127.0.0.1:{port}/"
    return machine.popen("curl", "-sS", "--max-time", "40", url)


def test_who_comes_while_it_is_broken_waits_until_it_is_mended(
    machine: Machine,
) -> None:
    unit = add(machine, "waited", 8004, APP, "workers = 1")
    unit.systemctl("start")
    unit.write_code(BROKEN)
    assert unit.systemctl("restart", may_fail=True).returncode == 1
    client = wait(machine, 8004)
    before = int(unit.show("NRestarts")["NRestarts"])
    block_until(lambda: int(unit.show("NRestarts")["NRestarts"]) > before + 1, 20)
    unit.write_code(APP)
    output, _ = client.communicate(timeout=40)
    assert int(output) > 0


def test_a_worker_that_is_killed_is_replaced_and_the_others_serve_on(
    machine: Machine,
) -> None:
    unit = add(machine, "oom", 8005, APP, "workers = 2")
    unit.systemctl("start")
    main = unit.show("MainPID")
    victim = machine.get("http://127.0.0.1:8005/")
    machine.run("kill", "-KILL", victim)
    assert machine.get("http://127.0.0.1:8005/")
    block_until(lambda: "killed by SIGKILL" in unit.journal())
    assert unit.is_in("active/running", NRestarts="0", OOMPolicy="continue")
    assert unit.show("MainPID") == main


@pytest.mark.parametrize("signal", ["TERM", "INT"])
def test_an_end_that_was_asked_for_is_not_undone(machine: Machine, signal: str) -> None:
    unit = add(machine, f"end-{signal.lower()}", 8006, APP, "workers = 1")
    unit.systemctl("start")
    unit.systemctl("kill", "--kill-whom=main", f"--signal={signal}")
    unit.wait_for("inactive/dead")
