"""Sections are those of the ASGI specification, "Extensions"."""

import os
from pathlib import Path
from typing import Any

import pytest

from blazeio.errors import LocalProtocolError
from tests.gateways.apps import GET, Receive, Send, asgi, body, hello, start
from tests.support.peer import RawPeer, UnexpectedEndError

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "file"
    found.write_bytes(CONTENT)
    return found


async def announced(request: bytes, **options: Any) -> list[str]:
    seen: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        seen.extend(scope["extensions"])
        await hello(scope, receive, send)

    async with asgi(app, **options) as site, await site.connect() as peer:
        await peer.send(request)
        await peer.read_response()
    return sorted(seen)


async def test_what_works_is_announced() -> None:
    assert await announced(GET) == [
        "http.response.early_hint",
        "http.response.trailers",
        "http.response.zerocopysend",
    ]


async def test_what_http_1_0_has_not_is_not_announced() -> None:
    request = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    assert await announced(request) == ["http.response.zerocopysend"]


async def test_paths_are_announced_where_it_was_said() -> None:
    assert "http.response.pathsend" in await announced(GET, sends_paths=True)


# Zero Copy Send


def zerocopysend(file: Any, *, more: bool = False, **part: int) -> Any:
    kind = "http.response.zerocopysend"
    return {"type": kind, "file": file, "more_body": more, **part}


