"""What the soak serves: every kind of request that its scenarios need."""

import asyncio
import os
import time

import blazeio as io

web = io.App("127.0.0.1", 0)
R = io.BlazeioServerProtocol
PIECE = bytes(64 * 1024)
BIG = PIECE * 512
HEALTH = 200


@web.add_route
async def pid(r: R, route: str = "/") -> None:
    await io.Deliver.text(r, str(os.getpid()))


@web.add_route
async def echo(r: R, route: str = "/echo") -> None:
    r.reply(await r.read())


@web.add_route
async def slow(r: R, route: str = "/slow") -> None:
    await asyncio.sleep(0.4)
    await io.Deliver.text(r, "late")


@web.add_route
async def block(r: R, route: str = "/block") -> None:
    time.sleep(float(r.query or 8))  # noqa: ASYNC251 - what must not be
    await io.Deliver.text(r, "late")


@web.add_route
async def big(r: R, route: str = "/big") -> None:
    count = int(r.query or 512)
    await r.prepare({"Content-Length": count * len(PIECE)})
    for _ in range(count):
        await r.write(PIECE)


@web.add_route
async def forever(r: R, route: str = "/forever") -> None:
    await asyncio.get_running_loop().create_future()


@web.add_route
async def whole(r: R, route: str = "/whole") -> None:
    content = BIG[: int(r.query or 512) * len(PIECE)]
    await r.prepare({"Content-Length": len(content)})
    await r.write(content)


@web.add_route
async def chunks(r: R, route: str = "/chunks") -> None:
    await r.prepare()
    for number in range(int(r.query or 512)):
        await r.write(b"%d" % (number % 10) * len(PIECE))


@web.add_route
async def tasks(r: R, route: str = "/tasks") -> None:
    await io.Deliver.text(r, str(len(asyncio.all_tasks())))


@web.add_route
async def health(r: R, route: str = "/health") -> None:
    r.reply(b"", HEALTH)
