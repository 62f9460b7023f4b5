"""The server that the corpus is sent to: ``python target.py LOOP PORT [FIELDS]``.

FIELDS is how many it takes in a head, for one behind a proxy that adds some.
``/static/file.bin`` is from its folder, ``/cached/file.bin`` from memory.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any, cast

import blazeio as io


def make_folder(home: Path) -> None:
    """The file that the corpus asks for, by both ways."""
    for name in ("static", "cached"):
        (home / name).mkdir()
        octets = bytes(i % 251 for i in range(10_000))
        (home / name / "file.bin").write_bytes(octets)


def make_app(
    home: Path, cache: io.IN_MEMORY_STATIC_CACHE, port: int, field_count: int
) -> io.App:
    """Serve them."""
    web = io.App("127.0.0.1", port, field_count=field_count)
    static = io.StaticServer("/static", home / "static")

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

    @web.add_route
    async def handle_all_middleware(r: Any) -> None:
        if r.path.startswith("/cached/"):
            await cache.handler(r)
        else:
            await static(r)

    return web


if __name__ == "__main__":
    io.use_loop(cast(Any, sys.argv[1]))
    with tempfile.TemporaryDirectory(prefix="corpus-") as folder:
        make_folder(Path(folder))
        init = io.IN_MEMORY_STATIC_CACHE.init(home_dir=folder)
        made = io.loop.run_until_complete(init)
        most = int(sys.argv[3]) if len(sys.argv) > 3 else io.Limits().field_count
        make_app(Path(folder), made, int(sys.argv[2]), most).runner()
