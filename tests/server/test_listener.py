"""Accepting a few at a time from queues that others may share."""

import asyncio
import itertools
import os
import resource
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from blazeio.errors import ConfigurationError
from blazeio.server import acceptor as listener_module
from blazeio.server.acceptor import Acceptor, bind
from tests.protocol.serving import GET, Serve, bind_unix, hello
from tests.support.clock import wait_until
from tests.support.peer import RawPeer, reset_on_close


class NamedProtocol(asyncio.Protocol):
    """Says its name and closes."""

    def __init__(self, name: bytes) -> None:
        self._name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        transport.write(self._name)
        transport.close()


class AcceptorHarness:
    """A listening socket, its acceptors, and clients in its queue."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.clients: list[socket.socket] = []
        self.acceptors: list[Acceptor] = []
        self.settled = 0
        self.asked = 0
        self.room = 1000
        self.turn = 0
        self.made_in_turn: list[int] = []

    def accept(self, name: bytes = b"a", batch: int = 16) -> Acceptor:
        def ask() -> int:
            self.asked += 1
            return self.room

        def make() -> NamedProtocol:
            self.made_in_turn.append(self.turn)
            return NamedProtocol(name)

        def settle() -> None:
            self.settled += 1

        acceptor = Acceptor(
            self.sock,
            make,
            ask,
            settle,
            asyncio.get_running_loop(),
            batch=batch,
        )
        self.acceptors.append(acceptor)
        return acceptor

    def queue(self, count: int) -> list[socket.socket]:
        """Clients that have connected, accepted or not."""
        made = [socket.socket(self.sock.family) for _ in range(count)]
        for client in made:
            client.connect(self.sock.getsockname())
            client.setblocking(False)
        self.clients += made
        return made

    async def names(self, clients: list[socket.socket]) -> list[bytes]:
        """What each client was told by whoever accepted it."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(3):
            return [await loop.sock_recv(client, 10) for client in clients]

    async def end(self) -> None:
        for acceptor in self.acceptors:
            acceptor.close()
        await wait_until(lambda: not any(a.pending for a in self.acceptors))
        for client in self.clients:
            client.close()
        self.sock.close()
        await asyncio.sleep(0.001)


@pytest.fixture(params=["tcp", "unix"])
async def harness(
    request: pytest.FixtureRequest, tmp_path: Path, serve: Serve
) -> AsyncIterator[AcceptorHarness]:
    # asks for ``serve`` only to run on both loops
    path = str(tmp_path / "socket")
    is_tcp = request.param == "tcp"
    harness = AcceptorHarness(bind("127.0.0.1", 0) if is_tcp else bind_unix(path))
    yield harness
    await harness.end()


@pytest.fixture
def quick_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "RETRY_S", 0.05)


@pytest.fixture
def no_more_descriptors() -> Iterator[Callable[[], None]]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def use_up() -> None:
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        free = os.open("/dev/null", os.O_RDONLY)
        while free < highest:  # fill the holes
            descriptors.append(free)
            free = os.open("/dev/null", os.O_RDONLY)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))

    descriptors: list[int] = []
    yield use_up
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    for descriptor in descriptors:
        os.close(descriptor)


class TestBind:
    @pytest.mark.parametrize(
        ("host", "family"),
        [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)],
    )
    def test_the_socket_listens_and_does_not_block(
        self, host: str, family: socket.AddressFamily
    ) -> None:
        with bind(host, 0) as sock:
            assert sock.family == family
            assert not os.get_blocking(sock.fileno())
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            assert not os.get_inheritable(sock.fileno())

    def test_ipv6_leaves_ipv4_to_others(self) -> None:
        with bind("::1", 0) as sock:
            assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)

    def test_a_port_in_use_is_told(self) -> None:
        with bind("127.0.0.1", 0) as sock:
            port = sock.getsockname()[1]
            with pytest.raises(ConfigurationError) as caught:
                bind("127.0.0.1", port)
        assert str(caught.value).startswith(f"cannot bind 127.0.0.1:{port}: Address")

    def test_a_host_that_is_no_address_is_told(self) -> None:
        with pytest.raises(ConfigurationError, match=r"cannot bind no\.such\.host:1:"):
            bind("no.such.host", 1)


