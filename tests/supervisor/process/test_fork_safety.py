import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from blazeio_supervisor.process.fork_safety import find_fork_dangers, list_socket_fds


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
    before = list_socket_fds()
    known = find_fork_dangers(before)
    assert not new_dangers(before, known)


def test_a_running_thread_is_named() -> None:
    before = list_socket_fds()
    known = find_fork_dangers(before)
    with running_thread("poller"):
        assert new_dangers(before, known) == ["the thread 'poller' is running"]


def test_an_open_socket_is_counted() -> None:
    before = list_socket_fds()
    with socket.socket():
        assert "1 socket(s) are open" in find_fork_dangers(before)


def test_an_event_loop_is_seen_until_it_is_closed() -> None:
    before = list_socket_fds()
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
    find_fork_dangers(list_socket_fds())
