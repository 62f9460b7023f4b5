"""All of it on both loops."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

from tests.support.both_protocols import pytest_generate_tests, spoken

__all__ = ["pytest_generate_tests", "spoken"]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
