"""No file is put in its place that is not whole, and of one representation."""

import asyncio
import errno
import fcntl
import gzip
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import blazeio as io
from blazeio.client import download
from blazeio.errors import LocalProtocolError, RequestError
from tests.client.scripts import CHUNKED
from tests.support.clock import within
from tests.support.raw_server import RawServer, Script, Visitor

CONTENT = bytes(range(256)) * 40
TOTAL = len(CONTENT)
RANGE = re.compile(rb"\r\nRange: bytes=(\d+)-\r\n")
KNOWN = f"Content-Length: {TOTAL}"


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE_S", 0.0)


def respond(status: str, content: bytes, *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *fields, "", ""]
    return "\r\n".join(lines).encode() + content


def part(
    first: int,
    last: int,
    *,
    total: object = TOTAL,
    etag: str = '"a"',
    length: int | None = None,
    content: bytes | None = None,
    more: tuple[str, ...] = (),
) -> bytes:
    octets = CONTENT[first : last + 1] if content is None else content
    return respond(
        "206 Partial Content",
        octets,
        f"Content-Range: bytes {first}-{last}/{total}",
        f"Content-Length: {len(octets) if length is None else length}",
        f"ETag: {etag}",
        *more,
    )


def server_of(first: bytes, then: Callable[[int], bytes]) -> Script:
    """Answer by ``first``, then close; a range by ``then``, then close."""

    async def script(visitor: Visitor) -> None:
        request = await visitor.read_request() or b""
        found = RANGE.search(request)
        await visitor.send(first if found is None else then(int(found[1])))

    return script


BROKEN = respond("200 OK", CONTENT[:4000], KNOWN, 'ETag: "a"')
BROKEN_CHUNKED = (
    CHUNKED + b'ETag: "a"\r\n\r\n' + b"%x\r\n" % 4000 + CONTENT[:4000] + b"\r\n"
)


async def save(server: RawServer, path: Path, **options: object) -> int:
    async with io.Session(server.url, **options) as resp:  # type: ignore[call-overload]
        size: int = await within(resp.save(path), 10)
        return size


def end_of(start: int, most: int = TOTAL) -> int:
    return min(start + most, TOTAL) - 1


WHOLE_IN_THE_END: dict[str, tuple[bytes, Callable[[int], bytes]]] = {
    "less than was asked for": (BROKEN, lambda at: part(at, end_of(at, 1000))),
    "of a total that it does not know": (
        BROKEN,
        lambda at: part(at, end_of(at, 1000), total="*"),
    ),
    "without a length": (
        BROKEN,
        lambda at: respond(
            "206 P",
            CONTENT[at:],
            f"Content-Range: bytes {at}-{TOTAL - 1}/{TOTAL}",
            'ETag: "a"',
        ),
    ),
    "broken off themselves": (
        BROKEN,
        lambda at: (
            part(at, TOTAL - 1)[: -max(TOTAL - at - 1000, 1) or None]
            if at < TOTAL - 1000
            else part(at, TOTAL - 1)
        ),
    ),
    "the total comes later": (BROKEN_CHUNKED, lambda at: part(at, end_of(at, 1000))),
    "the total never comes": (
        BROKEN_CHUNKED,
        lambda at: (
            part(at, end_of(at, 4000), total="*")
            if at < TOTAL
            else respond("416 R", b"", f"Content-Range: bytes */{TOTAL}")
        ),
    ),
    "only the end was missing": (
        CHUNKED + b'ETag: "a"\r\n\r\n' + b"%x\r\n" % TOTAL + CONTENT + b"\r\n",
        lambda _: respond("416 R", b"", f"Content-Range: bytes */{TOTAL}"),
    ),
    "all of it at once": (BROKEN, lambda _: respond("200 OK", CONTENT, KNOWN)),
    "of another, in coding": (
        BROKEN,
        lambda _: respond("200 OK", gzip.compress(CONTENT), "Content-Encoding: gzip"),
    ),
}


@pytest.mark.parametrize("how", WHOLE_IN_THE_END)
async def test_what_comes_in_parts_is_whole_in_the_end(
    tmp_path: Path, how: str
) -> None:
    async with RawServer(server_of(*WHOLE_IN_THE_END[how])) as server:
        assert await save(server, tmp_path / "file") == TOTAL
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


