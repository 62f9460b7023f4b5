from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from blazeio_supervisor.control.places import Place
from tests.supervisor.control.room import Room


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(str(tmp_path / "c.sock"))


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path)
    yield made
    made.server.close()
