"""A ``.socket`` unit before the service, alone and as a queue for each worker."""

import pytest

from tests.process.service import APP
from tests.support.clock import block_until
from tests.systemd.machine import Machine, Unit

SETTINGS = ("workers = 2", "canary_hold = 0", "drain_idle = 0.1")
PLACE = "127.0.0.1:80"
QUEUES = """[Socket]
ListenStream=
ListenStream=127.0.0.1:81
ListenStream=127.0.0.1:81
ReusePort=yes
"""


@pytest.fixture(scope="module")
def unit(machine: Machine) -> Unit:
    unit = machine.add_app("web", APP, *SETTINGS)
    lines = f"[Socket]\nListenStream=\nListenStream={PLACE}\n"
    machine.add_drop_in("blazeio@web.socket", "listen.conf", lines)
    machine.systemctl("enable", "--now", "blazeio@web.socket")
    return unit


def test_the_first_client_starts_it_and_is_answered(
    unit: Unit, machine: Machine
) -> None:
    assert unit.is_in("inactive/dead")
    assert int(machine.get(f"http://{PLACE}/")) > 0
    assert unit.is_in("active/running")
    assert "http://127.0.0.1:80: 2 workers" in unit.journal()
    assert ", one shared queue, " in unit.journal()


def test_behind_it_a_restart_refuses_nobody(unit: Unit, machine: Machine) -> None:
    with machine.visited(PLACE) as visits:
        block_until(lambda: unit.is_in("active/running"))
        unit.systemctl("restart")
    assert visits.failures == []
    assert len(visits.answers) >= 2


def test_behind_it_a_kill_refuses_nobody(unit: Unit, machine: Machine) -> None:
    with machine.visited(PLACE) as visits:
        unit.systemctl("kill", "--kill-whom=all", "--signal=KILL")
        unit.wait_for("active/running", NRestarts="1")
    assert [each for each in visits.failures if "Refused" in each] == []
    assert len(visits.failures) <= 1


def test_stopped_it_is_started_by_who_comes(unit: Unit, machine: Machine) -> None:
    unit.systemctl("stop")
    assert machine.systemctl("is-active", "blazeio@web.socket").strip() == "active"
    assert int(machine.get(f"http://{PLACE}/")) > 0


def test_the_socket_is_restarted_with_the_service(unit: Unit, machine: Machine) -> None:
    machine.systemctl("restart", "blazeio@web.socket")
    assert int(machine.get(f"http://{PLACE}/")) > 0


def test_by_default_it_is_a_unix_socket_that_a_proxy_reaches(machine: Machine) -> None:
    machine.add_app("unix", APP, *SETTINGS)
    machine.systemctl("start", "blazeio@unix.socket")
    nobody = ["setpriv", "--reuid", "65534", "--clear-groups", "curl", "-sS"]
    socket = ["--unix-socket", "/run/blazeio-unix.sock", "http://a/"]
    assert int(machine.run(*nobody, *socket).stdout) > 0


def test_a_socket_for_each_worker_is_a_queue_for_each(machine: Machine) -> None:
    unit = machine.add_app("many", APP, *SETTINGS)
    machine.add_drop_in("blazeio@many.socket", "queues.conf", QUEUES)
    machine.systemctl("start", "blazeio@many.socket")
    unit.systemctl("start")
    seen = {machine.get("http://127.0.0.1:81/") for _ in range(40)}
    assert len(seen) == 2
    assert ", a queue per slot, " in unit.journal()
    with machine.visited("127.0.0.1:81") as visits:
        unit.systemctl("restart")
    assert visits.failures == []
