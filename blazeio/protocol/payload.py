"""``BlazeioPayloadUtils``: reading and writing content, of a server and of a client.

It is a base of ``r``, which reads a request and writes its response, and of ``resp``,
which reads a response and writes its request. It has no state of its own: that is in
the object, in its ``ContentStream`` and its ``WriteGate``. They differ in four hooks:
``_resume_content``, ``_begun_message``, ``_flush_head`` and ``_give``.

Content may be given piece by piece, by an iterable. A generator that is left half-way
is closed by Python's collector, some time later and in no task of its request. What it
holds, a cursor or a file, stays open until then. So whoever iterates over one closes
it, however the iteration ends: ``closed_at_end``.
"""

import asyncio
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Mapping,
)
from contextlib import (
    AbstractContextManager,
    asynccontextmanager,
    nullcontext,
    suppress,
)
from inspect import isasyncgenfunction, iscoroutine, isgeneratorfunction
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from blazeio.errors import BlazeioError, LocalProtocolError
from blazeio.protocol.flow import CALL_BYTES, TURN_BYTES, join_small, too_large
from blazeio.wire.framing import OutgoingMessage
from blazeio.wire.headers import NO_HEADERS, Headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from blazeio.protocol.flow import ContentStream, WriteGate

Content = str | bytes | bytearray | memoryview
CONTENT = (str, bytes, bytearray, memoryview)
Pieces = AsyncIterable[Any] | Iterable[Any]
"""Each piece is ``Content``."""


class Cleaning(Protocol):
    """The task of a handler, as far as cancellations are held back."""

    def cleaning(self) -> AbstractContextManager[None]:
        """Hold a cancellation back until the block is over."""
        ...


@asynccontextmanager
async def closed_at_end(pieces: object, owner: object = None) -> AsyncIterator[None]:
    """Close a generator when the block ends, however it ends.

    Args:
        pieces: An async iterator with an ``aclose``, or a generator. Anything else,
            as a list or a file, is left as it is: it may be used again.
        owner: ``r``, where its handler iterates: the loss of the connection does not
            cancel the handler before the generator is closed.
    """
    try:
        yield
    finally:
        close: Callable[[], Awaitable[object]] | None
        close = getattr(pieces, "aclose", None)
        if isinstance(pieces, AsyncIterator) and close is not None:
            handler_task: Cleaning | None = getattr(owner, "handler_task", None)
            with nullcontext() if handler_task is None else handler_task.cleaning():
                await close()
        elif isinstance(pieces, Generator) or iscoroutine(pieces):
            pieces.close()


@asynccontextmanager
async def iterated(
    pieces: AsyncIterable[Any], owner: object = None
) -> AsyncIterator[AsyncIterator[Any]]:
    """Iterate; at the end close the iterator, which a class may make by a generator."""
    iterator = aiter(pieces)
    async with closed_at_end(iterator, owner):
        yield iterator


def check_pieces(pieces: object) -> None:
    """Refuse what cannot be iterated over for content.

    Raises:
        LocalProtocolError: It cannot be; the caller's fault.
    """
    is_iterable = isinstance(pieces, AsyncIterable | Iterable)
    if not is_iterable or isinstance(pieces, Mapping):
        raise LocalProtocolError(f"the content is {name_kind(pieces)}")


def name_kind(value: object) -> str:
    """Return the kind of a value, and what is expected in its place, for an error."""
    kind = type(value).__name__
    if isinstance(value, Mapping):
        return f"a {kind}: send it by Deliver.json, or give str or bytes"
    if iscoroutine(value):
        return f"the coroutine of {value.__qualname__}: write `await` before it"
    if isgeneratorfunction(value) or isasyncgenfunction(value):
        return f"the function {value.__qualname__} itself: call it"
    if value is None:
        return "None: expected str or bytes"
    return f"of type {kind}: expected str or bytes"


LEAST_CUT = 4
"""No write is cut into pieces smaller than the high watermark divided by this."""

LARGEST_STEP = 4
"""So many times the high watermark of a large write leave at once where nothing waits:
256 KiB. Pieces of 64 KiB take 1.15 times the CPU of the sender; a mark of
256 KiB gives no more than this, and lets small writes pile up."""

AT_ONCE_BYTES = 16 * 1024
"""A write of at most this size leaves in one step, as does a larger one that has room.
Else it may be cut, or encoded in a thread, and writes of other tasks wait behind it."""

