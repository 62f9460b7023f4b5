import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from blazeio_supervisor.sockets.address import TcpAddress
from blazeio_supervisor.upgrade.image import KeptImage, keep_image
from tests.supervisor.upgrade.bench import Bench


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    made.listeners.open(TcpAddress("127.0.0.1", 0))
    made.open()
    yield made
    made.close()


@pytest.fixture
def image() -> Iterator[KeptImage]:
    kept = keep_image()
    yield kept
    for fd in kept.list_fds():
        os.close(fd)
