"""News by long polling: an answer comes when there is some, or 204 after a while.

The news are in the memory of one process: run it alone, or with --workers 1.
python examples/long_polling.py
curl localhost:8000/news?after=0 &
curl localhost:8000/news -d 'it rains'
"""

import asyncio
import os
from collections import deque

import msgspec

import blazeio as io

WAIT_S = float(os.environ.get("WAIT_S", "25"))  # proxies cut after 30 to 60

web = io.App("127.0.0.1", 8000)
news: deque[dict] = deque(maxlen=1000)
changed = asyncio.Condition()


class Query(msgspec.Struct):
    after: int = 0


@web.route.post("/news", content_bytes=10_000)
async def add(r):
    text = (await r.read()).decode(errors="replace")
    async with changed:
        number = news[-1]["number"] + 1 if news else 1
        news.append({"number": number, "text": text})
        changed.notify_all()
    await io.Deliver.json(r, news[-1], 201)


@web.route.get("/news")
async def wait(r):
    query = await io.Request.get_params(r, type=Query)
    try:
        async with asyncio.timeout(WAIT_S), changed:
            await changed.wait_for(lambda: later_than(query.after) or r.draining)
    except TimeoutError:
        pass
    found = later_than(query.after)
    if not found:
        await io.Deliver.no_content(r, {"Cache-Control": "no-store"})
    else:
        await io.Deliver.json(r, found, headers={"Cache-Control": "no-store"})


def later_than(number):
    return [each for each in news if each["number"] > number]


@web.on_drain
async def let_go():
    async with changed:
        changed.notify_all()


if __name__ == "__main__":
    web.runner()
