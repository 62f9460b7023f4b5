"""Every case of the table, by us: ``python blazeio_cases.py PORT``.

``BENCH_FOLDER`` holds the files; with ``BENCH_CERT`` it speaks TLS, and with
``BENCH_UNTUNED`` the collector stays as it is. They are environment, since the
supervisor imports this module.
"""

import asyncio
import os
import sys

import msgspec

import blazeio as io

FOLDER = os.environ["BENCH_FOLDER"]
CERTFILE = os.environ.get("BENCH_CERT")
PIECE = bytes(64 * 1024)

web = io.App(
    "127.0.0.1",
    int(sys.argv[1]) if __name__ == "__main__" else 0,
    tune_gc="BENCH_UNTUNED" not in os.environ,
    tls=None if CERTFILE is None else io.TlsSettings(certfile=CERTFILE),
)
web.add_static("/folder", FOLDER)


class Item(msgspec.Struct):
    name: str
    price: int


class Order(msgspec.Struct):
    items: list[Item]


@web.add_route
async def hello(r: io.BlazeioServerProtocol, route: str = "/") -> None:
    await io.Deliver.json(r, {"hello": "world"})


@web.add_route("/users/{user:int}/posts/{post:int}")
async def posts(r: io.BlazeioServerProtocol, user: int, post: int) -> None:
    await io.Deliver.json(r, {"user": user, "post": post})


@web.add_route("/orders", methods=["POST"])
async def orders(r: io.BlazeioServerProtocol) -> None:
    order = await io.Request.get_json(r, type=Order)
    await io.Deliver.json(r, {"count": len(order.items)})


@web.add_route("/send")
async def send(r: io.BlazeioServerProtocol) -> None:
    left = int(r.query)
    await r.prepare({"Content-Length": left})
    while left > 0:
        await r.write(PIECE[:left])
        left -= len(PIECE)


@web.add_route("/events")
async def events(r: io.BlazeioServerProtocol) -> None:
    async with io.EventStream(r) as stream:
        while True:
            await stream.send("x" * 64)
            await asyncio.sleep(0.1)


@web.add_route("/echo")
async def echo(r: io.BlazeioServerProtocol) -> None:
    async with io.WebSocket(r) as ws:
        async for message in ws:
            await ws.send(message)


cache: io.IN_MEMORY_STATIC_CACHE


@web.on_start
async def make_cache() -> None:
    global cache
    cache = await io.IN_MEMORY_STATIC_CACHE.init(home_dir=FOLDER)


@web.add_route
async def handle_all_middleware(r: io.BlazeioServerProtocol) -> None:
    await cache.handler(r)


if __name__ == "__main__":
    web.runner()
