"""What has sockets runs on both loops."""

import asyncio
import inspect
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    plain = {"asyncio": asyncio.new_event_loop}
    if inspect.iscoroutinefunction(getattr(item, "function", None)):
        return {**plain, "uvloop": uvloop.new_event_loop}
    return plain
