"""USR2 and the verb `upgrade`: the master's own code is replaced under load."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from blazeio_supervisor.master.components import STATE_VERSION
from tests.process.installation import IN_EARNEST, Installation
from tests.process.service import APP, Service, start_service
from tests.process.strict_clients import StrictClients
from tests.support.clock import block_until, scaled
from tests.support.live import LiveServers, resolve, run_to_exit

pytestmark = pytest.mark.slow
FAILED = 1
NEW_VERSION = "\n\ndef find_version() -> str:\n    return '9.9'\n"
SLOW = f"""{IN_EARNEST}    import pathlib, time
    pathlib.Path("arriving").touch()
    while not pathlib.Path("arrive").exists(): time.sleep(0.01)
"""
UNTIL_TOLD = """
import pathlib, time
while not pathlib.Path("told").exists(): time.sleep(0.01)
"""
HANG = f"""{IN_EARNEST}    import time
    while True:
        try: time.sleep(600)
        except BaseException: pass
"""


@pytest.fixture
def installed(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "site")


@pytest.fixture
def timeout_s() -> float:
    return 10.0


@pytest.fixture
def service(
    live_server: LiveServers,
    tmp_path: Path,
    installed: Installation,
    timeout_s: float,
) -> Service:
    timeout = ("--upgrade-timeout", f"{scaled(timeout_s):g}")
    place = ("--control", "c.sock", "--pid-file", "pid")
    options = (*timeout, *place)
    service = start_service(live_server, tmp_path, *options, env=installed.env)
    service.wait_kept()  # files that change sooner are of no image
    return service


@pytest.fixture
def follower(service: Service) -> Iterator[subprocess.Popen[str]]:
    """Follows the events, from the first one on."""
    place = str(service.folder / "c.sock")
    words = ["blazeio-supervisor", "events", "--follow", "--json", "--control", place]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        resolve(words), stdout=pipe, stderr=pipe, text=True
    ) as process:
        yield process
        process.kill()


def verb(service: Service, *words: str) -> subprocess.CompletedProcess[str]:
    place = str(service.folder / "c.sock")
    command = ["blazeio-supervisor", *words, "--control", place]
    return run_to_exit(command, timeout_s=40)


def upgrade(service: Service, *options: str) -> str:
    """One that succeeds; gives what the verb says."""
    done = verb(service, "upgrade", *options)
    assert done.returncode == 0, f"{done.stderr}\n{service.server.log}"
    return done.stdout


def refuse(service: Service) -> str:
    """One that fails, and changes nothing; gives why."""
    before = service.workers()
    done = verb(service, "upgrade")
    assert (done.returncode, done.stdout) == (FAILED, ""), service.server.log
    assert service.workers() == before
    assert service.get().status == 200
    return done.stderr


def count_fds(service: Service) -> int:
    return psutil.Process(service.server.pid).num_fds()


def leave(service: Service) -> None:
    """USR2 with SLOW code: until the old image is gone."""
    service.server.signal(signal.SIGUSR2)
    block_until(lambda: (service.folder / "arriving").exists(), 20)


def arrive(service: Service) -> None:
    (service.folder / "arrive").touch()
    service.server.wait_for_log("event=upgraded ", timeout_s=20)


def test_the_new_code_goes_on_with_everything(
    service: Service, installed: Installation, follower: subprocess.Popen[str]
) -> None:
    before = service.workers()
    installed.append("version.py", NEW_VERSION)
    assert "blazeio 9.9 could take over" in upgrade(service, "--check-upgrade")
    assert "event=upgraded" not in service.server.log
    assert "upgraded: blazeio 9.9 has taken over" in upgrade(service)
    assert re.search(r"event=upgraded asked for by pid \d+: ", service.server.log)
    assert service.workers() == before
    service.wait_kept()
    fds = count_fds(service)
    service.server.signal(signal.SIGUSR2)
    service.server.wait_for_log("event=upgraded asked for by SIGUSR2: blazeio 9.9 in ")
    assert service.workers() == before

    killed = service.pids()[0]
    psutil.Process(killed).kill()
    service.wait_for(
        lambda found: len(found) == 2 and killed not in {p for _, p in found.values()},
        "a successor",
    )
    service.reload(2)
    service.wait_everybody_answers()
    block_until(lambda: count_fds(service) == fds)
    assert (service.folder / "pid").exists()
    service.server.signal(signal.SIGTERM)
    assert service.server.wait_exit() == 0
    said, last_word = follower.communicate(timeout=scaled(10))
    events = [json.loads(line) for line in said.splitlines()]
    seqs = [event["seq"] for event in events]
    assert seqs == [*range(1, len(seqs) + 1)]  # over both upgrades, none twice
    assert [each["event"] for each in events].count("upgraded") == 2
    assert (follower.returncode, last_word) == (0, "the service has ended\n")
    block_until(lambda: not service.server.group())
    assert not (service.folder / "pid").exists()


@pytest.mark.long
def test_what_the_rehearsal_sees_changes_nothing(
    service: Service, installed: Installation
) -> None:
    installed.append("master/master.py", "raise ImportError('half installed')\n")
    assert "cannot take over: ImportError: half installed" in refuse(service)
    installed.mend()
    installed.change(
        "master/components.py", f"STATE_VERSION = {STATE_VERSION}", "STATE_VERSION = 99"
    )
    reason = refuse(service)
    assert "knows state 99 and protocol" in reason
    assert reason.count("\n") == 1
    installed.mend()
    installed.append(
        "fleet/roster.py",
        "Roster.serving = lambda self: iter(())\n"
        "Roster.active = lambda self: [Slot(9)]\n",
    )
    assert "it would begin with Spawn(" in refuse(service)
    installed.mend()
    (service.folder / "app.py").write_text(APP + UNTIL_TOLD)
    service.server.signal(signal.SIGHUP)
    assert "a reload is under way" in refuse(service)
    (service.folder / "told").touch()
    service.server.wait_for_log("event=reloaded ")
    upgrade(service)


@pytest.mark.long
@pytest.mark.parametrize("timeout_s", [4.0])
def test_what_comes_after_the_rehearsal_brings_the_old_code_back(
    service: Service, installed: Installation
) -> None:
    for code, reason in (
        (f"{IN_EARNEST}    raise ImportError('gone again')\n", "gone again"),
        (HANG, "it did not begin within"),
    ):
        installed.append("master/master.py", code)
        assert reason in refuse(service)
        installed.mend()
    service.server.wait_for_log("the old code is back", count=2)
    installed.append("version.py", NEW_VERSION)
    assert "blazeio 9.9 has taken over" in upgrade(service)


@pytest.mark.long
def test_signals_and_deaths_on_the_way_are_seen_by_the_new_code(
    service: Service, installed: Installation
) -> None:
    installed.append("master/master.py", SLOW)
    leave(service)
    killed = service.pids()[0]
    psutil.Process(killed).kill()
    service.server.signal(signal.SIGHUP)
    service.server.signal(signal.SIGCHLD)
    arrive(service)
    service.server.wait_for_log(rf"event=worker_failed .*pid={killed}\b")
    service.server.wait_for_log("event=reloaded generation 2 ")
    service.wait_count(2)
    for name in ("arriving", "arrive"):
        (service.folder / name).unlink()
    leave(service)
    service.server.signal(signal.SIGTERM)
    (service.folder / "arrive").touch()
    assert service.server.wait_exit() == 0
    block_until(lambda: not service.server.group())


@pytest.mark.long
def test_without_an_interpreter_nothing_changes(
    live_server: LiveServers, tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    python = venv / "bin" / "python"
    python.symlink_to(Path(sys.executable).resolve())
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", venv)
    (tmp_path / "app.py").write_text(APP)
    server = live_server.start(
        ["env", str(python), "-m", "blazeio_supervisor", "app:web"],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
    )
    server.wait_for_log("event=ready ")
    python.unlink()
    server.signal(signal.SIGUSR2)
    server.wait_for_log(f"cannot start {python}: No such file or directory; nothing ")
    assert Service(server, tmp_path).get().status == 200


def test_at_once_is_not_too_soon(live_server: LiveServers, tmp_path: Path) -> None:
    service = start_service(live_server, tmp_path, "--control", "c.sock")
    assert "event=upgraded" not in service.server.log
    upgrade(service)


@pytest.mark.long
def test_an_image_is_not_of_two_versions(
    live_server: LiveServers, tmp_path: Path, installed: Installation
) -> None:
    place = ("--control", "c.sock")
    service = start_service(live_server, tmp_path, *place, env=installed.env)
    installed.append("fleet/roster.py", "# another version\n")
    service.server.wait_for_log("event=no_upgrade .*roster.py was replaced while it st")
    assert "could not be kept" in refuse(service)
    assert service.get().status == 200


@pytest.mark.long
def test_no_client_loses_a_request(service: Service, installed: Installation) -> None:
    assert verb(service, "scale", "3").returncode == 0
    service.wait_count(3)
    assert verb(service, "scale", "1").returncode == 0
    service.wait_count(1)
    pid = service.pids()
    with StrictClients(service.server.host, service.server.port, 12) as clients:
        upgrade(service)
        assert service.pids() == pid
        assert verb(service, "scale", "3").returncode == 0
        service.wait_count(3)
        block_until(lambda: min(clients.answered.values()) > 20, 20)
    assert not clients.failures
    assert len(service.pids()) == 3
