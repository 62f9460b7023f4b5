"""Backpressure in both directions, a flag that can be awaited, and what is pending.

``WriteGate`` is closed by ``pause_writing`` and opened by ``resume_writing``; writers
sleep at it. ``ContentStream`` is the content of one message on its way from the
transport to the handler; readers sleep at it. Neither polls: each sleeper is a future,
which a callback of the transport completes. ``PendingOctets`` has what has arrived on
a connection and was not read as HTTP yet: pipelined requests.
"""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Generator
from contextlib import suppress
from typing import Final, NoReturn, Protocol, cast

from msgspec import Struct

from blazeio.errors import BlazeioError, RemoteProtocolError
from blazeio.wire.chunked import ChunkDecoder
from blazeio.wire.headers import Headers


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class WriteGate:
    """Where writers sleep while the transport holds too much, and their queue.

    A write that cannot leave in one step holds the turn until all of it has
    left; writes of other tasks wait behind it, in the order in which they came.

    Attributes:
        is_open: Writers need not sleep.
        is_taken: Somebody has the turn: who comes now has to ``take_turn``.
        error: Why nobody can write any more; None while all is well.
        spent_bytes: What was given and taken since the loop has last turned for
            it; each call counts for ``CALL_BYTES``.
    """

    __slots__ = (
        "_queue",
        "_waiters",
        "error",
        "is_open",
        "is_taken",
        "spent_bytes",
    )

    def __init__(self) -> None:
        self.is_open = True
        self.is_taken = False
        self.spent_bytes = 0
        self.error: BlazeioError | None = None
        self._waiters: list[asyncio.Future[None]] | None = None
        self._queue: deque[asyncio.Future[None]] | None = None

    async def take_turn(self) -> None:
        """Wait until those who came before are done; then ``end_turn`` is due.

        Where the call is cancelled, the turn was not taken.
        """
        if not self.is_taken:
            self.is_taken = True
            return
        if self._queue is None:
            self._queue = deque()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with suppress(ValueError):  # passed over, where its turn came first
                    self._queue.remove(waiter)
            else:
                self.end_turn()  # it was handed over in the same step of the loop
            raise

    def end_turn(self) -> None:
        """Hand the turn over to who waits longest; no other task can come between."""
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.is_taken = False

    def close(self) -> None:
        """Writers sleep from now on."""
        self.is_open = False

    def open(self) -> None:
        """Wake all sleepers, in the order in which they came."""
        self.is_open = True
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            _wake(waiter)

    def fail(self, error: BlazeioError) -> None:
        """Raise ``error`` in all who sleep here and all who come: writing is over."""
        if self.error is None:
            self.error = error
        self.is_open = True
        if self._waiters is not None:
            self.open()

    def forget_frames(self) -> None:
        """Let go of the handler that was told ``error``, once it is over.

        The traceback has its frames, they have the request, and that has this: a cycle
        with all that the handler holds, which only Python's collector would find.
        """
        error: BaseException | None = self.error
        while error is not None:
            error.__traceback__ = None
            below, error.__context__ = error.__context__, None
            error = below

    async def count_call(self) -> None:
        """Count a call that takes what has arrived, or one that was a mistake.

        After some of them the loop turns for the others. Else a task that calls again
        and again, and never has to wait, would keep the loop to itself.
        """
        self.spent_bytes += CALL_BYTES
        if self.spent_bytes >= TURN_BYTES:
            self.spent_bytes = 0
            await asyncio.sleep(0)

    async def passed(self) -> None:
        """Return when open.

        Raises:
            BlazeioError: It is ``error``; mostly the peer went away.
        """
        self.spent_bytes = 0
        if self.error is not None:
            # The loop turns before each error: a handler that catches it and goes
            # on would keep the worker to itself, for ever.
            await asyncio.sleep(0)
        while not self.is_open and self.error is None:
            waiter = asyncio.get_running_loop().create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            await waiter
        if self.error is not None:
            raise self.error


TURN_BYTES = 256 * 1024
"""One task gives or takes so much before the loop turns for the others: 0.1 ms of work,
where a peer reads as fast as it is written to. Streams take no more time for it, as far
as that can be measured (256 octets to 64 KiB a write)."""
CALL_BYTES = TURN_BYTES // 16
"""Each call counts for so many octets, so that 16 of them are a turn's share."""


