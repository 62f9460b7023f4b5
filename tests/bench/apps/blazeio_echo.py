"""A WebSocket that echoes, by us: ``python blazeio_echo.py PORT``."""

import sys

import blazeio as io

web = io.App("127.0.0.1", int(sys.argv[1]))


@web.add_route
async def index(r: io.BlazeioServerProtocol, route: str = "/") -> None:
    await io.Deliver.text(r, "echo")


@web.add_route
async def echo(r: io.BlazeioServerProtocol, route: str = "/echo") -> None:
    async with io.WebSocket(r) as ws:
        async for message in ws:
            await ws.send(message)


if __name__ == "__main__":
    web.runner()
