import os
import re
import signal
from pathlib import Path

import psutil
import pytest

from tests.process.service import (
    APP,
    Service,
    change,
    read_title,
    start_service,
)
from tests.process.strict_clients import StrictClients
from tests.support.clock import block_until, scaled
from tests.support.live import LiveServers
from tests.support.variations import vary

pytestmark = pytest.mark.slow


@pytest.fixture
def service(live_server: LiveServers, tmp_path: Path) -> Service:
    return start_service(live_server, tmp_path)


def wait_for_code(service: Service, wanted: bytes) -> None:
    """The last old worker is told to drain when the reload is over."""
    block_until(lambda: {service.get().body for _ in range(8)} == {wanted}, 15)


def test_hup_replaces_every_worker_by_new_code(service: Service) -> None:
    before = service.pids()
    code = change(APP, "str(os.getpid())", "'new code'")
    (service.folder / "app.py").write_text(code)
    service.reload(2)
    wait_for_code(service, b"new code")
    service.wait_count(2)
    assert not set(before) & set(service.pids())
    block_until(lambda: len(service.server.children("blazeio: forkserver")) == 1)


@pytest.mark.long
def test_a_reload_follows_a_moved_link(
    live_server: LiveServers, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        code = change(APP, "str(os.getpid())", f"'{name}'")
        (tmp_path / name / "app.py").write_text(code)
    (tmp_path / "current").symlink_to("one")
    command = ["blazeio-supervisor", "app:web", "--workers", "1"]
    folder = tmp_path / "current"
    server = live_server.start(
        [*command, "--canary-hold", "0"], cwd=folder, env={"PWD": str(folder)}
    )
    service = Service(server, folder)
    assert service.get().body == b"one"
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(tmp_path / "current")
    service.reload(2)
    wait_for_code(service, b"two")


@pytest.mark.long
def test_a_reload_that_takes_too_long_goes_back_in_every_slot(
    live_server: LiveServers, tmp_path: Path
) -> None:
    span = f"{scaled(6):g}"  # in which one slot must be done
    service = start_service(live_server, tmp_path, "--rollout-timeout", span)
    hanging = (
        "\n@web.on_start\nasync def start():\n"
        "    await asyncio.sleep(60 if os.path.exists('first') else 0)\n"
        "    open('first', 'w').close()\n"
    )
    code = change(APP, "str(os.getpid())", "'new code'") + hanging
    (service.folder / "app.py").write_text(code)
    service.server.signal(signal.SIGHUP)
    service.server.wait_for_log(
        r"event=reload_failed generation 2 .*: not done within \S+ s .*: "
        r"still rolling, 1 of 2 slots done; rolled back",
        timeout_s=30,
    )
    service.wait_for(
        lambda workers: {generation for generation, _ in workers.values()} == {1},
        "generation 1 everywhere",
    )
    assert service.get().body != b"new code"


@vary(
    ("code", "reason"),
    [
        ("1 / 0\n", "ZeroDivisionError"),
        (
            APP + "\n@web.on_start\ndef start():\n    raise OSError('no database')\n",
            "OSError: no database",
        ),
        (
            APP + "\n@web.on_start\nasync def start():\n    await asyncio.sleep(60)\n",
            "not ready within",
        ),
        (
            APP + "\n@web.on_start\nasync def start():\n    os._exit(9)\n",
            r"os\._exit\(9\)",
        ),
    ],
    ids=["import", "on_start", "never ready", "dies"],
)
def test_broken_code_leaves_the_old_workers_as_they_are(
    live_server: LiveServers, tmp_path: Path, code: str, reason: str
) -> None:
    service = start_service(live_server, tmp_path)
    before = service.workers()
    config = tmp_path / "blazeio.toml"
    config.write_text("boot_timeout = 1.5\n" if "not ready" in reason else "")
    (service.folder / "app.py").write_text(code)
    service.server.signal(signal.SIGHUP)
    service.server.wait_for_log(rf"event=reload_failed .*{reason}")
    service.wait_count(2)
    assert service.workers() == before
    assert int(service.get().body) in service.pids()
    (service.folder / "app.py").write_text(APP)
    config.unlink()
    service.reload(3)


@pytest.mark.long
def test_code_that_dies_soon_after_it_was_ready_is_not_rolled_out(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, "--canary-hold", "1")
    before = service.workers()
    dies = "\n@web.on_start\ndef s():\n    io.loop.call_later(0.3, os._exit, 9)\n"
    (service.folder / "app.py").write_text(APP + dies)
    service.server.signal(signal.SIGHUP)
    service.server.wait_for_log(r"event=reload_failed .*exit code 9")
    service.wait_count(2)
    assert service.workers() == before


@pytest.mark.long
def test_five_reloads_under_load_lose_no_request(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, workers=4)
    with StrictClients(service.server.host, service.server.port) as clients:
        for generation in range(2, 7):
            block_until(lambda: clients.answered["slow"] > 20 * (generation - 1), 20)  # noqa: B023
            service.reload(generation)
    assert not clients.failures
    assert min(clients.answered[kind] for kind in ("post", "slow", "once")) > 0
    assert len(clients.pids) > 20


def test_clients_that_keep_their_connections_prove_the_new_code_too(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path, "--canary-hold", "60")
    address = service.server.host, service.server.port
    with StrictClients(*address, count=16, kinds=("post",)) as clients:
        block_until(lambda: clients.answered["post"] > 50)
        service.reload(2)  # it waits for less than that
    assert not clients.failures


def test_hups_in_quick_succession_end_in_the_last_code(service: Service) -> None:
    for number in range(5):
        code = change(APP, "str(os.getpid())", f"'code {number}'")
        (service.folder / "app.py").write_text(code)
        service.server.signal(signal.SIGHUP)
    service.server.wait_for_log("event=reloaded", timeout_s=20)
    wait_for_code(service, b"code 4")
    service.wait_count(2)


@pytest.mark.long
def test_reloads_leak_neither_descriptors_nor_processes_nor_threads(
    service: Service,
) -> None:
    service.reload(2)
    service.wait_count(2)
    service.wait_kept()  # some twenty descriptors hold the running program
    block_until(lambda: len(service.server.children()) == 3)
    master = psutil.Process(service.server.pid)
    before = master.num_fds()
    for generation in range(3, 8):
        service.reload(generation)
    service.wait_count(2)
    block_until(lambda: len(service.server.children()) == 3)
    # Not at once, and perhaps less: a file may be open that is being read.
    block_until(lambda: master.num_fds() <= before)
    # One measures memory, one may just be closing what a dead worker has left.
    block_until(lambda: master.num_threads() <= 2)
    (worker, *_) = service.server.children("blazeio: worker")
    assert worker.num_fds() < 24, os.listdir(f"/proc/{worker.pid}/fd")


@pytest.mark.long
def test_a_stop_during_a_reload_wins(service: Service) -> None:
    code = APP + "\nimport time\ntime.sleep(30)\n"
    (service.folder / "app.py").write_text(code)
    service.server.signal(signal.SIGHUP)
    block_until(
        lambda: any(
            "gen 2" in read_title(each)
            for each in service.server.children("blazeio: forkserver")
        )
    )
    service.server.signal(signal.SIGTERM)
    assert service.server.wait_exit() == 0
    service.server.wait_group_gone()


@pytest.mark.long
def test_a_script_is_reloaded_too(live_server: LiveServers, tmp_path: Path) -> None:
    service = start_service(live_server, tmp_path, app="app.py")
    (tmp_path / "app.py").write_text(change(APP, "str(os.getpid())", "'new'"))
    service.reload(2)
    wait_for_code(service, b"new")


@pytest.mark.long
def test_a_reload_that_failed_is_one_event(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path)
    (service.folder / "app.py").write_text("raise OSError('no database')\n")
    service.server.signal(signal.SIGHUP)
    service.server.wait_for_log("event=reload_failed .*no database")
    (service.folder / "app.py").write_text(APP)
    service.reload(3)
    failed = re.findall("event=(reload_(?:not|fail)\\S+)", service.server.log)
    assert failed == ["reload_failed"]
