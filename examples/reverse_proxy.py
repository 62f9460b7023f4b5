"""A reverse proxy: python examples/reverse_proxy.py http://127.0.0.1:8080 [PORT]

Content streams both ways, so nothing is kept but what is on its way; a client
that leaves cancels its handler, and with it the request to the upstream.
"""

import asyncio
import sys
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import blazeio as io

# RFC 9110 section 7.6.1: these are between two neighbours, and so is all that
# Connection names. Expect is answered here; Host and Content-Length are ours.
HOP_BY_HOP = {
    "connection",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
NAME = "blazeio"
TIMEOUTS = io.Timeouts(connect_s=5, head_s=60, read_s=60)


class ReverseProxy:
    def __init__(self, upstream, timeouts):
        self.upstream = upstream.rstrip("/")
        self.timeouts = timeouts
        self.session = None
        self.opened = AsyncExitStack()

    async def start(self):
        session = io.Session(timeouts=self.timeouts)
        self.session = await self.opened.enter_async_context(session)

    async def stop(self):
        await self.opened.aclose()

    async def handle(self, r):
        if r.method == "CONNECT":
            raise io.Abort("This is not a forward proxy", 405)
        try:
            async with self.ask(r) as resp:
                if resp.status_code == 101:
                    await tunnel(r, resp)
                    return
                headers = [*end_to_end(resp.headers), ("Via", f"1.1 {NAME}")]
                # RFC 9110 section 15: a class that nobody knows is 500
                status = resp.status_code if resp.status_code < 600 else 500
                await r.prepare(headers, status)
                async for octets in resp.pull():
                    await r.write(octets)
        except io.RequestError as error:
            if r.status:
                raise  # too late to say so: the connection breaks off
            if isinstance(error, io.RequestTimeout):
                raise io.Abort("The upstream is too slow", 504) from error
            raise io.Abort("The upstream does not answer", 502) from error

    def ask(self, r):
        has_content = r.content_length or r.transfer_encoding
        is_websocket = r.method == "GET" and (r.upgrade or "").lower() == "websocket"
        return self.session.request(
            r.method,
            self.upstream + origin_form(r.tail),
            headers=request_fields(r),
            body=r.pull() if has_content else None,
            upgrade="websocket" if is_websocket else None,
        )


def end_to_end(headers):
    named = headers.get("connection", "").lower().replace(" ", "").split(",")
    dropped = HOP_BY_HOP.union(named)
    return [(name, value) for name, value in headers.pairs if name not in dropped]


def request_fields(r):
    fields = [pair for pair in end_to_end(r.headers) if not tells_of_client(pair[0])]
    added = {
        # Before this proxy comes another? App(forwarded_allow_ips=...) names it, and
        # what it says of the client is said on.
        "X-Forwarded-For": r.ip_host,
        "X-Forwarded-Proto": r.scheme,
        "X-Forwarded-Host": r.authority,
        "Via": ", ".join([*r.headers.get_all("via"), f"1.1 {NAME}"]),
    }
    return [*((name, value) for name, value in fields if name != "via"), *added.items()]


def tells_of_client(name):
    """What the upstream believes, since a proxy says it: anybody else must not.

    Some servers read "_" as "-".
    """
    name = name.replace("_", "-")
    return name in ("forwarded", "x-real-ip") or name.startswith("x-forwarded-")


def origin_form(target):
    if target.startswith("/"):
        return target
    return urlsplit(target)._replace(scheme="", netloc="").geturl() or "/"


async def tunnel(r, resp):
    lines = [f"{name}: {value}\r\n" for name, value in resp.headers.pairs]
    r.take_over("".join(lines).encode("latin-1"))
    ways = [
        asyncio.create_task(relay(r.request(), resp.writer)),
        asyncio.create_task(relay(resp.pull(), r.writer)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def relay(source, write):
    async for octets in source:
        await write(octets)


def make_app(upstream, port=8000, timeouts=TIMEOUTS):
    web = io.App("127.0.0.1", port)
    proxy = ReverseProxy(upstream, timeouts)
    web.on_start(proxy.start)
    web.on_stop(proxy.stop)

    @web.add_route
    async def handle_all_middleware(r):
        await proxy.handle(r)

    return web


if __name__ == "__main__":
    make_app(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 8000).runner()
