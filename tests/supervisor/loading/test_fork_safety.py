import asyncio
import ctypes
import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from blazeio_supervisor.loading.fork_safety import find_fork_dangers, list_shared_fds


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


def new_dangers(before: frozenset[int], known: tuple[str, ...]) -> list[str]:
    return [each for each in find_fork_dangers(before) if each not in known]


def test_an_import_that_left_nothing_is_safe() -> None:
    before = list_shared_fds()
    known = find_fork_dangers(before)
    assert not new_dangers(before, known)


def test_a_running_thread_is_named() -> None:
    before = list_shared_fds()
    known = find_fork_dangers(before)
    with running_thread("poller"):
        assert new_dangers(before, known) == ["the thread 'poller' is running"]


def test_an_open_socket_is_told_with_its_addresses() -> None:
    before = list_shared_fds()
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
    before = list_shared_fds()
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
    before = list_shared_fds()
    known = find_fork_dangers(before)  # pytest's watchdog is a native thread, too
    thread = NativeThread()
    (found,) = new_dangers(before, known)
    thread.end()
    assert "native thread(s) are running (" in found


def test_a_library_that_ends_its_threads_before_a_fork_is_safe() -> None:
    before = list_shared_fds()
    known = find_fork_dangers(before)
    thread = NativeThread()
    os.register_at_fork(before=thread.end)
    assert not new_dangers(before, known)
    assert not thread.is_running


def test_an_event_loop_is_seen_until_it_is_closed() -> None:
    before = list_shared_fds()
    known = find_fork_dangers(before)
    loop = asyncio.new_event_loop()
    seen = new_dangers(before, known)
    loop.close()
    assert seen == ["an event loop was made (_UnixSelectorEventLoop)"]
    assert not new_dangers(before, known)


def refuse(proxy: object) -> type:
    raise RuntimeError("working outside of a request")


def test_lazy_proxies_are_not_asked_for_their_class() -> None:
    proxy = type("Proxy", (), {"__class__": property(refuse)})()
    with pytest.raises(RuntimeError):
        isinstance(proxy, int)
    find_fork_dangers(list_shared_fds())
