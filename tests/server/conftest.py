"""Servers and acceptors on both loops."""

from collections.abc import Mapping

import pytest

from tests.protocol.conftest import calls as calls
from tests.protocol.conftest import serve as serve
from tests.protocol.serving import LoopFactory, loop_factories


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, LoopFactory]:
    return loop_factories(item)
