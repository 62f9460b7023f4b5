"""The same handlers as over HTTP/1.1, on the streams of one connection."""

import asyncio
from pathlib import Path

import pytest

import blazeio as io
from blazeio.protocol.request import BlazeioServerProtocol as R
from tests.support.clock import wait_until
from tests.support.http2 import (
    CANCEL,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    HEADERS,
    INTERNAL_ERROR,
    NO_ERROR,
    POST,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    RST_STREAM,
    WINDOW_UPDATE,
    Fields,
    block,
    data,
    frame,
    headers,
    reset,
    window_update,
)
from tests.support.http2_peer import Http2Peer
from tests.support.served import served


def to(path: str, base: Fields = GET) -> Fields:
    return [(name, path if name == ":path" else value) for name, value in base]


async def test_a_whole_answer() -> None:
    web = io.App()

    @web.route.get("/items/{name}")
    async def item(r: R) -> None:
        seen = {
            "name": r.path_params["name"],
            "query": r.query,
            "version": r.http_version,
            "host": r.headers["host"],
            "cookie": r.headers["cookie"],
        }
        await io.Deliver.json(r, seen)

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        more = [("cookie", "a=1"), ("cookie", "b=2")]
        peer.ask(1, to("/items/x%20y?a=b"), more=more)
        answer = await peer.answer(1)
        assert answer.status == 200
        assert answer.fields["content-type"] == "application/json"
        assert answer.fields["content-length"] == str(len(answer.body))
        assert "connection" not in answer.fields
        assert answer.body == (
            b'{"name":"x y","query":"a=b","version":"2","host":"a.example",'
            b'"cookie":"a=1; b=2"}'
        )


async def test_a_streamed_answer_of_no_declared_length() -> None:
    web = io.App()

    @web.route.get("/")
    async def stream(r: R) -> None:
        await r.prepare({"Content-Type": "text/plain"})
        for number in range(3):
            await r.write(b"%d" % number)
            await asyncio.sleep(0)

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        answer = await peer.get()
        assert answer.body == b"012"
        assert answer.fields.keys() == {":status", "date", "server", "content-type"}


async def test_head_and_answers_without_content_end_with_their_head() -> None:
    web = io.App()

    @web.route.get("/")
    async def hello(r: R) -> None:
        await io.Deliver.text(r, "hello")

    @web.route.get("/none")
    async def nothing(r: R) -> None:
        await r.prepare(None, 204)

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.ask(1, [(":method", "HEAD"), *GET[1:]])
        answer = await peer.answer(1)
        assert answer.fields["content-length"] == "5"
        assert (await peer.get("/none", 3)).status == 204
        assert not peer.of(DATA)


async def test_content_is_read_and_answered() -> None:
    web = io.App()

    @web.route.post("/")
    async def echo(r: R) -> None:
        await io.Deliver.bytes(r, await r.read())

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.ask(1, POST, b"hello")
        peer.ask(3, POST, b"hello", more=[("content-length", "5")])
        peer.send(headers(5, POST))
        for stream_id, expected in ((1, b"hello"), (3, b"hello"), (5, b"")):
            assert (await peer.answer(stream_id)).body == expected


async def test_megabytes_go_both_ways_at_once() -> None:
    web = io.App()

    @web.route.post("/")
    async def echo(r: R) -> None:
        await r.prepare({"Content-Type": "application/octet-stream"})
        async for piece in r.pull():
            await r.write(piece)

    content = bytes(range(256)) * 8192
    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.send(headers(1, POST, ends=False))
        sent = 0
        while sent < len(content):
            room = 262_144 + sum(
                int.from_bytes(each.payload, "big")
                for each in peer.of(WINDOW_UPDATE)
                if each.stream_id == 1
            )
            size = min(16_384, room - sent, len(content) - sent)
            if size <= 0:
                await peer.ping()
                continue
            peer.send(data(1, content[sent : sent + size]))
            sent += size
        peer.send(data(1, ends=True))
        answer = await peer.answer(1)
        assert answer.body == content


async def test_a_slow_handler_holds_up_its_own_stream_alone() -> None:
    web = io.App()
    is_free = asyncio.Event()

    @web.route.post("/slow")
    async def slow(r: R) -> None:
        await is_free.wait()
        await io.Deliver.text(r, str(len(await r.read())))

    @web.route.post("/fast")
    async def fast(r: R) -> None:
        await io.Deliver.text(r, str(len(await r.read())))

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.send(headers(1, to("/slow", POST), ends=False))
        peer.send(*[data(1, bytes(16_384))] * 15)
        peer.send(headers(3, to("/fast", POST), ends=False))
        peer.send(*[data(3, bytes(16_384))] * 15, data(3, ends=True))
        assert (await peer.answer(3)).body == b"245760"
        is_free.set()
        peer.send(data(1, ends=True))
        assert (await peer.answer(1)).body == b"245760"


