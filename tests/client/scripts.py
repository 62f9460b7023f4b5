"""What raw servers do, for the tests of the client."""

from typing import Any

import blazeio as io
from tests.support.raw_server import Script, Visitor

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
ANNOUNCED = {"Transfer-Encoding": "chunked"}


def reply(content: bytes, *fields: str) -> bytes:
    """A whole response."""
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(content)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + content


def answer(*octets: bytes) -> Script:
    """Answer each request of a connection with the next of these, then close."""

    async def script(visitor: Visitor) -> None:
        for each in octets:
            await visitor.read_request()
            await visitor.send(each)

    return script


def breaking_off(
    *octets: bytes, ending: str = "close", kept: bool = False, after: bytes = OK
) -> Script:
    """Break off each request at these octets, then answer as is to be.

    Args:
        octets: Of the first response, the second ...
        ending: How the connection ends then.
        kept: The first connection has answered a request before.
        after: Each further one.
    """
    left = list(octets)

    async def script(visitor: Visitor) -> None:
        if kept and visitor.number == 0:
            await visitor.read_request()
            await visitor.send(OK)
        while await visitor.read_request() is not None:
            if not left:
                await visitor.send(after)
                continue
            await visitor.send(left.pop(0))
            getattr(visitor, ending)()
            if ending != "close":
                await visitor.read_until_end()
            return

    return script


async def ask(session: "io.Session[io.Session[Any]]", url: str, **options: Any) -> str:
    async with session.get(url, **options) as resp:
        return await resp.text()
