from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.supervisor.control.verbs.room import Room


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path)
    yield made
    made.server.close()
