"""What handlers use works on a carrier that is not HTTP/1 connection."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import blazeio as io
from blazeio.protocol.flow import ContentStream
from blazeio.server.server import Server
from tests.protocol.memory_carrier import HIGH_WATER_BYTES, MemoryCarrier, MemoryReply
from tests.support.clock import scaled, wait_until

R = io.BlazeioServerProtocol
Carry = Callable[..., tuple[MemoryCarrier, Server]]


@pytest.fixture
async def carry() -> AsyncIterator[Carry]:
    """``carry(handler, **options)``: a carrier of the requests of an app."""
    made: list[tuple[MemoryCarrier, Server]] = []

    def start(
        handler: Callable[..., Any], options: dict[str, Any] | None = None, **app: Any
    ) -> tuple[MemoryCarrier, Server]:
        web = io.App(**app)
        web.add_route(handler, "/{name}", **(options or {}))
        server = web.make_server(asyncio.get_running_loop())
        made.append((MemoryCarrier(server.context), server))
        return made[-1]

    yield start
    for carrier, server in made:
        if not carrier.is_over:
            carrier.leave()
        await wait_until(lambda: not any(each.in_flight for _, each in made))
        assert not server.context.detached
        server.close()


async def ended(reply: MemoryReply) -> MemoryReply:
    await wait_until(lambda: reply.is_ended)
    return reply


@pytest.mark.parametrize(
    ("deliver", "given", "status", "media_type", "content"),
    [
        (io.Deliver.json, ({"a": 1},), 200, "application/json", b'{"a":1}'),
        (io.Deliver.text, ("hi", 203), 203, "text/plain; charset=utf-8", b"hi"),
        (io.Deliver.bytes, (b"\0",), 200, "application/octet-stream", b"\0"),
        (io.Deliver.redirect, ("/b",), 302, None, b""),
        (io.Deliver.no_content, (), 204, None, b""),
    ],
)
async def test_whole_responses(
    carry: Carry,
    deliver: Callable[..., Any],
    given: tuple[Any, ...],
    status: int,
    media_type: str | None,
    content: bytes,
) -> None:
    async def handler(r: R) -> None:
        await deliver(r, *given)

    carrier, _ = carry(handler)
    for _ in range(2):  # the request is used again
        reply = await ended(carrier.ask("GET", "/x"))
        assert (reply.status, reply.content) == (status, content)
        assert reply.field("content-type") == media_type
        assert reply.field("date") is not None


async def test_what_r_says_of_the_request(carry: Carry) -> None:
    seen: list[object] = []

    async def handler(r: R) -> None:
        seen.extend([r.method, r.path, r.query, r.path_params["name"], r.http_version])
        seen.extend([r.client.host, r.scheme, r.tls, r.headers["x-a"], r.is_alive])
        r.reply(b"")

    carrier, _ = carry(handler)
    await ended(carrier.ask("PATCH", "/a?b=c", ("X-A", "1")))
    assert seen[:5] == ["PATCH", "/a", "b=c", "a", "2"]
    assert seen[5:] == ["192.0.2.7", "http", None, "1", True]


async def test_a_stream_has_neither_chunks_nor_a_length(carry: Carry) -> None:
    def pieces() -> Iterator[str | bytes]:
        yield b"aaa"
        yield "bc"

    async def handler(r: R) -> None:
        await io.Deliver.stream(r, pieces())

    carrier, _ = carry(handler)
    reply = await ended(carrier.ask("GET", "/x"))
    assert reply.content == b"aaabc"
    assert reply.field("transfer-encoding") is None
    assert reply.field("content-length") is None


async def test_a_stream_is_encoded(carry: Carry) -> None:
    async def handler(r: R) -> None:
        await io.Deliver.stream(r, iter(["one ", "two"]), compress=True)

    carrier, _ = carry(handler)
    reply = await ended(carrier.ask("GET", "/x", ("Accept-Encoding", "gzip")))
    assert reply.field("content-encoding") == "gzip"
    assert gzip.decompress(reply.content) == b"one two"


async def test_head_has_no_content(carry: Carry) -> None:
    async def handler(r: R) -> None:
        await io.Deliver.text(r, "four")

    carrier, _ = carry(handler, {"methods": ["GET", "HEAD"]})
    reply = await ended(carrier.ask("HEAD", "/x"))
    assert (reply.content, reply.field("content-length")) == (b"", "4")


async def test_content_is_read_as_it_arrives(carry: Carry) -> None:
    async def handler(r: R) -> None:
        pieces = [piece async for piece in r.pull()]
        r.reply(b"|".join(pieces))

    carrier, _ = carry(handler)
    content = ContentStream(length=6)
    reply = carrier.ask("POST", "/x", content=content, content_length=6)
    await wait_until(lambda: carrier.asked > 0)
    content.feed(b"abc")
    await wait_until(lambda: carrier.asked > 1)
    content.feed(b"def")
    assert (await ended(reply)).content == b"abc|def"


async def test_writers_sleep_while_the_peer_does_not_read(carry: Carry) -> None:
    sent: list[int] = []

    async def handler(r: R) -> None:
        await r.prepare()
        for number in range(100):
            await r.write(b"x" * 10_000)
            sent.append(number)

    carrier, _ = carry(handler)
    carrier.is_stalled = True
    reply = carrier.ask("GET", "/x")
    await wait_until(lambda: carrier.waiting_bytes > HIGH_WATER_BYTES)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(sent) < 20
    carrier.read_all()
    assert len((await ended(reply)).content) == 1_000_000


async def test_a_file_is_sent_and_parts_of_it(carry: Carry, tmp_path: Path) -> None:
    octets = bytes(range(256)) * 1000
    (tmp_path / "f.bin").write_bytes(octets)

    async def handler(r: R) -> None:
        await io.Deliver.file(r, tmp_path / "f.bin")

    carrier, _ = carry(handler)
    whole = await ended(carrier.ask("GET", "/x"))
    assert (whole.status, whole.content) == (200, octets)
    part = await ended(carrier.ask("GET", "/x", ("Range", "bytes=10-70009")))
    assert (part.status, part.content) == (206, octets[10:70010])
    etag = whole.field("etag")
    assert etag is not None
    same = await ended(carrier.ask("GET", "/x", ("If-None-Match", etag)))
    assert (same.status, same.content) == (304, b"")


async def test_events_end_well_when_the_server_drains(carry: Carry) -> None:
    async def handler(r: R) -> None:
        async with io.EventStream(r) as events:
            await events.send("hello")
            await asyncio.Event().wait()

    carrier, _ = carry(handler)
    reply = carrier.ask("GET", "/x")
    await wait_until(lambda: b"hello" in reply.content)
    carrier.request.handler_task.run_shutdown_hook()
    await ended(reply)
    assert reply.content == b"data: hello\n\n"
    assert carrier.is_over == ""


async def test_a_lost_carrier_cancels_the_handler(carry: Carry) -> None:
    was: list[str] = []

    async def handler(r: R) -> None:
        was.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            was.append("ended")

    carrier, _ = carry(handler)
    carrier.ask("GET", "/x")
    await wait_until(lambda: was == ["begun"])
    carrier.leave()
    await wait_until(lambda: was == ["begun", "ended"])
    assert not carrier.request.is_alive


class TestDeadlines:
    async def test_a_handler_beyond_the_limit_is_answered_for(
        self, carry: Carry
    ) -> None:
        async def handler(r: R) -> None:
            await asyncio.Event().wait()

        carrier, _ = carry(handler, handler_timeout_s=scaled(0.05))
        reply = await ended(carrier.ask("GET", "/x"))
        assert reply.status == 503
        assert carrier.is_over == "closed"

    async def test_a_route_may_have_its_own(self, carry: Carry) -> None:
        async def handler(r: R) -> None:
            await r.write(b"begun")
            await asyncio.Event().wait()

        carrier, _ = carry(handler, {"handler_timeout_s": scaled(0.05)})
        reply = carrier.ask("GET", "/x")
        await wait_until(lambda: carrier.is_over == "aborted")
        assert (reply.content, reply.is_ended) == (b"begun", False)


async def test_each_response_is_a_line_of_the_access_log(
    carry: Carry, tmp_path: Path
) -> None:
    async def handler(r: R) -> None:
        await io.Deliver.text(r, "four")

    path = tmp_path / "access.log"
    text = "{client_host} {method} {target} {version} {status} {content_bytes}"
    carrier, _ = carry(handler, access_log=str(path), access_log_format=text)
    await ended(carrier.ask("GET", "/x"))
    await wait_until(lambda: path.exists() and bool(path.read_bytes()))
    assert path.read_text() == "192.0.2.7 GET /x HTTP/2 200 4\n"


async def test_what_a_handler_lets_out_is_answered_500(carry: Carry) -> None:
    async def handler(r: R) -> None:
        raise KeyError("x")

    carrier, _ = carry(handler)
    reply = await ended(carrier.ask("GET", "/x"))
    assert reply.status == 500
    reply = await ended(carrier.ask("GET", "/x"))  # and the carrier is used again
    assert reply.status == 500


async def test_another_protocol_takes_over(carry: Carry) -> None:
    async def handler(r: R) -> None:
        r.take_over(b"Upgrade: echo\r\nConnection: Upgrade\r\n")
        async for octets in r.request():
            await r.writer(octets.upper())

    carrier, _ = carry(handler)
    reply = carrier.ask("GET", "/x")
    await wait_until(lambda: carrier.receive is not None)
    assert (reply.status, reply.field("upgrade")) == (101, "echo")
    assert carrier.receive is not None
    carrier.receive(b"abc")
    await wait_until(lambda: reply.content == b"ABC")
    carrier.request.eof_received()
    await wait_until(lambda: carrier.is_over == "closed")