DISAGREEING: dict[str, Callable[[int], bytes]] = {
    "another start": lambda at: part(at - 1, TOTAL - 1),
    "another total": lambda at: part(at, TOTAL - 1, total=TOTAL + 1),
    "less in all": lambda at: part(at, TOTAL - 2, total=TOTAL - 1),
    "beyond its total": lambda at: part(at, TOTAL, total=TOTAL),
    "beyond ours": lambda at: part(at, TOTAL, total="*", content=CONTENT[at:] + b"x"),
    "another tag": lambda at: part(at, TOTAL - 1, etag='"b"'),
    "a weak tag": lambda at: part(at, TOTAL - 1, etag='W/"a"'),
    "another length": lambda at: part(at, TOTAL - 1, content=CONTENT[at:-1]),
    "more, in chunks": lambda at: respond(
        "206 P",
        b"%x\r\n" % (TOTAL - at) + CONTENT[at:] + b"\r\n0\r\n\r\n",
        f"Content-Range: bytes {at}-{TOTAL - 2}/{TOTAL}",
        "Transfer-Encoding: chunked",
    ),
    "less, in chunks": lambda at: respond(
        "206 P",
        b"%x\r\n" % (TOTAL - at - 1) + CONTENT[at:-1] + b"\r\n0\r\n\r\n",
        f"Content-Range: bytes {at}-{TOTAL - 1}/{TOTAL}",
        "Transfer-Encoding: chunked",
    ),
    "a content coding": lambda at: part(
        at, TOTAL - 1, more=("Content-Encoding: gzip",)
    ),
    "no range": lambda at: respond(
        "206 P", CONTENT[at:], f"Content-Length: {TOTAL - at}"
    ),
    "several ranges": lambda _: respond(
        "206 P", b"x", "Content-Type: multipart/byteranges; boundary=x"
    ),
    "nothing to be had": lambda _: respond(
        "416 R", b"", f"Content-Range: bytes */{TOTAL}"
    ),
    "less to be had": lambda at: respond("416 R", b"", f"Content-Range: bytes */{at}"),
    "another status": lambda _: respond("404 Not Found", b"", "Content-Length: 0"),
}


@pytest.mark.parametrize("how", DISAGREEING)
async def test_what_disagrees_is_an_error_and_the_part_stays_as_it_was(
    tmp_path: Path, how: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    async with RawServer(server_of(BROKEN, DISAGREEING[how])) as server:
        with pytest.raises(io.InvalidResponse):
            await save(server, path)
    assert path.read_bytes() == b"before"
    (left,) = [each for each in tmp_path.iterdir() if each != path]
    assert left.read_bytes() == CONTENT[:4000]


async def test_a_416_of_another_total_is_not_the_end(tmp_path: Path) -> None:
    unsatisfied = respond("416 R", b"", "Content-Range: bytes */9999")
    async with RawServer(server_of(BROKEN_CHUNKED, lambda _: unsatisfied)) as server:
        with pytest.raises(io.InvalidResponse, match="416 R"):
            await save(server, tmp_path / "file")


@pytest.mark.parametrize("then", [BROKEN, BROKEN.replace(b'"a"', b'"b"')])
async def test_a_server_that_begins_anew_each_time_is_left(
    tmp_path: Path, then: bytes
) -> None:
    async with RawServer(server_of(BROKEN, lambda _: then)) as server:
        with pytest.raises(io.ServerDisconnected):
            await save(server, tmp_path / "file")
    assert len(server.requests) == 1 + download.MOST_FAILURES


async def test_a_part_that_has_all_of_it_is_put_in_place(tmp_path: Path) -> None:
    """The process that wrote it ended just before."""
    async with RawServer(server_of(BROKEN, lambda _: b"")) as server:
        with pytest.raises(io.ServerDisconnected):
            await save(server, tmp_path / "file")
        (left,) = tmp_path.iterdir()
        left.write_bytes(CONTENT)
        assert await save(server, tmp_path / "file") == TOTAL
    assert (tmp_path / "file").read_bytes() == CONTENT


# Whatever is no content of it, or not all


async def test_the_answer_to_a_head_is_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    async with RawServer(respond("200 OK", b"", KNOWN)) as server:
        with pytest.raises(RequestError, match="HEAD has no content"):
            await save(server, path, method="head")
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize("how", ["pull", "save", "aread", "read"])
async def test_what_was_read_before_is_saved_whole_or_not_at_all(
    tmp_path: Path, how: str
) -> None:
    async with (
        RawServer(respond("200 OK", CONTENT, KNOWN)) as server,
        io.Session(server.url) as resp,
    ):
        if how == "pull":
            await anext(resp.pull())
        elif how == "save":
            await resp.save(tmp_path / "other")
        else:
            assert await getattr(resp, how)() == CONTENT
            assert await resp.save(tmp_path / "file") == TOTAL
            assert (tmp_path / "file").read_bytes() == CONTENT
            return
        with pytest.raises(LocalProtocolError, match="was read before"):
            await resp.save(tmp_path / "file")
    assert not (tmp_path / "file").exists()


async def test_an_empty_content_is_an_empty_file(tmp_path: Path) -> None:
    async with RawServer(respond("200 OK", b"", "Content-Length: 0")) as server:
        assert await save(server, tmp_path / "file") == 0
    assert (tmp_path / "file").read_bytes() == b""


# Files


async def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"before")
    (tmp_path / "data").chmod(0o600)
    (tmp_path / "one").symlink_to("data")
    (tmp_path / "link").symlink_to(tmp_path / "one")
    async with RawServer(respond("200 OK", CONTENT, KNOWN)) as server:
        await save(server, tmp_path / "link")
    assert (tmp_path / "data").read_bytes() == CONTENT
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "link").is_symlink()
    assert {each.name for each in tmp_path.iterdir()} == {"data", "one", "link"}


