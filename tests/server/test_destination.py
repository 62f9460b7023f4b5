"""Lines go out whole, and nobody waits for who takes them."""

import os
import pty
import select
import socket
import stat
import subprocess
import sys
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blazeio.errors import ConfigurationError
from blazeio.server.access_log import PIPE_BUF_BYTES, LogDestination

LINE = b"x" * 99 + b"\n"

Open = Callable[[str], LogDestination]


@pytest.fixture
def opened() -> Iterator[Open]:
    """``opened(path)``: a destination, closed after the test."""
    destinations: list[LogDestination] = []

    def start(path: str) -> LogDestination:
        destination = LogDestination(path)
        destinations.append(destination)
        return destination

    yield start
    for destination in destinations:
        destination.close()


@pytest.fixture
def standard_output() -> Iterator[Callable[[int], None]]:
    """Sets descriptor 1 for the time of the test."""
    former = os.dup(1)

    def set_to(fd: int) -> None:
        os.dup2(fd, 1)

    yield set_to
    os.dup2(former, 1)
    os.close(former)


def fill(destination: LogDestination) -> bytes:
    """Write until there is no room."""
    written = b""
    while taken := destination.write(LINE * 1000):
        written += (LINE * 1000)[:taken]
        assert len(written) < 100_000_000, "there is always room"
    return written


def read_all(fd: int) -> bytes:
    """What waits in it."""
    octets = b""
    while select.select([fd], [], [], 0)[0] and (more := os.read(fd, 65536)):
        octets += more
    return octets


# Files


def test_a_file_is_appended_to_and_private(tmp_path: Path, opened: Open) -> None:
    path = tmp_path / "access.log"
    umask = os.umask(0o022)
    try:
        assert opened(str(path)).write(LINE) == len(LINE)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert opened(str(path)).write(LINE * 9999) == len(LINE) * 9999
    assert path.read_bytes() == LINE * 10_000


def test_a_renamed_file_is_left_by_reopening(tmp_path: Path, opened: Open) -> None:
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    destination = opened(str(path))
    destination.write(b"1\n")
    path.rename(old)
    destination.write(b"2\n")
    destination.reopen()
    destination.write(b"3\n")
    assert (old.read_bytes(), path.read_bytes()) == (b"1\n2\n", b"3\n")


def test_what_cannot_be_reopened_stays_open(tmp_path: Path, opened: Open) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    destination = opened(str(folder / "access.log"))
    (folder / "access.log").rename(tmp_path / "old")
    folder.rmdir()
    with pytest.raises(ConfigurationError, match="No such file or directory"):
        destination.reopen()
    assert destination.write(LINE) == len(LINE)
    assert (tmp_path / "old").read_bytes() == LINE


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none/access.log", "No such file or directory"),
        ("", "Is a directory"),
        ("fifo", "No such device or address"),
    ],
)
def test_what_cannot_be_opened_is_said(tmp_path: Path, name: str, reason: str) -> None:
    os.mkfifo(tmp_path / "fifo")  # and nobody reads it
    path = tmp_path / name
    with pytest.raises(ConfigurationError) as caught:
        LogDestination(str(path))
    assert str(caught.value) == f"cannot open access log {path}: {reason}"


def test_a_full_disk_is_an_error_of_the_write(opened: Open) -> None:
    destination = opened("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        destination.write(LINE)


# Pipes


def test_a_pipe_takes_what_it_has_room_for_in_whole_lines(
    tmp_path: Path, opened: Open
) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    destination = opened(str(path))
    written = fill(destination)
    assert written.endswith(b"\n")
    assert destination.write(LINE) == 0
    assert read_all(reader) == written
    assert destination.write(LINE) == len(LINE)
    os.close(reader)


def test_pieces_fit_what_the_kernel_keeps_together(
    tmp_path: Path, opened: Open
) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    first, second = opened(str(path)), opened(str(path))
    written = fill(first)
    os.read(reader, PIPE_BUF_BYTES)  # room for one piece, not for two
    assert first.write(LINE * 60) == PIPE_BUF_BYTES // len(LINE) * len(LINE)
    assert second.write(LINE * 40) == 0
    lines = (written[PIPE_BUF_BYTES:] + LINE * 40).splitlines()
    assert set(read_all(reader).splitlines()[1:]) == set(lines[1:]) == {LINE[:-1]}
    os.close(reader)


def test_a_line_longer_than_that_is_written_too(tmp_path: Path, opened: Open) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    lines = LINE + b"y" * 10_000 + b"\n" + LINE
    assert opened(str(path)).write(lines) == len(lines)
    assert read_all(reader) == lines
    os.close(reader)


def test_a_pipe_without_a_reader_is_broken(tmp_path: Path, opened: Open) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    destination = opened(str(path))
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        destination.write(LINE)


# Standard output


def test_a_pipe_as_standard_output_keeps_its_flags(
    opened: Open, standard_output: Callable[[int], None]
) -> None:
    reader, writer = os.pipe()
    standard_output(writer)
    destination = opened("-")
    written = fill(destination)
    assert os.get_blocking(writer)
    assert read_all(reader) == written
    os.close(reader)
    os.close(writer)


def test_a_pipe_that_may_not_be_opened_anew_is_asked_first(
    opened: Open,
    standard_output: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    reader, writer = os.pipe()
    standard_output(writer)
    monkeypatch.setattr(os, "open", refuse)
    destination = opened("-")
    monkeypatch.undo()
    assert os.get_blocking(destination.fileno())
    written = fill(destination)
    assert read_all(reader) == written
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        destination.write(LINE)
    os.close(writer)


def test_a_terminal_that_is_stopped_is_not_waited_for(
    opened: Open, standard_output: Callable[[int], None]
) -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    standard_output(slave)
    destination = opened("-")
    written = fill(destination)
    assert os.get_blocking(slave)
    assert written.startswith(read_all(master)[:4000])
    os.close(slave)
    os.close(master)


def test_a_socket_as_standard_output_is_not_waited_for(
    opened: Open, standard_output: Callable[[int], None]
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        standard_output(theirs.fileno())
        destination = opened("-")
        written = fill(destination)
        assert os.get_blocking(theirs.fileno())
        assert read_all(ours.fileno()) == written
        destination.reopen()
        assert destination.write(LINE) == len(LINE)
        ours.close()
        with pytest.raises(BrokenPipeError):
            destination.write(LINE)


def test_a_file_as_standard_output_is_shared(
    tmp_path: Path, opened: Open, standard_output: Callable[[int], None]
) -> None:
    with (tmp_path / "out").open("wb", buffering=0) as file:
        standard_output(file.fileno())
        first, second = opened("-"), opened("-")
        first.write(b"1\n")
        second.write(b"2\n")
        file.write(b"3\n")
    assert (tmp_path / "out").read_bytes() == b"1\n2\n3\n"


def test_closing_it_leaves_standard_output_open() -> None:
    code = (
        "from blazeio.server.access_log import LogDestination as D\n"
        "d = D('-'); d.write(b'1\\n'); d.close(); print(2)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=30
    )
    assert done.stdout == b"1\n2\n"