async def test_what_waits_for_a_handler_is_bounded() -> None:
    web = io.App(receive_bytes=65_536)
    is_free = asyncio.Event()

    @web.route.post("/")
    async def slow(r: R) -> None:
        await is_free.wait()
        await io.Deliver.text(r, str(len(await r.read())))

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.send(headers(1, POST, ends=False), *[data(1, bytes(16_384))] * 3)
        await peer.ping()
        peer.send(*[data(1, bytes(16_384))] * 2)
        await peer.ping()
        credit = [each for each in peer.of(WINDOW_UPDATE) if each.stream_id == 1]
        sent = 5 * 16_384
        while credit and sent < 10**6:
            credit = []
            before = len(peer.frames)
            peer.send(*[data(1, bytes(16_384))] * 2)
            sent += 2 * 16_384
            await peer.ping()
            credit = [
                each
                for each in peer.frames[before:]
                if each.kind == WINDOW_UPDATE and each.stream_id == 1
            ]
        assert sent < 4 * 65_536
        is_free.set()
        peer.send(data(1, ends=True))
        assert (await peer.answer(1)).body == str(sent).encode()


async def test_a_hundred_streams_at_once() -> None:
    web = io.App()
    arrived = asyncio.Semaphore(0)
    is_free = asyncio.Event()

    @web.route.get("/")
    async def wait(r: R) -> None:
        arrived.release()
        await is_free.wait()
        await io.Deliver.text(r, r.query)

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        for number in range(100):
            peer.ask(number * 2 + 1, to(f"/?{number}"))
        for _ in range(100):
            await arrived.acquire()
        peer.ask(201)
        refused = await peer.answer(201)
        assert refused.reset_code == REFUSED_STREAM
        is_free.set()
        for number in range(100):
            assert (await peer.answer(number * 2 + 1)).body == str(number).encode()
        assert (await peer.get("/?more", 203)).body == b"more"


async def test_100_continue_is_sent_when_content_is_wanted() -> None:
    web = io.App()

    @web.route.post("/")
    async def echo(r: R) -> None:
        await io.Deliver.bytes(r, await r.read())

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        expect = [("expect", "100-continue"), ("content-length", "2")]
        peer.send(headers(1, POST, ends=False, more=expect))
        await peer.until(lambda: peer.at(1).heads)
        peer.send(data(1, b"ok", ends=True))
        answer = await peer.answer(1)
        assert answer.statuses == [100, 200]
        assert answer.body == b"ok"


async def test_an_answer_before_the_content_is_whole() -> None:
    web = io.App()

    @web.route.post("/")
    async def early(r: R) -> None:
        await io.Deliver.text(r, "enough", status=403)

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.send(headers(1, POST, ends=False), data(1, b"abc"))
        await peer.until(lambda: peer.at(1).reset_code is not None)
        answer = peer.at(1)
        assert (answer.status, answer.body, answer.is_ended) == (403, b"enough", True)
        assert answer.reset_code == NO_ERROR
        peer.send(data(1, b"late"), data(1, b"later", ends=True))
        assert (await peer.get("/", 3)).status == 405


@pytest.mark.parametrize("ends", ["by the time", "by the client", "by the connection"])
async def test_an_early_error_whose_client_does_not_say_that_it_saw_it(
    ends: str,
) -> None:
    span_s = 0.05 if ends == "by the time" else 60
    web = io.App(linger_timeout_s=span_s)
    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.answers_pings = False
        peer.send(headers(1, POST, ends=False), data(1, b"abc"))
        await peer.until(lambda: peer.at(1).is_ended)
        assert peer.at(1).status == 404
        if ends == "by the time":
            await peer.until(lambda: peer.at(1).reset_code == NO_ERROR)
        elif ends == "by the client":
            peer.send(data(1, ends=True))
        else:
            peer.reset()
            await wait_until(lambda: not site.server.connection_count)
            return
        assert (await peer.get("/", 3)).status == 404
        assert peer.at(1).reset_code == (NO_ERROR if ends == "by the time" else None)
        (connection,) = site.server.context.connections
        await wait_until(lambda: connection.is_idle)


