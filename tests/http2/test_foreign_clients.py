"""Clients by other people: curl, nghttp2's, httpx, gRPC."""

import asyncio
import contextlib
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import httpx
import pytest
import trustme

import blazeio as io
from blazeio.protocol.request import BlazeioServerProtocol as R
from blazeio.testing import TestServer
from tests.support.clock import block_until
from tests.support.programs import find_program
from tests.support.served import Site, served

pytestmark = pytest.mark.slow

MIB = 2**20


def make_app(tls: io.TlsSettings | None = None) -> io.App:
    web = io.App(tls=tls)

    @web.route.get("/")
    async def hello(r: R) -> None:
        await io.Deliver.text(r, f"hello over {r.http_version}")

    @web.route.get("/large")
    async def large(r: R) -> None:
        await r.prepare({"Content-Type": "application/octet-stream"})
        for number in range(20):
            await r.write(bytes((number,)) * MIB)

    @web.route.post("/echo")
    async def echo(r: R) -> None:
        await r.prepare({"Content-Type": "application/octet-stream"})
        async for piece in r.pull():
            await r.write(piece)

    @web.route.put("/count")
    async def count(r: R) -> None:
        total = 0
        async for piece in r.pull():
            total += len(piece)
        await io.Deliver.text(r, str(total))

    return web


async def run(*command: str, stdin: bytes = b"") -> bytes:
    process = await asyncio.create_subprocess_exec(
        find_program(command[0]),
        *command[1:],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate(stdin)
    assert process.returncode == 0, out[-1000:]
    return out


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with served(make_app()) as running:
        yield running


def url(site: Site, path: str = "/") -> str:
    return f"http://127.0.0.1:{site.port}{path}"


CURL = ("curl", "-sS", "--http2-prior-knowledge")


async def test_curl(site: Site) -> None:
    assert await run(*CURL, url(site)) == b"hello over 2"
    head = await run(*CURL, "-I", url(site))
    assert head.startswith(b"HTTP/2 200")


async def test_curl_that_offers_an_upgrade_is_answered_by_http_1(site: Site) -> None:
    assert await run("curl", "-sS", "--http2", url(site)) == b"hello over 1.1"


async def test_curl_downloads_and_uploads(site: Site) -> None:
    got = await run(*CURL, url(site, "/large"))
    assert len(got) == 20 * MIB
    assert got[::MIB] == bytes(range(20))
    up = ("-X", "PUT", "-T", "-")
    sent = await run(*CURL, *up, url(site, "/count"), stdin=bytes(20 * MIB))
    assert sent == str(20 * MIB).encode()
    content = bytes(range(256)) * 8192
    post = ("--data-binary", "@-", "-H", "Expect:")
    assert await run(*CURL, *post, url(site, "/echo"), stdin=content) == content


@pytest.mark.parametrize("path", ["/missing", "/count"])
async def test_curl_sees_the_status_of_an_upload_that_nobody_reads(
    site: Site, path: str
) -> None:
    """An error ends the upload: curl drops what comes together with the reset."""
    post = ("-i", "--max-time", "20", "-H", "Expect:", "--data-binary", "@-")
    got = await run(*CURL, *post, url(site, path), stdin=bytes(20 * MIB))
    assert got.startswith(b"HTTP/2 404 " if path == "/missing" else b"HTTP/2 405 ")


async def test_nghttp(site: Site) -> None:
    out = await run("nghttp", "-v", "-n", "-m", "5", url(site))
    assert out.count(b":status: 200") == 5
    assert b"NO_ERROR" in out


@pytest.mark.parametrize("streams", ["1", "10"])
async def test_h2load(site: Site, streams: str) -> None:
    out = await run("h2load", "-n", "2000", "-c", "8", "-m", streams, url(site))
    assert b"2000 succeeded, 0 failed, 0 errored" in out


async def test_httpx(site: Site) -> None:
    async with httpx.AsyncClient(http1=False, http2=True) as client:
        answers = await asyncio.gather(*[client.get(url(site)) for _ in range(50)])
        assert {each.text for each in answers} == {"hello over 2"}
        content = bytes(range(256)) * 4096
        answer = await client.post(url(site, "/echo"), content=content)
        assert answer.content == content


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[io.TlsSettings, Path]:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "leaf"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca"))
    return io.TlsSettings(certfile=tmp_path / "leaf"), tmp_path / "ca"


async def test_over_tls(certificates: tuple[io.TlsSettings, Path]) -> None:
    tls, ca = certificates
    async with served(make_app(tls)) as site:
        place = url(site).replace("http:", "https:")
        curl = ("curl", "-sS", "--cacert", str(ca))
        assert await run(*curl, place, place) == b"hello over 2" * 2
        large = await run(*curl, place + "large")
        assert len(large) == 20 * MIB
        context = ssl.create_default_context(cafile=str(ca))
        async with httpx.AsyncClient(http2=True, verify=context) as client:
            answer = await client.get(place)
            assert (answer.http_version, answer.text) == ("HTTP/2", "hello over 2")


# gRPC, by hand on our side: each message has a flag and its length in front


def pack(message: bytes) -> bytes:
    return struct.pack(">BI", 0, len(message)) + message


async def messages(r: R) -> AsyncIterator[bytes]:
    octets = b""
    async for piece in r.pull():
        octets += piece
        while len(octets) >= 5:
            size = 5 + int.from_bytes(octets[1:5], "big")
            if len(octets) < size:
                break
            yield octets[5:size]
            octets = octets[size:]


def make_grpc_app() -> io.App:
    web = io.App()
    head = {"Content-Type": "application/grpc"}

    @web.route.post("/test/{method}")
    async def serve(r: R) -> None:
        await r.prepare(head)
        match r.path_params["method"]:
            case "Count":
                sizes = [len(each) async for each in messages(r)]
                await r.write(pack(str(sum(sizes)).encode()))
            case "Spread":
                (one,) = [each async for each in messages(r)]
                for octet in one:
                    await r.write(pack(bytes((octet,))))
            case "Fail":
                await r.eof(trailers={"grpc-status": "5", "grpc-message": "not there"})
                return
            case _:
                async for each in messages(r):
                    await r.write(pack(each))
        await r.eof(trailers={"grpc-status": "0"})

    return web


@contextlib.contextmanager
def grpc_channel() -> Iterator[grpc.Channel]:
    options = [("grpc.max_receive_message_length", 8 * MIB)]
    with (
        TestServer(make_grpc_app()) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}", options) as channel,
    ):
        yield channel


NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen unix:{folder}/nginx.sock http2;
    location / {{ grpc_pass grpc://127.0.0.1:{port}; }}
  }}
}}
"""


def test_nginx_passes_grpc_on(tmp_path: Path) -> None:
    """As docs/reference/http2.md has it."""
    program = find_program("nginx")
    socket_path = tmp_path / "nginx.sock"
    with TestServer(make_grpc_app()) as server:
        config = tmp_path / "nginx.conf"
        config.write_text(NGINX.format(folder=tmp_path, port=server.port))
        words = [program, "-c", str(config), "-e", str(tmp_path / "error.log")]
        process = subprocess.Popen(words)
        try:
            block_until(socket_path.exists)
            with grpc.insecure_channel(f"unix:{socket_path}") as channel:
                call = channel.unary_unary("/test/Echo")
                for _ in range(20):
                    assert call(b"hello", wait_for_ready=True) == b"hello"
                with pytest.raises(grpc.RpcError) as caught:
                    channel.unary_unary("/test/Fail")(b"")
                assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        finally:
            process.terminate()
            process.wait()


def test_grpc_unary() -> None:
    with grpc_channel() as channel:
        call = channel.unary_unary("/test/Echo")
        assert call(b"hello", timeout=5) == b"hello"
        large = bytes(range(256)) * 4096
        assert call(large, timeout=5) == large
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/test/Fail")(b"", timeout=5)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == "not there"


def test_grpc_streams() -> None:
    with grpc_channel() as channel:
        parts = [bytes(1000)] * 50
        assert channel.stream_unary("/test/Count")(iter(parts), timeout=5) == b"50000"
        spread = channel.unary_stream("/test/Spread")(b"abc", timeout=5)
        assert list(spread) == [b"a", b"b", b"c"]
        echoed = channel.stream_stream("/test/Echo")(iter(parts), timeout=5)
        assert list(echoed) == parts


def test_a_grpc_call_that_is_cancelled() -> None:
    with grpc_channel() as channel:
        stream = channel.stream_stream("/test/Echo")(iter(()), timeout=5)
        stream.cancel()
        assert channel.unary_unary("/test/Echo")(b"next", timeout=5) == b"next"


def test_hundreds_of_grpc_calls_on_one_channel() -> None:
    with grpc_channel() as channel:
        call = channel.unary_unary("/test/Echo")
        assert [call(b"x", timeout=5) for _ in range(600)] == [b"x"] * 600


@pytest.mark.long
@pytest.mark.timeout(120)
def test_six_thousand_grpc_calls_on_one_channel() -> None:
    with grpc_channel() as channel:
        call = channel.unary_unary("/test/Echo")
        futures = [call.future(b"x" * 100, timeout=60) for _ in range(3000)]
        assert {each.result() for each in futures} == {b"x" * 100}
        assert [call(b"x", timeout=5) for _ in range(3000)] == [b"x"] * 3000
