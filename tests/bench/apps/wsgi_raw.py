"""The hello of WSGI, without any framework."""

from collections.abc import Callable, Iterable
from typing import Any

TEXT = [("Content-Type", "text/plain"), ("Content-Length", "13")]


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", list(TEXT))
    return [b"Hello, world!"]
