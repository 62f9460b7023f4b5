"""Files over real sockets, on both loops; over TLS too."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from blazeio.errors import LocalProtocolError
from blazeio.limits import Limits
from blazeio.protocol.kernel import (
    WHOLE_BYTES,
    bring_into_cache,
    is_cached,
    read_pages,
    send_file,
)
from tests.protocol.serving import CallLog, R, Serve, Served, request
from tests.protocol.tls_serving import TlsServed
from tests.support.clock import scaled, wait_until

SIZE = 20_000_000
CHUNK = 65536


@pytest.fixture(scope="module")
def octets() -> bytes:
    return (os.urandom(1_000_003) * 20)[:SIZE]


@pytest.fixture
def path(tmp_path: Path, octets: bytes) -> Path:
    path = tmp_path / "file"
    path.write_bytes(octets)
    return path


class Sender:
    """A handler that sends a part of a file: ``/?first-size``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_whole: bool | None = None

    async def __call__(self, r: R) -> None:
        first, size = map(int, r.query.split("-"))
        await r.prepare({"Content-Length": size})
        with self.path.open("rb") as file:
            self.is_whole = await send_file(r, file.fileno(), first, size, CHUNK)


def is_waiting(served: Served) -> bool:
    return bool(served.server.context.writability._waiters)


@pytest.mark.parametrize(
    ("first", "size"),
    [(0, SIZE), (7, 5), (100, WHOLE_BYTES), (1, WHOLE_BYTES + 1), (SIZE - 1, 1)],
)
async def test_a_part_arrives_as_it_is(
    serve: Serve, path: Path, octets: bytes, first: int, size: int
) -> None:
    served = serve(Sender(path))
    answer = await served.exchange(request("GET", f"/?{first}-{size}"))
    assert answer.body == octets[first : first + size]


async def test_answers_before_and_after_stay_in_order(
    serve: Serve, path: Path, octets: bytes
) -> None:
    served = serve(Sender(path), high_water_bytes=1000)
    peer = await served.connect(receive_buffer_bytes=10_000)
    sizes = (5, 300_000, 40_000, 2_000_000, 70_000, 1)
    asked = [request("GET", f"/?{size}-{size}") for size in sizes]
    await peer.send(b"".join(asked))
    for size in sizes:
        assert (await peer.read_response()).body == octets[size : 2 * size]


async def test_a_waiting_transport_goes_first(
    serve: Serve, path: Path, octets: bytes
) -> None:
    async def handler(r: R) -> None:
        await r.prepare({"Content-Length": 5_000_000})
        await r.write(octets[:2_000_000])
        with path.open("rb") as file:
            await send_file(r, file.fileno(), 2_000_000, 1_000_000, CHUNK)
        await r.write(octets[3_000_000:5_000_000])

    served = serve(handler)
    peer = await served.connect(receive_buffer_bytes=10_000)
    await peer.send(request("GET"))
    assert (await peer.read_response()).body == octets[:5_000_000]


async def test_the_answer_knows_what_was_sent(serve: Serve, path: Path) -> None:
    sent = []

    async def handler(r: R) -> None:
        await Sender(path)(r)
        await r.eof()
        sent.append((r.response.content_bytes, r.response.is_complete))

    await serve(handler).exchange(request("GET", "/?0-1000000"))
    assert sent == [(1_000_000, True)]


async def test_more_than_was_declared_is_refused(serve: Serve, path: Path) -> None:
    async def handler(r: R) -> None:
        await r.prepare({"Content-Length": 100_000})
        with path.open("rb") as file, pytest.raises(LocalProtocolError):
            await send_file(r, file.fileno(), 0, 100_001, CHUNK)
        await r.write(bytes(100_000))

    answer = await serve(handler).exchange(request("GET"))
    assert answer.body == bytes(100_000)