class TestAccepting:
    async def test_all_that_wait_are_accepted(self, harness: AcceptorHarness) -> None:
        clients = harness.queue(40)
        harness.accept()
        assert await harness.names(clients) == [b"a"] * 40
        await wait_until(lambda: harness.settled > 0)
        assert harness.acceptors[0].pending == 0

    async def test_they_are_settled_once_a_turn(self, harness: AcceptorHarness) -> None:
        clients = harness.queue(40)
        harness.accept(batch=16)
        assert await harness.names(clients) == [b"a"] * 40
        await asyncio.sleep(0)
        assert harness.settled == 3

    async def test_at_most_a_batch_per_turn(self, harness: AcceptorHarness) -> None:
        clients = harness.queue(20)
        harness.accept(batch=3)
        while len(harness.made_in_turn) < 20:
            harness.turn += 1
            await asyncio.sleep(0)
        await harness.names(clients)
        turns = harness.made_in_turn
        assert max(turns.count(turn) for turn in turns) == 3

    async def test_several_share_one_queue(self, harness: AcceptorHarness) -> None:
        for name in (b"a", b"b", b"c"):
            harness.accept(name, batch=1)
        told = await harness.names(harness.queue(30))
        assert sorted(set(told)) == [b"a", b"b", b"c"]

    async def test_closing_one_leaves_the_queue_to_the_others(
        self, harness: AcceptorHarness
    ) -> None:
        harness.accept(b"a").close()
        second = harness.accept(b"b")
        assert set(await harness.names(harness.queue(5))) == {b"b"}
        second.close()
        waiting = harness.queue(3)
        harness.accept(b"c")
        assert set(await harness.names(waiting)) == {b"c"}

    async def test_closing_in_the_middle_of_a_batch_leaves_the_rest(
        self, harness: AcceptorHarness
    ) -> None:
        clients = harness.queue(6)
        first = harness.accept(b"a")
        accept_one = first._accept_one
        accepted = 0

        def accept_two_and_close() -> bool:
            nonlocal accepted
            accepted += accept_one()
            if accepted == 2:
                first.close()
            return True

        first._accept_one = accept_two_and_close  # type: ignore[method-assign]
        await wait_until(lambda: first.is_closed)
        harness.accept(b"b")
        assert await harness.names(clients) == [b"a"] * 2 + [b"b"] * 4

    async def test_no_more_are_accepted_than_there_is_room_for(
        self, harness: AcceptorHarness, quick_retry: None
    ) -> None:
        clients = harness.queue(6)
        harness.room = 2
        harness.accept()
        while len(harness.made_in_turn) < 6:
            harness.turn += 1
            await asyncio.sleep(0)
        await harness.names(clients)
        turns = harness.made_in_turn
        assert max(turns.count(turn) for turn in turns) == 2

    async def test_the_flags_of_the_shared_socket_stay(
        self, harness: AcceptorHarness
    ) -> None:
        # as a worker makes it of a received descriptor
        received = socket.socket(fileno=os.dup(harness.sock.fileno()))
        original, harness.sock = harness.sock, received
        harness.accept()
        assert not os.get_blocking(original.fileno())
        assert not os.get_blocking(received.fileno())
        clients = harness.queue(2)
        assert await harness.names(clients) == [b"a", b"a"]
        original.close()

    async def test_what_others_make_block_blocks_no_loop(
        self, harness: AcceptorHarness
    ) -> None:
        harness.accept()
        harness.sock.setblocking(True)  # the mode is that of all who share it
        assert await harness.names(harness.queue(1)) == [b"a"]
        await asyncio.sleep(0)  # in the same turn it looked for a second one
        harness.sock.setblocking(True)
        acceptor = harness.accept()
        acceptor.drain_queue()
        acceptor.close()
        acceptor._accept_some()  # as a signal's handler may close it just before

    async def test_draining_takes_the_whole_queue_at_once(
        self, harness: AcceptorHarness
    ) -> None:
        clients = harness.queue(30)
        acceptor = harness.accept(batch=2)
        acceptor.drain_queue()
        assert acceptor.pending == 30
        acceptor.close()
        assert await harness.names(clients) == [b"a"] * 30
        await wait_until(lambda: not acceptor.pending)

    async def test_draining_a_closed_one_takes_nothing(
        self, harness: AcceptorHarness
    ) -> None:
        acceptor = harness.accept()
        acceptor.close()
        acceptor.close()
        acceptor.drain_queue()
        acceptor.wake()
        assert acceptor.pending == 0

    async def test_a_client_that_reset_in_the_queue_does_no_harm(
        self, harness: AcceptorHarness
    ) -> None:
        gone, *clients = harness.queue(5)
        reset_on_close(gone)
        gone.close()
        harness.accept()
        assert await harness.names(clients) == [b"a"] * 4

    async def test_a_queue_shut_down_by_others_is_left_alone(
        self, harness: AcceptorHarness
    ) -> None:
        acceptor = harness.accept()
        await asyncio.sleep(0)
        harness.sock.shutdown(socket.SHUT_RDWR)
        await wait_until(lambda: acceptor.is_closed)

    async def test_an_error_of_one_connection_does_not_stop_the_next(
        self, harness: AcceptorHarness
    ) -> None:
        class Failing(socket.socket):
            failures = 2

            def accept(self) -> tuple[socket.socket, object]:
                if self.failures:
                    self.failures -= 1
                    raise ConnectionAbortedError(103, "aborted")
                return super().accept()

        acceptor = harness.accept()
        sock = acceptor._sock
        acceptor._sock = Failing(sock.family, fileno=sock.detach())
        assert await harness.names(harness.queue(2)) == [b"a", b"a"]


