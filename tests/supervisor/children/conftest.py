from collections.abc import AsyncIterator

import pytest

from tests.supervisor.children.bench import Bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.close()
