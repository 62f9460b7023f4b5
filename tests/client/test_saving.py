"""Files that are saved: whole or not at all, and gone on with."""

import asyncio
import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import blazeio as io
from blazeio.client import download
from tests.client.scripts import answer
from tests.support.raw_server import RawServer, Script, Visitor

CONTENT = bytes(range(256)) * 40
RANGE = re.compile(rb"\r\nRange: bytes=(\d+)-\r\nIf-Range: (\S+)\r\n")
ETAG = '"one"'


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE_S", 0.0)


def whole(content: bytes = CONTENT, etag: str = ETAG) -> bytes:
    lines = [
        "HTTP/1.1 200 OK",
        f"Content-Length: {len(content)}",
        f"ETag: {etag}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + content


def part(start: int, etag: str = ETAG, told_start: int | None = None) -> bytes:
    first = start if told_start is None else told_start
    lines = [
        "HTTP/1.1 206 Partial Content",
        f"Content-Range: bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}",
        f"Content-Length: {len(CONTENT) - start}",
        f"ETag: {etag}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + CONTENT[start:]


def asked(request: bytes) -> tuple[int, str]:
    """Where the part begins that is asked for, and of what."""
    found = RANGE.search(request)
    assert found is not None
    return int(found[1]), found[2].decode()


def breaks_off(first: bytes, then: Callable[[int], bytes]) -> Script:
    """Break ``first`` off after 5,000 octets of content; answer what is asked then."""

    async def script(visitor: Visitor) -> None:
        request = await visitor.read_request() or b""
        if RANGE.search(request) is None:
            head = first.index(b"\r\n\r\n") + 4
            await visitor.send(first[: head + 5000])
        else:
            await visitor.send(then(asked(request)[0]))

    return script


async def test_it_is_there_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    told: list[tuple[int, int | None]] = []

    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(whole()[:-1])
        assert path.read_bytes() == b"old"
        await visitor.send(CONTENT[-1:])

    async with RawServer(script) as server, io.Session(server.url) as resp:
        size = await resp.save(path, progress=lambda *each: told.append(each))
    assert (size, path.read_bytes()) == (len(CONTENT), CONTENT)
    assert list(tmp_path.iterdir()) == [path]
    assert told[-1] == (len(CONTENT), len(CONTENT))


async def test_what_breaks_off_is_gone_on_with(tmp_path: Path) -> None:
    script = breaks_off(whole(), part)
    async with RawServer(script) as server, io.Session(server.url) as resp:
        assert await resp.save(tmp_path / "file") == len(CONTENT)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert asked(server.requests[1]) == (5000, ETAG)


async def test_a_part_that_was_left_behind_is_gone_on_with(tmp_path: Path) -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        if visitor.number == 0:
            await visitor.send(whole()[:-1])

    async with RawServer(script) as server:
        with pytest.raises((io.ServerDisconnected, io.ConnectError)):
            async with io.Session(server.url) as resp:
                await resp.save(tmp_path / "file")
        (left,) = tmp_path.iterdir()
        assert re.fullmatch(r"file\.[0-9a-f]{16}\.part", left.name)

        async def again(visitor: Visitor) -> None:
            while (request := await visitor.read_request()) is not None:
                found = RANGE.search(request)
                await visitor.send(part(int(found[1])) if found else whole())

        server._script = again
        async with io.Session(server.url) as resp:
            assert await resp.save(tmp_path / "file") == len(CONTENT)
    assert asked(server.requests[-1]) == (len(CONTENT) - 1, ETAG)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


async def test_what_has_changed_meanwhile_is_saved_anew(tmp_path: Path) -> None:
    script = breaks_off(whole(), lambda _: whole(b"another", '"two"'))
    async with RawServer(script) as server, io.Session(server.url) as resp:
        assert await resp.save(tmp_path / "file") == 7
    assert (tmp_path / "file").read_bytes() == b"another"


@pytest.mark.parametrize(
    "then",
    [
        lambda start: part(start, told_start=start - 1),
        lambda start: part(start, etag='"two"'),
        lambda _: b"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_a_wrong_part_is_not_joined(
    tmp_path: Path, then: Callable[[int], bytes]
) -> None:
    async with RawServer(breaks_off(whole(), then)) as server:
        with pytest.raises(io.InvalidResponse):
            async with io.Session(server.url) as resp:
                await resp.save(tmp_path / "file")
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
@pytest.mark.parametrize(("retries", "requests"), [(1, 2), (0, 1)])
async def test_without_a_strong_tag_a_file_is_asked_for_anew_once(
    tmp_path: Path, etag: str, retries: int, requests: int
) -> None:
    script = answer(whole(etag=etag)[:-1])
    async with RawServer(script) as server:
        with pytest.raises(io.ServerDisconnected):
            async with io.Session(server.url, retries=retries) as resp:
                await resp.save(tmp_path / "file")
    assert (len(server.requests), list(tmp_path.iterdir())) == (requests, [])
    assert not any(b"Range" in each for each in server.requests)


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
async def test_without_a_strong_tag_the_second_response_is_saved_whole(
    tmp_path: Path, etag: str
) -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        is_first = visitor.number == 0
        await visitor.send(whole(etag=etag)[:-1] if is_first else whole(b"new", etag))

    async with RawServer(script) as server, io.Session(server.url) as resp:
        assert await resp.save(tmp_path / "file") == 3
    assert (tmp_path / "file").read_bytes() == b"new"


async def test_a_device_is_not_written_to_twice() -> None:
    async with RawServer(answer(whole(etag="")[:-1])) as server:
        with pytest.raises(io.ServerDisconnected):
            async with io.Session(server.url) as resp:
                await resp.save("/dev/null")
    assert len(server.requests) == 1


async def test_attempts_that_bring_nothing_come_to_an_end(tmp_path: Path) -> None:
    async with RawServer(breaks_off(whole(), lambda _: b"")) as server:
        with pytest.raises(io.ServerDisconnected):
            async with io.Session(server.url) as resp:
                await resp.save(tmp_path / "file")
    assert len(server.requests) == 1 + download.MOST_FAILURES


def refusals_first(count: int, status: str, *fields: str) -> Callable[[int], bytes]:
    """Refuse so many requests for the rest, then answer."""
    asked_for: list[int] = []

    def then(start: int) -> bytes:
        asked_for.append(start)
        if len(asked_for) > count:
            return part(start)
        lines = [f"HTTP/1.1 {status}", "Content-Length: 5", *fields, "", "later"]
        return "\r\n".join(lines).encode()

    return then


@pytest.mark.parametrize(
    "status", ["408 x", "425 x", "429 Too Many Requests", "500 x", "503 x", "799 x"]
)
@pytest.mark.parametrize("field", ["X: y", "Retry-After: 0", "Retry-After: soon"])
async def test_a_refusal_for_now_is_an_attempt(
    tmp_path: Path, status: str, field: str
) -> None:
    then = refusals_first(download.MOST_FAILURES - 1, status, field)
    async with (
        RawServer(breaks_off(whole(), then)) as server,
        io.Session(server.url) as resp,
    ):
        assert await resp.save(tmp_path / "file") == len(CONTENT)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(server.requests) == 1 + download.MOST_FAILURES


async def test_refusals_come_to_an_end_and_the_part_stays(tmp_path: Path) -> None:
    then = refusals_first(download.MOST_FAILURES, "503 Busy")
    async with RawServer(breaks_off(whole(), then)) as server:
        with pytest.raises(io.InvalidResponse, match="503 Busy to a request for the r"):
            async with io.Session(server.url) as resp:
                await resp.save(tmp_path / "file")
        assert len(server.requests) == 1 + download.MOST_FAILURES
        (left,) = tmp_path.iterdir()
        assert (left.suffix, left.stat().st_size) == (".part", 5000)
        async with io.Session(server.url) as resp:
            assert await resp.save(tmp_path / "file") == len(CONTENT)


@pytest.mark.parametrize(
    ("status", "field"),
    [
        ("503 Busy", "Retry-After: 61"),
        ("429 No", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT"),
        ("403 Forbidden", "Retry-After: 0"),
        ("404 Not Found", "X: y"),
        ("302 Found", "Location: /x"),
    ],
)
async def test_what_is_final_or_wants_to_be_asked_much_later_is_an_error(
    tmp_path: Path, status: str, field: str
) -> None:
    then = refusals_first(1, status, field)
    async with RawServer(breaks_off(whole(), then)) as server:
        with pytest.raises(io.InvalidResponse, match="to a request for the rest"):
            async with io.Session(server.url) as resp:
                await resp.save(tmp_path / "file")
        assert len(server.requests) == 2
        (left,) = tmp_path.iterdir()
        assert left.suffix == ".part"


@pytest.mark.slow
async def test_it_is_not_asked_again_before_the_server_wants(tmp_path: Path) -> None:
    then = refusals_first(1, "503 Busy", "Retry-After: 1")
    began_at = asyncio.get_running_loop().time()
    async with (
        RawServer(breaks_off(whole(), then)) as server,
        io.Session(server.url) as resp,
    ):
        await resp.save(tmp_path / "file")
    assert asyncio.get_running_loop().time() - began_at >= 1.0


async def test_what_is_no_content_of_it_is_not_saved(tmp_path: Path) -> None:
    octets = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nsorr"
    async with RawServer(octets) as server:
        with pytest.raises(io.RequestError, match="404 Not Found: nothing was saved"):
            async with io.Session(server.url) as resp:
                await resp.save(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


async def test_two_do_not_write_the_same_part(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(whole()[:-1])
        await go_on.wait()
        await visitor.send(CONTENT[-1:])

    async with (
        RawServer(script) as server,
        io.Session() as session,
        session.get(server.url) as one,
        session.get(server.url) as other,
    ):
        saving_one = asyncio.create_task(one.save(tmp_path / "file"))
        await asyncio.sleep(0)
        with pytest.raises(BlockingIOError, match="saved by somebody else"):
            await other.save(tmp_path / "file")
        go_on.set()
        assert await saving_one == len(CONTENT)


async def test_it_is_saved_decoded(tmp_path: Path) -> None:

    encoded = gzip.compress(CONTENT)
    octets = whole(encoded).replace(b"ETag", b"Content-Encoding: gzip\r\nETag")
    async with RawServer(octets) as server, io.Session(server.url) as resp:
        assert await resp.save(tmp_path / "file") == len(CONTENT)
    assert (tmp_path / "file").read_bytes() == CONTENT
