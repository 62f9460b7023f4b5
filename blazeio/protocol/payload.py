"""``BlazeioPayloadUtils``: reading and writing content, on both sides.

For ``r``, the request that a server reads and the response that it writes; and
for ``resp``, the response that a client reads and the request that it writes.
Stateless: the state is in the concrete object and in its ``ContentStream`` and
``WriteGate``. What differs is behind four hooks: ``resume_content``,
``_begun_message``, ``_flush_head`` and ``_give``.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING

from blazeio.errors import BlazeioError, LocalProtocolError
from blazeio.protocol.flow import too_large
from blazeio.wire.headers import Headers
from blazeio.wire.outgoing import OutgoingMessage

NO_HEADERS = Headers([])

LEAST_CUT = 4
"""No write is cut into pieces smaller than the high watermark divided by this."""

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from blazeio.limits import Limits
    from blazeio.protocol.flow import ContentStream, WriteGate

    class Bounded(Protocol):
        """What is shared by the messages of one side."""

        limits: Limits


class BlazeioPayloadUtils:
    """Streaming both ways. Everything here may sleep; nothing here spins.

    A peer that goes away is ClientDisconnected to a server and
    ServerDisconnected to a client: both are PeerGone.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        transport: asyncio.Transport
        content: ContentStream
        gate: WriteGate
        transfer_encoding: str | None
        resume_content: Callable[[], None]
        _flush_head: Callable[[], None]
        _gone: Callable[[], BlazeioError]

        @property
        def context(self) -> Bounded:
            """Knows the limits."""
            ...

        def _begun_message(self) -> OutgoingMessage:
            """The message that is written to."""
            ...

        async def _give(
            self, octets: bytes | memoryview, *, is_last: bool = False
        ) -> None:
            """Give content to the transport in its framing, whatever the watermark."""
            ...

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

        A server sends ``100 Continue`` if the client waits for it.

        Raises:
            PeerGone: The peer went away first.
            RemoteProtocolError: The peer broke the framing of its content.
        """
        self.resume_content()
        await self.content.arrival()

    async def _arriving(self) -> AsyncIterator[bytes]:
        # Hot: runs once per piece, so that it waits without ``ensure_reading``.
        content = self.content
        while True:
            piece = content.take()
            while piece is not None:
                yield piece
                piece = content.take()
            if content.is_whole:
                return
            self.resume_content()
            await content.arrival()

    def pull(self) -> AsyncIterator[bytes]:
        """Iterate over the content of the message as it arrives.

        The transport pauses, and so the peer, while the caller is slow. Of a
        form whose beginning was read already, these are the octets of its file.

        Raises:
            PeerGone: The peer went away before its content was whole.
            RemoteProtocolError: The content broke its framing, or is larger
                than ``Limits.content_bytes`` (status_hint 413).
        """
        reader = self.content.reader
        return self._arriving() if reader is None else reader.pull()

    def request(self) -> AsyncIterator[bytes]:
        """Iterate over octets as they arrive; of HTTP, those of the content.

        Raises:
            PeerGone: The peer went away before the end.
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
            PeerGone: The peer went away before the last chunk.
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
            PeerGone: The peer went away before it was whole.
        """
        content = self.content
        if limit is None:
            limit = self.context.limits.collected_bytes
        arrived = content.take_whole(limit)
        if arrived is not None:
            return arrived
        due_bytes = 0 if content.ends_by_close else content.due_bytes
        if content.queued_bytes + due_bytes > limit:
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

    async def buffer_overflow_manager(self) -> None:
        """Sleep, at 0 % CPU, while the transport holds too much.

        Raises:
            PeerGone: The peer is gone.
        """
        if not self.gate.is_open or self.gate.error is not None:
            await self.gate.passed()

    async def writer(self, data: bytes) -> None:
        """Write octets as they are, with backpressure; a head that is held first.

        A large write is cut, so that the transport never holds more than
        ``Limits.high_water_bytes`` beyond one cut.

        Raises:
            PeerGone: The peer is gone.
        """
        await self.buffer_overflow_manager()
        if self.transport.is_closing():
            raise self._gone()
        self._flush_head()
        view = memoryview(data)
        while view:
            await self.buffer_overflow_manager()
            room = self._room()
            self.transport.write(view[:room])
            view = view[room:]

    async def write(self, data: bytes | str | AsyncIterable[bytes | str]) -> None:
        """Write content in the framing of the message; str is UTF-8.

        Of a response without a ``prepare`` before it, a default head is sent.
        An empty write writes nothing; an async iterable is written piece by
        piece.

        Raises:
            PeerGone: The peer is gone.
            LocalProtocolError: More than the declared Content-Length, or the
                message has ended. Nothing of ``data`` was sent.
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
            await self._give(octets)
            return
        message.check(size)  # all of it, before the first piece leaves
        view = memoryview(octets)  # a transport keeps the whole of a copied piece
        while view:
            await self.buffer_overflow_manager()
            room = self._room()
            await self._give(view[:room])
            view = view[room:]

    def _room(self) -> int:
        """How much of a large write may leave now: up to the high watermark."""
        most = self.context.limits.high_water_bytes
        waiting = self.transport.get_write_buffer_size()
        return max(most - waiting, most // LEAST_CUT, 1)

    async def write_chunked(self, data: bytes | str) -> None:
        """Write one chunk; the same as ``write`` where that is the framing.

        Raises:
            LocalProtocolError: The framing of the message is not chunked.
            PeerGone: The peer is gone.
        """
        if not self._begun_message().takes_chunks:
            raise LocalProtocolError("write_chunked: the message is not chunked")
        await self.write(data)

    async def eof(self, data: bytes | str | None = None) -> None:
        """End the message, after ``data``; the caller may go on working.

        Raises:
            PeerGone: The peer is gone.
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
        await self._give(octets, is_last=True)
