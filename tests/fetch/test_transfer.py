import gzip
from pathlib import Path

import click
import pytest

from blazeio.__main__ import FetchExitCode, Order, command, fetch
from blazeio.errors import InvalidResponse, RequestError
from tests.support.raw_server import RawServer, Visitor

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"


async def run(url: str, *arguments: str) -> FetchExitCode:
    order = command.main([url, *arguments], standalone_mode=False)
    assert isinstance(order, Order)
    return await fetch(order)


async def test_content_goes_to_standard_output(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    async with RawServer(OK) as server:
        assert await run(server.url) is FetchExitCode.OK
    assert capsysbinary.readouterr() == (b"ok\n", b"")


async def test_the_head_is_shown_on_request(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    async with RawServer(OK) as server:
        await run(server.url, "-i")
    assert capsysbinary.readouterr().out == b"200 OK\ncontent-length: 3\n\nok\n"


async def test_an_encoded_answer_is_decoded(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    content = gzip.compress(b"hello")
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    async with RawServer(head % len(content) + content) as server:
        await run(server.url)
    assert capsysbinary.readouterr().out == b"hello"


async def test_redirects_are_followed_with_their_cookies(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(
            b"HTTP/1.1 302 Found\r\nLocation: /x\r\nSet-Cookie: a=1\r\n"
            b"Content-Length: 0\r\n\r\n"
        )
        await visitor.read_request()
        await visitor.send(OK)

    async with RawServer(script) as server:
        assert await run(server.url) is FetchExitCode.OK
    assert b"\r\nCookie: a=1\r\n" in server.requests[1]


async def test_a_refusal_is_given_out_and_told(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "file"
    async with RawServer(OK.replace(b"200 OK", b"404 Not Found")) as server:
        assert await run(server.url, "-o", str(path)) is FetchExitCode.REFUSED
    assert capsysbinary.readouterr() == (b"ok\n", b"blazeio: 404 Not Found\n")
    assert not path.exists()


async def test_content_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "file"
    async with RawServer(OK) as server:
        assert await run(server.url, "-o", str(path)) is FetchExitCode.OK
    assert path.read_bytes() == b"ok\n"
    assert list(tmp_path.iterdir()) == [path]


async def test_content_that_is_not_whole_is_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "file"
    octets = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"
    async with RawServer(octets) as server:
        with pytest.raises((InvalidResponse, RequestError)):
            await run(server.url, "-o", str(path))
    assert not path.exists()


async def test_a_file_that_a_416_tells_to_be_whole_is_a_success(
    tmp_path: Path,
) -> None:
    async def script(visitor: Visitor) -> None:
        if b"\r\nRange: bytes=3-" in (await visitor.read_request() or b""):
            await visitor.send(
                b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */3\r\n"
                b"Content-Length: 0\r\n\r\n"
            )
        else:
            await visitor.send(
                b'HTTP/1.1 200 OK\r\nETag: "a"\r\nTransfer-Encoding: chunked\r\n\r\n'
                b"3\r\nok\n\r\n"
            )

    path = tmp_path / "file"
    async with RawServer(script) as server:
        assert await run(server.url, "-o", str(path)) is FetchExitCode.OK
    assert path.read_bytes() == b"ok\n"


async def test_octets_are_kept_from_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    async with RawServer(OK.replace(b"ok\n", b"\0\1\2")) as server:
        with pytest.raises(click.UsageError, match="--output"):
            await run(server.url)


async def test_the_request_is_what_was_ordered() -> None:
    async with RawServer(OK) as server:
        await run(server.url + "/x", "-F", "a=1", "-H", "X: y", "-u", "me:x", "-q")
    request = server.requests[0]
    assert request.startswith(b"POST /x HTTP/1.1\r\n")
    assert request.endswith(b"\r\n\r\na=1")
    assert all(each in request for each in (b"\r\nX: y\r\n", b"Basic bWU6eA=="))
