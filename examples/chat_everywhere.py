"""A chat room over all workers: whoever is connected to one hears all others.

blazeio-supervisor chat_everywhere:web --app-dir examples --workers 4
"""

import asyncio

import blazeio as io

web = io.App("127.0.0.1", 8000)
listeners = set()


@web.on_broadcast
def hear(said):
    """Each worker passes it to the listeners that it has."""
    for queue in listeners:
        if not queue.full():  # one that does not read misses some
            queue.put_nowait(said["text"])


@web.route.get("/events")
async def events(r):
    queue = asyncio.Queue(maxsize=100)
    listeners.add(queue)
    try:
        async with io.EventStream(r) as stream:
            await stream.send("welcome")
            while True:
                await stream.send(await queue.get())
    finally:
        listeners.discard(queue)


@web.route.post("/say")
async def say(r):
    web.broadcast({"text": (await r.read()).decode()})
    await io.Deliver.no_content(r)


if __name__ == "__main__":
    web.runner()
