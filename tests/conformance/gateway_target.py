"""The same for the corpus, as an ASGI or WSGI app: ``gateway_target.py LOOP KIND``."""

import sys
from typing import Any, cast

import blazeio as io
from blazeio.app.mounting import ForeignApp
from blazeio.gateways.interfaces import Interface

METHODS = {"/": ("GET", "HEAD"), "/echo": ("POST",)}
TEXT = "text/plain; charset=utf-8"


def find_status(method: str, path: str) -> int:
    """404, 405 or 200."""
    if path not in METHODS:
        return 404
    return 200 if method in METHODS[path] else 405


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """Answer ``ok``, echo a body, or the messages of a WebSocket."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})
        return
    assert scope["type"] == "http"
    status, content = find_status(scope["method"], scope["path"]), b"ok"
    if status == 200 and scope["path"] == "/echo":
        content = await read_all(receive)
    headers = [(b"content-type", TEXT.encode())]
    if status == 405:
        headers.append((b"allow", ", ".join(METHODS[scope["path"]]).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def read_all(receive: Any) -> bytes:
    """The whole body."""
    content = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise OSError("the client is gone")
        content += bytes(message["body"])
        if not message["more_body"]:
            return content


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    """Answer ``ok``, or echo a body."""
    status = find_status(environ["REQUEST_METHOD"], environ["PATH_INFO"])
    content = b"ok"
    if status == 200 and environ["PATH_INFO"] == "/echo":
        content = environ["wsgi.input"].read()
    headers = [("Content-Type", TEXT)]
    if status == 405:
        headers.append(("Allow", ", ".join(METHODS[environ["PATH_INFO"]])))
    start_response(f"{status} Status", headers)
    return [content]


if __name__ == "__main__":
    io.use_loop(cast(Any, sys.argv[1]))
    kind = Interface(sys.argv[2])
    app = asgi if kind is Interface.ASGI else wsgi
    ForeignApp(app, kind, "target", host="127.0.0.1", port=0).runner()