class TestResting:
    async def test_without_room_the_queue_waits(
        self, harness: AcceptorHarness, quick_retry: None
    ) -> None:
        harness.room = 0
        acceptor = harness.accept()
        clients = harness.queue(3)
        await wait_until(lambda: harness.asked)
        await asyncio.sleep(0.12)
        assert harness.asked < 8, "it asks now and then, no more"
        assert harness.settled == 0
        harness.room = 1000
        acceptor.wake()
        assert await harness.names(clients) == [b"a"] * 3

    async def test_room_is_found_again_without_being_woken(
        self, harness: AcceptorHarness, quick_retry: None
    ) -> None:
        harness.room = 0
        harness.accept()
        clients = harness.queue(3)
        await wait_until(lambda: harness.asked)
        harness.room = 1000
        assert await harness.names(clients) == [b"a"] * 3

    async def test_a_resting_one_can_be_closed(
        self, harness: AcceptorHarness, quick_retry: None
    ) -> None:
        harness.room = 0
        acceptor = harness.accept()
        harness.queue(1)
        await wait_until(lambda: harness.asked)
        acceptor.close()
        await asyncio.sleep(0.1)
        assert harness.asked == 1


@pytest.mark.slow
async def test_without_descriptors_it_rests_and_recovers(
    serve: Serve,
    quick_retry: None,
    no_more_descriptors: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    served = serve(hello)
    first = await served.connect()
    await first.exchange(GET)
    sock = socket.socket()
    sock.setblocking(False)
    no_more_descriptors()
    await asyncio.get_running_loop().sock_connect(sock, served.address)
    cpu_s = time.process_time()
    await wait_until(lambda: "Too many open files" in caplog.text)
    await asyncio.sleep(0.2)
    assert len(caplog.records) < 10
    assert time.process_time() - cpu_s < 0.15, "resting costs no CPU"
    await first.exchange(GET)  # who is in is served
    first.close()  # two descriptors come free
    peer = RawPeer(sock)
    served.peers.append(peer)
    assert (await peer.exchange(GET)).endswith(b"hello")


async def test_a_connection_neither_blocks_nor_waits_for_more_to_send(
    serve: Serve,
) -> None:
    served = serve(hello)
    peer = await served.connect()
    await peer.exchange(GET)
    (connection,) = served.connections
    sock = connection.transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert not os.get_blocking(sock.fileno())


async def test_a_connection_takes_no_task(harness: AcceptorHarness) -> None:
    """One that comes with a PROXY header does."""
    tasks: list[asyncio.Task[object] | None] = []
    before = asyncio.all_tasks()
    make = NamedProtocol.connection_made

    class Witness(NamedProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            tasks.append(asyncio.current_task())
            assert asyncio.all_tasks() == before
            make(self, transport)

    acceptor = harness.accept()
    acceptor._factory = lambda: Witness(b"w")
    (client,) = harness.queue(1)
    await wait_until(lambda: harness.settled == 1)
    assert tasks == [None]
    assert acceptor.pending == 0
    client.close()


async def test_one_that_is_not_made_is_reported(harness: AcceptorHarness) -> None:
    """Also to whoever takes the whole queue: it goes on to the next."""
    said: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: said.append(context["message"]))
    acceptor = harness.accept()
    make, calls = acceptor._factory, itertools.count()

    def fail_once() -> asyncio.BaseProtocol:
        if next(calls) == 0:
            raise RuntimeError("no protocol")
        return make()

    acceptor._factory = fail_once
    harness.queue(2)
    acceptor.drain_queue()
    await wait_until(lambda: harness.settled == 1)
    assert said == ["a connection was not made"]
    assert len(harness.made_in_turn) == 1
    assert acceptor.pending == 0


async def test_each_descriptor_is_closed_once(harness: AcceptorHarness) -> None:
    """Of those whose transport is closed, and of one that was not made."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    acceptor = harness.accept()
    make, calls = acceptor._factory, itertools.count()

    def fail_second() -> asyncio.BaseProtocol:
        if next(calls) == 1:
            raise RuntimeError("no protocol")
        return make()

    acceptor._factory = fail_second
    await harness.names(harness.queue(1))
    clients = harness.queue(3)
    before = len(os.listdir("/proc/self/fd"))
    names = await harness.names(clients)
    assert sorted(names) == [b"", b"a", b"a"]
    await wait_until(lambda: len(os.listdir("/proc/self/fd")) == before)
    assert not acceptor.pending
