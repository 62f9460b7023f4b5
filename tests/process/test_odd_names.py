"""Paths and texts that are not UTF-8: the disk has them, and exceptions quote them."""

import os
import signal
from pathlib import Path

import pytest

from tests.process.service import APP, Service, start_service
from tests.support.clock import scaled
from tests.support.live import LiveServers, run_to_exit
from tests.support.variations import vary

pytestmark = pytest.mark.slow
ODD = os.fsdecode(b"\xe9 \xff")
EXECS = """
import threading

threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
"""


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    folder = tmp_path / ODD
    folder.mkdir()
    return folder


def reload_and_stop(service: Service) -> None:
    service.wait_everybody_answers()
    service.reload(2)
    service.wait_everybody_answers()
    service.server.signal(signal.SIGTERM)
    assert service.server.wait_exit(scaled(10)) == 0
    assert "event=action_failed" not in service.server.log
    assert "Traceback" not in service.server.log


@pytest.mark.long
@vary("code", [APP, APP + EXECS], ids=["forked", "executed"])
def test_a_service_lives_in_a_folder_of_any_name(
    live_server: LiveServers, odd_folder: Path, code: str
) -> None:
    files = ["access.log", "service.pid"]
    options = "--access-log", str(odd_folder / files[0]), "--pid-file", files[1]
    service = start_service(live_server, odd_folder, *options, code=code, workers=1)
    told = run_to_exit(
        ["blazeio-supervisor", "status", "--instance", str(service.server.pid)]
    )
    assert "serving" in told.stdout, told
    assert (odd_folder / files[1]).exists()
    reload_and_stop(service)
    assert (odd_folder / files[0]).read_text()


@pytest.mark.long
def test_a_service_in_such_a_folder_is_upgraded(
    live_server: LiveServers, odd_folder: Path
) -> None:
    service = start_service(live_server, odd_folder, workers=1)
    service.server.signal(signal.SIGUSR2)
    service.server.wait_for_log("event=upgraded", timeout_s=20)
    reload_and_stop(service)


@pytest.mark.long
def test_a_unix_socket_may_lie_there(
    live_server: LiveServers, odd_folder: Path
) -> None:
    path = odd_folder / "s"
    options = "--bind", "127.0.0.1:0", "--bind", f"unix:{path}"
    service = start_service(live_server, odd_folder, *options, workers=1)
    assert path.is_socket()
    reload_and_stop(service)
    assert not path.exists()


@vary(("where", "code"), [("", 4), ("@web.on_start\ndef start():\n    ", 3)])
def test_an_exception_with_such_a_text_is_told(
    tmp_path: Path, where: str, code: int
) -> None:
    (tmp_path / "app.py").write_text(f"{APP}\n{where}raise OSError('no \\udcff')\n")
    command = ["blazeio-supervisor", "app:web", "--bind", "127.0.0.1:0"]
    done = run_to_exit(command, cwd=tmp_path)
    assert done.returncode == code
    assert done.stderr.count(r"OSError: no \udcff") == 2, done.stderr


def test_check_tells_it_too(tmp_path: Path) -> None:
    code = APP + "raise OSError('no \\udcff')\n"
    (tmp_path / "app.py").write_text(code)
    done = run_to_exit(["blazeio-supervisor", "check", "app:web"], cwd=tmp_path)
    assert done.returncode == 4
    assert r"OSError: no \udcff" in done.stdout + done.stderr
