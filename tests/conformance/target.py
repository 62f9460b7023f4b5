"""The server that the corpus is sent to: ``python target.py LOOP PORT``."""

import sys
from typing import Any, cast

import blazeio as io

web = io.App("127.0.0.1", int(sys.argv[2]))


@web.route.get("/")
async def root(r: Any) -> None:
    await io.Deliver.text(r, "ok")


@web.route.post("/echo")
async def echo(r: Any) -> None:
    await io.Deliver.text(r, await r.read())


@web.add_route
async def ws(r: Any) -> None:
    async with io.WebSocket(r) as socket:
        async for message in socket:
            await socket.send(message)


if __name__ == "__main__":
    io.use_loop(cast(Any, sys.argv[1]))
    web.runner()
