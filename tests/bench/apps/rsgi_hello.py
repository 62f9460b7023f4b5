"""The JSON hello for granian's own interface."""

from typing import Any

import msgspec


async def app(scope: Any, protocol: Any) -> None:
    body = msgspec.json.encode({"hello": "world"})
    protocol.response_bytes(200, [("content-type", "application/json")], body)