UNTIL_CLOSE = sys.maxsize
"""The length of content that ends when the peer closes."""


JOINED_BYTES = 4 * 1024
"""Small pieces that wait are joined up to this size. An object for every octet or two
would take 30 times the memory of what it holds."""
SEPARATE_PIECES = 64
"""So many pieces are not joined, since joining copies them."""
CHUNKS_PER_TURN = 1024
"""So many chunks of one message are decoded before the loop turns for the others:
0.3 ms of work. What is left of a read waits, and nothing more is read."""
CHUNKS_PER_READ = 128
"""After a read with so many chunks nothing more is read of a connection in this turn of
the loop."""


def join_small(pieces: "list[bytes] | deque[bytes]", piece: bytes) -> None:
    """Append a piece, or join it to the last one: of many, where both are small."""
    if len(pieces) >= SEPARATE_PIECES and len(pieces[-1]) + len(piece) <= JOINED_BYTES:
        pieces[-1] += piece
    else:
        pieces.append(piece)


class Reader(Protocol):
    """Has taken content over, as a form does, and knows which part a handler wants."""

    def pull(self) -> AsyncIterator[bytes]:
        """Iterate over that part, as ``r.pull()`` does from now on."""
        ...


class ContentStream:
    """The content of one message, as it arrives.

    Args:
        length: Its declared length, octets; or UNTIL_CLOSE.
        decoder: Its chunk decoder, where no length was declared.
        bound: Most octets accepted; None: no bound.

    Attributes:
        is_whole: All of it has arrived (not: has been taken).
        due_bytes: Octets still to come of a declared length.
        ends_by_close: No length was declared: the peer's close is its end.
        queued_bytes: Octets that wait to be taken.
        received_bytes: Octets that have arrived so far.
        collected: All of it, once ``read`` has taken it: a middleware may look
            before the handler does.
        reader: Who has taken it over: of a form, ``r.pull()`` gives the file.
        has_used_turn: It has had its share of this turn of the loop; ``feed`` it
            with nothing in the next.
        trailers: The trailer section of a chunked message, once whole.
        error: Why it will never be whole; None while all is well.
    """

    __slots__ = (
        "_bound",
        "_decoder",
        "_pieces",
        "_trailers",
        "_undecoded",
        "_waiter",
        "collected",
        "due_bytes",
        "ends_by_close",
        "error",
        "has_used_turn",
        "is_whole",
        "queued_bytes",
        "reader",
        "received_bytes",
    )

    def __init__(
        self,
        *,
        length: int = 0,
        decoder: ChunkDecoder | None = None,
        bound: int | None = None,
    ) -> None:
        self._decoder = decoder
        self._bound = bound
        self._pieces: deque[bytes] = deque()
        self._undecoded = b""
        self._trailers: Headers | None = None
        self.has_used_turn = False
        self._waiter: asyncio.Future[None] | None = None
        self.due_bytes = length
        self.ends_by_close = length == UNTIL_CLOSE
        self.is_whole = decoder is None and length == 0
        self.queued_bytes = 0
        self.received_bytes = 0
        self.collected: bytes | None = None
        self.reader: Reader | None = None
        self.error: BlazeioError | None = None
        if bound is not None and bound < length < UNTIL_CLOSE:
            self.error = too_large(bound)

    @property
    def trailers(self) -> Headers | None:
        """Fields after the content; None when there were none."""
        return self._trailers if self._decoder is None else self._decoder.trailers

    @property
    def has_undecoded(self) -> bool:
        """Whether some of what has arrived was not decoded yet."""
        return bool(self._undecoded)

    @property
    def has_pieces(self) -> bool:
        """Whether a piece waits to be taken."""
        return bool(self._pieces)

    @property
    def is_awaited(self) -> bool:
        """Whether a task sleeps until more arrives."""
        return self._waiter is not None

    def feed(self, octets: bytes) -> bytes:
        """Take what belongs to this content; return the octets after its end.

        A breach of the framing or of the bound is in ``error`` then. From then on all
        octets are dropped, since the end of the content is unknown.
        """
        if self.error is not None:
            return b""
        rest = b""
        pieces = self._pieces
        if self._decoder is not None:
            rest = self._decode(self._decoder, octets)
        else:
            if len(octets) > self.due_bytes:
                rest = octets[self.due_bytes :]
                octets = octets[: self.due_bytes]
            if len(octets) < JOINED_BYTES:
                join_small(pieces, octets)
            else:
                pieces.append(octets)
            size = len(octets)
            self.due_bytes -= size
            self.queued_bytes += size
            self.received_bytes += size
            self.is_whole = self.due_bytes == 0
            if self._bound is not None and self.received_bytes > self._bound:
                self.error = too_large(self._bound)
        self._wake()
        return rest

    def _decode(self, decoder: ChunkDecoder, octets: bytes) -> bytes:
        pieces: list[bytes] = []
        if self._undecoded:
            octets = self._undecoded + octets
        try:
            end = decoder.decode(octets, 0, pieces, CHUNKS_PER_TURN)
        except RemoteProtocolError as error:
            self._undecoded = b""
            self.has_used_turn = False
            self.error = error
            return b""
        if self._bound is not None and decoder.content_bytes > self._bound:
            self._undecoded = b""
            self.has_used_turn = False
            self.error = too_large(self._bound)
            return b""
        count = len(pieces)
        if count > CHUNKS_PER_READ:
            pieces = [b"".join(pieces)]
        for piece in pieces:
            join_small(self._pieces, piece)
        self.queued_bytes += decoder.content_bytes - self.received_bytes
        self.received_bytes = decoder.content_bytes
        self.is_whole = decoder.is_complete
        self.has_used_turn = count >= CHUNKS_PER_READ and not self.is_whole
        if self.is_whole:
            self._undecoded = b""
            return octets[end:]
        self._undecoded = octets[end:]
        return b""

    def end(self, trailers: Headers | None = None) -> None:
        """The peer closed, and that is its end: only of UNTIL_CLOSE.

        Args:
            trailers: Fields after the content, where something else marks its end.
        """
        self._trailers = trailers
        self.is_whole = True
        self._wake()

    def fail(self, error: BlazeioError) -> None:
        """Note why it will never be whole; what has arrived can still be taken."""
        if self.error is None and not self.is_whole:
            self.error = error
            self._wake()

    def split_off(self, error: BlazeioError) -> "ContentStream":
        """Fail with ``error``; return another stream, for what is still to come."""
        rest = ContentStream(length=self.due_bytes, decoder=self._decoder)
        rest.received_bytes = self.received_bytes
        rest._undecoded, self._undecoded = self._undecoded, b""
        rest.has_used_turn, self.has_used_turn = self.has_used_turn, False
        self.fail(error)
        return rest

    def discard(self) -> None:
        """Drop what waits to be taken."""
        self._pieces.clear()
        self.queued_bytes = 0

    def take(self) -> bytes | None:
        """Return the next piece, or None when none waits."""
        if not self._pieces:
            return None
        piece = self._pieces.popleft()
        self.queued_bytes -= len(piece)
        return piece

    def put_back(self, pieces: list[bytes]) -> None:
        """Let pieces wait again, whose taker has failed."""
        self._pieces.extendleft(reversed(pieces))
        self.queued_bytes += sum(map(len, pieces))

    def take_whole(self, limit: int) -> bytes | None:
        """Return all of it, if it has arrived and was not taken over; else None.

        A further call returns the same.

        Args:
            limit: Where more octets wait than this, the result is None as well.
        """
        # Hot: runs once per message that is collected.
        if self.collected is not None:
            return self.collected
        if not self.is_whole or self.reader is not None or self.queued_bytes > limit:
            return None
        pieces = self._pieces
        octets = pieces.popleft() if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.queued_bytes = 0
        self.collected = octets
        return octets

    async def arrival(self) -> None:
        """Sleep until a piece waits, or it is whole, or it failed.

        Raises:
            BlazeioError: ``error``, once all that had arrived was taken.
            RuntimeError: Another task is already waiting here.
        """
        while not self._pieces and not self.is_whole:
            if self.error is not None:
                await asyncio.sleep(0)  # as in ``WriteGate.passed``
                raise self.error
            if self._waiter is not None:
                raise RuntimeError("two tasks read the content of one message")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def tell(self, waiter: asyncio.Future[None]) -> None:
        """Complete a future at the next change, unless a task waits for it already."""
        if self._waiter is None or self._waiter.done():
            self._waiter = waiter

    def _wake(self) -> None:
        if self._waiter is not None:
            _wake(self._waiter)


