"""How connections end: drained in two steps, idle, broken, half closed."""

import asyncio
from typing import Any, cast

import pytest

import blazeio as io
from blazeio.http2.connection import Http2Connection
from blazeio.protocol.request import BlazeioServerProtocol as R
from tests.support.clock import wait_until
from tests.support.http2 import (
    DATA,
    ENHANCE_YOUR_CALM,
    GET,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    OPENING,
    PING,
    POST,
    PROTOCOL_ERROR,
    data,
    frame,
    headers,
    window_update,
)
from tests.support.http2_peer import Http2Peer
from tests.support.served import served

pytestmark = pytest.mark.slow

LAST = (2**31 - 1).to_bytes(4, "big") + bytes(4)


def make_app(**limits: Any) -> io.App[Any]:
    web: io.App[Any] = io.App(**limits)

    @web.route.get("/")
    async def hello(r: R) -> None:
        await io.Deliver.text(r, "hello")

    @web.route.get("/slow")
    async def slow(r: R) -> None:
        await web.state.is_free.wait()
        await io.Deliver.text(r, "done")

    web.state.is_free = asyncio.Event()
    return web


SLOW = [(name, "/slow" if name == ":path" else value) for name, value in GET]


class Silent(Http2Peer):
    """It does not answer a PING."""

    def send(self, *octets: bytes) -> None:
        kept = [each for each in octets if each[3:5] != bytes((PING, 1))]
        super().send(*kept)


async def test_the_drain_takes_two_steps_and_loses_nothing() -> None:
    web = make_app()
    async with served(web) as site, await Silent.connect(site.port) as peer:
        peer.ask(1, SLOW)
        await peer.ping()
        site.server.start_draining(5)
        await peer.until(lambda: peer.of(GOAWAY))
        assert peer.of(GOAWAY)[0].payload == LAST
        # What was under way is served still.
        assert (await peer.get("/", 3)).body == b"hello"
        pings = [each for each in peer.of(PING) if not each.flags]
        peer.writer.write(frame(PING, 1, 0, pings[-1].payload))
        await peer.until(lambda: len(peer.of(GOAWAY)) == 2)
        assert peer.of(GOAWAY)[1].payload[:4] == (3).to_bytes(4, "big")
        peer.ask(5)
        web.state.is_free.set()
        assert (await peer.answer(1)).body == b"done"
        assert (await peer.goaway()).code == NO_ERROR
        assert 5 not in peer.answers
        await peer.close()
        await wait_until(lambda: not site.server.connection_count)


async def test_who_does_not_answer_is_drained_after_the_idle_span() -> None:
    web = make_app()
    async with served(web) as site, await Silent.connect(site.port) as peer:
        peer.ask(1, SLOW)
        await peer.ping()
        site.server.start_draining(0.1)
        await peer.until(lambda: len(peer.of(GOAWAY)) == 2)
        web.state.is_free.set()
        assert (await peer.answer(1)).body == b"done"
        await peer.goaway()


async def test_an_idle_connection_is_drained_at_once() -> None:
    async with served(make_app()) as site, await Http2Peer.connect(site.port) as peer:
        await peer.get()
        site.server.start_draining(60)
        await peer.goaway()
        assert [each.code for each in peer.of(GOAWAY)] == [NO_ERROR, NO_ERROR]
        await peer.close()
        await wait_until(lambda: not site.server.connection_count)


async def test_so_many_connections_are_renewed_and_no_more() -> None:
    async with served(make_app()) as site:
        peers = [await Http2Peer.connect(site.port) for _ in range(3)]
        for peer in peers:
            await peer.get()
        site.server.renew_connections(1)
        site.server.renew_connections(1)  # another one: the first ends by then
        for peer in peers:  # what comes before it knows is served still
            assert (await peer.get("/", 3)).body == b"hello"
        ended = [peer for peer in peers if peer.of(GOAWAY)]
        assert len(ended) == 2
        for peer in ended:
            await peer.goaway()
        await wait_until(lambda: site.server.connection_count == 1)
        for peer in peers:
            await peer.close()


