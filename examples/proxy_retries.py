"""A proxy that asks again: UPSTREAM=http://... python examples/proxy_retries.py

What may be repeated (RFC 9110 section 9.2.2) is asked up to three times, a little
later each time; content is not kept, so only requests without it are repeated.
"""

import asyncio
import os
import random

import blazeio as io

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9000")
WAIT_S = float(os.environ.get("WAIT_S", "0.2"))
ATTEMPTS = 3
LATER = {502, 503, 504}
REPEATABLE = {"GET", "HEAD", "OPTIONS", "DELETE"}
NOT_ONWARDS = {"host", "connection", "keep-alive", "transfer-encoding", "upgrade", "te"}

web = io.App("127.0.0.1", 8000)


@web.on_start
async def open_session():
    web.state.session = io.Session(base_url=UPSTREAM)


@web.on_stop
async def close_session():
    await web.state.session.aclose()


@web.route.get("/healthy")
async def healthy(r):
    await io.Deliver.text(r, "yes")


@web.add_route
async def handle_all_middleware(r):
    has_content = r.content_length or r.transfer_encoding
    attempts = ATTEMPTS if r.method in REPEATABLE and not has_content else 1
    for attempt in range(1, attempts + 1):
        if attempt > 1:
            await asyncio.sleep(WAIT_S * attempt * random.uniform(0.5, 1))
        try:
            async with ask(r, has_content) as resp:
                if resp.status_code in LATER and attempt < attempts:
                    continue
                await relay(r, resp, attempt)
                return
        except (io.ConnectError, io.ServerDisconnected):
            if attempt == attempts or r.status:
                raise  # it is answered with 502, or the client sees that it was cut


def ask(r, has_content):
    headers = [each for each in r.headers.pairs if each[0].lower() not in NOT_ONWARDS]
    body = r.pull() if has_content else None
    return web.state.session.request(r.method, r.tail, headers=headers, body=body)


async def relay(r, resp, attempt):
    headers = [*resp.headers.pairs, ("X-Attempts", str(attempt))]
    await r.prepare(headers, resp.status_code)
    async for chunk in resp.pull():
        await r.write(chunk)


if __name__ == "__main__":
    web.runner()
