"""One request, over HTTP/1.1 or HTTP/2, by the same calls.

async with talking(site, spoken) as talker:
    await talker.ask("GET", "/", content=None)
    await talker.until(lambda: b"one" in talker.body)
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from tests.support.clock import scaled
from tests.support.http2 import data, headers, reset
from tests.support.http2_peer import Http2Peer
from tests.support.peer import RawPeer, UnexpectedEndError
from tests.support.response import Response, parse_response
from tests.support.served import Site

TIMEOUT_S = 5.0
OPEN = b"\0open"
"""As the content of a request: it follows, by ``send``."""
KEY = "MDEyMzQ1Njc4OWFiY2RlZg=="


class Talker(Protocol):
    """A client with one request."""

    @property
    def body(self) -> bytes:
        """What has come of the response's content."""
        ...

    @property
    def status(self) -> int:
        """Of the final response; 0 before its head."""
        ...

    @property
    def fields(self) -> dict[str, str]:
        """Of the final response."""
        ...

    @property
    def is_whole(self) -> bool:
        """The response is complete."""
        ...

    @property
    def is_cut(self) -> bool:
        """It will never be."""
        ...

    async def ask(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        """Send the request."""
        ...

    async def upgrade(self, path: str) -> None:
        """Ask for a WebSocket."""
        ...

    async def send(self, octets: bytes, *, ends: bool = False) -> None:
        """Send content, or octets of the other protocol."""
        ...

    async def read(self) -> None:
        """Wait for something more."""
        ...

    def leave(self) -> None:
        """Go away: the request is given up."""
        ...


class Http1Talker:
    """Over HTTP/1.1: a connection of its own."""

    def __init__(self, peer: RawPeer) -> None:
        self._peer = peer
        self._method = "GET"
        self._is_chunked = False
        self.octets = b""
        self.is_cut = False

    async def ask(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        self._method = method
        lines = [f"{method} {path} HTTP/1.1", "Host: a.example"]
        lines += [f"{name}: {value}" for name, value in (fields or {}).items()]
        if content is OPEN:
            self._is_chunked = "Content-Length" not in (fields or {})
            lines += ["Transfer-Encoding: chunked"] if self._is_chunked else []
        elif content is not None:
            lines.append(f"Content-Length: {len(content)}")
        head = "\r\n".join([*lines, "", ""]).encode()
        await self._peer.send(head + (content or b"" if content is not OPEN else b""))

    async def upgrade(self, path: str) -> None:
        fields = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": KEY,
        }
        await self.ask("GET", path, None, fields)

    async def send(self, octets: bytes, *, ends: bool = False) -> None:
        if self._is_chunked:
            octets = b"%x\r\n%b\r\n" % (len(octets), octets) if octets else b""
            octets += b"0\r\n\r\n" if ends else b""
        await self._peer.send(octets)

    async def read(self) -> None:
        try:
            octets = await self._peer.read_some()
        except (ConnectionError, UnexpectedEndError):
            octets = b""
        self.octets += octets
        self.is_cut = not octets and not self.is_whole

    def leave(self) -> None:
        self._peer.reset()

    def _response(self) -> Response | None:
        octets = self.octets
        while octets.startswith((b"HTTP/1.1 100", b"HTTP/1.1 103")):
            octets = octets.partition(b"\r\n\r\n")[2]
        return parse_response(octets, method=self._method, is_ended=False)

    @property
    def is_whole(self) -> bool:
        return self._response() is not None

    @property
    def status(self) -> int:
        return int(self.octets.split(b" ")[1]) if b"\r\n\r\n" in self.octets else 0

    @property
    def fields(self) -> dict[str, str]:
        lines = self.octets.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        pairs = (line.split(": ", 1) for line in lines)
        return {name.lower(): value for name, value in pairs}

    @property
    def body(self) -> bytes:
        whole = self._response()
        if whole is not None and whole.status != 101:
            return whole.body
        return self.octets.partition(b"\r\n\r\n")[2]  # framed, if it is in chunks


class Http2Talker:
    """Over HTTP/2: a stream."""

    def __init__(self, peer: Http2Peer) -> None:
        self._peer = peer

    async def ask(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        head = [
            (":method", method),
            (":scheme", "http"),
            (":authority", "a.example"),
            (":path", path),
            *((name.lower(), value) for name, value in (fields or {}).items()),
        ]
        if content is OPEN:
            self._peer.send(headers(1, head, ends=False))
        else:
            if content is not None:
                head.append(("content-length", str(len(content))))
            self._peer.ask(1, head, content)

    async def upgrade(self, path: str) -> None:
        head = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":authority", "a.example"),
            (":path", path),
            ("sec-websocket-version", "13"),
        ]
        self._peer.send(headers(1, head, ends=False))

    async def send(self, octets: bytes, *, ends: bool = False) -> None:
        self._peer.send(data(1, octets, ends=ends))

    async def read(self) -> None:
        count = len(self._peer.frames)
        await self._peer.until(
            lambda: len(self._peer.frames) > count or self._peer.is_ended
        )

    def leave(self) -> None:
        self._peer.send(reset(1))

    @property
    def body(self) -> bytes:
        return self._peer.at(1).body

    @property
    def status(self) -> int:
        return self._peer.at(1).status if self._peer.at(1).heads else 0

    @property
    def fields(self) -> dict[str, str]:
        return self._peer.at(1).fields

    @property
    def is_whole(self) -> bool:
        return self._peer.at(1).is_ended

    @property
    def is_cut(self) -> bool:
        return self._peer.at(1).reset_code is not None and not self.is_whole


async def wait_until_seen(talker: Talker, condition: "object") -> None:
    """Read until it is true."""
    assert callable(condition)
    async with asyncio.timeout(scaled(TIMEOUT_S)):
        while not condition():
            await talker.read()


async def answer(talker: Talker) -> tuple[int, dict[str, str], bytes]:
    """Status, fields and content of the whole response."""
    await wait_until_seen(talker, lambda: talker.is_whole)
    return talker.status, talker.fields, talker.body


@asynccontextmanager
async def talking(site: Site, spoken: str) -> AsyncIterator[Talker]:
    """A client of what is served, on a connection of its own."""
    if spoken == "2":
        async with await Http2Peer.connect(site.port) as http2:
            yield Http2Talker(http2)
    else:
        async with await site.connect() as peer:
            yield Http1Talker(peer)