def make_arrived(octets: bytes) -> ContentStream:
    """Make the content of a message that has arrived whole."""
    content = ContentStream()
    content._pieces.append(octets)
    content.queued_bytes = content.received_bytes = len(octets)
    return content


class _NoContent(ContentStream):
    """The content of messages without content: all share it; it cannot be changed."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"the message has no content: {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"the message has no content: {name} cannot be deleted")

    def discard(self) -> None:
        """Do nothing: no piece waits."""

    def take_whole(self, limit: int) -> bytes:
        """Return b"": that is all of it."""
        return b""


def _make_no_content() -> ContentStream:
    content = ContentStream()
    content._pieces = cast("deque[bytes]", ())  # no piece can be put into it
    content.__class__ = _NoContent
    return content


NO_CONTENT = _make_no_content()
"""Shared by all messages without content: it is whole and never changes."""


def too_large(bound: int) -> RemoteProtocolError:
    """Return the error of content beyond a bound, in octets; it is answered 413."""
    message = f"the content is larger than the {bound} octets accepted here"
    return RemoteProtocolError(message, 413)


class Latch:
    """A flag that is set once: ``if r.draining: ...``, or ``await r.draining``.

    Args:
        is_set: It is set from the beginning.
    """

    __slots__ = ("_is_set", "_waiters")

    def __init__(self, *, is_set: bool = False) -> None:
        self._is_set = is_set
        self._waiters: list[asyncio.Future[None]] = []

    def __bool__(self) -> bool:
        return self._is_set

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'set' if self._is_set else 'not set'}>"

    def set(self) -> None:
        """Set it: all who sleep go on."""
        self._is_set = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def tell(self, waiter: asyncio.Future[None]) -> None:
        """Complete a future when it is set."""
        self._waiters.append(waiter)

    def forget(self, waiter: asyncio.Future[None]) -> None:
        """Do not complete that future any more."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def __await__(self) -> Generator[object, None, None]:
        if self._is_set:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            yield from waiter
        finally:
            self.forget(waiter)