def test_links_that_nobody_should_follow(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="Too many levels"):
        download.resolve_links(tmp_path / "loop")
    if os.geteuid() == 0:
        shared = tmp_path / "shared"
        shared.mkdir()
        shared.chmod(0o1777)
        (shared / "link").symlink_to(tmp_path / "secret")
        os.chown(shared / "link", 12345, 12345, follow_symlinks=False)
        with pytest.raises(PermissionError, match="somebody else"):
            download.resolve_links(shared / "link")


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe"])
async def test_what_stands_where_the_part_is_to_be_is_not_written_to(
    tmp_path: Path, kind: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"mine")
    async with RawServer(server_of(BROKEN, lambda _: b"")) as server:
        with pytest.raises(io.ServerDisconnected):
            await save(server, tmp_path / "file")
        (left,) = [each for each in tmp_path.iterdir() if each != secret]
        left.unlink()
        if kind == "link":
            left.symlink_to(secret)
        elif kind == "pipe":
            os.mkfifo(left)
        else:
            left.hardlink_to(secret)
        with pytest.raises(OSError, match=left.name):
            await save(server, tmp_path / "file")
    assert secret.read_bytes() == b"mine"


async def test_a_part_that_is_moved_while_it_is_opened_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever saves the same puts it in place between open and lock."""
    place = tmp_path / "file"
    first = download.PartFile(place, "0" * 16)
    first.write(CONTENT)
    lock = fcntl.flock

    def lock_late(file: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        first.place()
        first.close()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    second = download.PartFile(place, "0" * 16)
    assert second.size_bytes == 0
    second.truncate(0)
    second.close()
    assert place.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [place]


async def test_two_of_different_urls_each_save_a_whole_file(tmp_path: Path) -> None:
    async def script(visitor: Visitor) -> None:
        request = await visitor.read_request() or b""
        content = CONTENT if b" /a " in request else CONTENT[::-1]
        await visitor.send(respond("200 OK", content[:-1], KNOWN, 'ETag: "a"'))
        await asyncio.sleep(0)
        await visitor.send(content[-1:])

    path = tmp_path / "file"
    async with RawServer(script) as server, io.Session() as session:

        async def one(name: str) -> None:
            async with session.get(f"{server.url}/{name}") as resp:
                assert await resp.save(path) == TOTAL

        await asyncio.gather(one("a"), one("b"))
    assert path.read_bytes() in (CONTENT, CONTENT[::-1])
    assert list(tmp_path.iterdir()) == [path]


async def test_a_directory_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    async with RawServer(respond("200 OK", CONTENT, KNOWN)) as server:
        with pytest.raises(IsADirectoryError):
            await save(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_a_device_stays_what_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    async with RawServer(respond("200 OK", CONTENT, KNOWN)) as server:
        reading = asyncio.create_task(asyncio.to_thread(pipe.read_bytes))
        assert await save(server, pipe) == TOTAL
        assert await within(reading) == CONTENT
        assert await save(server, Path(os.devnull)) == TOTAL
    assert pipe.is_fifo()
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize("tag", ['ETag: "a"', "X-A: b"])
async def test_where_the_disk_is_full_nothing_is_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str
) -> None:
    write = os.write
    room = 5000

    def write_little(file: int, octets: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = write(file, octets[:room])
        room -= count
        return count

    path = tmp_path / "file"
    path.write_bytes(b"before")
    script = server_of(
        respond("200 OK", CONTENT, KNOWN, tag), lambda at: part(at, TOTAL - 1)
    )
    async with RawServer(script) as server:
        monkeypatch.setattr(os, "write", write_little)
        with pytest.raises(OSError, match="No space left"):
            await save(server, path)
        assert path.read_bytes() == b"before"
        left = [each.read_bytes() for each in tmp_path.iterdir() if each != path]
        assert left == ([CONTENT[:5000]] if tag.startswith("ETag") else [])
        monkeypatch.undo()
        assert await save(server, path) == TOTAL
    assert path.read_bytes() == CONTENT


async def test_who_is_cancelled_leaves_no_thread_that_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its descriptor could be another file's by then."""
    writes: list[str] = []
    place = download.PartFile.place

    def place_slowly(self: download.PartFile) -> None:
        writes.append("begun")
        task.get_loop().call_soon_threadsafe(task.cancel)
        subprocess.run(["sleep", "0.05"], check=True)
        place(self)
        writes.append("ended")

    monkeypatch.setattr(download.PartFile, "place", place_slowly)
    async with RawServer(respond("200 OK", CONTENT, KNOWN)) as server:
        task = asyncio.create_task(save(server, tmp_path / "file"))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert writes == ["begun", "ended"]


@pytest.mark.slow
async def test_the_command_does_the_same(tmp_path: Path) -> None:
    script = server_of(BROKEN, lambda at: part(at, end_of(at, 3000)))
    async with RawServer(script) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "blazeio", "-q", "-o", str(tmp_path / "file")),
            server.url,
        )
        assert await within(process.wait(), 20) == 0
    assert (tmp_path / "file").read_bytes() == CONTENT
