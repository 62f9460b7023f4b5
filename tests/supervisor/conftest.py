import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from blazeio_supervisor.ipc.socket_paths import SocketPath
from blazeio_supervisor.master.upgrade.image import KeptImage, keep_image
from blazeio_supervisor.sockets.address import TcpAddress
from tests.supervisor.cli.control_harness import ControlServerHarness
from tests.supervisor.cli.verb_harness import VerbHarness
from tests.supervisor.master.upgrade_harness import UpgradeHarness
from tests.supervisor.master.workers_harness import WorkersHarness


@pytest.fixture
def place(tmp_path: Path) -> SocketPath:
    return SocketPath(str(tmp_path / "c.sock"))


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[ControlServerHarness]:
    made = ControlServerHarness(tmp_path)
    yield made
    made.server.close()


@pytest.fixture
async def verb_harness(tmp_path: Path) -> AsyncIterator[VerbHarness]:
    made = VerbHarness(tmp_path)
    yield made
    made.server.close()


@pytest.fixture
async def harness() -> AsyncIterator[WorkersHarness]:
    made = WorkersHarness()
    yield made
    await made.close()


@pytest_asyncio.fixture
async def upgrade_harness(tmp_path: Path) -> AsyncIterator[UpgradeHarness]:
    made = UpgradeHarness(tmp_path)
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
