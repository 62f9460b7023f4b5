import re
import socket
from pathlib import Path

import pytest

from tests.process.service import APP, start_service
from tests.support.live import LiveServers, run_to_exit
from tests.support.variations import vary

pytestmark = pytest.mark.slow
START_FAILS = """
import blazeio as io
web = io.App("127.0.0.1", 0)

@web.on_start
async def start():
    raise RuntimeError("no database")
"""
NEVER_READY = START_FAILS.replace(
    'raise RuntimeError("no database")', "await __import__('asyncio').sleep(60)"
)


@vary(
    ("app", "code", "status", "line"),
    [
        ("app:web", "1 / 0\n", 4, r"app failed to import: ZeroDivisionError"),
        ("app:web", "import none\n", 4, r"No module named 'none' \(app\.py:1\)"),
        ("app:web", START_FAILS, 3, r"failed to start: RuntimeError: no database"),
        ("none:web", "", 4, r"no module named 'none'"),
        ("app:none", APP, 4, r"no attribute 'none': did you mean web\?"),
        ("app:io", APP, 4, r"app:io is of type 'module': expected an App"),
        ("app.py", "", 4, r"app\.py ended without calling web\.runner\(\)"),
        ("app.py", "1 / 0\n", 4, r"app\.py failed: ZeroDivisionError"),
        ("none.py", "", 4, r"no such file: none\.py"),
    ],
    ids=[
        "import raises",
        "import needs",
        "on_start raises",
        "no module",
        "no attribute",
        "no app",
        "no runner",
        "script raises",
        "no script",
    ],
    usual=2,
)
def test_a_failed_boot_ends_with_its_code_and_one_line(
    tmp_path: Path, app: str, code: str, status: int, line: str
) -> None:
    (tmp_path / "app.py").write_text(code)
    done = run_to_exit(["blazeio-supervisor", app, "--workers", "3"], cwd=tmp_path)
    assert done.returncode == status, done.stderr
    (failed,) = re.findall(
        "^.* ERROR +event=boot_failed .*$", done.stderr, re.MULTILINE
    )
    assert re.search(line, failed)


def test_an_app_that_never_gets_ready_is_a_failed_boot(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(NEVER_READY)
    command = ["blazeio-supervisor", "app:web", "--workers", "1"]
    done = run_to_exit([*command, "--boot-timeout", "1"], cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "not ready within 1 s" in done.stderr


def test_the_traceback_is_the_apps_own_and_printed_once(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(START_FAILS)
    done = run_to_exit(
        ["blazeio-supervisor", "app:web", "--workers", "3"], cwd=tmp_path
    )
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.count('  File "') == 1


@pytest.mark.long
def test_a_taken_port_is_refused_with_the_pid_of_who_has_it(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path)
    bind = f"127.0.0.1:{service.server.port}"
    done = run_to_exit(["blazeio-supervisor", "app:web", "--bind", bind], cwd=tmp_path)
    assert done.returncode == 5
    assert (
        f"{bind} is in use by pid {service.server.pid} (blazeio: master [app:web])"
        in done.stderr
    )
    assert service.get().status == 200


def test_a_port_that_becomes_free_is_taken(
    live_server: LiveServers, tmp_path: Path
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        other.shutdown(socket.SHUT_RDWR)
    service = start_service(live_server, tmp_path, "--bind", f"127.0.0.1:{port}")
    assert service.server.port == port


@pytest.mark.long
def test_a_living_unix_socket_is_refused_and_a_stale_one_replaced(
    live_server: LiveServers, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    bind = ["--bind", f"unix:{path}"]
    (tmp_path / "app.py").write_text(APP)
    command = ["blazeio-supervisor", "app:web", "--workers", "1", *bind]
    first = live_server.start(command, ready="event=ready", cwd=tmp_path)
    done = run_to_exit(command, cwd=tmp_path)
    assert done.returncode == 5
    assert f"in use by pid {first.pid} (" in done.stderr
    first.children("blazeio: worker")[0].suspend()  # it cannot tidy up
    for process in first.group():
        process.kill()
    first.wait_exit()
    first.wait_group_gone()
    assert path.exists()
    second = live_server.start(command, ready="event=ready", cwd=tmp_path)
    second.end(5)
    assert not path.exists()
