"""Every case of the table, for ASGI servers; paths are taken apart by hand."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
PIECE = bytes(64 * 1024)


class Item(msgspec.Struct):
    name: str
    price: int


class Order(msgspec.Struct):
    items: list[Item]


async def app(scope: Message, receive: Receive, send: Send) -> None:
    path = scope["path"]
    if scope["type"] == "websocket":
        await echo(receive, send)
    elif path == "/":
        await answer(send, {"hello": "world"})
    elif path.startswith("/users/"):
        _, _, user, _, post = path.split("/")
        await answer(send, {"user": int(user), "post": int(post)})
    elif path == "/orders":
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message.get("more_body", False):
                break
        order = msgspec.json.decode(body, type=Order)
        await answer(send, {"count": len(order.items)})
    elif path == "/send":
        await stream(send, int(scope["query_string"]))
    else:
        await events(send)


async def answer(send: Send, value: object) -> None:
    body = msgspec.json.encode(value)
    fields = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def stream(send: Send, left: int) -> None:
    fields = [(b"content-length", b"%d" % left)]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    while left > 0:
        message = {"type": "http.response.body", "body": PIECE[:left]}
        left -= len(PIECE)
        await send({**message, "more_body": left > 0})


async def events(send: Send) -> None:
    fields = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    while True:
        event = f"data: {'x' * 64}\n\n".encode()
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await asyncio.sleep(0.1)


async def echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
