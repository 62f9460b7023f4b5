"""The JSON hello for WSGI, by fastpysgi: ``python wsgi_hello.py PORT``."""

import sys
from collections.abc import Callable, Iterable
from typing import Any

import fastpysgi
import msgspec


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    return [msgspec.json.encode({"hello": "world"})]


if __name__ == "__main__":
    fastpysgi.run(app, "127.0.0.1", int(sys.argv[1]))
