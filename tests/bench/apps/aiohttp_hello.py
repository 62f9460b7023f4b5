"""The JSON hello for aiohttp: ``python aiohttp_hello.py PORT``."""

import sys

import msgspec
import uvloop
from aiohttp import web


async def hello(request: web.Request) -> web.Response:
    body = msgspec.json.encode({"hello": "world"})
    return web.Response(body=body, content_type="application/json")


def main() -> None:
    app = web.Application()
    app.router.add_get("/", hello)
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