CANCELLED_REST_BYTES = 1024 * 1024
"""When a write is cancelled half-way, its rest is sent all the same, up to so many
octets: its beginning has left, and the next write would follow in its midst. Where more
is missing, the connection is cut."""


class BlazeioPayloadUtils:
    """Streaming in both directions. Its coroutines may sleep; none of them polls.

    A peer that goes away is ClientDisconnected to a server and
    ServerDisconnected to a client: both are PeerGone.
    """

    __slots__ = ()

    _turns_until_lost = 0
    """For so many turns of the loop an error waits for the loss of the connection."""

    if TYPE_CHECKING:
        transport: asyncio.Transport
        content: ContentStream
        _gate: WriteGate
        _has_been_cut: Callable[[], bool]
        transfer_encoding: str | None
        _resume_content: Callable[[], None]
        _flush_head: Callable[[], None]
        _gone: Callable[[], BlazeioError]

        context: Any  # of either side: it has the ``limits``

        def _begun_message(self) -> OutgoingMessage:
            """The message that is written to."""
            ...

        async def _give(
            self, octets: bytes | memoryview, *, is_last: bool = False
        ) -> None:
            """Give content to the transport in its framing, whatever the watermark."""
            ...

    def _may_wait_to_give(self) -> bool:  # a large write, to be encoded in a thread
        return True

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
        content = self.content
        if content.has_pieces or content.is_whole:
            await self._gate.count_call()  # since it does not have to wait
        elif content.error is None and self.transport.is_closing():
            await self._raise_gone()  # nothing more will come
        self._resume_content()
        await content.arrival()

    async def _arriving(self) -> AsyncIterator[bytes]:
        # Hot: runs once per piece.
        content = self.content
        while True:
            piece = content.take()
            while piece is not None:
                yield piece
                piece = content.take()
            if content.is_whole:
                await self._gate.count_call()  # a caller that asks again never waits
                return
            if content.error is None and self.transport.is_closing():
                await self._raise_gone()
            self._resume_content()
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

        Over HTTP/2, of one that declares no length.

        Raises:
            LocalProtocolError: The message is not chunked.
            PeerGone: The peer went away before the last chunk.
            RemoteProtocolError: A chunk was malformed.
        """
        if self.transfer_encoding is None and not self.content.ends_by_close:
            raise LocalProtocolError("handle_chunked: the message is not chunked")
        return self._arriving()

    async def read(self, limit: int | None = None) -> bytes:
        """Collect the whole content; asked again, give the same.

        Where it fails or is cancelled nothing is lost: what had arrived waits.

        Args:
            limit: Most octets; default ``Limits.collected_bytes``.

        Raises:
            RemoteProtocolError: There is more of it (status_hint 413).
            PeerGone: The peer went away before it was whole.
        """
        content = self.content
        if limit is None:
            limit = self.context.limits.collected_bytes
        if content.collected is not None:
            await self._gate.count_call()  # who asks again and again never waits
        arrived = content.take_whole(limit)
        if arrived is not None:
            if not arrived:  # of no content, the same again is not known
                await self._gate.count_call()
            return arrived
        due_bytes = 0 if content.ends_by_close else content.due_bytes
        if content.queued_bytes + due_bytes > limit:
            raise too_large(limit)  # before a client that waits for 100 sends it
        pieces: list[bytes] = []
        size = 0
        try:
            async for piece in self.pull():
                size += len(piece)
                join_small(pieces, piece)
                if size > limit:
                    raise too_large(limit)
        except BaseException:
            if content.reader is None:
                content.put_back(pieces)
            raise
        content.collected = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return content.collected

    # Writing

    async def buffer_overflow_manager(self) -> None:
        """Sleep, at 0 % CPU, while the transport holds too much.

        Raises:
            PeerGone: The peer is gone.
        """
        await self._spend(0)
        await self._overflow()

    async def _overflow(self) -> None:
        if not self._gate.is_open or self._gate.error is not None:
            await self._gate.passed()

    async def _spend(self, size: int) -> None:
        """Count a call that gives or takes octets; let the loop turn when it is time.

        Raises:
            PeerGone: The connection is closing.
        """
        # Hot: runs once per call; ``write`` has it by hand.
        gate = self._gate
        gate.spent_bytes += size + CALL_BYTES
        if gate.spent_bytes >= TURN_BYTES:
            await self._give_way()

    async def _count_refusal(self) -> None:
        """Count a call that was a mistake, as one that gives or takes octets.

        So a handler that catches the error and tries again, for ever, does not keep the
        loop to itself.
        """
        if getattr(self, "_gate", None) is None:
            await asyncio.sleep(0)  # of a client, without a connection
        else:
            await self._gate.count_call()

    async def _give_way(self) -> None:
        """Let the loop turn for the others; then see whether the peer is there.

        Raises:
            PeerGone: The connection is closing.
        """
        gate = self._gate
        gate.spent_bytes = 0
        await asyncio.sleep(0)
        if self.transport.is_closing():
            await self._raise_gone()

    async def _raise_gone(self) -> NoReturn:
        """Raise the error of a connection that is closing.

        The first time it is raised at once, then after a turn of the loop each time: a
        handler that catches the error and goes on would keep the worker to itself for
        ever. A connection that we have cut is lost some turns later, which cancels the
        handler. An error before that would begin the handler's cleanup, and the
        cancellation would then break into it.

        Raises:
            PeerGone: Always.
        """
        gate = self._gate
        if gate.error is None and not self._has_been_cut():
            for _ in range(self._turns_until_lost):
                await asyncio.sleep(0)
            gate.fail(self._gone())
        elif gate.error is None:
            gate.close()
            await gate.passed()
        else:
            await asyncio.sleep(0)
        raise gate.error or self._gone()

    async def writer(self, data: bytes) -> None:
        """Write octets as they are, with backpressure, after a head that is held.

        A large write is cut, so that the transport never holds more than
        ``Limits.high_water_bytes`` beyond one cut. Writes of several tasks leave one
        after the other. One that is cancelled leaves as ``write`` says.

        Raises:
            PeerGone: The peer is gone.
        """
        gate = self._gate
        if gate.is_taken:
            await gate.take_turn()
        gate.is_taken = True
        rest = memoryview(data)
        size = len(rest)
        try:
            await self._spend(0)
            while True:
                await self._overflow()
                if self.transport.is_closing():
                    await self._raise_gone()
                self._flush_head()
                room = self._room()
                self.transport.write(rest[:room])
                rest = rest[room:]
                if not rest:
                    break
                await self._spend(room)
        except asyncio.CancelledError:
            if 0 < len(rest) < size:
                self._finish_raw(rest)
            raise
        finally:
            gate.end_turn()

    def _finish_raw(self, rest: memoryview) -> None:
        """Send the rest of a cancelled write, whose beginning has left."""
        if len(rest) > CANCELLED_REST_BYTES:
            self.transport.abort()
        elif not self.transport.is_closing():
            self.transport.write(rest)

    async def write(self, data: Content | Pieces) -> None:
        """Write content in the framing of the message; str is UTF-8.

        Without a ``prepare`` before it, a response has a default head. An empty write
        writes nothing. An iterable is written piece by piece, and a generator is closed
        at the end, whatever the end is. Where the message has no content, as the
        response to HEAD, nothing is asked of it.

        Writes of several tasks leave whole and in the order in which they were
        called. A write that is cancelled has left whole or not at all; only where more
        than ``CANCELLED_REST_BYTES`` of it are missing, the connection is cut.

        Raises:
            PeerGone: The peer is gone.
            LocalProtocolError: More than the declared Content-Length, or the
                message has ended, or this is no content. Nothing of ``data`` was
                sent.
        """
        try:
            if not isinstance(data, CONTENT):
                await self._write_pieces(data)
                return
            octets = data.encode() if isinstance(data, str) else bytes(data)
            message = self._begun_message()
            gate = self._gate
            size = len(octets)
            gate.spent_bytes += size + CALL_BYTES
            if self.transport.is_closing():
                await self._raise_gone()
            if (
                gate.is_open
                and not gate.is_taken
                and gate.error is None
                and (size <= AT_ONCE_BYTES or not self._may_wait_to_give())
                and (
                    size * LEAST_CUT <= self.context.limits.high_water_bytes
                    or size <= self._room()
                )
            ):
                await self._give(octets)
            else:
                if gate.is_taken:
                    await gate.take_turn()
                gate.is_taken = True
                try:
                    await self._write_in_turn(message, octets)
                finally:
                    gate.end_turn()
        except LocalProtocolError:
            await self._count_refusal()
            raise
        # Only now: writes have to leave in the order in which they were called.
        if gate.spent_bytes >= TURN_BYTES:
            await self._give_way()

    async def _write_in_turn(self, message: OutgoingMessage, octets: bytes) -> None:
        rest = memoryview(octets)  # slices of bytes would be copies
        given_bytes = room = 0
        try:
            await self._overflow()
            message.check(len(octets))  # all of it, before the first piece leaves
            while True:
                room = self._room()
                given_bytes = message.content_bytes
                is_uncut = room >= len(octets) == len(rest)
                await self._give(octets if is_uncut else rest[:room])
                rest = rest[room:]
                if not rest:
                    return
                sent_bytes, room = room, 0
                await self._spend(sent_bytes)
                await self._overflow()
                message.check(len(rest))
        except asyncio.CancelledError:
            if room and message.content_bytes != given_bytes:
                rest = rest[room:]  # that piece had left
            if 0 < len(rest) < len(octets):
                await self._finish_cancelled(rest)
            raise

    async def _finish_cancelled(self, rest: memoryview) -> None:
        """Send the rest of a cancelled write, whose beginning has left.

        It does not wait at the gate: the peer may not read, and the rest is no more
        than the caller had in memory.
        """
        if len(rest) > CANCELLED_REST_BYTES:
            self.transport.abort()
            return
        # The peer may be gone, or the task be cancelled once more.
        with suppress(BlazeioError, asyncio.CancelledError):
            await self._give(rest)

    async def _write_pieces(self, pieces: Pieces) -> None:
        async with closed_at_end(pieces, self):
            check_pieces(pieces)
            if not self._begun_message().has_content:
                await self._spend(0)
                return
            if isinstance(pieces, AsyncIterable):
                async with iterated(pieces, self) as iterator:
                    async for piece in iterator:
                        await self._write_piece(piece)
                return
            plain = iter(pieces)
            async with closed_at_end(plain):
                for piece in plain:
                    await self._write_piece(piece)

    async def _write_piece(self, piece: object) -> None:
        if not isinstance(piece, CONTENT):
            raise LocalProtocolError(f"a piece of content is {name_kind(piece)}")
        await self.write(piece)

    def _room(self) -> int:
        """Return how much of a large write may leave now.

        It is what is free up to the high watermark; more where nothing waits.
        """
        most: int = self.context.limits.high_water_bytes
        waiting = self.transport.get_write_buffer_size()
        if not waiting:
            return most * LARGEST_STEP
        return max(most - waiting, most // LEAST_CUT, 1)

    async def write_chunked(self, data: Content) -> None:
        """Write one chunk, as ``write`` does; only where the framing is chunked.

        Raises:
            LocalProtocolError: The framing of the message is not chunked.
            PeerGone: The peer is gone.
        """
        try:
            if not self._begun_message().takes_chunks:
                raise LocalProtocolError("write_chunked: the message is not chunked")
        except LocalProtocolError:
            await self._count_refusal()
            raise
        await self.write(data)

    async def write_chunked_eof(self, data: Content | None = None) -> None:
        """End a chunked message after ``data``, as ``eof`` does.

        Raises:
            LocalProtocolError: The framing of the message is not chunked.
            PeerGone: The peer is gone.
        """
        if not self._begun_message().takes_chunks:
            raise LocalProtocolError("write_chunked_eof: the message is not chunked")
        await self.eof(data)

    async def eof(self, data: Content | None = None) -> None:
        """End the message after ``data``; the handler may go on working.

        Raises:
            PeerGone: The peer is gone.
            LocalProtocolError: Less was written than the declared
                Content-Length. The connection is aborted. Or the message has
                ended, or this is no content.
        """
        try:
            if data is None:
                data = b""
            elif not isinstance(data, CONTENT):
                raise LocalProtocolError(f"eof: the content is {name_kind(data)}")
            octets = data.encode() if isinstance(data, str) else bytes(data)
            message = self._begun_message()
            is_length_known = message.is_begun or not message.takes_chunks
            if is_length_known and len(octets) > self.context.limits.high_water_bytes:
                await self.write(octets)  # cut; else one write, for its Content-Length
                octets = b""
            gate = self._gate
            if self.transport.is_closing():
                await self._raise_gone()
            if gate.is_open and not gate.is_taken and len(octets) <= AT_ONCE_BYTES:
                await self._overflow()
                await self._give(octets, is_last=True)
                return
            await gate.take_turn()
            try:
                await self._overflow()
                message.check(len(octets))
                await self._give(octets, is_last=True)
            finally:
                gate.end_turn()
        except LocalProtocolError:
            await self._count_refusal()
            raise
