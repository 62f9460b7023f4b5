from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.supervisor.control.verbs.room import VerbRoom


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[VerbRoom]:
    made = VerbRoom(tmp_path)
    yield made
    made.server.close()
