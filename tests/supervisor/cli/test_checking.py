import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from blazeio_supervisor.cli.check import try_address
from blazeio_supervisor.cli.serve import check
from blazeio_supervisor.errors import BindError, SupervisorError
from blazeio_supervisor.sockets.address import TcpAddress
from tests.supervisor.typed import read_settings
from tests.supervisor.worker.lone_generation import HELLO


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hello.py").write_text(HELLO.replace("8000", "0"))
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(check, [*words])


@pytest.mark.slow
def test_an_app_that_would_start_is_told_so_in_three_lines(folder: Path) -> None:
    done = run("hello:web")
    settings, app, address = done.output.splitlines()
    assert settings == "settings   ok"
    assert app.startswith("app        hello:web imported in ")
    assert address == "address    127.0.0.1:0 can be opened"


@pytest.mark.slow
def test_one_that_raises_is_told_with_its_traceback_and_code(folder: Path) -> None:
    (folder / "broken.py").write_text("1 / 0")
    done = run("broken:web")
    assert isinstance(done.exception, SupervisorError)
    assert done.exception.exit_code == 4
    assert "broken failed to import: ZeroDivisionError" in str(done.exception)
    assert "Traceback" in done.output


@pytest.mark.parametrize(
    ("code", "status", "line"),
    [
        ("if True:\n", 4, "cannot be compiled: expected an indented block"),
        (None, 4, "script.py: No such file or directory"),
    ],
)
def test_a_script_is_compiled_and_not_run(
    folder: Path, code: str | None, status: int, line: str
) -> None:
    if code is not None:
        (folder / "script.py").write_text(code)
    done = run("script.py")
    assert isinstance(done.exception, SupervisorError)
    assert done.exception.exit_code == status
    assert line in str(done.exception)
    assert "can be compiled" in run("hello.py").output


def test_a_setting_that_is_wrong_is_told_before_anything_is_tried() -> None:
    done = run("hello:web", "--workers=0")
    assert isinstance(done.exception, SupervisorError)
    assert (done.exception.exit_code, done.output) == (2, "")


def test_an_address_of_somebody_else_cannot_be_had() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = TcpAddress(*other.getsockname())
        with pytest.raises(BindError, match=f":{address.port} is in use by pid"):
            try_address(read_settings(), address)
    assert "can be opened" in try_address(read_settings(), address)


def test_it_prints_the_settings_where_it_is_asked_to(folder: Path) -> None:
    assert run("hello:web", "--print-config").output.startswith("# Process\n")


@pytest.mark.slow
def test_an_app_that_writes_to_our_channel_is_told(folder: Path) -> None:
    (folder / "evil.py").write_text(
        "import os, socket\n"
        "for fd in map(int, os.listdir('/proc/self/fd')):\n"
        "    try:\n"
        "        found = socket.socket(fileno=os.dup(fd))\n"
        "    except OSError:\n"
        "        continue\n"
        "    if found.type == socket.SOCK_SEQPACKET:\n"
        "        found.send(b'junk')\n"
    )
    done = run("evil:web")
    assert isinstance(done.exception, SupervisorError)
    assert "misbehaved: it sent no message" in str(done.exception)
