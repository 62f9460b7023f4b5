"""The server of ``range_peers.py``: ``python range_target.py FOLDER``."""

import sys
from pathlib import Path

import blazeio as io

web = io.App("127.0.0.1", 0)
static = io.StaticServer("/", Path(sys.argv[1]) / "home")


@web.add_route
async def handle_all_middleware(r: io.BlazeioServerProtocol) -> None:
    await static(r)


if __name__ == "__main__":
    web.runner()
