"""Start, reload, restart, stop; and what systemd hears of it all."""

import re

import pytest

from tests.process.service import APP
from tests.support.clock import block_until
from tests.systemd.machine import Machine, Unit

PLACE = "127.0.0.1:8000"
SETTINGS = (f'bind = ["{PLACE}"]', "workers = 2", "canary_hold = 0", "drain_idle = 0.1")
STAGES = ("READY=1", "RELOADING=1", "STOPPING=1")
_HEARD = re.compile(r"Got notification message from PID (\d+)(?:: | \()(.*?)\)?$")


@pytest.fixture(scope="module")
def unit(machine: Machine) -> Unit:
    machine.systemctl("log-level", "debug")  # so that it logs what it hears
    return machine.add_app("web", APP, *SETTINGS)


@pytest.fixture
def running(unit: Unit) -> Unit:
    unit.write_code(APP)
    if not unit.is_in("active/running"):
        unit.systemctl("start")
    block_until(lambda: "2/2 workers" in unit.show("StatusText")["StatusText"])
    return unit


def hear(unit: Unit, pid: str) -> list[list[str]]:
    """Every message of one master, as systemd logged it."""
    found = map(_HEARD.search, unit.journal().splitlines())
    return [each[2].split(", ") for each in found if each and each[1] == pid]


def test_a_start_returns_when_it_serves(unit: Unit, machine: Machine) -> None:
    unit.systemctl("start")
    assert unit.is_in("active/running")
    assert int(machine.get(f"http://{PLACE}/")) > 0


def test_systemd_hears_everything_in_its_order(running: Unit) -> None:
    pid = running.show("MainPID")["MainPID"]
    running.systemctl("reload")
    running.systemctl("stop")
    messages = hear(running, pid)
    kept, starting, *_ = messages
    assert kept == ["FDSTORE=1", "FDNAME=blazeio_tcp_//127.0.0.1_8000"]
    assert starting[0] == "STATUS=starting: 0/2 workers"
    assert starting[-1] == "EXTEND_TIMEOUT_USEC=20000000"
    stages = [message[:2] for message in messages if message[0] in STAGES]
    ready, reloading, again, stopping = stages
    assert ready == again == ["READY=1", f"MAINPID={pid}"]
    assert reloading[0] == "RELOADING=1"
    assert reloading[1].startswith("MONOTONIC_USEC=")
    assert stopping == ["STOPPING=1", "STATUS=draining: workers left 2"]


def test_a_reload_returns_when_the_new_code_serves(
    running: Unit, machine: Machine
) -> None:
    before = machine.get(f"http://{PLACE}/")
    with machine.visited(PLACE) as visits:
        running.systemctl("reload")
        assert machine.get(f"http://{PLACE}/") != before
    assert visits.failures == []
    assert running.is_in("active/running")


def test_a_reload_of_broken_code_fails_and_the_status_shows_why(
    running: Unit, machine: Machine
) -> None:
    before = machine.get(f"http://{PLACE}/"), running.show("MainPID")
    running.write_code("raise RuntimeError('no database')")
    done = running.systemctl("reload", may_fail=True)
    assert done.returncode == 1
    status = running.systemctl("status").stdout  # 0: it is active
    assert "the last reload failed: exit code " in status
    assert status.count("RuntimeError: no database") > 1
    assert "code=exited, status=1/FAILURE" in status
    after = {machine.get(f"http://{PLACE}/") for _ in range(20)}
    assert before[0] in after
    assert running.show("MainPID") == before[1]


def test_a_restart_refuses_nobody(running: Unit, machine: Machine) -> None:
    with machine.visited(PLACE) as visits:
        block_until(lambda: running.is_in("active/running"))
        running.systemctl("restart")
    assert visits.failures == []
    assert len(visits.answers) >= 2
    assert running.show("NFileDescriptorStore") == {"NFileDescriptorStore": "2"}


def test_an_upgrade_in_place_keeps_the_process_and_what_is_stored(
    running: Unit, machine: Machine
) -> None:
    before = running.show("MainPID", "NRestarts")
    with machine.visited(PLACE) as visits:
        assert running.verb("upgrade").returncode == 0
        assert running.show("MainPID", "NRestarts") == before
        running.systemctl("restart")
    assert visits.failures == []


def test_who_is_served_during_a_restart_is_answered_first(
    running: Unit, machine: Machine
) -> None:
    slow = machine.popen("curl", "-sS", f"http://{PLACE}/slow?1")
    block_until(lambda: '"in_flight":1' in running.verb("status", "--json").stdout)
    running.systemctl("restart")
    output, _ = slow.communicate(timeout=20)
    assert output == b"late"


def test_killed_as_a_whole_it_is_back_and_nobody_was_refused(
    running: Unit, machine: Machine
) -> None:
    before = running.show("NRestarts")["NRestarts"]
    with machine.visited(PLACE) as visits:
        running.systemctl("kill", "--kill-whom=all", "--signal=KILL")
        running.wait_for("active/running", NRestarts=str(int(before) + 1))
    lost = [failure for failure in visits.failures if "Refused" in failure]
    assert lost == []
    assert len(visits.failures) <= 1  # who was being served in that moment
    assert len(visits.answers) >= 2


def test_a_stop_ends_it_and_all_that_it_has_started(
    running: Unit, machine: Machine
) -> None:
    running.systemctl("stop")
    assert running.is_in("inactive/dead", Result="success", NFileDescriptorStore="0")
    refused = machine.run("curl", "-sS", f"http://{PLACE}/", may_fail=True)
    assert refused.returncode == 7
    assert "blazeio:" not in machine.run("ps", "-eo", "args").stdout


def test_an_upgrade_is_nothing_to_systemd(running: Unit, machine: Machine) -> None:
    before = running.show("MainPID", "NRestarts", "ActiveEnterTimestamp")
    running.systemctl("kill", "--kill-whom=main", "--signal=USR2")
    block_until(lambda: "event=upgraded" in running.journal(), 20)
    assert running.is_in("active/running")
    assert running.show("MainPID", "NRestarts", "ActiveEnterTimestamp") == before
    assert int(machine.get(f"http://{PLACE}/")) > 0
    running.systemctl("reload")
    assert running.is_in("active/running")
    running.systemctl("restart")
    assert running.is_in("active/running")
