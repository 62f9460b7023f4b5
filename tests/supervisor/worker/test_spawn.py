import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

import pytest

from blazeio_supervisor.config.option import NO_FILE, OWN_FILE, PREFIX, PROJECT_FILE
from blazeio_supervisor.config.settings import OPTIONS
from blazeio_supervisor.ipc.channel import receive
from blazeio_supervisor.ipc.messages import Failed
from blazeio_supervisor.ipc.processes import list_children
from blazeio_supervisor.ipc.protocol import describe_skew, find_protocol
from blazeio_supervisor.ipc.signals import make_pair
from blazeio_supervisor.isolation import VARIABLES
from blazeio_supervisor.worker.starting import (
    DECIDING,
    EarlyForkserver,
    open_again,
    spawn_forkserver,
    start_at_once,
)
from tests.support.clock import block_until
from tests.support.descriptors import list_open


def test_a_forkserver_has_its_channel_and_no_other_descriptor_of_ours() -> None:
    own, theirs = make_pair()
    reader, writer = os.pipe()
    pid = spawn_forkserver(theirs)
    block_until(
        lambda: os.readlink(f"/proc/{pid}/exe") == os.path.realpath(sys.executable), 5
    )
    held = list_open(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    channel = os.readlink(f"/proc/self/fd/{theirs.fileno()}")
    for fd in (reader, writer):
        assert os.readlink(f"/proc/self/fd/{fd}") not in held
        os.close(fd)
    assert channel in held
    own.close()
    theirs.close()


def test_a_master_that_is_gone_before_its_first_word_ends_it() -> None:
    own, theirs = make_pair()
    pid = spawn_forkserver(theirs)
    theirs.close()
    own.close()
    assert os.waitpid(pid, 0)[1] == 0


def test_a_missing_interpreter_is_an_os_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    own, theirs = make_pair()
    with own, theirs, pytest.raises(FileNotFoundError):
        spawn_forkserver(theirs)


def test_variables_are_set_in_its_environment() -> None:
    own, theirs = make_pair()
    pid = spawn_forkserver(theirs, {"SOME_NAME": "some value"})
    shown = Path(f"/proc/{pid}/environ")
    block_until(lambda: shown.read_bytes() != b"", 5)  # empty during the exec
    environ = shown.read_bytes().split(b"\0")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    own.close()
    theirs.close()
    assert b"SOME_NAME=some value" in environ
    assert any(entry.startswith(b"PATH=") for entry in environ)


def test_a_log_file_is_opened_anew_for_it(tmp_path: Path) -> None:
    """So that no flag and no position of ours is its to change."""
    log = tmp_path / "log"
    code = (
        "import fcntl, os, socket\n"
        "from blazeio_supervisor.ipc.signals import make_pair\n"
        "from blazeio_supervisor.worker.starting import spawn_forkserver\n"
        "own, theirs = make_pair()\n"
        "pid = spawn_forkserver(theirs)\n"
        "for number in (1, 2):\n"
        "    theirs_flags = open(f'/proc/{pid}/fdinfo/{number}').read()\n"
        "    os.pidfd_open(pid)\n"
        "os.kill(pid, 9); os.waitpid(pid, 0)\n"
        "print(theirs_flags.split()[3], flush=True)\n"
        "os.write(2, b'of the master\\n')\n"
    )
    with log.open("wb") as file:
        file.write(b"before\n")
        file.flush()
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=file, stderr=file, check=True
        )
    assert done.returncode == 0
    before, flags, master = log.read_text().splitlines()
    assert (before, master) == ("before", "of the master")
    assert int(flags, 8) & os.O_APPEND


def test_what_shares_the_file_cannot_have_us_write_over_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        fd = open_again(file.fileno())
        os.write(fd, b"one\n")
        fcntl.fcntl(fd, fcntl.F_SETFL, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)
        os.write(file.fileno(), b"two\n")
        os.close(fd)
    assert log.read_bytes() == b"one\ntwo\n"


# One that is started before the master is whole


class Given(TypedDict):
    is_privileged: bool
    interpreter: str


GIVEN = Given(is_privileged=False, interpreter="")
OWN = find_protocol()


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def find_child() -> int:
    (child,) = list_children(os.getpid())
    return child


