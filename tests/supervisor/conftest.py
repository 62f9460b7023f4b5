import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from blazeio_supervisor.ipc.socket_paths import SocketPath
from blazeio_supervisor.master.upgrade.image import KeptImage, keep_image
from blazeio_supervisor.sockets.address import TcpAddress
from tests.supervisor.cli.room import Room
from tests.supervisor.cli.verbs_room import VerbRoom
from tests.supervisor.master import upgrade_bench as upgrades
from tests.supervisor.master.bench import Bench


@pytest.fixture
def place(tmp_path: Path) -> SocketPath:
    return SocketPath(str(tmp_path / "c.sock"))


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path)
    yield made
    made.server.close()


@pytest.fixture
async def verb_room(tmp_path: Path) -> AsyncIterator[VerbRoom]:
    made = VerbRoom(tmp_path)
    yield made
    made.server.close()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.close()


@pytest_asyncio.fixture
async def upgrade_bench(tmp_path: Path) -> AsyncIterator[upgrades.Bench]:
    made = upgrades.Bench(tmp_path)
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
