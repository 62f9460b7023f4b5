"""A counter over a WebSocket that stays open over reloads, and what is made beforehand.

blazeio-supervisor stays_open:web --app-dir examples --workers 4
"""

import functools
import os
import re

import blazeio as io

web = io.App("127.0.0.1", 8000)


@web.on_warm
@functools.cache
def number():
    """Compile the pattern before the workers are forked: all of them share it."""
    return re.compile(r"[+-]?[0-9]{1,9}")


@web.route.get("/counter")
async def counter(r):
    """Add up the numbers that come; the worker of a reload goes on with the sum."""
    async with io.WebSocket(r) as ws:
        total = int(ws.state or 0)
        ws.handover(lambda: str(total).encode())
        async for message in ws:
            if number().fullmatch(message):
                total += int(message)
            await ws.send(f"{total}, says worker {os.getpid()}")


if __name__ == "__main__":
    web.runner()
