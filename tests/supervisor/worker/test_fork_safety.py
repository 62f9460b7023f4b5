import asyncio
import ctypes
import fcntl
import mmap
import multiprocessing
import os
import select
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from blazeio_supervisor.worker.fork_safety import (
    ImportSnapshot,
    find_fork_dangers,
    find_unread_files,
    open_anew,
    take_snapshot,
)
from blazeio_supervisor.worker.import_app import ImportOrigins

# Each looks through all objects of a process that has all tests loaded.
pytestmark = [pytest.mark.slow, pytest.mark.long]


@contextmanager
def running_thread(name: str) -> Iterator[None]:
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait, name=name)
    thread.start()
    try:
        yield
    finally:
        gate.set()
        thread.join()


def new_dangers(before: ImportSnapshot, known: tuple[str, ...]) -> list[str]:
    return [each for each in find_fork_dangers(before) if each not in known]


def test_an_import_that_left_nothing_is_safe() -> None:
    before = take_snapshot()
    known = find_fork_dangers(before)
    assert not new_dangers(before, known)


def test_a_running_thread_is_named() -> None:
    before = take_snapshot()
    known = find_fork_dangers(before)
    with running_thread("poller"):
        assert new_dangers(before, known) == ["the thread 'poller' is running"]


def test_an_open_socket_is_told_with_its_addresses() -> None:
    before = take_snapshot()
    with socket.socket() as listener, socket.socket() as sock:
        assert "a socket is open" in find_fork_dangers(before)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert f"a socket at 127.0.0.1:{port} is open" in find_fork_dangers(before)
        sock.connect(("127.0.0.1", port))
        own = sock.getsockname()[1]
        said = f"a socket at 127.0.0.1:{own} to 127.0.0.1:{port} is open"
        assert said in find_fork_dangers(before)


def test_an_epoll_that_is_no_loop_of_asyncio_is_told() -> None:
    before = take_snapshot()
    with select.epoll():
        assert "an eventpoll is open" in find_fork_dangers(before)