WINDOW_BYTES: Final = 16 * 1024
"""The size of the window: of the octets that wait behind a request, those that the
next head is looked for in."""


class PendingOctets(Struct, gc=False):
    """Octets in the order in which they came: a window of them, and the rest apart.

    Without the window each of many pipelined requests would copy all octets behind it,
    and n requests would cost n squared. Python's collector does not track these objects
    (``gc=False``), of which each idle connection has one: they hold nothing but octets.

    Attributes:
        window: Those that are read next.
        has_more: There are others behind them.
    """

    window: bytes = b""
    has_more: bool = False
    _rest: bytes = b""
    _rest_at: int = 0

    def clear(self) -> None:
        """Forget them all."""
        self.window = self._rest = b""
        self._rest_at = 0
        self.has_more = False

    @property
    def size(self) -> int:
        """How many wait."""
        return len(self.window) + len(self._rest) - self._rest_at

    def keep(self, octets: bytes) -> None:
        """Let these wait in the place of the window, in front of the others."""
        if self.has_more:
            if len(octets) < WINDOW_BYTES // 2:
                octets += self.next_window()
        elif len(octets) > 2 * WINDOW_BYTES:
            self._rest, self._rest_at = octets, WINDOW_BYTES
            self.has_more = True
            octets = octets[:WINDOW_BYTES]
        self.window = octets

    def append(self, octets: bytes) -> None:
        """Let these wait behind all others."""
        if self.has_more:
            self._rest, self._rest_at = self._rest[self._rest_at :] + octets, 0
        else:
            self.window += octets

    def next_window(self) -> bytes:
        """Return octets from behind the window, which wait no longer."""
        start, end = self._rest_at, self._rest_at + WINDOW_BYTES
        octets = self._rest[start:end]
        self._rest_at = end
        if end >= len(self._rest):
            self._rest, self._rest_at = b"", 0
            self.has_more = False
        return octets

    def take_all(self) -> bytes:
        """Return all that wait, and forget them."""
        octets = self.window + self._rest[self._rest_at :]
        self.clear()
        return octets
