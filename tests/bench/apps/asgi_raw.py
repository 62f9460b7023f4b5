"""What ASGI servers are asked for without any framework."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

TEXT = [(b"content-type", b"text/plain"), (b"content-length", b"13")]
STREAMED = [(b"content-type", b"text/plain")]
PIECE = b"x" * 64
PIECES = 20


async def app(scope: Message, receive: Receive, send: Send) -> None:
    path = scope["path"]
    if scope["type"] == "websocket":
        await echo(receive, send)
    elif path == "/":
        await send_hello(send)
    elif path == "/received":
        await receive()
        await send_hello(send)
    elif path == "/orders":
        await count_items(receive, send)
    else:
        await stream(send)


async def send_hello(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": TEXT})
    await send({"type": "http.response.body", "body": b"Hello, world!"})


async def count_items(receive: Receive, send: Send) -> None:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    answer = b"%13d" % len(json.loads(body)["items"])
    await send({"type": "http.response.start", "status": 200, "headers": TEXT})
    await send({"type": "http.response.body", "body": answer})


async def stream(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": STREAMED})
    for _ in range(PIECES):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
