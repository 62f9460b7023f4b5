"""Large bodies for ASGI servers."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
PIECE = bytes(64 * 1024)


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope["path"] == "/count":
        await answer(send, b"%d" % await count(receive))
    elif scope["path"] == "/send":
        await stream(send, int(scope["query_string"]))
    else:
        await answer(send, b"bulk")


async def count(receive: Receive) -> int:
    size = 0
    is_whole = False
    while not is_whole:
        message = await receive()
        size += len(message["body"])
        is_whole = not message.get("more_body", False)
    return size


async def stream(send: Send, left: int) -> None:
    await start(send, left)
    while left > 0:
        message = {"type": "http.response.body", "body": PIECE[:left]}
        left -= len(PIECE)
        await send({**message, "more_body": left > 0})


async def answer(send: Send, body: bytes) -> None:
    await start(send, len(body))
    await send({"type": "http.response.body", "body": body})


async def start(send: Send, length: int) -> None:
    fields = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % length)]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