async def test_a_connection_that_comes_while_draining_is_served_and_ends() -> None:
    async with served(make_app()) as site:
        site.server.start_draining(5)
        async with await Http2Peer.connect(
            site.port, opening=OPENING + headers(1)
        ) as peer:
            assert (await peer.answer(1)).body == b"hello"
            assert (await peer.goaway()).code == NO_ERROR


async def test_an_idle_connection_ends_after_its_time() -> None:
    web = make_app(keep_alive_timeout_s=0.2)
    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        for number in range(3):
            assert (await peer.get("/", number * 2 + 1)).body == b"hello"
        await peer.goaway()
        assert len(peer.of(GOAWAY)) == 2
    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        await peer.goaway()  # it has never asked for anything


async def test_pings_and_settings_keep_no_connection() -> None:
    web = make_app(keep_alive_timeout_s=0.3)
    async with served(web) as site, await Http2Peer.connect(site.port) as peer:

        async def go_on() -> None:
            while True:
                peer.send(frame(PING, 0, 0, b"12345678"), frame(4, 0, 0))
                await asyncio.sleep(0.02)

        task = asyncio.create_task(go_on())
        try:
            assert (await peer.goaway()).code == NO_ERROR
        finally:
            task.cancel()


async def test_a_busy_connection_is_not_idle() -> None:
    web = make_app(keep_alive_timeout_s=0.1)
    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.ask(1, SLOW)
        await peer.ping()
        await asyncio.sleep(0.3)
        assert not peer.of(GOAWAY)
        web.state.is_free.set()
        assert (await peer.answer(1)).body == b"done"


async def test_a_broken_connection_ends_with_its_reason_and_its_requests() -> None:
    web = make_app()
    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.ask(1, SLOW)
        await peer.ping()
        peer.send(data(0, b"x"))
        goaway = await peer.goaway()
        assert goaway.code == PROTOCOL_ERROR
        assert goaway.payload[8:] == b"DATA on a stream that is idle"
        await wait_until(lambda: not site.server.in_flight)
        await peer.close()
        await wait_until(lambda: not site.server.connection_count)


async def test_the_last_words_are_not_destroyed_by_a_reset() -> None:
    async with served(make_app()) as site, await Http2Peer.connect(site.port) as peer:
        peer.send(data(0, b"x"))
        for _ in range(20):
            peer.send(data(1, bytes(16_000)))
            await asyncio.sleep(0)
        assert (await peer.goaway()).code == PROTOCOL_ERROR


async def test_a_half_closed_client_is_answered() -> None:
    async with served(make_app()) as site, await Http2Peer.connect(site.port) as peer:
        await peer.ping()
        peer.credits = False
        peer.ask(1)
        peer.writer.write_eof()
        assert (await peer.answer(1)).body == b"hello"
        await wait_until(lambda: not site.server.connection_count)


async def test_a_half_closed_client_waits_for_a_second() -> None:
    web = make_app(half_close_grace_s=0.2)
    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.ask(1, SLOW)
        await peer.ping()
        peer.writer.write_eof()
        await wait_until(lambda: not site.server.in_flight)
        await wait_until(lambda: not site.server.connection_count)


async def test_content_that_cannot_come_any_more() -> None:
    web = io.App()
    seen: list[BaseException] = []

    @web.route.post("/")
    async def read(r: R) -> None:
        try:
            await r.read()
        except BaseException as error:
            seen.append(error)
            raise

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.send(headers(1, POST, ends=False), data(1, b"abc"))
        await peer.ping()
        peer.writer.write_eof()
        await wait_until(lambda: seen)
        assert isinstance(seen[0], io.ClientDisconnected | asyncio.CancelledError)
        await wait_until(lambda: not site.server.connection_count)


async def test_the_most_connections_make_room_of_idle_ones() -> None:
    web = make_app(connections=1)
    async with served(web) as site, await Http2Peer.connect(site.port) as first:
        await first.get()
        async with await Http2Peer.connect(site.port) as second:
            assert (await second.get()).body == b"hello"
        assert (await first.goaway()).code == NO_ERROR


async def test_the_server_cuts_what_does_not_end() -> None:
    web = make_app()
    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.ask(1, SLOW)
        await peer.ping()
        assert len(site.server.running) == 1
        site.server.cancel()
        await wait_until(lambda: not site.server.in_flight)
        await wait_until(lambda: not site.server.connection_count)


