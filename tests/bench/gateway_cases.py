"""The cases of apps of ASGI and of WSGI, each with the bars that it is held to."""

from collections.abc import Callable

from tests.bench.cases import Case
from tests.bench.load import Load
from tests.bench.measures import (
    FIELDS,
    POST_1_KB,
    SERVER_CORE,
    ask,
    us_per_echo,
    us_per_request,
)
from tests.bench.serving import Served

PLAIN_FIELDS = tuple(each for each in FIELDS if not each.startswith("Connection"))
"""With Host and the cookie they are eleven."""
UNIQUE_VISITOR = """
local count = 0
request = function()
  count = count + 1
  wrk.headers["Cookie"] = "theme=dark; session=0123456789abcdef" .. count
  return wrk.format("GET", "/?page=" .. count)
end
"""
UNIQUE_ITEM = """
local count = 0
request = function()
  count = count + 1
  return wrk.format("GET", "/items/" .. count .. "?wanted=n" .. count)
end
"""
BELOW: float = 0.99
"""The bar where less than the base is asked for."""


def _asgi(
    name: str,
    app: str,
    load: Callable[[Served, float], Load],
    bar: float,
    *,
    granian: float | None = None,
    with_floor: bool = False,
) -> Case:
    """One case of an ASGI app: the bar beside uvicorn, and the one beside granian."""
    floor = (f"floor-asgi_{app}",) if with_floor else ()
    return Case(
        f"asgi-{name}",
        "us",
        us_per_request(load),
        bar,
        base=f"uvicorn-asgi_{app}",
        ours=f"blazeio-asgi_{app}",
        peers=(f"granian-asgi_{app}", *floor),
        peer_bar=granian,
    )


def _wsgi(name: str, app: str, bar: float) -> Case:
    return Case(
        f"wsgi-{name}",
        "us",
        us_per_request(ask()),
        bar,
        base=f"gthread-wsgi_{app}",
        ours=f"blazeio-wsgi_{app}",
        peers=(f"granian-wsgi_{app}",),
    )


VISITOR = ask(fields=PLAIN_FIELDS, script=UNIQUE_VISITOR)
GATEWAY_CASES = (
    _asgi("hello", "raw", ask(), 0.65),
    _asgi("received", "raw", ask("/received"), 0.65, granian=BELOW),
    _asgi("browser", "raw", VISITOR, 0.75),
    _asgi("post", "raw", ask("/orders", script=POST_1_KB), 0.85, granian=BELOW),
    _asgi("stream", "raw", ask("/stream"), 0.9, granian=BELOW),
    Case(
        "asgi-websocket",
        "us",
        us_per_echo,
        0.6,
        base="uvicorn-asgi_raw",
        ours="blazeio-asgi_raw",
        peers=("granian-asgi_raw", "floor-echo"),
    ),
    # The floor says how much of each figure is the framework's, whoever serves it.
    _asgi("starlette", "starlette", ask(), 0.85, granian=1.0, with_floor=True),
    # granian's writes come in bursts, by a thread of its own: a client on another core
    # is woken by fewer of them than requests. Here nobody is charged for that.
    _asgi("starlette-same-core", "starlette", ask(core=SERVER_CORE), 0.85, granian=1.0),
    _asgi("starlette-browser", "starlette", VISITOR, 0.9),
    _asgi("starlette-stream", "starlette", ask("/stream"), 0.9),
    _asgi("fastapi", "fastapi", ask(), 0.9, granian=1.0, with_floor=True),
    _asgi("fastapi-model", "fastapi", ask(script=UNIQUE_ITEM), 0.9, with_floor=True),
    _wsgi("hello", "raw", 0.3),
    _wsgi("flask", "flask", 0.5),
)
