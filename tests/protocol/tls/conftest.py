"""``serve``, over TLS."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from blazeio.limits import Limits
from blazeio.protocol.context import (
    Handler,
)
from tests.protocol.tls_serving import (
    Serve,
    TlsServed,
)


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """``serve(handler, tls={...}, **limits)``: over TLS, on both loops."""
    all_served: list[TlsServed] = []

    def start(
        handler: Handler,
        *,
        raw_handler: Handler | None = None,
        tls: dict[str, Any] | None = None,
        **limits: Any,
    ) -> TlsServed:
        bounds = Limits(**limits)
        served = TlsServed.start_tls(
            handler, bounds, tmp_path, raw_handler=raw_handler, **(tls or {})
        )
        all_served.append(served)
        return served

    yield start
    for served in all_served:
        await served.end()
        assert not served.server.context.handshakes
    await asyncio.sleep(0)