async def test_a_stream_without_an_end_has_its_shutdown_hook() -> None:
    web = io.App()

    async def last_words(r: R) -> None:
        await r.write(b"bye")

    @web.route.get("/")
    async def stream(r: R) -> None:
        r.on_shutdown(last_words)
        await r.prepare({"Content-Type": "text/plain"})
        await r.write(b"hello ")
        await asyncio.sleep(60)

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.ask(1)
        await peer.until(lambda: peer.at(1).body)
        site.server.start_draining(0.1)
        answer = await peer.answer(1)
        assert (answer.body, answer.is_ended) == (b"hello bye", True)
        await peer.goaway()


# Clients that do not go on


async def test_a_window_that_stays_shut() -> None:
    web = io.App(progress_window_s=0.2)

    @web.route.get("/")
    async def large(r: R) -> None:
        await io.Deliver.bytes(r, bytes(200_000))

    @web.route.get("/streamed")
    async def streamed(r: R) -> None:
        await r.prepare({"Content-Type": "text/plain"})
        while True:
            await r.write(bytes(10_000))

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.credits = False
        peer.send(window_update(0, 10**6))
        peer.ask(1)
        paths = [(n, "/streamed" if n == ":path" else v) for n, v in GET]
        peer.ask(3, paths)
        assert (await peer.answer(1)).reset_code == 8
        assert (await peer.answer(3)).reset_code == 8
        await wait_until(lambda: not site.server.in_flight)
        peer.send(frame(4, 0, 0, b"\0\4" + (10**6).to_bytes(4, "big")))
        assert len((await peer.get("/", 5)).body) == 200_000


async def test_a_window_of_the_connection_that_stays_shut() -> None:
    web = io.App(progress_window_s=0.2)

    @web.route.get("/")
    async def large(r: R) -> None:
        await io.Deliver.bytes(r, bytes(200_000))

    opening = OPENING + frame(4, 0, 0, b"\0\4" + (10**6).to_bytes(4, "big"))
    async with (
        served(web) as site,
        await Http2Peer.connect(site.port, opening=opening) as peer,
    ):
        peer.credits = False
        peer.ask(1)
        await peer.until(lambda: len(peer.at(1).body) == 65_535)
        await wait_until(lambda: not site.server.connection_count)


async def test_content_that_does_not_come() -> None:
    web = io.App(progress_window_s=0.2)

    @web.route.post("/")
    async def read(r: R) -> None:
        await io.Deliver.bytes(r, await r.read())

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.send(headers(1, POST, ends=False), data(1, b"abc"))
        await peer.until(lambda: peer.at(1).heads)
        assert peer.at(1).status == 408
        peer.ask(3, POST, b"x")
        assert (await peer.answer(3)).body == b"x"


async def test_a_header_block_without_an_end() -> None:
    async with (
        served(make_app(head_timeout_s=0.2)) as site,
        await Http2Peer.connect(site.port) as peer,
    ):
        await peer.get()
        peer.send(frame(HEADERS, 1, 3, b"\x82"))
        assert (await peer.goaway()).code == PROTOCOL_ERROR


async def test_a_client_that_reads_nothing_of_its_pings() -> None:
    web = make_app(control_frames=10**9)
    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        await peer.ping()
        pings = frame(PING, 0, 0, b"12345678") * 4000
        transport = peer.writer.transport
        for _ in range(300):
            peer.send(pings)
            if transport.get_write_buffer_size() > 2**21:
                break
            await asyncio.sleep(0)
        assert transport.get_write_buffer_size() > 2**20
        (one,) = site.server.context.connections
        connection = cast(Http2Connection, one)
        await wait_until(lambda: not connection.read_control.is_open)
        assert connection.transport.get_write_buffer_size() < 2**21
        peer.reset()
        await wait_until(lambda: not site.server.connection_count)


async def test_too_many_resets_end_the_connection() -> None:
    async with served(make_app()) as site, await Http2Peer.connect(site.port) as peer:
        for number in range(1000):
            stream = number * 2 + 1
            peer.send(headers(stream, SLOW), frame(3, 0, stream, bytes(4)))
        assert (await peer.goaway()).code == ENHANCE_YOUR_CALM
        assert not peer.of(DATA)
        await wait_until(lambda: not site.server.in_flight)
