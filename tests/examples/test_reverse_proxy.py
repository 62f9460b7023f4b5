"""The reverse proxy: in front of a raw server, and of the conformance target."""

import asyncio
import importlib.util
import json
import subprocess
import sys
from typing import Any

import psutil
import pytest
import websockets

import blazeio as io
from tests.conformance.test_corpus import CASES
from tests.support.clock import scaled, wait_until, within
from tests.support.live import LiveServers
from tests.support.peer import RawPeer, UnexpectedEndError
from tests.support.raw_server import RawServer, Script, Visitor
from tests.support.served import Site, serialize_request, served
from tests.support.tree import REPOSITORY

CONFORMANCE = REPOSITORY / "tests" / "conformance"
EXAMPLE = REPOSITORY / "examples" / "reverse_proxy.py"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET /a%20b?c=%2f HTTP/1.1\r\nHost: site.example\r\n"


def load_example() -> Any:
    spec = importlib.util.spec_from_file_location("reverse_proxy", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXAMPLE_MODULE = load_example()


def proxied(upstream: str, head_s: float = 5) -> io.App:
    timeouts = io.Timeouts(connect_s=scaled(head_s), head_s=scaled(head_s))
    app: io.App = EXAMPLE_MODULE.make_app(upstream, 0, timeouts)
    return app


async def ask(script: Script | bytes, request: bytes) -> tuple[list[str], Any]:
    """The lines that the upstream has received, and the answer."""
    async with (
        RawServer(script) as upstream,
        served(proxied(upstream.url)) as site,
        await site.connect() as peer,
    ):
        await peer.send(request)
        response = await peer.read_response()
        return upstream.requests[0].decode().split("\r\n"), response


async def test_target_and_content_are_passed_on_as_they_are() -> None:
    request = serialize_request("POST", "/a%20b/../c?d=%2f&e", b"content")
    lines, response = await ask(ANSWER, request)
    assert lines[0] == "POST /a%20b/../c?d=%2f&e HTTP/1.1"
    assert lines[-1] == "content"
    assert response.body == b"ok"


async def test_who_asks_is_said_to_the_upstream() -> None:
    lines, _ = await ask(ANSWER, GET + b"Via: 1.0 other\r\n\r\n")
    assert {
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: site.example",
        "Via: 1.0 other, 1.1 blazeio",
        "Accept-Encoding: identity",
    } <= set(lines)


async def test_what_a_client_says_of_itself_is_not_passed_on() -> None:
    names = ["Forwarded", "X-Real-IP", "x_real_ip", "X_Forwarded_For"]
    names += [f"X-Forwarded-{end}" for end in ("For", "Proto", "Host", "Port", "Own")]
    said = "".join(f"{name}: forged\r\n" for name in (*names, *names, "X-Kept"))
    lines, _ = await ask(ANSWER, GET + said.encode() + b"\r\n")
    assert [line for line in lines if "forged" in line] == ["x-kept: forged"]
    assert len([line for line in lines if line.lower().startswith("x-forwarded")]) == 3


async def test_what_is_between_neighbours_is_not_passed_on() -> None:
    hop = b"Connection: x-mine, keep-alive\r\nX-Mine: 1\r\nKeep-Alive: 1\r\nTE: x\r\n"
    answer = b"HTTP/1.1 200 OK\r\n" + hop + b"X-Kept: 1\r\nContent-Length: 0\r\n\r\n"
    lines, response = await ask(answer, GET + hop + b"X-Kept: 1\r\n\r\n")
    names = {line.partition(":")[0].lower() for line in lines}
    assert not {"x-mine", "te", "keep-alive"} & names
    assert not {"x-mine", "te", "keep-alive"} & {name for name, _ in response.fields}
    assert "x-kept" in names
    assert response.field("x-kept") == "1"
    assert response.field("via") == "1.1 blazeio"


async def test_redirects_errors_and_codings_are_passed_on() -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nSet-Cookie: a=1\r\n"
    answer += (
        b"Set-Cookie: b=2\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nxyz"
    )
    _, response = await ask(answer, GET + b"\r\n")
    assert (response.status, response.field("location")) == (302, "/x")
    assert response.field_all("set-cookie") == ["a=1", "b=2"]
    assert (response.field("content-encoding"), response.body) == ("gzip", b"xyz")


async def test_content_streams_both_ways() -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_up_to(b"\r\nfirst\r\n")
        await visitor.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await visitor.send(b"4\r\nhalf\r\n")
        await visitor.read_up_to(b"\r\nlast\r\n0\r\n\r\n")
        await visitor.send(b"5\r\nwhole\r\n0\r\n\r\n")

    async with (
        RawServer(script) as upstream,
        served(proxied(upstream.url)) as site,
        await site.connect() as peer,
    ):
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n")
        await peer.send(b"\r\n5\r\nfirst\r\n")
        assert (await read_up_to(peer, b"half\r\n")).startswith(b"HTTP/1.1 200")
        await peer.send(b"4\r\nlast\r\n0\r\n\r\n")
        assert await read_up_to(peer, b"0\r\n\r\n") == b"5\r\nwhole\r\n0\r\n\r\n"


async def read_up_to(peer: RawPeer, end: bytes) -> bytes:
    octets = b""
    while not octets.endswith(end):
        octets += await peer.read_some()
    return octets


@pytest.mark.parametrize("start", [b"", ANSWER.replace(b": 2", b": 999999")])
async def test_a_client_that_leaves_cancels_the_request_to_the_upstream(
    start: bytes,
) -> None:
    left = asyncio.Event()

    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(start)
        await visitor.read_until_end()
        left.set()

    async with RawServer(script) as upstream, served(proxied(upstream.url)) as site:
        async with await site.connect() as peer:
            await peer.send(GET + b"\r\n")
            if start:
                await peer.read_some()
            await wait_until(lambda: upstream.requests)
            peer.reset()
        await within(left.wait())


async def status_of(site: Site) -> tuple[int, str]:
    response = await site.get("/")
    return response.status, response.text


async def test_an_upstream_that_cannot_be_reached_is_a_502() -> None:
    async with RawServer(ANSWER) as gone:
        pass
    async with served(proxied(gone.url)) as site:
        assert await status_of(site) == (502, "The upstream does not answer")


@pytest.mark.parametrize("octets", [b"", b"HTTP/1.1 200 OK\r\n", b"nonsense\r\n\r\n"])
async def test_an_upstream_that_breaks_off_is_a_502(octets: bytes) -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(octets)

    async with RawServer(script) as upstream, served(proxied(upstream.url)) as site:
        assert (await status_of(site))[0] == 502


async def test_an_upstream_that_is_silent_is_a_504() -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_until_end()

    async with (
        RawServer(script) as upstream,
        served(proxied(upstream.url, head_s=0.1)) as site,
    ):
        assert await status_of(site) == (504, "The upstream is too slow")


async def test_a_response_that_breaks_off_is_not_whole_for_the_client() -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(ANSWER.replace(b": 2", b": 9"))

    async with RawServer(script) as upstream, served(proxied(upstream.url)) as site:
        with pytest.raises((UnexpectedEndError, ConnectionResetError)):
            await site.get("/")


async def test_a_websocket_is_passed_through() -> None:
    web = io.App("127.0.0.1", 0)

    @web.add_route
    async def ws(r: Any) -> None:
        async with io.WebSocket(r) as socket:
            async for message in socket:
                await socket.send(message)

    async with (
        served(web) as upstream,
        served(proxied(f"http://127.0.0.1:{upstream.port}")) as site,
        websockets.connect(f"ws://127.0.0.1:{site.port}/ws") as client,
    ):
        for message in ("hello", b"\x00" * 100_000):
            await client.send(message)
            assert await client.recv() == message


@pytest.fixture
def proxy_port(live_server: LiveServers) -> int:
    target = live_server.start(
        ["python", str(CONFORMANCE / "target.py"), "uvloop", "0", "110"]
    )
    upstream = f"http://{target.host}:{target.port}"
    return live_server.start(["python", str(EXAMPLE), upstream, "0"]).port


@pytest.mark.long
@pytest.mark.slow
def test_the_corpus_finds_it_as_right_as_the_server_behind(proxy_port: int) -> None:
    run = [sys.executable, str(CONFORMANCE / "corpus" / "run.py"), "127.0.0.1"]
    done = subprocess.run(
        [*run, str(proxy_port), "--json", "--jobs", "32", "--ws", "/ws"],
        capture_output=True,
        timeout=55,
        check=False,
    )
    report = json.loads(done.stdout)
    assert [each for each in report["results"] if each["verdict"] != "ok"] == []
    assert report["summary"]["ok"] == CASES


MIB = 1024 * 1024


@pytest.mark.slow
async def test_much_content_is_relayed_in_little_memory(
    live_server: LiveServers,
) -> None:
    size = 64 * MIB

    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // MIB):
            await visitor.send(bytes(MIB))

    async with RawServer(script) as upstream:
        proxy = live_server.start(["python", str(EXAMPLE), upstream.url, "0"])
        before = psutil.Process(proxy.pid).memory_info().rss
        received = 0
        async with await RawPeer.connect("127.0.0.1", proxy.port) as peer:
            await peer.send(GET + b"\r\n")
            while received < size:
                received += len(await peer.read_some())
        assert psutil.Process(proxy.pid).memory_info().rss - before < 16 * MIB
