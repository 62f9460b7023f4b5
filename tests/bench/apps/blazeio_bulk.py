"""Large bodies, by us: ``python blazeio_bulk.py PORT``."""

import sys

import blazeio as io

web = io.App("127.0.0.1", int(sys.argv[1]) if __name__ == "__main__" else 0)
PIECE = bytes(64 * 1024)


@web.add_route
async def index(r: io.BlazeioServerProtocol, route: str = "/") -> None:
    await io.Deliver.text(r, "bulk")


@web.add_route
async def count(r: io.BlazeioServerProtocol, route: str = "/count") -> None:
    size = 0
    async for piece in r.pull():
        size += len(piece)
    await io.Deliver.text(r, str(size))


@web.add_route
async def send(r: io.BlazeioServerProtocol, route: str = "/send") -> None:
    left = int(r.query)
    await r.prepare({"Content-Length": left})
    while left > 0:
        await r.write(PIECE[:left])
        left -= len(PIECE)


if __name__ == "__main__":
    web.runner()
