"""An upload whose progress anybody can watch: python examples/upload_progress.py

curl -T film.mkv localhost:8000/files/film.mkv &
curl -N localhost:8000/files/film.mkv/progress
"""

import asyncio
import os
from pathlib import Path

import blazeio as io

FOLDER = Path(os.environ.get("UPLOADS", "uploads"))

web = io.App("127.0.0.1", 8000, content_bytes=10 * 1024**3)
web.state.received = {}  # octets so far, by name


def place_of(name):
    if not name.isprintable() or not name.strip(".") or name.endswith(".part"):
        raise io.Abort("No such name, please", 400)
    return FOLDER / name  # a {name} has no slash in it


@web.route.put("/files/{name}")
async def upload(r, name):
    place = place_of(name)
    if name in web.state.received:
        raise io.Abort("It is being uploaded by somebody else", 409)
    part = place.with_name(f"{name}.part")
    FOLDER.mkdir(exist_ok=True)
    web.state.received[name] = 0
    try:
        with part.open("wb") as file:
            async for chunk in r.pull():  # as fast as the disk, no faster
                await asyncio.to_thread(file.write, chunk)
                web.state.received[name] += len(chunk)
        part.replace(place)
    finally:  # also when the client goes away, which cancels the handler
        del web.state.received[name]
        part.unlink(missing_ok=True)
    await io.Deliver.json(r, {"size": place.stat().st_size}, 201)


@web.route.get("/files/{name}/progress")
async def progress(r, name):
    async with io.EventStream(r) as events:
        last = None
        while (size := web.state.received.get(name)) is not None:
            if size != last:
                await events.send(str(size))
            last = size
            await asyncio.sleep(0.1)
        is_there = place_of(name).exists()
        await events.send("whole" if is_there else "none", event="end")


@web.route.get("/files/{name}")
async def download(r, name):
    await io.Deliver.file(r, place_of(name))


if __name__ == "__main__":
    web.runner()