@pytest.mark.parametrize("declares", [True, False])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_file_is_sent_between_pieces(
    path: Path, method: str, declares: bool
) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"256012")] if declares else []
        await send(start(200, *headers))
        await send(body(b"before", more=True))
        with path.open("rb") as file:
            await send(zerocopysend(file, more=True))
        await send(body(b"behind"))

    async with asgi(app) as site, await site.connect() as peer:
        for _ in range(2):
            await peer.send(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            answer = await peer.read_response(method=method)
            whole = b"before" + CONTENT + b"behind"
            assert answer.body == (whole if method == "GET" else b"")


@pytest.mark.parametrize(
    ("part", "octets"),
    [
        ({"offset": 10, "count": 5}, CONTENT[10:15]),
        ({"offset": 255_990}, CONTENT[255_990:]),
        ({"count": 100_000}, CONTENT[3:100_003]),
        ({}, CONTENT[3:]),
        ({"count": 0}, b""),
        ({"offset": 999_999}, b""),
    ],
)
async def test_a_part_begins_and_ends_where_it_says(
    path: Path, part: dict[str, Any], octets: bytes
) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        file = os.open(path, os.O_RDONLY)
        try:
            os.lseek(file, 3, os.SEEK_SET)
            await send(start())
            await send(zerocopysend(file, **part))
        finally:
            os.close(file)

    async with asgi(app) as site:
        assert (await site.get("/")).body == octets


async def test_two_parts_without_an_offset_follow_each_other(path: Path) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        with path.open("rb") as file:
            await send(zerocopysend(file, count=100, more=True))
            await send(zerocopysend(file, count=100))

    async with asgi(app) as site:
        assert (await site.get("/")).body == CONTENT[:200]


async def test_a_file_larger_than_the_declared_length_is_refused(path: Path) -> None:
    raised: list[BaseException] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-length", b"10")))
        with path.open("rb") as file:
            try:
                await send(zerocopysend(file))
            except LocalProtocolError as error:
                raised.append(error)
                raise

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        with pytest.raises((ConnectionResetError, UnexpectedEndError)):
            await peer.read_response()
    assert len(raised) == 1


# Path Send


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_path_is_sent_whole(path: Path, method: str) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-length", b"%d" % len(CONTENT))))
        await send({"type": "http.response.pathsend", "path": str(path)})

    async with asgi(app, sends_paths=True) as site, await site.connect() as peer:
        for _ in range(2):
            await peer.send(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            answer = await peer.read_response(method=method)
            assert answer.body == (CONTENT if method == "GET" else b"")
            assert answer.field("content-length") == str(len(CONTENT))


async def test_a_path_that_is_not_there_is_an_error_in_the_app(path: Path) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        with pytest.raises(FileNotFoundError):
            await send({"type": "http.response.pathsend", "path": f"{path}.none"})
        await send(body(b"instead"))

    async with asgi(app, sends_paths=True) as site:
        assert (await site.get("/")).body == b"instead"


# Early Hints


async def hints(scope: Any, receive: Receive, send: Send) -> None:
    links = [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]
    await send({"type": "http.response.early_hint", "links": links})
    await hello(scope, receive, send)


async def test_early_hints_come_before_the_response() -> None:
    """RFC 8297."""
    async with asgi(hints) as site, await site.connect() as peer:
        await peer.send(GET)
        interim = await peer.read_response()
        assert interim.status == 103
        assert interim.field_all("link") == [
            "</a.css>; rel=preload",
            "</b.js>; rel=preload",
        ]
        assert (await peer.read_response()).body == b"hello"


async def test_early_hints_are_not_sent_to_http_1_0() -> None:
    async with asgi(hints) as site, await site.connect() as peer:
        await peer.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await peer.read_until_end()).startswith(b"HTTP/1.1 200")


# Trailers


async def trailers(scope: Any, receive: Receive, send: Send) -> None:
    await send(start(200, (b"trailer", b"x-sum"), trailers=True))
    if scope["path"] == "/pieces":
        await send(body(b"one", more=True))
        await send(body(b"two"))
    else:
        await send(body(b"onetwo"))
    kind = "http.response.trailers"
    await send({"type": kind, "headers": [(b"x-a", b"1")], "more_trailers": True})
    await send({"type": kind, "headers": [(b"x-sum", b"2")]})


@pytest.mark.parametrize("target", ["/", "/pieces"])
async def test_trailers_come_to_who_wants_them(target: str) -> None:
    """RFC 9110 section 6.5.1."""
    fields = {"TE": "gzip;q=0.5, trailers", "Connection": "TE"}
    async with asgi(trailers) as site:
        answer = await site.ask("GET", target, headers=fields)
    assert answer.body == b"onetwo"
    assert answer.trailers == [("x-a", "1"), ("x-sum", "2")]
    assert answer.field("trailer") == "x-sum"


@pytest.mark.parametrize("target", ["/", "/pieces"])
async def test_else_the_end_comes_without(target: str) -> None:
    async with asgi(trailers) as site, await site.connect() as peer:
        for _ in range(2):
            await peer.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            answer = await peer.read_response()
            assert (answer.body, answer.trailers) == (b"onetwo", [])


async def test_http_1_0_and_a_declared_length_have_no_trailers() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-length", b"3"), trailers=True))
        await send(body(b"one"))
        await send({"type": "http.response.trailers", "headers": [(b"x-a", b"1")]})

    async with asgi(app) as site:
        answer = await site.ask("GET", "/", headers={"TE": "trailers"})
        assert (answer.body, answer.trailers) == (b"one", [])
        async with await site.connect() as peer:
            await peer.send(b"GET / HTTP/1.0\r\n\r\n")
            assert (await peer.read_until_end()).endswith(b"\r\n\r\none")


# TLS, and where the client is


async def test_a_unix_socket_is_named_as_the_server(tmp_path: Path) -> None:
    """Section "HTTP Connection Scope": server and client."""
    import socket

    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        seen.update(scope)
        await hello(scope, receive, send)

    name = str(tmp_path / "sock")
    async with asgi(app) as site:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(name)
            listener.listen()
            listener.setblocking(False)
            acceptor = site.server.accept_from(listener)
            async with await RawPeer.connect(name) as peer:
                await peer.send(GET)
                assert (await peer.read_response()).status == 200
            acceptor.close()
    assert seen["server"] == (name, None)
    assert seen["client"] is None
