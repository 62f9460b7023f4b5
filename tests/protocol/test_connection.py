"""One connection, request after request."""

import asyncio
import re

from tests.protocol.serving import (
    GET,
    CallLog,
    Connect,
    R,
    Serve,
    Wire,
    echo,
    forever,
    hello,
    post,
    request,
)
from tests.support.clock import wait_until, within

DATE = re.compile(rb"Date: [^\r]*\r\n")


class TestPersistence:
    async def test_one_connection_serves_request_after_request(
        self, serve: Serve
    ) -> None:
        served = serve(hello)
        peer = await served.connect()
        for _ in range(3):
            await peer.send(GET)
            response = await peer.read_response()
            assert (response.status, response.body) == (200, b"hello")
            assert response.field("connection") is None
        assert served.server.request_count == 3

    async def test_http_1_0_is_closed_after_its_answer(self, serve: Serve) -> None:
        peer = await serve(hello).connect()
        await peer.send(request("GET", version="1.0"))
        octets = await peer.read_until_end()
        assert b"\r\nConnection: close\r\n" in octets
        assert octets.endswith(b"\r\n\r\nhello")

    async def test_http_1_0_that_asks_is_kept(self, serve: Serve) -> None:
        peer = await serve(hello).connect()
        for _ in range(2):
            await peer.send(
                request("GET", "/", "Connection: keep-alive", version="1.0")
            )
            response = await peer.read_response()
            assert response.field("connection") == "keep-alive"

    async def test_the_client_may_ask_to_close(self, serve: Serve) -> None:
        peer = await serve(hello).connect()
        await peer.send(request("GET", "/", "Connection: close"))
        assert (await peer.read_response()).field("connection") == "close"
        assert await peer.read_until_end() == b""

    async def test_the_last_response_says_so_and_no_more(self, serve: Serve) -> None:
        """The usual one is composed by hand, apart from all others."""

        async def handler(r: R) -> None:
            if r.path == "/extra":
                r.response.add_field("X-Extra", "1")
            r.reply(b"hello" if r.path != "/204" else b"", int(r.query or 200))

        served = serve(handler)

        async def ask(target: str, *lines: str, method: str = "GET") -> bytes:
            peer = await served.connect()
            await peer.send(request(method, target, "Connection: close", *lines))
            return DATE.sub(b"", await peer.read_until_end())

        kept = DATE.sub(b"", (await served.exchange(GET)).octets)
        head, end = b"Content-Length: 5\r\n", b"\r\nhello"
        octets = await ask("/")
        assert octets == kept.replace(head, head + b"Connection: close\r\n")
        assert octets.endswith(end)
        assert (await ask("/", method="HEAD")) == octets[: -len(b"hello")]
        assert b"\r\nX-Extra: 1\r\nContent-Length: 5\r\nConnection: close\r\n" in (
            await ask("/extra")
        )
        no_content = await ask("/204?204")
        assert b"Content-Length" not in no_content
        assert b"\r\nConnection: close\r\n" in no_content

    async def test_the_handler_may_ask_to_close(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            r.reply(b"bye", headers={"Connection": "close"})

        peer = await serve(handler).connect()
        await peer.send(GET)
        assert (await peer.read_response()).field("connection") == "close"
        assert await peer.read_until_end() == b""

    async def test_empty_lines_between_requests_are_skipped(
        self, connect: Connect
    ) -> None:
        wire = connect(hello)
        assert (await wire.ask(GET)).status == 200
        assert (await wire.ask(b"\r\n" + GET)).status == 200

    async def test_head_in_single_octets(self, connect: Connect) -> None:
        wire = connect(echo)
        for octet in post(b"abc"):
            wire.peer.feed(bytes([octet]))
        assert (await wire.answered())[0].body == b"abc"

    async def test_r_is_blank_for_the_next_request(self, connect: Connect) -> None:
        seen: list[tuple[object, ...]] = []

        async def handler(r: R) -> None:
            seen.append(
                (
                    dict(r.store),
                    dict(r.path_params),
                    r.status,
                    r.content_length,
                    r.current_length,
                    r.transfer_encoding,
                    dict(r.trailers),
                )
            )
            r.store["user"] = "one"
            r.path_params = {"id": 7}
            r.set_cookie("a", "1")
            async for _ in r.pull():
                pass
            r.reply(b"", 201)

        wire = connect(handler)
        first = await wire.ask(
            request("POST", "/", "Transfer-Encoding: chunked")
            + b"1\r\na\r\n0\r\nSum: 1\r\n\r\n"
        )
        assert first.field("set-cookie") is not None
        second = await wire.ask(GET)
        assert len(second.field_all("set-cookie")) == 1
        assert seen[1] == ({}, {}, 0, None, 0, None, {})

    async def test_what_r_says_of_a_request(self, connect: Connect) -> None:
        seen: list[object] = []

        async def handler(r: R) -> None:
            content = await r.read()
            seen.extend([r.method, r.path, r.query, r.tail, r.headers["HOST"]])
            seen.extend([r.content_length, r.current_length, content, r.is_alive])
            r.reply(b"")

        await connect(handler).ask(post(b"abc", path="/a%20b?c=d"))
        assert seen == [
            "POST",
            "/a b",
            "c=d",
            "/a%20b?c=d",
            "a",
            3,
            3,
            b"abc",
            True,
        ]

    async def test_trailers_are_there_once_the_content_is_whole(
        self, connect: Connect
    ) -> None:
        async def handler(r: R) -> None:
            await r.read()
            r.reply(r.trailers["sum"].encode())

        octets = request("POST", "/", "Transfer-Encoding: chunked")
        response = await connect(handler).ask(octets + b"0\r\nSum: 7\r\n\r\n")
        assert response.body == b"7"

    async def test_the_representation_shows_where_it_is(self, connect: Connect) -> None:
        wire = connect(forever)
        assert repr(wire.r) == "<BlazeioServerProtocol on <Http1Connection OPENED>>"
        wire.peer.feed(request("GET", "/a"))
        assert (
            repr(wire.r) == "<BlazeioServerProtocol GET /a on <Http1Connection WHOLE>>"
        )
        await asyncio.sleep(0)
        wire.peer.lose()
        assert (
            repr(wire.r) == "<BlazeioServerProtocol GET /a on <Http1Connection CLOSED>>"
        )


class TestRawHandler:
    async def test_octets_come_and_go_as_they_are(self, serve: Serve) -> None:
        async def raw(r: R) -> None:
            async for octets in r.request():
                await r.writer(octets.upper())

        peer = await serve(hello, raw_handler=raw).connect()
        await peer.send(b"not http\x00")
        assert await peer.read_some() == b"NOT HTTP\x00"
        peer.half_close()
        assert await peer.read_until_end() == b""

    async def test_what_came_before_the_end_is_given_out(
        self, connect: Connect
    ) -> None:
        got: list[bytes] = []

        async def raw(r: R) -> None:
            got.extend([octets async for octets in r.request()])

        wire = connect(hello, raw_handler=raw)
        wire.peer.feed(b"ab")
        wire.peer.feed_eof()
        await wait_until(lambda: wire.peer.is_lost)
        assert b"".join(got) == b"ab"

    async def test_a_reset_cancels_it(self, serve: Serve, calls: CallLog) -> None:
        served = serve(hello, raw_handler=calls.watching(forever))
        peer = await served.connect()
        await calls.has("begin")
        peer.reset()
        await calls.has("begin", "CancelledError")

    async def test_reading_pauses_while_it_does_not_read(self, serve: Serve) -> None:
        may_read = asyncio.Event()
        got = 0

        async def raw(r: R) -> None:
            nonlocal got
            await may_read.wait()
            async for octets in r.request():
                got += len(octets)

        served = serve(hello, raw_handler=raw, receive_bytes=1000)
        peer = await served.connect()
        sending = asyncio.create_task(peer.send(b"x" * 10_000_000))
        await wait_until(
            lambda: any(not each.read_control.is_open for each in served.connections)
        )
        (r,) = served.requests
        assert r.content.queued_bytes < 300 * 1024
        may_read.set()
        await sending
        await wait_until(lambda: got == 10_000_000)


async def test_a_background_task_finds_r_serving_somebody_else(
    connect: Connect,
) -> None:
    """Why a background task must not keep r."""
    kept: list[R] = []

    async def handler(r: R) -> None:
        kept.append(r)
        r.reply(b"")

    wire: Wire = connect(handler)
    await wire.ask(request("GET", "/one"))
    await wire.ask(request("GET", "/two"))
    assert kept[0] is kept[1]
    assert kept[0].path == "/two"


async def test_idle_means_kept_alive_and_waiting(connect: Connect) -> None:
    wire = connect(hello)
    assert not wire.connection.is_idle  # its first request is under way
    wire.connection.close_idle()
    assert not wire.peer.is_closing()
    await wire.ask(GET)
    await wait_until(lambda: wire.connection.is_idle)
    wire.connection.close_idle()
    assert wire.peer.is_closing()
    await within(asyncio.sleep(0))
