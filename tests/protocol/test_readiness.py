"""FIN and RST are seen though nobody reads."""

import asyncio
import os
import socket

from blazeio.protocol.kernel import HangupWatcher
from tests.support.clock import wait_until
from tests.support.peer import reset_on_close


class Paused:
    """A connection that only writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_hangup(self, *, is_reset: bool) -> None:
        self.told.append("reset" if is_reset else "fin")


class ConnectedPair:
    """A TCP connection: ours, and the client's."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.theirs = socket.create_connection(listener.getsockname())
            self.ours, _ = listener.accept()

    @property
    def fd(self) -> int:
        return self.ours.fileno()

    def __enter__(self) -> "ConnectedPair":
        return self

    def __exit__(self, *_: object) -> None:
        self.ours.close()
        self.theirs.close()


async def test_a_fin_is_told_once_and_a_reset_after_it() -> None:
    watcher = HangupWatcher(asyncio.get_running_loop())
    paused = Paused()
    with ConnectedPair() as ends:
        ends.theirs.sendall(b"unread")
        watcher.watch(ends.fd, paused)
        ends.theirs.shutdown(socket.SHUT_WR)
        await wait_until(lambda: paused.told)
        for _ in range(5):
            await asyncio.sleep(0.001)
        assert paused.told == ["fin"]
        reset_on_close(ends.theirs)
        ends.theirs.close()
        await wait_until(lambda: len(paused.told) == 2)
        assert paused.told == ["fin", "reset"]
    watcher.close()


async def test_after_a_reset_nothing_is_told() -> None:
    watcher = HangupWatcher(asyncio.get_running_loop())
    paused = Paused()
    with ConnectedPair() as ends:
        watcher.watch(ends.fd, paused)
        reset_on_close(ends.theirs)
        ends.theirs.close()
        await wait_until(lambda: paused.told)
        for _ in range(5):
            await asyncio.sleep(0.001)
        assert paused.told == ["reset"]
    watcher.close()


async def test_octets_alone_are_not_told() -> None:
    watcher = HangupWatcher(asyncio.get_running_loop())
    quiet, other = Paused(), Paused()
    with ConnectedPair() as ends, ConnectedPair() as others:
        watcher.watch(ends.fd, quiet)
        watcher.watch(others.fd, other)
        ends.theirs.sendall(b"x" * 1000)
        others.theirs.shutdown(socket.SHUT_WR)
        await wait_until(lambda: other.told)
        assert not quiet.told
    watcher.close()


async def test_what_is_forgotten_is_not_told() -> None:
    watcher = HangupWatcher(asyncio.get_running_loop())
    forgotten, other = Paused(), Paused()
    with ConnectedPair() as ends, ConnectedPair() as others:
        watcher.watch(ends.fd, forgotten)
        watcher.watch(others.fd, other)
        watcher.forget(ends.fd)
        watcher.forget(ends.fd)
        ends.theirs.shutdown(socket.SHUT_WR)
        others.theirs.shutdown(socket.SHUT_WR)
        await wait_until(lambda: other.told)
        assert not forgotten.told
    watcher.close()


async def test_one_may_be_forgotten_by_another_that_is_told() -> None:
    watcher = HangupWatcher(asyncio.get_running_loop())
    with ConnectedPair() as first, ConnectedPair() as second:

        class Selfish(Paused):
            def on_hangup(self, *, is_reset: bool) -> None:
                super().on_hangup(is_reset=is_reset)
                for fd in (first.fd, second.fd):
                    watcher.forget(fd)

        one, two = Selfish(), Selfish()
        watcher.watch(first.fd, one)
        watcher.watch(second.fd, two)
        first.theirs.shutdown(socket.SHUT_WR)
        second.theirs.shutdown(socket.SHUT_WR)
        await wait_until(lambda: one.told or two.told)
        await asyncio.sleep(0.005)
        assert one.told + two.told == ["fin"]
    watcher.close()


async def test_a_descriptor_closed_before_it_is_forgotten_does_no_harm() -> None:
    watcher = HangupWatcher(asyncio.get_running_loop())
    paused = Paused()
    with ConnectedPair() as ends:
        fd = ends.fd
        watcher.watch(fd, paused)
        ends.ours.close()
        watcher.forget(fd)
    with ConnectedPair() as ends:
        watcher.watch(ends.fd, paused)
        ends.theirs.shutdown(socket.SHUT_WR)
        await wait_until(lambda: paused.told == ["fin"])
    watcher.close()


async def test_watching_again_hands_the_descriptor_over() -> None:
    watcher = HangupWatcher(asyncio.get_running_loop())
    before, after = Paused(), Paused()
    with ConnectedPair() as ends:
        watcher.watch(ends.fd, before)
        watcher.watch(ends.fd, after)
        ends.theirs.shutdown(socket.SHUT_WR)
        await wait_until(lambda: after.told)
        assert not before.told
    watcher.close()


async def test_it_costs_no_descriptor_until_used_and_none_after() -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    with ConnectedPair() as ends:
        before = count()
        watcher = HangupWatcher(asyncio.get_running_loop())
        watcher.forget(ends.fd)
        assert count() == before
        watcher.watch(ends.fd, Paused())
        assert count() == before + 1
        watcher.close()
        watcher.close()
        assert count() == before
