"""What holds over HTTP/1.1 holds over HTTP/2: each test is run over both."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

import blazeio as io
from blazeio.protocol.request import BlazeioServerProtocol as R
from tests.app.asking import MULTIPART
from tests.content.bodies import form, part
from tests.http2.test_websockets import masked
from tests.support.clock import wait_until
from tests.support.served import served
from tests.support.talkers import OPEN, answer, talking, wait_until_seen

BOTH = pytest.mark.parametrize("spoken", ["1.1", "2"])

OF_FRAMING = ("connection", "transfer-encoding", "date", ":status", "content-length")


def plain(fields: dict[str, str]) -> dict[str, str]:
    """Those that both protocols have."""
    return {name: v for name, v in fields.items() if name not in OF_FRAMING}


@BOTH
async def test_events_come_one_by_one_until_the_client_leaves(spoken: str) -> None:
    goes_on, ended = asyncio.Event(), asyncio.Event()
    web = io.App()

    @web.route.get("/")
    async def events(r: R) -> None:
        try:
            async with io.EventStream(r) as stream:
                await stream.send("one")
                await goes_on.wait()
                await stream.send("two", event="tick", event_id="7")
                await asyncio.sleep(60)
        finally:
            ended.set()

    async with served(web) as site, talking(site, spoken) as talker:
        await talker.ask("GET", "/", fields={"Accept": "text/event-stream"})
        await wait_until_seen(talker, lambda: b"data: one\n\n" in talker.body)
        assert talker.fields["content-type"].startswith("text/event-stream")
        goes_on.set()
        event = b"event: tick\nid: 7\ndata: two\n\n"
        await wait_until_seen(talker, lambda: event in talker.body)
        talker.leave()
        await asyncio.wait_for(ended.wait(), 5)
        await wait_until(lambda: not site.server.in_flight)


@BOTH
async def test_a_websocket_of_the_same_route(spoken: str) -> None:
    web = io.App()
    ended: list[int | None] = []

    @web.add_route
    async def chat(r: R, route: str = "/chat") -> None:
        assert r.method == "GET"
        async with io.WebSocket(r) as ws:
            async for message in ws:
                await ws.send(f"you said {message!s}")
        ended.append(ws.close_code)

    async with served(web) as site, talking(site, spoken) as talker:
        await talker.upgrade("/chat")
        await wait_until_seen(talker, lambda: talker.status)
        assert talker.status == (101 if spoken == "1.1" else 200)
        await talker.send(masked(b"hello"))
        await wait_until_seen(
            talker, lambda: talker.body.endswith(b"\x81\x0eyou said hello")
        )
        await talker.send(masked(b"\x0b\xb9", 8))
        await wait_until_seen(talker, lambda: b"\x88\x02\x0b\xb9" in talker.body)
        await wait_until(lambda: ended == [3001])


@BOTH
@pytest.mark.parametrize("is_open", [True, False])
async def test_a_form_with_a_file(spoken: str, is_open: bool) -> None:
    web = io.App()

    @web.route.post("/")
    async def take(r: R) -> None:
        read = await io.Request.form_data(r)
        sizes = [len(chunk) async for chunk in r.pull()]
        await io.Deliver.json(r, {"title": read["title"], "size": sum(sizes)})

    file = part('name="f"; filename="a.txt"', "x" * 100_000, "Content-Type: text/plain")
    content = form(part('name="title"', "für"), file)
    kind = MULTIPART
    async with served(web) as site, talking(site, spoken) as talker:
        if is_open:
            await talker.ask("POST", "/", OPEN, kind)
            for at in range(0, len(content), 10_000):
                await talker.send(content[at : at + 10_000])
            await talker.send(b"", ends=True)
        else:
            await talker.ask("POST", "/", content, kind)
        status, _, body = await answer(talker)
    assert (status, body.decode()) == (200, '{"title":"für","size":100000}')


@pytest.mark.parametrize(
    ("limits", "asked", "status"),
    [
        ({"head_bytes": 500}, {"fields": {"X-A": "a" * 600}}, 431),
        ({"field_bytes": 100}, {"fields": {"X-A": "a" * 200}}, 431),
        ({"field_count": 10}, {"fields": {f"X-{at}": "a" for at in range(20)}}, 431),
        ({"target_bytes": 50}, {"path": "/" + "a" * 100}, 414),
        ({"content_bytes": 10}, {"method": "POST", "content": b"a" * 20}, 413),
        ({"content_bytes": 10}, {"method": "POST", "content": b"a" * 9}, 204),
        ({"in_flight": 1}, {"path": "/"}, 503),
        ({}, {"path": "/missing"}, 404),
        ({}, {"path": "/boom"}, 500),
        ({}, {"method": "PUT"}, 405),
        ({}, {"method": "OPTIONS"}, 204),
    ],
)
async def test_what_is_refused_is_answered_alike(
    limits: dict[str, Any], asked: dict[str, Any], status: int
) -> None:
    web = io.App(**limits)

    @web.add_route("/", methods=["GET", "POST"])
    async def read(r: R) -> None:
        await r.read()

    @web.route.get("/boom")
    async def boom(r: R) -> None:
        raise ValueError("a fault")

    @web.route.get("/wait")
    async def wait(r: R) -> None:
        await asyncio.sleep(60)

    answers = []
    words = {"method": "GET", "path": "/", **asked}
    async with served(web) as site, talking(site, "1.1") as other:
        if "in_flight" in limits:
            await other.ask("GET", "/wait")
            await wait_until(lambda: site.server.in_flight)
        for spoken in ("1.1", "2"):
            async with talking(site, spoken) as talker:
                await talker.ask(**words)
                got, fields, body = await answer(talker)
                assert got == status
                told = re.sub(rb"[0-9a-f]{32}|\d+", b"N", body)
                answers.append((sorted(plain(fields)), told))
        other.leave()
        await wait_until(lambda: not site.server.in_flight)
    assert answers[0] == answers[1]


@BOTH
async def test_a_handler_that_takes_too_long(spoken: str) -> None:
    web = io.App(handler_timeout_s=0.05)
    cancelled: list[bool] = []

    @web.route.get("/")
    async def sleep(r: R) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async with served(web) as site, talking(site, spoken) as talker:
        await talker.ask("GET", "/")
        assert (await answer(talker))[0] == 503
        assert cancelled == [True]


@BOTH
@pytest.mark.parametrize("content", [b"abc" * 1000, b""])
async def test_content_of_no_declared_length(spoken: str, content: bytes) -> None:
    web = io.App()

    @web.route.post("/chunks")
    async def chunks(r: R) -> None:
        got = b"".join([piece async for piece in r.handle_chunked()])
        await r.prepare()
        await r.write_chunked(got)
        await r.eof()

    @web.route.post("/json")
    async def json(r: R) -> None:
        await io.Deliver.json(r, {"got": await io.Request.get_json(r)})

    async with served(web) as site:
        async with talking(site, spoken) as talker:
            await talker.ask("POST", "/chunks", OPEN)
            if content:
                await talker.send(content)
            await talker.send(b"", ends=True)
            status, _, body = await answer(talker)
        assert (status, body) == (200, content)
        async with talking(site, spoken) as talker:
            await talker.ask(
                "POST", "/json", OPEN, {"Content-Type": "application/json"}
            )
            await talker.send(b"[1, 2]", ends=True)
            status, _, body = await answer(talker)
        assert (status, body) == (200, b'{"got":[1,2]}')


@BOTH
async def test_content_that_comes_too_slowly(spoken: str) -> None:
    web = io.App(progress_window_s=0.1)

    @web.route.post("/")
    async def read(r: R) -> None:
        await r.read()

    async with served(web) as site, talking(site, spoken) as talker:
        await talker.ask("POST", "/", OPEN, {"Content-Length": "100"})
        await talker.send(b"a")
        assert (await answer(talker))[0] == 408


@BOTH
@pytest.mark.parametrize("finishes", [True, False])
async def test_a_client_that_leaves_cancels_unless_the_route_finishes(
    spoken: str, finishes: bool
) -> None:
    web = io.App()
    begun, goes_on = asyncio.Event(), asyncio.Event()
    ends: list[str] = []

    async def work(r: R) -> None:
        begun.set()
        try:
            await goes_on.wait()
            ends.append("finished")
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    web.add_route(work, "/", on_disconnect="finish" if finishes else "cancel")
    async with served(web) as site, talking(site, spoken) as talker:
        await talker.ask("GET", "/")
        await begun.wait()
        talker.leave()
        if finishes:
            await asyncio.sleep(0.05)  # a cancellation would come here
            goes_on.set()
        await wait_until(lambda: ends)
        await wait_until(lambda: not site.server.in_flight)
    assert ends == ["finished" if finishes else "cancelled"]


@BOTH
async def test_content_that_breaks_off_is_no_short_content(spoken: str) -> None:
    web = io.App()
    seen: list[str] = []

    @web.route.post("/")
    async def read(r: R) -> None:
        try:
            await r.read()
            seen.append("whole")
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    async with served(web) as site, talking(site, spoken) as talker:
        await talker.ask("POST", "/", OPEN, {"Content-Length": "100"})
        await talker.send(b"some")
        await wait_until(lambda: site.server.in_flight)
        talker.leave()
        await wait_until(lambda: seen)
    assert seen == ["CancelledError"]


@BOTH
async def test_a_response_that_is_cut_is_seen_as_cut(spoken: str) -> None:
    web = io.App()

    @web.route.get("/")
    async def fail(r: R) -> None:
        await r.prepare({"Content-Type": "text/plain"})
        await r.write("begun")
        await asyncio.sleep(0.01)
        raise ValueError("a fault")

    async with served(web) as site, talking(site, spoken) as talker:
        await talker.ask("GET", "/")
        await wait_until_seen(talker, lambda: talker.is_cut)
        assert talker.status == 200
        assert not talker.is_whole


@BOTH
async def test_lines_of_the_access_log_differ_in_the_version_alone(
    spoken: str, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    form = "{version} {method} {target} {status} {content_bytes}"
    web = io.App(access_log=str(path), access_log_format=form)

    @web.route.post("/echo")
    async def echo(r: R) -> None:
        await io.Deliver.text(r, await r.read())

    async with served(web) as site:
        for words in (("POST", "/echo?a=b", b"abc"), ("GET", "/missing", None)):
            async with talking(site, spoken) as talker:
                await talker.ask(*words)
                await answer(talker)
    lines = path.read_text().splitlines()
    version = f"HTTP/{spoken}"
    assert lines[0] == f"{version} POST /echo?a=b 200 3"
    assert re.fullmatch(rf"{version} GET /missing 404 \d+", lines[1])


class Recorder:
    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int]] = []

    def record(self, r: R) -> None:
        received = r.content.received_bytes
        self.seen.append((r.response.status, received, r.response.content_bytes))

    def close(self) -> None:
        pass


@BOTH
async def test_what_metrics_count_is_the_same(spoken: str) -> None:
    web = io.App()
    recorder = Recorder()

    @web.route.post("/echo")
    async def echo(r: R) -> None:
        await r.prepare({"Content-Type": "text/plain"})
        async for piece in r.pull():
            await r.write(piece * 2)

    async with served(web) as site:
        site.server.record_responses(recorder)
        for path in ("/echo", "/missing"):
            async with talking(site, spoken) as talker:
                await talker.ask("POST", path, b"x" * 1000)
                assert await answer(talker)
        await wait_until(lambda: len(recorder.seen) == 2)
    assert recorder.seen[0] == (200, 1000, 2000)
    assert recorder.seen[1][0] == 404


@BOTH
async def test_a_stream_without_an_end_says_farewell_at_the_drain(spoken: str) -> None:
    web = io.App()

    @web.route.get("/")
    async def endless(r: R) -> None:
        async def part(r: R) -> None:
            await r.write("goodbye")

        await r.prepare({"Content-Type": "text/plain"})
        r.on_shutdown(part)
        await r.write("hello")
        await asyncio.sleep(60)

    async with served(web) as site, talking(site, spoken) as talker:
        await talker.ask("GET", "/")
        await wait_until_seen(talker, lambda: b"hello" in talker.body)
        await site.drain()
        _, _, body = await answer(talker)
        assert body == b"hellogoodbye"


@BOTH
@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_has_no_content_ends_with_its_head(
    spoken: str, method: str, status: int
) -> None:
    web = io.App()

    @web.route.get("/")
    async def none(r: R) -> None:
        r.reply(b"", status, headers={"X-A": "b", "ETag": '"c"'})

    async with served(web) as site, talking(site, spoken) as talker:
        await talker.ask(method, "/")
        got, fields, body = await answer(talker)
    assert (got, body) == (status, b"")
    assert plain(fields) == {"server": fields["server"], "x-a": "b", "etag": '"c"'}
