import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from blazeio.protocol.pages import bring_into_cache, is_cached, read_pages


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