async def test_content_that_is_too_large_is_refused() -> None:
    web = io.App(content_bytes=10)

    @web.route.post("/")
    async def echo(r: R) -> None:
        await io.Deliver.bytes(r, await r.read())

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.ask(1, POST, b"x" * 11)
        peer.send(headers(3, POST, ends=False, more=[("content-length", "11")]))
        peer.ask(5, POST, b"x" * 10)
        assert (await peer.answer(1)).status == 413
        assert (await peer.answer(3)).status == 413
        assert (await peer.answer(5)).status == 200


async def test_requests_that_are_refused_leave_the_connection() -> None:
    web = io.App(target_bytes=100, field_bytes=1000)

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        assert (await peer.get("/nowhere", 1)).status == 404
        assert (await peer.get("/" + "a" * 100, 3)).status == 414
        peer.ask(5, GET, more=[("host", "b.example")])
        assert (await peer.answer(5)).status == 400
        peer.ask(7, GET, more=[("x", "y" * 2000)])
        assert (await peer.answer(7)).status == 431
        peer.ask(9, GET, more=[("expect", "x")])
        assert (await peer.answer(9)).status == 417
        peer.ask(11, GET, more=[("connection", "close")])
        assert (await peer.answer(11)).reset_code == PROTOCOL_ERROR
        assert site.server.in_flight == 0


async def test_a_handler_that_fails_before_and_within_its_answer() -> None:
    web = io.App()

    @web.route.get("/before")
    async def before(r: R) -> None:
        raise RuntimeError("on purpose")

    @web.route.get("/within")
    async def within(r: R) -> None:
        await r.prepare({"Content-Length": "10"})
        await r.write(b"half")
        await asyncio.sleep(0)
        raise RuntimeError("on purpose")

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        assert (await peer.get("/before", 1)).status == 500
        answer = await peer.get("/within", 3)
        assert (answer.status, answer.is_ended) == (200, False)
        assert answer.reset_code == INTERNAL_ERROR
        assert (await peer.get("/before", 5)).status == 500


async def test_an_answer_that_ends_short_is_reset() -> None:
    web = io.App()

    @web.route.get("/")
    async def short(r: R) -> None:
        await r.prepare({"Content-Length": "10"})
        await r.write(b"half")

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        answer = await peer.get()
        assert not answer.is_ended
        assert answer.reset_code == INTERNAL_ERROR


async def test_a_large_answer_waits_for_its_window() -> None:
    web = io.App()
    body = bytes(range(256)) * 4096
    is_over = asyncio.Event()

    @web.route.get("/")
    async def large(r: R) -> None:
        await io.Deliver.bytes(r, body)
        is_over.set()

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.credits = False
        peer.ask(1)
        await peer.until(lambda: len(peer.at(1).body) == 65_535)
        peer.ask(3, to("/nowhere"))
        await peer.until(lambda: peer.at(3).heads)  # its head needs no window
        peer.send(window_update(0, 2**30), window_update(1, 2**30))
        answer = await peer.answer(1)
        assert answer.body == body
        assert (await peer.answer(3)).status == 404


async def test_writers_sleep_while_the_window_is_shut() -> None:
    web = io.App(high_water_bytes=1000)
    written = 0

    @web.route.get("/")
    async def endless(r: R) -> None:
        nonlocal written
        await r.prepare({"Content-Type": "text/plain"})
        while True:
            await r.write(bytes(500))
            written += 500

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.credits = False
        peer.ask(1)
        await peer.until(lambda: len(peer.at(1).body) == 65_535)
        await peer.ping()
        assert written < 70_000
        peer.send(window_update(0, 10_000), window_update(1, 10_000))
        await peer.until(lambda: len(peer.at(1).body) == 75_535)
        peer.send(reset(1))
        await wait_until(lambda: not site.server.in_flight)


async def test_trailers_of_a_request() -> None:
    web = io.App()

    @web.route.post("/")
    async def read(r: R) -> None:
        await r.read()
        await io.Deliver.text(r, r.trailers.get("x-sum", "none"))

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.send(headers(1, POST, ends=False), data(1, b"abc"))
        end = frame(HEADERS, END_HEADERS | END_STREAM, 1, block([("x-sum", "6")]))
        peer.send(end)
        assert (await peer.answer(1)).body == b"6"


