"""The endpoints that the public board HttpArena measures.

On documented API alone, as its rules for a standard entry ask: no cache of answers,
no own parsing, no settings beyond the folders and ports that the board gives.
"""

import asyncio
import os
from pathlib import Path

import msgspec

import blazeio as io

DATASET = Path(os.environ.get("DATASET_PATH", "/data/dataset.json"))
STATIC = Path(os.environ.get("STATIC_PATH", "/data/static"))
H2C_PORT = int(os.environ.get("H2C_PORT", "8082"))
UPLOAD_BYTES = 64 * 1024 * 1024
"""The board uploads 20 MiB; ``Limits.content_bytes`` is smaller by default."""


class Rating(msgspec.Struct):
    score: int
    count: int


class Item(msgspec.Struct):
    id: int
    name: str
    category: str
    price: int
    quantity: int
    active: bool
    tags: list[str]
    rating: Rating


class Priced(Item):
    total: int


class Items(msgspec.Struct):
    items: list[Priced]
    count: int


class Factor(msgspec.Struct):
    m: int = 1


class Terms(msgspec.Struct):
    a: int = 0
    b: int = 0


items = msgspec.json.decode(DATASET.read_bytes(), type=list[Item])
web = io.App("0.0.0.0", 8080)
web.add_static("/static", STATIC)


@web.route.get("/baseline11")
@web.route.get("/baseline2")
async def add(r: io.BlazeioServerProtocol) -> None:
    refuse_http1_on_h2c(r)
    terms = await io.Request.get_params(r, type=Terms)
    await io.Deliver.text(r, str(terms.a + terms.b))


@web.route.post("/baseline11")
async def add_body(r: io.BlazeioServerProtocol) -> None:
    terms = await io.Request.get_params(r, type=Terms)
    await io.Deliver.text(r, str(terms.a + terms.b + int(await r.read())))


@web.route.get("/pipeline")
async def pipeline(r: io.BlazeioServerProtocol) -> None:
    await io.Deliver.text(r, "ok")


@web.route.get("/json/{count:int}")
async def priced_items(r: io.BlazeioServerProtocol, count: int) -> None:
    refuse_http1_on_h2c(r)
    factor = (await io.Request.get_params(r, type=Factor)).m
    chosen = [
        Priced(
            **msgspec.structs.asdict(each), total=each.price * each.quantity * factor
        )
        for each in items[:count]
    ]
    answer = Items(chosen, len(chosen))
    if "accept-encoding" not in r.headers:
        await io.Deliver.json(r, answer)
        return
    await r.prepare({"Content-Type": "application/json"}, compress=True)
    await r.write(msgspec.json.encode(answer))
    await r.eof()


@web.route.post("/upload", content_bytes=UPLOAD_BYTES)
async def count_octets(r: io.BlazeioServerProtocol) -> None:
    size = 0
    async for chunk in r.pull():
        size += len(chunk)
    await io.Deliver.text(r, str(size))


@web.route.post("/echo", content_bytes=UPLOAD_BYTES)
async def echo(r: io.BlazeioServerProtocol) -> None:
    await r.prepare({"Content-Type": r.headers.get("content-type", "text/plain")})
    async for chunk in r.pull():
        await r.write(chunk)
    await r.eof()


@web.route.get("/delay/{ms:int}")
async def delay(r: io.BlazeioServerProtocol, ms: int) -> None:
    await asyncio.sleep(ms / 1000)
    await io.Deliver.text(r, "ok")


@web.route.get("/ws")
async def echo_messages(r: io.BlazeioServerProtocol) -> None:
    async with io.WebSocket(r) as ws:
        async for message in ws:
            await ws.send(message)


def refuse_http1_on_h2c(r: io.BlazeioServerProtocol) -> None:
    """The board wants nothing but HTTP/2 on this port, so as not to mistake one."""
    if r.http_version != "2":
        here = r.transport.get_extra_info("sockname")
        if isinstance(here, tuple) and here[1] == H2C_PORT:
            raise io.Abort("HTTP/2 with prior knowledge is spoken here", 426)
