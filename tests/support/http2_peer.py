"""`Http2Peer`: a client of HTTP/2 that sends exact frames, and reads answers.

It credits what it reads, unless it is told not to; nothing else is done by itself.
"""

import asyncio
import ssl
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import hpack

from tests.support.clock import scaled
from tests.support.http2 import (
    ACK,
    DATA,
    END_STREAM,
    GET,
    GOAWAY,
    HEADERS,
    OPENING,
    PING,
    RST_STREAM,
    Fields,
    Frame,
    data,
    frame,
    headers,
    window_update,
)

TIMEOUT_S = 5.0
READ_BYTES = 65_536


@dataclass
class Answer:
    """What has come on one stream."""

    heads: list[Fields] = field(default_factory=list)
    body: bytes = b""
    is_ended: bool = False
    reset_code: int | None = None

    @property
    def status(self) -> int:
        return int(self.fields[":status"])

    @property
    def final_head(self) -> Fields:
        return next(each for each in self.heads if each[0] >= (":status", "200"))

    @property
    def fields(self) -> dict[str, str]:
        """Of the final head."""
        return dict(self.final_head)

    @property
    def statuses(self) -> list[int]:
        """Of all heads."""
        return [int(v) for head in self.heads for n, v in head if n == ":status"]

    @property
    def trailers(self) -> Fields:
        last = self.heads[-1]
        return [] if last[0][0] == ":status" else last

    @property
    def is_over(self) -> bool:
        return self.is_ended or self.reset_code is not None


class Http2Peer:
    """``async with await Http2Peer.connect(port) as peer``.

    Attributes:
        frames: All that have come.
        answers: By stream.
        is_ended: The server has closed.
        credits: Whether windows are opened as content comes.
        answers_pings: Whether a PING is acknowledged as it comes.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader, self.writer = reader, writer
        self._octets = b""
        self._decoder = hpack.Decoder(max_header_list_size=10**6)
        self.frames: list[Frame] = []
        self.answers: dict[int, Answer] = {}
        self.is_ended = False
        self.credits = self.answers_pings = True

    @classmethod
    async def connect(
        cls,
        port: int = 0,
        *,
        opening: bytes = OPENING,
        tls: ssl.SSLContext | None = None,
        path: str = "",
    ) -> Self:
        if path:
            streams = await asyncio.open_unix_connection(path)
        else:
            streams = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        peer = cls(*streams)
        peer.send(opening)
        return peer

    def send(self, *octets: bytes) -> None:
        self.writer.write(b"".join(octets))

    def ask(
        self,
        stream_id: int,
        fields: Fields = GET,
        content: bytes | None = None,
        *,
        more: Fields | None = None,
    ) -> None:
        """Send a request; its content, no more than a window, in full frames."""
        self.send(headers(stream_id, fields, ends=content is None, more=more))
        if content is not None:
            for at in range(0, len(content), 16_384):
                self.send(data(stream_id, content[at : at + 16_384]))
            self.send(data(stream_id, ends=True))

    async def get(self, path: str = "/", stream_id: int = 1) -> Answer:
        fields = [(n, path if n == ":path" else v) for n, v in GET]
        self.ask(stream_id, fields)
        return await self.answer(stream_id)

    async def answer(self, stream_id: int, timeout_s: float = TIMEOUT_S) -> Answer:
        """The answer on a stream, once it is over."""
        await self.until(lambda: self.at(stream_id).is_over, timeout_s)
        return self.at(stream_id)

    def at(self, stream_id: int) -> Answer:
        return self.answers.setdefault(stream_id, Answer())

    async def until(self, condition: "object", timeout_s: float = TIMEOUT_S) -> None:
        """Read until it is true."""
        assert callable(condition)
        async with asyncio.timeout(scaled(timeout_s)):
            while not condition():
                assert not self.is_ended, f"the server closed: {self.frames[-3:]}"
                await self._read()

    async def ping(self) -> None:
        """Return when all that was sent before has been read by the server."""
        count = len(self.of(PING))
        self.send(frame(PING, 0, 0, b"12345678"))
        await self.until(lambda: len(self.of(PING)) > count)

    async def goaway(self, timeout_s: float = TIMEOUT_S) -> Frame:
        """The last GOAWAY, once the server has closed."""
        async with asyncio.timeout(scaled(timeout_s)):
            while not self.is_ended:
                await self._read()
        return self.of(GOAWAY)[-1]

    def of(self, kind: int) -> list[Frame]:
        return [each for each in self.frames if each.kind == kind]

    async def _read(self) -> None:
        try:
            octets = await self._reader.read(READ_BYTES)
        except ConnectionError:
            octets = b""
        self.is_ended = not octets
        self._octets += octets
        while len(self._octets) >= 9:
            size = 9 + int.from_bytes(self._octets[:3], "big")
            if len(self._octets) < size:
                return
            one, self._octets = self._octets[:size], self._octets[size:]
            stream_id = int.from_bytes(one[5:9], "big")
            self._take(Frame(one[3], one[4], stream_id, one[9:]))

    def _take(self, one: Frame) -> None:
        self.frames.append(one)
        answer = self.at(one.stream_id) if one.stream_id else Answer()
        if one.kind == HEADERS:
            decoded = self._decoder.decode(one.payload)
            answer.heads.append([(str(n), str(v)) for n, v in decoded])
        elif one.kind == DATA:
            answer.body += one.payload
            if self.credits and one.payload:
                size = len(one.payload)
                self.send(window_update(0, size))
                if not one.flags & END_STREAM:
                    self.send(window_update(one.stream_id, size))
        elif one.kind == RST_STREAM:
            answer.reset_code = one.code
        elif one.kind == PING and not one.flags & ACK and self.answers_pings:
            self.send(frame(PING, ACK, 0, one.payload))
        if one.kind in (HEADERS, DATA) and one.flags & END_STREAM:
            answer.is_ended = True

    def reset(self) -> None:
        """Close by RST."""
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
