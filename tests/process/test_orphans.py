"""What becomes of a service whose master was killed, and of the next one."""

import contextlib
import re
from pathlib import Path

import psutil
import pytest

from tests.process.service import (
    APP,
    Service,
    change,
    read_title,
    serialize_get,
    start_service,
)
from tests.support.clock import block_until
from tests.support.live import LiveServers, resolve, run_to_exit
from tests.support.variations import vary

pytestmark = pytest.mark.slow
FOREVER = change(APP, "time.sleep(1.0)", "time.sleep(60)")


OWN_LISTENERS = 2
"""Descriptors of a worker's own listener: as it was given, and the loop's."""


def count_connections(process: psutil.Process) -> int:
    found = process.net_connections("tcp")
    return sum(each.status == psutil.CONN_ESTABLISHED for each in found)


def has_only_its_own(process: psutil.Process) -> bool:
    """Whether it has given back the queues that it adopted while others booted.

    One that is blocked cannot do so, and would shut theirs as well.
    """
    found = process.net_connections("tcp")
    return sum(each.status == psutil.CONN_LISTEN for each in found) <= OWN_LISTENERS


def block_one(service: Service, stack: contextlib.ExitStack) -> psutil.Process:
    """Block a worker for ever; gives it."""
    peer = stack.enter_context(service.server.connect())
    peer.send(serialize_get("/block"))
    workers = service.server.children("blazeio: worker")
    block_until(lambda: any(count_connections(each) for each in workers))
    (blocked,) = (each for each in workers if count_connections(each))
    return blocked


@pytest.mark.long
def test_a_new_master_is_refused_until_no_orphan_listens(
    live_server: LiveServers, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(FOREVER)
    command = ["blazeio-supervisor", "app:web", "--graceful-timeout", "30"]
    # In a session of its own, as under systemd: else the kernel wakes who is
    # stopped when the group loses its leader.
    first = live_server.start(
        ["setsid", "--wait", *resolve(command), "--workers", "3"], cwd=tmp_path
    )
    service = Service(first, tmp_path)
    service.wait_count(3)
    again = [*command, "--bind", f"127.0.0.1:{first.port}", "--workers", "2"]
    (master,) = first.children("blazeio: master")
    orphans = first.children("blazeio: ")
    workers = first.children("blazeio: worker")
    block_until(lambda: all(has_only_its_own(each) for each in workers))
    with contextlib.ExitStack() as stack:
        blocked = block_one(service, stack)
        stopped = next(each for each in workers if each != blocked)
        stopped.suspend()
        master.kill()
        refused = run_to_exit(again, cwd=tmp_path)
        assert refused.returncode == 5
        line = re.search(r"is in use by (.*)", refused.stderr)
        assert line is not None, refused.stderr
        # Everybody else has shut what is its own, the blocked one too.
        assert f"pid {stopped.pid} (blazeio: worker " in line[1]
        assert f"pid {blocked.pid} " not in line[1]
        stopped.resume()
        successor = Service(live_server.start(again, cwd=tmp_path), tmp_path)
        successor.wait_count(2)
        assert is_living(blocked)
        assert {int(successor.get().body) for _ in range(9)} <= set(successor.pids())
    blocked.kill()
    block_until(lambda: not any(is_living(each) for each in orphans), 5)


def is_living(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.long
def test_a_killed_forkserver_is_survived_even_by_a_worker_that_dies_meanwhile(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path)
    # From now on an import takes its time.
    slow = "import time\ntime.sleep(1.2)\n" + APP
    (tmp_path / "app.py").write_text(slow)
    (forkserver,) = service.server.children("blazeio: forkserver")
    victim, sibling = service.server.children("blazeio: worker")
    forkserver.kill()
    service.server.wait_for_log("event=reloading .*: what forked the workers is gone")
    victim.kill()
    block_until(lambda: not is_living(victim))
    answers = {int(service.get().body) for _ in range(4)}
    assert answers == {sibling.pid}  # its queue was adopted
    service.wait_for(
        lambda workers: [gen for gen, _ in workers.values()] == [2, 2], "generation 2"
    )
    titles = [read_title(each) for each in service.server.children("blazeio: fork")]
    assert titles == ["blazeio: forkserver gen 2"]


@vary(("options", "app"), [(["--no-preload"], "app:web"), ([], "app.py")])
def test_without_preload_a_respawn_runs_the_code_on_the_disk(
    live_server: LiveServers, tmp_path: Path, options: list[str], app: str
) -> None:
    service = start_service(live_server, tmp_path, *options, app=app, workers=1)
    service.server.wait_for_log(
        r"event=loaded gen=1: the app is imported by each worker \("
    )
    code = change(APP, "str(os.getpid())", "'new code'")
    (tmp_path / "app.py").write_text(code)
    psutil.Process(service.pids()[0]).kill()
    block_until(lambda: service.get().body == b"new code", 5)
    assert service.workers()[0][0] == 1
