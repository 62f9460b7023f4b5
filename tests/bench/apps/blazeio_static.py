"""Files, by us: ``python blazeio_static.py PORT FOLDER``.

``/small.bin`` from memory, ``/folder/...`` from the folder.
"""

import sys

import blazeio as io

web = io.App("127.0.0.1", int(sys.argv[1]))
folder = io.StaticServer("/folder", sys.argv[2])
cache = io.loop.run_until_complete(io.IN_MEMORY_STATIC_CACHE.init(home_dir=sys.argv[2]))


@web.add_route
async def index(r: io.BlazeioServerProtocol, route: str = "/") -> None:
    await io.Deliver.text(r, "static")


@web.add_route
async def handle_all_middleware(r: io.BlazeioServerProtocol) -> None:
    if r.path.startswith("/folder/"):
        await folder(r)
    else:
        await cache.handler(r)


if __name__ == "__main__":
    web.runner()