async def test_trailers_of_a_response() -> None:
    web = io.App()

    @web.route.get("/")
    async def grpc(r: R) -> None:
        await r.prepare({"Content-Type": "application/grpc"})
        await r.write(b"message")
        await r.eof(trailers={"grpc-status": "0", "grpc-message": "ok"})

    @web.route.get("/alone")
    async def alone(r: R) -> None:
        await r.prepare({"Content-Type": "application/grpc"})
        await r.eof(trailers={"grpc-status": "5"})

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        answer = await peer.get()
        assert answer.body == b"message"
        assert answer.trailers == [("grpc-status", "0"), ("grpc-message", "ok")]
        answer = await peer.get("/alone", 3)
        assert answer.trailers == [("grpc-status", "5")]
        assert answer.body == b""


async def test_a_reset_cancels_the_handler_of_its_stream_alone() -> None:
    web = io.App(half_close_grace_s=0.1)
    ends: list[str] = []
    begun = asyncio.Semaphore(0)

    @web.route.get("/")
    async def wait(r: R) -> None:
        begun.release()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ends.append(r.query)
            raise

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.ask(1, to("/?one"))
        peer.ask(3, to("/?two"))
        await begun.acquire()
        await begun.acquire()
        peer.send(reset(1))
        await wait_until(lambda: ends)
        assert ends == ["one"]
        assert site.server.in_flight == 1
        peer.reset()
        await wait_until(lambda: not site.server.in_flight)
        assert ends == ["one", "two"]


async def test_a_handler_that_finishes_counts_until_it_has() -> None:
    web = io.App(streams=1)
    is_free = asyncio.Event()
    finished: list[str] = []

    @web.add_route("/", on_disconnect="finish")
    async def work(r: R) -> None:
        await is_free.wait()
        finished.append(r.query)

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.ask(1, to("/?one"))
        await peer.ping()
        peer.send(reset(1))
        peer.ask(3, to("/?two"))
        assert (await peer.answer(3)).reset_code == REFUSED_STREAM
        is_free.set()
        await wait_until(lambda: finished == ["one"])
        await wait_until(lambda: not site.server.in_flight)
        assert (await peer.get("/?three", 5)).status == 204
        assert not site.server.context.detached


async def test_a_lost_client_of_a_long_stream_is_known_at_once() -> None:
    web = io.App()
    ended = asyncio.Event()

    @web.route.get("/")
    async def stream(r: R) -> None:
        await r.prepare({"Content-Type": "text/plain"})
        await r.write(b"begun")
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with served(web) as site:
        async with await Http2Peer.connect(site.port) as peer:
            peer.ask(1)
            await peer.until(lambda: peer.at(1).body)
        await asyncio.wait_for(ended.wait(), 5)  # FIN, and no octet more
        await wait_until(lambda: not site.server.connection_count)


async def test_server_sent_events_and_a_shutdown_hook() -> None:
    web = io.App()

    @web.route.get("/")
    async def events(r: R) -> None:
        async with io.EventStream(r) as stream:
            await stream.send("one")
            await asyncio.sleep(60)

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        peer.ask(1, GET, more=[("accept", "text/event-stream")])
        await peer.until(lambda: b"one" in peer.at(1).body)
        assert peer.at(1).fields["content-type"].startswith("text/event-stream")
        peer.send(reset(1, CANCEL))
        await wait_until(lambda: not site.server.in_flight)


async def test_raw_octets_are_no_content() -> None:
    web = io.App()

    @web.route.get("/")
    async def raw(r: R) -> None:
        await r.writer(b"HTTP/1.1 200 OK\r\n\r\n")

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        answer = await peer.get()
        assert answer.status == 500
        assert not [each for each in peer.frames if each.kind == RST_STREAM]


async def test_spare_streams_hold_nothing_of_a_request() -> None:
    web = io.App()
    seen: list[object] = []

    @web.route.get("/")
    async def keep(r: R) -> None:
        seen.append((r.query, dict(r.store), r.content_length))
        r.store["secret"] = r.query
        await io.Deliver.text(r, "ok")

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        for number in range(5):
            answer = await peer.get(f"/?{number}", number * 2 + 1)
            assert answer.body == b"ok"
        assert seen == [(str(number), {}, None) for number in range(5)]


async def test_the_access_log_says_its_version(tmp_path: Path) -> None:
    path = tmp_path / "log"
    web = io.App(access_log=str(path), access_log_format="{version} {target} {status}")

    @web.route.get("/")
    async def hello(r: R) -> None:
        await io.Deliver.text(r, "hello")

    async with served(web) as site, await Http2Peer.connect(site.port) as peer:
        await peer.get("/?one", 1)
        await peer.get("/nowhere", 3)
        await site.get("/")
    assert path.read_text().splitlines() == [
        "HTTP/2 /?one 200",
        "HTTP/2 /nowhere 404",
        "HTTP/1.1 / 200",
    ]
