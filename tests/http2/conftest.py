"""HTTP/2 on real sockets, on both loops."""

import asyncio
from collections.abc import Mapping

import pytest
import uvloop

from tests.protocol.serving import LoopFactory


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, LoopFactory]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
