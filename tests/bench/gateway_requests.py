"""What is asked of the ASGI apps of ``apps/`` without wrk: by name, app and octets."""

import json

from tests.bench.gateway_cases import PLAIN_FIELDS
from tests.bench.requests import make_request

COUNT = 512
"""So many differ where requests differ: more than any memo of one section holds."""
BODY = json.dumps({"items": [{"name": "item", "price": 1234}] * 34}).encode()
POST = make_request("/orders", f"Content-Length: {len(BODY)}", method="POST") + BODY


def _differ(path: str = "/") -> list[bytes]:
    return [
        make_request(
            f"{path}?page={n}",
            *PLAIN_FIELDS,
            f"Cookie: theme=dark; session=0123456789abcdef{n}",
        )
        for n in range(COUNT)
    ]


GATEWAY_REQUESTS: dict[str, tuple[str, list[bytes]]] = {
    "hello": ("asgi_raw", [make_request()]),
    "received": ("asgi_raw", [make_request("/received")]),
    "browser": ("asgi_raw", _differ()),
    "post": ("asgi_raw", [POST]),
    "stream": ("asgi_raw", [make_request("/stream")]),
    "starlette": ("asgi_starlette", [make_request()]),
    "starlette-browser": ("asgi_starlette", _differ()),
    "fastapi": ("asgi_fastapi", [make_request()]),
    "fastapi-model": (
        "asgi_fastapi",
        [make_request(f"/items/{n}?wanted=n{n}") for n in range(COUNT)],
    ),
}
"""Of each the name of its module, and what one connection after the other asks."""
