"""``BlazeioPayloadUtils``: reading content and writing responses, for ``r``.

Stateless: the state is in the concrete protocol and in its ``ContentStream``
and ``WriteGate``. A client's response reads through the same methods.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING

from blazeio.errors import (
    ClientDisconnected,
    FieldInput,
    LocalProtocolError,
)
from blazeio.protocol.flow import too_large
from blazeio.wire.headers import Headers
from blazeio.wire.outgoing import OutgoingMessage

NO_HEADERS = Headers([])

OFF_LOOP_BYTES = 16 * 1024
"""Larger inputs are compressed in a thread: 16 KiB of JSON cost the loop about
0.3 ms at gzip's default level, a thread's round trip 0.1 ms."""

LEAST_CUT = 4
"""No write is cut into pieces smaller than the high watermark divided by this."""

if TYPE_CHECKING:
    from collections.abc import Callable

    from blazeio.protocol.answer import Answer
    from blazeio.protocol.context import ServerContext
    from blazeio.protocol.flow import ContentStream, WriteGate

DEFAULT_HEAD: FieldInput = {"Content-Type": "text/plain; charset=utf-8"}
"""The fields of a response that is written to without a ``prepare``."""

EVENT_STREAM = "text/event-stream"
EVENTS_HEAD: FieldInput = {"Content-Type": EVENT_STREAM, "Cache-Control": "no-cache"}
"""The same, where the client asked for server-sent events."""


class BlazeioPayloadUtils:
    """Streaming both ways. Everything here may sleep; nothing here spins."""

    __slots__ = ()

    if TYPE_CHECKING:
        transport: asyncio.Transport
        context: ServerContext
        content: ContentStream
        gate: WriteGate
        answer: Answer
        headers: Headers
        transfer_encoding: str | None
        is_alive: bool
        resume_content: Callable[[], None]
        begin_response: Callable[..., None]

    # Reading

    @property
    def current_length(self) -> int:
        """Octets of content received so far."""
        return self.content.received_bytes

    @property
    def trailers(self) -> Headers:
        """Fields after chunked content, once all of it has arrived."""
        return self.content.trailers or NO_HEADERS

    async def ensure_reading(self) -> None:
        """Sleep until content waits, or all of it has arrived.

        Sends ``100 Continue`` if the client waits for it.

        Raises:
            ClientDisconnected: The client went away first.
            RemoteProtocolError: The client broke the framing of its content.
        """
        self.resume_content()
        await self.content.arrival()

    async def _arriving(self) -> AsyncIterator[bytes]:
        content = self.content
        while True:
            piece = content.take()
            while piece is not None:
                yield piece
                piece = content.take()
            if content.is_whole:
                return
            await self.ensure_reading()

    def pull(self) -> AsyncIterator[bytes]:
        """Iterate over the content of the message as it arrives.

        The transport pauses, and so the peer, while the caller is slow. Of a
        form whose beginning was read already, these are the octets of its file.

        Raises:
            ClientDisconnected: The peer went away before its content was whole.
            RemoteProtocolError: The content broke its framing, or is larger
                than ``Limits.content_bytes`` (status_hint 413).
        """
        reader = self.content.reader
        return self._arriving() if reader is None else reader.pull()

    def request(self) -> AsyncIterator[bytes]:
        """Iterate over octets as they arrive; of HTTP, those of the content.

        Raises:
            ClientDisconnected: The peer went away before the end.
            RemoteProtocolError: The peer broke the framing.
        """
        return self._arriving()

    def ayield(self) -> AsyncIterator[bytes]:
        """Iterate over octets as they arrive: the stream of ``request``."""
        return self._arriving()

    def handle_chunked(self) -> AsyncIterator[bytes]:
        """Iterate over the decoded content of a chunked message.

        Raises:
            LocalProtocolError: The message is not chunked.
            ClientDisconnected: The peer went away before the last chunk.
            RemoteProtocolError: A chunk was malformed.
        """
        if self.transfer_encoding is None:
            raise LocalProtocolError("handle_chunked: the message is not chunked")
        return self._arriving()

    async def read(self, limit: int | None = None) -> bytes:
        """Collect the whole content; asked again, give the same.

        Args:
            limit: Most octets; default ``Limits.collected_bytes``.

        Raises:
            RemoteProtocolError: There is more of it (status_hint 413).
            ClientDisconnected: The peer went away before it was whole.
        """
        content = self.content
        if content.collected is not None:
            return content.collected
        if content.is_whole and content.queued_bytes == 0 and content.reader is None:
            return b""
        if limit is None:
            limit = self.context.limits.collected_bytes
        if content.queued_bytes + content.due_bytes > limit:
            raise too_large(limit)  # before a client that waits for 100 sends it
        pieces: list[bytes] = []
        size = 0
        async for piece in self.pull():
            size += len(piece)
            if size > limit:
                raise too_large(limit)
            pieces.append(piece)
        content.collected = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return content.collected

    # Writing

    @property
    def status(self) -> int:
        """Of the response; 0 until it has begun."""
        return self.answer.status

    async def buffer_overflow_manager(self) -> None:
        """Sleep, at 0 % CPU, while the transport holds too much.

        Raises:
            ClientDisconnected: The peer is gone.
        """
        if not self.gate.is_open or self.gate.is_broken:
            await self.gate.passed()

    async def writer(self, data: bytes) -> None:
        """Write octets as they are, with backpressure; a head that is held first.

        A large write is cut, so that the transport never holds more than
        ``Limits.high_water_bytes`` beyond one cut.

        Raises:
            ClientDisconnected: The peer is gone.
        """
        await self.buffer_overflow_manager()
        if self.transport.is_closing():
            raise ClientDisconnected("the connection is closed")
        if self.answer.message is not None:
            self.answer.flush_head(self.answer.message)
        view = memoryview(data)
        while view:
            await self.buffer_overflow_manager()
            room = self._room()
            self.transport.write(view[:room])
            view = view[room:]

    async def prepare(
        self,
        headers: FieldInput | None = None,
        status: int = 200,
        *,
        compress: bool = False,
    ) -> None:
        """Set the head of the response; it leaves with the first content.

        If no content follows in the same turn of the loop, it leaves alone.
        Hop-by-hop fields are dropped: the framing is ours. Without a
        Content-Length the content is chunked (HTTP/1.1) or ends with the
        connection (HTTP/1.0).

        Args:
            headers: Mapping or pairs; values str, bytes or int; a list repeats
                the field.
            status: 200 to 599.
            compress: Encode what is written, each write for itself, in the
                content coding that Accept-Encoding likes best; adds Vary.

        Raises:
            LocalProtocolError: A response has begun, or a field is malformed.
                Nothing was sent.
        """
        self.begin_response(headers, status, compress=compress)

    async def write(self, data: bytes | str | AsyncIterable[bytes | str]) -> None:
        """Write content in the framing of the response; str is UTF-8.

        Without a ``prepare`` before it, a default head is sent. An empty write
        writes nothing; an async iterable is written piece by piece.

        Raises:
            ClientDisconnected: The peer is gone.
            LocalProtocolError: More than the declared Content-Length, or the
                response has ended. Nothing of ``data`` was sent.
        """
        if isinstance(data, AsyncIterable):
            async for piece in data:
                await self.write(piece)
            return
        octets = data.encode() if isinstance(data, str) else bytes(data)
        message = self._begun_message()
        await self.buffer_overflow_manager()
        size = len(octets)
        if size * LEAST_CUT <= self.context.limits.high_water_bytes or (
            size <= self._room()
        ):
            self._send(await self._encoded(octets))
            return
        message.check(size)  # all of it, before the first piece leaves
        view = memoryview(octets)  # a transport keeps the whole of a copied piece
        while view:
            await self.buffer_overflow_manager()
            room = self._room()
            self._send(await self._encoded(view[:room]))
            view = view[room:]

    def _room(self) -> int:
        """How much of a large write may leave now: up to the high watermark."""
        most = self.context.limits.high_water_bytes
        waiting = self.transport.get_write_buffer_size()
        return max(most - waiting, most // LEAST_CUT, 1)

    def _begun_message(self) -> OutgoingMessage:
        """The response's message; one with the default head, if none was prepared."""
        if self.answer.message is None:
            accept = self.headers.get("accept", "")
            head = EVENTS_HEAD if EVENT_STREAM in accept else DEFAULT_HEAD
            self.begin_response(head, 200)
        message = self.answer.message
        assert message is not None  # begin_response made it, or raised
        return message

    async def _encoded(self, octets: bytes | memoryview) -> bytes | memoryview:
        encoder = self.answer.encoder
        if encoder is None or not octets:
            return octets
        if len(octets) <= OFF_LOOP_BYTES:
            return encoder.encode(bytes(octets))
        return await asyncio.to_thread(encoder.encode, bytes(octets))

    def _send(self, octets: bytes | memoryview, *, is_last: bool = False) -> None:
        if not self.is_alive:
            raise ClientDisconnected("the client went away")
        self.answer.send(octets, is_last=is_last)

    async def write_chunked(self, data: bytes | str) -> None:
        """Write one chunk; the same as ``write`` where that is the framing.

        Raises:
            LocalProtocolError: The response's framing is not chunked.
            ClientDisconnected: The peer is gone.
        """
        if not self._begun_message().takes_chunks:
            raise LocalProtocolError("write_chunked: the response is not chunked")
        await self.write(data)

    async def eof(self, data: bytes | str | None = None) -> None:
        """End the response, after ``data``; the handler may go on working.

        Raises:
            ClientDisconnected: The peer is gone.
            LocalProtocolError: Less was written than the declared
                Content-Length. The connection is aborted.
        """
        octets = data.encode() if isinstance(data, str) else bytes(data or b"")
        message = self._begun_message()
        is_length_known = message.is_begun or not message.takes_chunks
        if is_length_known and len(octets) > self.context.limits.high_water_bytes:
            await self.write(octets)  # cut; else one write, for its Content-Length
            octets = b""
        await self.buffer_overflow_manager()
        self._send(await self._encoded(octets), is_last=True)