def test_one_that_is_not_taken_is_ended() -> None:
    with EarlyForkserver({}, **GIVEN):
        pid = find_child()
    assert is_gone(pid)


def test_one_that_is_taken_lives_on_and_is_taken_once() -> None:
    with EarlyForkserver({"A": "b"}, **GIVEN) as early:
        taken = early.take({"A": "b"}, **GIVEN, protocol=OWN)
        assert taken is not None
        assert early.take({"A": "b"}, **GIVEN, protocol=OWN) is None
    channel, pid = taken
    assert not is_gone(pid)
    channel.close()
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize(
    ("variables", "is_privileged", "interpreter"),
    [({}, False, ""), ({"A": "b"}, True, ""), ({"A": "b"}, False, "/usr/bin/python3")],
)
def test_one_that_was_started_otherwise_is_not_taken(
    variables: dict[str, str], is_privileged: bool, interpreter: str
) -> None:
    with EarlyForkserver({"A": "b"}, **GIVEN) as early:
        taken = early.take(
            variables,
            is_privileged=is_privileged,
            interpreter=interpreter,
            protocol=OWN,
        )
    assert taken is None


def test_it_is_told_the_protocol_when_it_is_taken() -> None:
    with EarlyForkserver({}, **GIVEN) as early:
        taken = early.take({}, **GIVEN, protocol="of another master")
    assert taken is not None
    channel, pid = taken
    with channel:
        message, _ = receive(channel) or (None, [])
        assert isinstance(message, Failed)
        assert message.reason == describe_skew("of another master")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == message.code


def test_one_that_has_died_meanwhile_is_no_fault() -> None:
    with EarlyForkserver({}, **GIVEN):
        pid = find_child()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


# One that is started before the settings are known


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and an environment that say nothing."""
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith(PREFIX) or name in VARIABLES:
            monkeypatch.delenv(name)
    return tmp_path


def starts(*words: str) -> bool:
    early = start_at_once(words)
    if early is not None:
        early.end()
    return early is not None


@pytest.mark.parametrize(
    "words",
    [
        ["app:web"],
        ["app.py", "--workers", "2"],
        ["--bind", "127.0.0.1:0", "app:web"],
        ["app:web", "--environment", "x"],
    ],
)
def test_a_plain_command_line_starts_one_at_once(plain: Path, words: list[str]) -> None:
    assert starts(*words)


@pytest.mark.parametrize("name", sorted(DECIDING))
def test_what_decides_on_it_is_waited_for(
    plain: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    flag = f"--{name.replace('_', '-')}"
    assert not starts("app:web", flag, "x")
    assert not starts("app:web", f"{flag}=x")
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", "x")
    assert not starts("app:web")


def test_what_decides_are_settings() -> None:
    assert DECIDING - {"config"} <= {option.key for option in OPTIONS}


@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_a_service_manager_is_waited_for(
    plain: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert not starts("app:web")


@pytest.mark.parametrize(
    "words", [[], ["status"], ["app:web", "--help"], ["app:web", "--print-config"]]
)
def test_what_serves_nothing_starts_none(plain: Path, words: list[str]) -> None:
    assert not starts(*words)


@pytest.mark.parametrize(
    ("name", "text", "is_plain"),
    [
        (OWN_FILE, "", False),
        (PROJECT_FILE, '[project]\ndependencies = ["blazeio-supervisor"]', True),
        (PROJECT_FILE, "[tool.blazeio]\nfd = 3", False),
        (PROJECT_FILE, "[tool]\nblazeio.fd = 3", False),
        (PROJECT_FILE, 'tool = {"blazeio" = {fd = 3}}', False),
    ],
)
def test_a_file_that_may_have_settings_is_waited_for(
    plain: Path, name: str, text: str, is_plain: bool
) -> None:
    (plain / name).write_text(text)
    assert starts("app:web") is is_plain
    assert starts("app:web", NO_FILE)


def test_a_file_that_cannot_be_read_is_waited_for(plain: Path) -> None:
    (plain / PROJECT_FILE).symlink_to(plain / "nowhere")
    assert not starts("app:web")


def test_one_that_cannot_be_started_is_left_to_the_master(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert start_at_once(["app:web"]) is None