class NativeThread:
    """A thread of the C library, which Python knows nothing of."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._semaphore = ctypes.create_string_buffer(64)
        self._thread = ctypes.c_ulong()
        self._libc.sem_init(self._semaphore, 0, 0)
        wait = self._libc.sem_wait
        self._libc.pthread_create(
            ctypes.byref(self._thread), None, wait, self._semaphore
        )
        self.is_running = True

    def end(self) -> None:
        if self.is_running:
            self.is_running = False
            self._libc.sem_post(self._semaphore)
            self._libc.pthread_join(self._thread, None)


def test_a_native_thread_that_outlasts_a_fork_is_told() -> None:
    before = take_snapshot()
    known = find_fork_dangers(before)  # pytest's watchdog is a native thread, too
    thread = NativeThread()
    (found,) = new_dangers(before, known)
    thread.end()
    assert "native thread(s) are running (" in found


def test_a_library_that_ends_its_threads_before_a_fork_is_safe() -> None:
    before = take_snapshot()
    known = find_fork_dangers(before)
    thread = NativeThread()
    os.register_at_fork(before=thread.end)
    assert not new_dangers(before, known)
    assert not thread.is_running


def test_an_event_loop_is_seen_until_it_is_closed() -> None:
    before = take_snapshot()
    known = find_fork_dangers(before)
    loop = asyncio.new_event_loop()
    seen = new_dangers(before, known)
    loop.close()
    assert seen == ["an event loop was made (_UnixSelectorEventLoop)"]
    assert not new_dangers(before, known)


def open_and_tell(path: Path, mode: str, *, read: int = 0) -> list[str]:
    """What is told of a file that is open in this mode, after so much was read."""
    before = take_snapshot()
    known = find_fork_dangers(before)
    with open(path, mode, buffering=0) as file:
        file.read(read) if read else None
        return new_dangers(before, known)


def test_a_file_whose_position_is_shared_is_told(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"some octets")
    told = [f"the file {path} is open"]
    assert open_and_tell(path, "rb", read=3) == told
    assert open_and_tell(path, "r+b") == told
    assert open_and_tell(path, "wb") == told


def test_a_file_whose_position_does_not_matter_is_safe(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"some octets")
    assert open_and_tell(path, "rb") == []
    assert open_and_tell(path, "ab") == []  # as a log is
    before = take_snapshot()
    known = find_fork_dangers(before)
    with open(path, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert not new_dangers(before, known)


def test_a_file_that_was_not_read_yet_gets_a_position_of_its_own(
    tmp_path: Path,
) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"some octets")
    before = take_snapshot()
    with open(path, "rb", buffering=0) as file, open(path, "rb") as read:
        read.read(3)
        unread = find_unread_files(before)
        assert unread == [(file.fileno(), str(path))]
        shared = os.dup(file.fileno())
        open_anew(unread)
        assert not os.get_inheritable(file.fileno())
        os.lseek(shared, 5, os.SEEK_SET)
        assert file.read() == b"some octets"
        os.close(shared)


def test_a_pipe_a_fifo_and_a_child_are_told(tmp_path: Path) -> None:
    before = take_snapshot()
    known = find_fork_dangers(before)
    os.mkfifo(tmp_path / "fifo")
    fd = os.open(tmp_path / "fifo", os.O_RDWR)
    with subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE) as child:
        found = new_dangers(before, known)
        child.kill()
    os.close(fd)
    assert "the process 'sleep 60' runs" in found
    assert "a pipe is open" in found
    assert f"the fifo {tmp_path}/fifo is open" in found


def test_memory_that_is_shared_is_told_and_what_is_only_read_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"some octets")
    before = take_snapshot()
    known = find_fork_dangers(before)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        assert not new_dangers(before, known)
    with mmap.mmap(-1, 4096):
        (found,) = new_dangers(before, known)
    assert found.startswith("shared memory is mapped (/dev/zero")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: ProcessPoolExecutor(1), "a ProcessPoolExecutor was made"),
        (multiprocessing.Lock, "a Lock was made"),
        (multiprocessing.Queue, "a Queue was made"),
        (lambda: multiprocessing.Value("i"), "a Synchronized was made"),
    ],
)
def test_what_processes_share_is_named_by_its_variable(
    make: Callable[[], Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = take_snapshot()
    known = find_fork_dangers(before)
    module = types.ModuleType("some_app")
    monkeypatch.setitem(sys.modules, "some_app", module)
    module.__dict__["POOL"] = make()
    found = new_dangers(before, known)
    module.__dict__.clear()
    assert f"{told} (some_app.POOL)" in found


def test_where_something_was_made_is_told(tmp_path: Path) -> None:
    code = (tmp_path / "some_app.py", "import threading\n\n\ndef make(path, gate):\n")
    lines = [
        "    file = open(path)",
        "    file.read()",
        "    thread = threading.Thread(target=lambda: gate.wait(), name='poller')",
        "    thread.start()",
        "    return file, thread",
    ]
    code[0].write_text(code[1] + "\n".join(lines))
    names: dict[str, Any] = {}
    exec(compile(code[0].read_text(), code[0], "exec"), names)
    before, births, gate = take_snapshot(), ImportOrigins(), threading.Event()
    births.begin()
    file, thread = names["make"](str(code[0]), gate)
    births.end()
    open(code[0]).close()
    found = find_fork_dangers(before, births)
    gate.set()
    thread.join()
    file.close()
    place = f"{code[0]}:8" if sys.version_info >= (3, 12) else f"<lambda>, {code[0]}:7"
    assert any("'poller'" in each and place in each for each in found), found
    assert f"the file {code[0]} is open ({code[0]}:5)" in found


def refuse(proxy: object) -> type:
    raise RuntimeError("working outside of a request")


def test_lazy_proxies_are_not_asked_for_their_class() -> None:
    proxy = type("Proxy", (), {"__class__": property(refuse)})()
    with pytest.raises(RuntimeError):
        isinstance(proxy, int)
    find_fork_dangers(take_snapshot())