async def test_a_file_that_has_shrunk_cuts_the_connection(
    serve: Serve, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sender = Sender(path)
    served = serve(sender)
    peer = await served.connect(receive_buffer_bytes=4096)
    await peer.send(request("GET", f"/?0-{SIZE}"))
    await wait_until(lambda: is_waiting(served))
    os.truncate(path, 100)
    with pytest.raises(ConnectionResetError):
        await peer.read_until_end()
    assert sender.is_whole is False
    assert "short of its declared Content-Length" in caplog.text


@pytest.mark.parametrize("how", ["reset", "half_close"])
async def test_a_client_that_goes_ends_it(
    serve: Serve, path: Path, calls: CallLog, how: str
) -> None:
    served = serve(calls.watching(Sender(path)))
    peer = await served.connect(receive_buffer_bytes=4096)
    await peer.send(request("GET", f"/?0-{SIZE}"))
    await wait_until(lambda: is_waiting(served))
    getattr(peer, how)()
    await wait_until(lambda: len(calls.entries) == 2)
    # of a reset, sendfile may hear before the transport does
    assert calls.entries[1] in ("CancelledError", "ClientDisconnected")
    assert not is_waiting(served)


async def test_a_client_that_does_not_read_is_cut(
    serve: Serve, path: Path, calls: CallLog
) -> None:
    served = serve(
        calls.watching(Sender(path)),
        progress_window_s=0.1 * scaled(1),
        progress_bytes_per_s=100.0,
    )
    peer = await served.connect(receive_buffer_bytes=4096)
    await peer.send(request("GET", f"/?0-{SIZE}"))
    await calls.has("begin", "CancelledError")


async def test_a_client_that_reads_slowly_is_not_cut(
    serve: Serve, path: Path, octets: bytes
) -> None:
    served = serve(
        Sender(path), progress_window_s=0.2 * scaled(1), progress_bytes_per_s=100.0
    )
    peer = await served.connect(receive_buffer_bytes=4096)
    await peer.send(request("GET", "/?0-6000000"))
    await wait_until(lambda: is_waiting(served))
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + 0.5 * scaled(1)  # some windows
    read = b""
    while loop.time() < ends_at:
        read += await peer.read_some()
        await asyncio.sleep(0.01)
    while len(read) < 6_000_000:
        read += await peer.read_some()
    assert read.endswith(octets[5_990_000:6_000_000])


async def test_a_slow_reader_hinders_no_other(serve: Serve, path: Path) -> None:
    served = serve(Sender(path))
    slow = await served.connect(receive_buffer_bytes=4096)
    await slow.send(request("GET", f"/?0-{SIZE}"))
    await wait_until(lambda: is_waiting(served))
    async with asyncio.timeout(scaled(3)):
        for _ in range(20):
            await served.exchange(request("GET", "/?0-100000"))
    assert is_waiting(served)


async def test_over_tls_it_is_read_and_enciphered(
    tmp_path: Path, path: Path, octets: bytes
) -> None:
    served = TlsServed.start_tls(Sender(path), Limits(), tmp_path)
    try:
        answer = await served.exchange(request("GET", "/?1-3000000"))
        assert answer.body == octets[1:3_000_001]
    finally:
        await served.end()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 100)
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def forget_pages(file: int) -> None:
    os.fsync(file)  # dirty pages stay
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


async def test_a_part_is_read_from_the_cache_and_from_the_disk(file: int) -> None:
    assert await read_pages(file, 256, 256) == bytes(range(256))
    forget_pages(file)
    assert await read_pages(file, 256, 256) == bytes(range(256))


async def test_less_is_read_where_the_file_ends(file: int) -> None:
    assert await read_pages(file, 25_590, 100) == bytes(range(246, 256))
    assert await read_pages(file, 30_000, 100) == b""


async def test_what_was_brought_into_the_cache_can_be_read(file: int) -> None:
    forget_pages(file)
    await bring_into_cache(file, 0, 25_600)
    assert os.pread(file, 25_600, 0) == bytes(range(256)) * 100


def test_where_nobody_can_tell_it_is_not_cached() -> None:
    reader, writer = os.pipe()
    assert not is_cached(reader, 0, 1)
    os.close(reader)
    os.close(writer)
