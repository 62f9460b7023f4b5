"""What the hardened unit forbids, and all that works in it."""

import json

import pytest

from blazeio_supervisor.errors import count_of
from tests.process.service import APP
from tests.support.clock import block_until
from tests.systemd.machine import Machine, Unit

PROBE = """
import json, pathlib

def attempt(deed):
    try:
        return repr(deed())
    except OSError as error:
        return error.strerror

@web.add_route
async def sandbox(r, route="/sandbox"):
    state = os.environ["STATE_DIRECTORY"]
    await io.Deliver.json(r, {
        "uid": os.getuid(),
        "state": state,
        "write state": attempt(lambda: pathlib.Path(state, "a").write_text("b")),
        "write tmp": attempt(lambda: pathlib.Path("/tmp/a").write_text("b")),
        "write etc": attempt(lambda: pathlib.Path("/etc/a").write_text("b")),
        "write code": attempt(lambda: pathlib.Path("/srv/web/a").write_text("b")),
        "list homes": attempt(lambda: os.listdir("/home") + os.listdir("/root")),
        "others": attempt(lambda: os.path.exists("/proc/1/comm")),
        "nice": attempt(lambda: os.nice(-5)),
        "manager": sorted({"NOTIFY_SOCKET", "LISTEN_FDS"} & os.environ.keys()),
    })
"""
SETTINGS = ('bind = ["127.0.0.1:8000"]', 'workers = "auto"', "canary_hold = 0")


@pytest.fixture(scope="module")
def unit(machine: Machine) -> Unit:
    unit = machine.add_app("web", APP + PROBE, *SETTINGS)
    unit.systemctl("start")
    return unit


def test_the_app_has_a_user_of_its_own_and_may_do_nothing_else(
    unit: Unit, machine: Machine
) -> None:
    seen = json.loads(machine.get("http://127.0.0.1:8000/sandbox"))
    assert 61184 <= seen.pop("uid") <= 65519  # systemd's range for dynamic users
    assert seen == {
        "state": "/var/lib/blazeio/web",
        "write state": "1",
        "write tmp": "1",
        "write etc": "Read-only file system",
        "write code": "Read-only file system",
        "list homes": "Permission denied",
        "others": "False",
        "nice": "Operation not permitted",
        "manager": [],
    }


def test_two_apps_are_two_users(unit: Unit, machine: Machine) -> None:
    other = machine.add_app("other", APP, 'bind = ["127.0.0.1:8001"]', "workers = 1")
    other.systemctl("start")
    pids = [each.show("MainPID")["MainPID"] for each in (unit, other)]
    users = machine.run("ps", "-o", "user:32=", "-p", ",".join(pids)).stdout.split()
    assert users == ["blazeio-web", "blazeio-other"]
    other.systemctl("stop")


def test_the_verbs_work_from_outside_and_memory_is_measured(unit: Unit) -> None:
    def read_workers() -> list[dict[str, object]]:
        said = unit.verb("status", "--json", "--instance", "web").stdout
        workers: list[dict[str, object]] = json.loads(said)["workers"]
        return workers

    block_until(lambda: all(worker["own_bytes"] for worker in read_workers()), 20)
    assert "Python and loop" in unit.verb("doctor").stdout
    assert "slot 0, pid " in unit.verb("stack", "0").stdout
    assert unit.verb("recycle", "0", "--wait").returncode == 0
    assert unit.verb("scale", "2", "--wait").returncode == 0


def test_the_workers_are_as_many_as_cores(unit: Unit, machine: Machine) -> None:
    cores = machine.run("nproc").stdout.strip()
    assert f": {count_of(int(cores), 'worker')}, a queue per slot" in unit.journal()


def test_what_it_says_is_in_the_journal_with_its_fields(unit: Unit) -> None:
    entries = [e for e in unit.entries() if "event=ready " in str(e.get("MESSAGE"))]
    (entry,) = entries
    assert entry["_SYSTEMD_UNIT"] == unit.name
    assert entry["SYSLOG_IDENTIFIER"] == "blazeio-supervisor"
    assert entry["_PID"] == unit.show("MainPID")["MainPID"]
    # The journal has the time, and takes the priority that stands before a line.
    assert str(entry["MESSAGE"]).startswith("INFO ")
    assert entry["PRIORITY"] == "6"


def test_systemd_finds_no_fault_in_the_units(unit: Unit, machine: Machine) -> None:
    units = [f"/etc/systemd/system/blazeio@.{kind}" for kind in ("service", "socket")]
    script = 'cd "$(mktemp -d)" && for f; do cp "$f" "$(basename "$f" | sed s/@/@web/)"'
    script += "; done && systemd-analyze verify --recursive-errors=one ./*"
    done = machine.run("sh", "-c", script, "sh", *units)
    assert done.stderr == ""


def test_as_it_runs_its_exposure_is_as_low_as_its_file_says(
    unit: Unit, machine: Machine
) -> None:
    said = machine.run("systemd-analyze", "security", "--threshold=9", unit.name)
    assert "Overall exposure level" in said.stdout
