import os
import signal
import sys
from pathlib import Path

import pytest

from blazeio_supervisor.process.channel import make_pair
from blazeio_supervisor.process.spawn import spawn_forkserver
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
