"""Counting and draining."""

import asyncio
import contextlib
import socket

import pytest

from blazeio.errors import ClientDisconnected
from blazeio.limits import Limits
from blazeio.protocol.options import RouteOptions
from blazeio.protocol.toolset import ServedApp
from blazeio.server import acceptor
from blazeio.server import server as server_module
from blazeio.server.acceptor import bind
from blazeio.server.server import Server
from tests.protocol.serving import (
    GET,
    CallLog,
    R,
    Serve,
    forever,
    hello,
    request,
)
from tests.support.clock import scaled, wait_until, within
from tests.support.peer import RawPeer

IDLE_S = scaled(0.1)


class GatedHandler:
    """A handler that answers when it is told to."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()

    async def handle(self, r: R) -> None:
        await self.may_answer.wait()
        r.reply(b"at last")


class TestCounting:
    async def test_connections_requests_and_what_is_in_flight(
        self, serve: Serve
    ) -> None:
        gate = GatedHandler()
        served = serve(gate.handle)
        server = served.server
        peers = [await served.connect() for _ in range(3)]
        await wait_until(lambda: server.connection_count == 3)
        for peer in peers[:2]:
            await peer.send(GET)
        await wait_until(lambda: server.in_flight == 2)
        assert (server.request_count, server.is_draining) == (2, False)
        gate.may_answer.set()
        for peer in peers[:2]:
            await peer.read_response()
        await wait_until(lambda: server.in_flight == 0)
        for peer in peers:
            peer.close()
        await wait_until(lambda: server.connection_count == 0)
        assert server.request_count == 2

    async def test_accepted_ones_count_before_they_have_a_protocol(
        self, serve: Serve
    ) -> None:
        served = serve(hello)
        clients = [socket.create_connection(served.address) for _ in range(5)]
        served.server.stop_accepting(take_queue=True)
        assert served.server.connection_count == 5
        assert not list(served.connections)
        await wait_until(lambda: len(list(served.connections)) == 5)
        assert served.server.connection_count == 5
        for client in clients:
            client.close()


class TestSharing:
    async def test_two_servers_accept_from_one_queue(self, serve: Serve) -> None:
        async def other(r: R) -> None:
            r.reply(b"other")

        served = serve(hello)
        second = Server(other, Limits(), asyncio.get_running_loop())
        second.accept_from(served.sock, batch=1)
        seen = {(await served.exchange(GET)).body for _ in range(40)}
        assert seen <= {b"hello", b"other"}
        second.close()
        await wait_until(lambda: not second.connection_count)
        assert {(await served.exchange(GET)).body for _ in range(10)} == {b"hello"}

    async def test_one_server_accepts_from_many_sockets(self, serve: Serve) -> None:
        served = serve(hello)
        with bind("127.0.0.1", 0) as another:
            acceptor = served.server.accept_from(another)
            async with await RawPeer.connect(*another.getsockname()) as peer:
                assert (await peer.exchange(GET)).endswith(b"hello")
            acceptor.close()
            served.server.accept_from(another).close()
            assert (await served.exchange(GET)).body == b"hello"


class TestDraining:
    async def test_the_next_answer_is_the_last(self, serve: Serve) -> None:
        served = serve(hello)
        peer = await served.connect()
        await peer.send(GET)
        assert (await peer.read_response()).field("connection") is None
        served.server.start_draining(scaled(5))
        assert served.server.is_draining
        await peer.send(GET + GET)
        assert (await peer.read_response()).field("connection") == "close"
        assert await peer.read_until_end() == b""

    async def test_so_many_clients_connect_anew_and_no_more(self, serve: Serve) -> None:
        served = serve(hello)
        peers = [await served.connect() for _ in range(4)]
        for peer in peers:
            await peer.exchange(GET)
        served.server.renew_connections(2)
        for peer in peers:
            await peer.send(GET)
        answers = [await peer.read_response() for peer in peers]
        assert [each.body for each in answers] == [b"hello"] * 4
        said = [each.field("connection") for each in answers]
        assert sorted(said, key=str) == [None, None, "close", "close"]
        for peer, word in zip(peers, said, strict=True):
            if word == "close":
                assert await peer.read_until_end() == b""
            else:
                await peer.send(GET)
                assert (await peer.read_response()).field("connection") is None

    async def test_who_ends_by_itself_is_not_one_of_those_that_connect_anew(
        self, serve: Serve
    ) -> None:
        served = serve(hello)
        served.server.renew_connections(1)
        await served.exchange(
            GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
        peer = await served.connect()
        await peer.send(GET)
        assert (await peer.read_response()).field("connection") == "close"

    async def test_what_is_in_flight_is_answered(self, serve: Serve) -> None:
        gate = GatedHandler()
        served = serve(gate.handle)
        peer = await served.connect()
        await peer.send(GET)
        await wait_until(lambda: served.server.in_flight)
        served.server.stop_accepting()
        served.server.start_draining(IDLE_S)
        drained = asyncio.create_task(served.server.drained())
        await asyncio.sleep(2 * IDLE_S)
        assert not drained.done()
        gate.may_answer.set()
        response = await peer.read_response()
        assert (response.body, response.field("connection")) == (b"at last", "close")
        peer.close()
        await within(drained)

    async def test_a_streamed_answer_begun_before_is_ended(self, serve: Serve) -> None:
        may_end = asyncio.Event()

        async def handler(r: R) -> None:
            await r.write(b"begun, ")
            await may_end.wait()
            await r.write(b"ended")

        served = serve(handler)
        peer = await served.connect()
        await peer.send(GET)
        await wait_until(lambda: served.server.in_flight)
        await asyncio.sleep(0.01)
        served.server.start_draining(IDLE_S)
        may_end.set()
        assert (await peer.read_response()).body == b"begun, ended"
        assert await peer.read_until_end() == b""  # idle by now
        await within(served.server.drained())

    async def test_idle_ones_are_closed_after_a_while_not_at_once(
        self, serve: Serve
    ) -> None:
        served = serve(hello)
        idle, silent = await served.connect(), await served.connect()
        await idle.exchange(GET)
        await wait_until(lambda: len(list(served.connections)) == 2)
        now = asyncio.get_running_loop().time
        started_at = now()
        served.server.start_draining(IDLE_S)
        await within(served.server.drained())
        assert now() - started_at >= IDLE_S
        assert await idle.read_until_end() == b""
        assert await silent.read_until_end() == b""

    async def test_one_that_comes_while_draining_is_idle_too(
        self, serve: Serve
    ) -> None:
        served = serve(hello)
        served.server.start_draining(IDLE_S)
        answered, silent = await served.connect(), await served.connect()
        await answered.send(GET)
        assert (await answered.read_response()).field("connection") == "close"
        answered.close()
        await within(served.server.drained(), 1)
        assert await silent.read_until_end() == b""

    async def test_afterwork_is_waited_for(self, serve: Serve, calls: CallLog) -> None:
        may_end = asyncio.Event()

        async def handler(r: R) -> None:
            r.reply(b"")
            await may_end.wait()
            calls.note("afterwork")

        served = serve(handler)
        peer = await served.connect()
        await peer.exchange(GET)
        peer.reset()
        drained = asyncio.create_task(served.server.drained())
        await wait_until(lambda: not served.server.connection_count)
        assert not drained.done()
        may_end.set()
        await within(drained)
        assert calls.entries == ["afterwork"]

    async def test_an_empty_server_is_drained_at_once(self, serve: Serve) -> None:
        await within(serve(hello).server.drained())

    async def test_several_may_wait_for_it(self, serve: Serve) -> None:
        served = serve(hello)
        peer = await served.connect()
        await peer.exchange(GET)
        first = asyncio.create_task(served.server.drained())
        second = asyncio.create_task(served.server.drained())
        cancelled = asyncio.create_task(served.server.drained())
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.sleep(0)
        peer.close()
        await within(asyncio.gather(first, second))

    async def test_the_queue_is_taken_when_asked_for(self, serve: Serve) -> None:
        served = serve(hello)
        waiting = [await served.connect() for _ in range(40)]
        served.server.stop_accepting(take_queue=True)
        served.sock.close()
        for peer in waiting:
            assert (await peer.exchange(GET)).endswith(b"hello")


class TestCancelling:
    async def test_every_handler_is_cancelled_and_every_connection_cut(
        self, serve: Serve, calls: CallLog
    ) -> None:
        served = serve(calls.watching(forever))
        busy, idle = await served.connect(), await served.connect()
        await busy.send(GET)
        await calls.has("begin")
        await wait_until(lambda: served.server.connection_count == 2)
        served.server.cancel()
        await calls.has("begin", "CancelledError")
        for peer in (busy, idle):
            with pytest.raises(ConnectionResetError):
                await peer.read_until_end()
        assert served.server.connection_count == 0

    @pytest.mark.parametrize("is_gone", [True, False])
    async def test_afterwork_is_cancelled_too(
        self, serve: Serve, calls: CallLog, is_gone: bool
    ) -> None:
        async def handler(r: R) -> None:
            r.reply(b"")
            await forever(r)

        served = serve(calls.watching(handler))
        peer = await served.connect()
        await peer.exchange(GET)
        if is_gone:
            peer.reset()
            await wait_until(lambda: not served.server.connection_count)
        served.server.cancel()
        await calls.has("begin", "CancelledError")
        await within(served.server.drained())

    async def test_a_cancelled_handler_has_time_to_clean_up(
        self, serve: Serve, calls: CallLog
    ) -> None:
        async def handler(r: R) -> None:
            try:
                await forever(r)
            finally:
                await asyncio.sleep(0.01)
                calls.note("cleaned up")

        served = serve(handler)
        peer = await served.connect()
        await peer.send(GET)
        await wait_until(lambda: served.server.in_flight)
        served.server.cancel()
        await within(served.server.drained())
        assert calls.entries == ["cleaned up"]

    async def test_one_that_outlives_its_client_is_cancelled_at_once(
        self, serve: Serve, calls: CallLog
    ) -> None:
        served = serve(calls.watching(forever))
        options = RouteOptions(on_disconnect="finish")
        served.server.context.app = ServedApp(lambda method, path: options)
        peer = await served.connect()
        await peer.send(GET)
        await calls.has("begin")
        served.server.cancel()
        await calls.has("begin", "CancelledError")

    async def test_a_connection_that_comes_after_the_close_is_cut(
        self, serve: Serve
    ) -> None:
        served = serve(hello)
        clients = [socket.create_connection(served.address) for _ in range(5)]
        served.server.stop_accepting(take_queue=True)
        served.server.close()
        await wait_until(lambda: not served.server.connection_count)
        for client in clients:
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
            client.close()


class TestFull:
    async def test_at_the_most_connections_the_queue_waits(
        self, serve: Serve, caplog: pytest.LogCaptureFixture
    ) -> None:
        gate = GatedHandler()
        served = serve(gate.handle, connections=2)
        first, second = await served.connect(), await served.connect()
        for peer in (first, second):
            await peer.send(GET)
        await wait_until(lambda: served.server.in_flight == 2)
        third = await served.connect()
        await third.send(GET)
        await asyncio.sleep(0.02)
        assert served.server.is_full
        assert "2 connections are open, the most" in caplog.text
        assert served.server.request_count == 2
        gate.may_answer.set()
        await first.read_response()
        first.close()
        assert (await third.read_response()).body == b"at last"
        assert len(caplog.records) == 1

    async def test_idle_ones_make_room(self, serve: Serve) -> None:
        served = serve(hello, connections=2)
        idle = [await served.connect() for _ in range(2)]
        for peer in idle:
            await peer.exchange(GET)
        assert (await served.exchange(GET)).body == b"hello"
        assert await idle[0].read_until_end() == b""

    @pytest.mark.long
    @pytest.mark.parametrize("octets", [b"", b"GET / HTTP/1.1\r\nHost:"])
    async def test_silent_ones_make_room(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch, octets: bytes
    ) -> None:
        monkeypatch.setattr(acceptor, "RETRY_S", 0.05)
        monkeypatch.setattr(server_module, "SILENCE_S", 0.1)
        served = serve(hello, connections=2)
        silent = [await served.connect() for _ in range(4)]
        for peer in silent:
            await peer.send(octets)
        assert (await served.exchange(GET)).body == b"hello"

    async def test_who_has_just_come_is_not_taken_for_silent(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(acceptor, "RETRY_S", 0.05)
        served = serve(hello, connections=1)
        first, second = await served.connect(), await served.connect()
        await second.send(GET)
        await asyncio.sleep(0.1)
        assert (await first.exchange(GET)).endswith(b"hello")
        assert (await second.read_response()).body == b"hello"

    async def test_one_that_becomes_idle_later_makes_room(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(acceptor, "RETRY_S", 0.05)
        gate = GatedHandler()
        served = serve(gate.handle, connections=1)
        busy = await served.connect()
        await busy.send(GET)
        await wait_until(lambda: served.server.in_flight)
        late = await served.connect()
        await late.send(request("GET", "/late"))
        await asyncio.sleep(0.02)
        gate.may_answer.set()
        await busy.read_response()  # and stays, idle
        assert (await late.read_response()).body == b"at last"


class TestFarewell:
    """What a response without an end says at the end of the service."""

    @staticmethod
    async def stream(r: R) -> None:
        async def farewell(r: R) -> None:
            await r.write(b"retry later")

        await r.prepare()
        await r.write(b"hello ")
        r.on_shutdown(farewell)
        await forever(r)

    async def test_is_said_and_the_response_ends_whole(
        self, serve: Serve, calls: CallLog
    ) -> None:
        served = serve(calls.watching(self.stream))
        peers = [await served.connect() for _ in range(2)]
        for peer in peers:
            await peer.send(GET)
        await wait_until(lambda: served.server.in_flight == 2)
        await calls.has("begin", "begin")
        served.server.start_draining(IDLE_S)
        for peer in peers:
            response = await peer.read_response()
            assert response.body == b"hello retry later"
        await within(served.server.drained())
        assert calls.entries[2:] == ["CancelledError", "CancelledError"]

    async def test_each_has_its_share_of_the_window(self, serve: Serve) -> None:
        said_at: list[float] = []
        loop = asyncio.get_running_loop()

        async def stream(r: R) -> None:
            async def farewell(r: R) -> None:
                said_at.append(loop.time())

            r.on_shutdown(farewell)
            await r.prepare()
            await r.write(b"hello")
            await forever(r)

        served = serve(stream)
        peers = [await served.connect() for _ in range(5)]
        for peer in peers:
            await peer.send(GET)
            await peer.read_some()
        began_at = loop.time()
        served.server.start_draining(0, 0.25)
        await wait_until(lambda: len(said_at) == 5)
        for place, at in enumerate(said_at):
            assert at - began_at >= 0.25 * place / 5 - 0.01  # timers have a resolution

    async def test_of_a_stream_that_begins_late_is_said_at_once(
        self, serve: Serve
    ) -> None:
        served = serve(self.stream)
        peer = await served.connect()
        await wait_until(lambda: served.server.connection_count == 1)
        served.server.start_draining(0)
        await peer.send(GET)
        assert (await peer.read_response()).body == b"hello retry later"

    async def test_to_a_client_that_went_away_harms_nothing(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            async def farewell(r: R) -> None:
                await r.write(b"never")

            r.on_shutdown(farewell)
            await r.prepare()
            await r.eof()
            await r.draining

        served = serve(handler)
        peer = await served.connect()
        await peer.send(GET)
        await peer.read_response()
        served.server.start_draining(0)
        await wait_until(lambda: not served.server.in_flight)

    async def test_that_fails_cuts_the_connection(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            async def farewell(r: R) -> None:
                raise ClientDisconnected("as a write would say")

            r.on_shutdown(farewell)
            await r.prepare()
            await r.write(b"hello")
            await forever(r)

        served = serve(handler)
        peer = await served.connect()
        await peer.send(GET)
        await wait_until(lambda: served.server.in_flight == 1)
        served.server.start_draining(0)
        with pytest.raises(ConnectionResetError):
            await peer.read_response()


async def test_a_handler_sees_the_drain_and_can_sleep_until_it(serve: Serve) -> None:
    begun = asyncio.Event()

    async def handler(r: R) -> None:
        before = bool(r.draining)
        begun.set()
        await r.draining
        r.reply(f"{before} {bool(r.draining)}".encode())

    served = serve(handler)
    peer = await served.connect()
    await peer.send(GET)
    await within(begun.wait())
    served.server.start_draining(IDLE_S)
    response = await peer.read_response()
    assert (response.body, response.field("connection")) == (b"False True", "close")


async def test_a_connection_that_is_there_already_is_served(serve: Serve) -> None:
    served = serve(hello)
    own, theirs = socket.socketpair()
    with own:
        theirs.setblocking(False)
        await served.server.serve(theirs)
        assert served.server.connection_count == 1
        own.setblocking(False)
        own.sendall(GET)
        loop = asyncio.get_running_loop()
        octets = await within(loop.sock_recv(own, 4096))
        assert octets.startswith(b"HTTP/1.1 200 ")
    await wait_until(lambda: served.server.connection_count == 0)


async def test_a_drain_may_be_waited_for_so_long(serve: Serve) -> None:
    gate = GatedHandler()
    served = serve(gate.handle)
    peer = await served.connect()
    await peer.send(GET)
    await wait_until(lambda: served.server.in_flight == 1)
    served.server.start_draining(0)
    assert not await served.server.drained_within(scaled(0.05))
    gate.may_answer.set()
    assert await served.server.drained_within(scaled(5))


class FakeRecorder:
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []
        self.is_closed = False

    def record(self, r: R) -> None:
        self.seen.append((r.path, r.status))

    def close(self) -> None:
        self.is_closed = True


class TestSight:
    async def test_each_recorder_is_told_of_each_response_and_of_the_end(
        self, serve: Serve
    ) -> None:
        served = serve(hello)
        recorders = FakeRecorder(), FakeRecorder()
        for each in recorders:
            served.server.record_responses(each)
        await served.exchange(GET)
        served.server.close()
        for each in recorders:
            assert (each.seen, each.is_closed) == ([("/", 200)], True)

    async def test_what_runs_is_listed_by_its_begin(self, serve: Serve) -> None:
        served = serve(forever)
        for count, path in enumerate(("/a", "/b", "/c"), 1):
            peer = await served.connect()
            await peer.send(request("GET", path))
            await wait_until(lambda: served.server.in_flight == count)  # noqa: B023
        assert [r.path for r in served.server.running] == ["/a", "/b", "/c"]
