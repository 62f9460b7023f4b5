"""The small cases of the table, for granian's own interface."""

from typing import Any

import msgspec


class Item(msgspec.Struct):
    name: str
    price: int


class Order(msgspec.Struct):
    items: list[Item]


async def app(scope: Any, protocol: Any) -> None:
    path = scope.path
    value: object = {"hello": "world"}
    if path.startswith("/users/"):
        _, _, user, _, post = path.split("/")
        value = {"user": int(user), "post": int(post)}
    elif path == "/orders":
        order = msgspec.json.decode(await protocol(), type=Order)
        value = {"count": len(order.items)}
    body = msgspec.json.encode(value)
    protocol.response_bytes(200, [("content-type", "application/json")], body)
