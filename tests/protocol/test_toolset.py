"""Compression, cookies and addresses."""

import asyncio
import gzip
import os
from pathlib import Path
from typing import Any

import brotlicffi
import pytest

from blazeio.errors import LocalProtocolError
from blazeio.protocol.response_writer import OFF_LOOP_BYTES
from tests.protocol.serving import GET, Connect, R, Serve

CODINGS: list[tuple[str, Any]] = [
    ("br", brotlicffi.decompress),
    ("gzip", gzip.decompress),
]


@pytest.mark.parametrize(("coding", "decompress"), CODINGS)
@pytest.mark.parametrize("size", [0, 100, OFF_LOOP_BYTES, OFF_LOOP_BYTES + 1])
async def test_compressed_content_is_what_it_was(
    connect: Connect, coding: str, decompress: Any, size: int
) -> None:
    content = os.urandom(size // 2) * 2

    async def handler(r: R) -> None:
        coded = await getattr(r, coding)(content)
        r.reply(coded, headers={"Content-Encoding": coding})

    response = await connect(handler).ask(GET)
    assert decompress(response.body) == content


async def test_a_cookie_is_set_by_the_answer(connect: Connect) -> None:
    async def handler(r: R) -> None:
        r.set_cookie("user", "me", max_age=60, secure=True)
        r.set_cookie("theme", "dark", path="/a")
        r.reply(b"")

    response = await connect(handler).ask(GET)
    assert response.field_all("set-cookie") == [
        "user=me; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax",
        "theme=dark; Path=/a; HttpOnly; SameSite=Lax",
    ]


async def test_a_cookie_is_set_by_a_streamed_answer(connect: Connect) -> None:
    async def handler(r: R) -> None:
        r.set_cookie("a", "1", path=None, http_only=False, same_site=None)
        await r.write(b"x")

    assert (await connect(handler).ask(GET)).field("set-cookie") == "a=1"


async def test_a_cookie_after_the_head_is_refused(connect: Connect) -> None:
    async def handler(r: R) -> None:
        await r.prepare()
        with pytest.raises(LocalProtocolError, match="already been prepared"):
            r.set_cookie("a", "1")

    assert (await connect(handler).ask(GET)).field("set-cookie") is None


async def test_a_malformed_cookie_is_refused(connect: Connect) -> None:
    async def handler(r: R) -> None:
        with pytest.raises(LocalProtocolError, match="cookie"):
            r.set_cookie("a", "b; c")
        r.reply(b"")

    assert (await connect(handler).ask(GET)).field("set-cookie") is None


async def test_the_address_of_the_peer(serve: Serve) -> None:
    async def handler(r: R) -> None:
        r.reply(f"{r.ip_host} {r.ip_port}".encode())

    peer = await serve(handler).connect()
    await peer.send(GET)
    assert (await peer.read_response()).text == f"127.0.0.1 {peer.local_port}"


async def test_the_address_of_an_ipv6_peer(connect: Connect) -> None:
    async def handler(r: R) -> None:
        r.reply(f"{r.ip_host} {r.ip_port}".encode())

    wire = connect(handler, peername=("::1", 4711, 0, 0))
    assert (await wire.ask(GET)).text == "::1 4711"


async def test_a_unix_peer_has_no_address(serve: Serve, tmp_path: Path) -> None:
    async def handler(r: R) -> None:
        r.reply(f"{r.ip_host!r} {r.ip_port}".encode())

    served = serve(handler, path=str(tmp_path / "s"))
    assert (await served.exchange(GET)).text == "'' 0"


async def test_how_the_client_asked_and_for_whom(serve: Serve) -> None:
    seen: list[object] = []

    async def handler(r: R) -> None:
        seen.extend([r.scheme, r.is_secure, r.tls, r.authority, r.client.host])
        r.reply(b"")

    await serve(handler).exchange(GET)
    assert seen == ["http", False, None, "a", "127.0.0.1"]


@pytest.mark.parametrize(("size", "coding"), [(10, "gzip"), (OFF_LOOP_BYTES * 2, "br")])
async def test_large_content_is_compressed_off_the_loop(
    connect: Connect, size: int, coding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    to_thread = asyncio.to_thread

    async def noting(function: Any, *arguments: Any) -> Any:
        threads.append(len(arguments[0]))
        return await to_thread(function, *arguments)

    monkeypatch.setattr(asyncio, "to_thread", noting)

    async def handler(r: R) -> None:
        r.reply(await getattr(r, coding)(b"x" * size))

    await connect(handler).ask(GET)
    assert threads == ([size] if size > OFF_LOOP_BYTES else [])


@pytest.mark.parametrize(
    ("version", "lines", "upgrade"),
    [
        (b"1.1", b"Connection: keep-alive, Upgrade\r\nUpgrade: a/1, b\r\n", b"a/1, b"),
        (b"1.1", b"Upgrade: a\r\n", b"None"),
        (b"1.1", b"Connection: upgrade\r\n", b"None"),
        (b"1.0", b"Connection: upgrade\r\nUpgrade: a\r\n", b"None"),
    ],
)
async def test_another_protocol_is_offered_as_the_rfc_wants_it(
    connect: Connect, version: bytes, lines: bytes, upgrade: bytes
) -> None:
    async def handler(r: R) -> None:
        r.reply(str(r.upgrade).encode())

    request = b"GET / HTTP/%b\r\nHost: a\r\n%b\r\n" % (version, lines)
    assert (await connect(handler).ask(request)).body == upgrade
