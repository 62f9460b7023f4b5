"""Connections to a server under test, on fake and on real transports."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from blazeio.limits import Limits
from blazeio.protocol.context import Handler
from tests.protocol.serving import (
    CallLog,
    Connect,
    LoopFactory,
    Serve,
    Served,
    Wire,
    loop_factories,
)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, LoopFactory]:
    return loop_factories(item)


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """``connect(handler, **limits)``: one connection on a fake transport."""
    wires: list[Wire] = []

    def start(
        handler: Handler,
        *,
        raw_handler: Any = None,
        peername: object = ("127.0.0.1", 54321),
        **limits: Any,
    ) -> Wire:
        wire = Wire(handler, Limits(**limits), raw_handler, peername=peername)
        wires.append(wire)
        return wire

    yield start
    for wire in wires:
        await wire.end()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """``serve(handler, **limits)``: a server on a real socket, on both loops."""
    all_served: list[Served] = []

    def start(
        handler: Handler, *, path: str = "", raw_handler: Any = None, **limits: Any
    ) -> Served:
        served = Served.start(handler, Limits(**limits), path, raw_handler=raw_handler)
        all_served.append(served)
        return served

    yield start
    for served in all_served:
        await served.end()
    await asyncio.sleep(0)


@pytest.fixture
def calls() -> CallLog:
    return CallLog()
