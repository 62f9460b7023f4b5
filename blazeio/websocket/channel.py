"""``Channel``: messages both ways over a WebSocket, at either end of it.

``FrameEndpoint`` turns octets into messages and back; the channel connects it to a
connection, with its flow control. Frames are read as they arrive: a ping is answered,
and a close is confirmed, however busy the handler is. Messages wait for the handler, up
to a bound; then reading pauses.

A frame that has begun has to go on, as the content of a request has to: at the least
rate of ``Limits.progress_bytes_per_s``. Between frames, those of one message too, a
peer may be silent for as long as it answers pings.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, Self

from websockets.frames import CloseCode

from blazeio.errors import (
    ClientDisconnected,
    LocalProtocolError,
    PeerGone,
    SessionClosed,
)
from blazeio.limits import Limits
from blazeio.protocol.flow import CALL_BYTES, TURN_BYTES, WriteGate
from blazeio.protocol.timeouts import MinRate
from blazeio.websocket.frames import FrameEndpoint
from blazeio.websocket.handover import FrameTrail

MESSAGE_BYTES = 1024 * 1024
"""The largest message accepted, octets; a larger one closes the connection with
1009."""
PING_EVERY_S = 20.0
"""A peer that was silent for this long, seconds, gets a ping."""
PING_TIMEOUT_S = 20.0
"""A peer is considered gone if it is silent for this long after a ping, seconds."""
CLOSE_TIMEOUT_S = 5.0
"""How long the peer has to confirm a close, seconds; and how long a handler that does
something else has to notice that the peer has closed."""

UNREAD_ANSWERS_BYTES = 64 * 1024
"""The most octets of pongs that wait while the peer does not read; then it is cut."""

HELD_MESSAGES = 4096
"""Reading also pauses while more messages wait: an empty one takes memory as well."""

TRAIL_BYTES = 64 * 1024
"""The most octets that were received and not taken, and yet can go to another process;
with more, a WebSocket stays where it is until they were taken."""

FRAMES_PER_READ = 128
"""A read with this many frames is the connection's last one in its turn of the loop."""

TAKEN_BYTES = CALL_BYTES // 4
"""A message that waited counts as this many octets of what a task may take before the
loop serves others: 64 of them are a turn's share."""

Arrival = asyncio.Future[str | bytes | None]
"""The next message, or the end."""


class MessageReading(Protocol):
    """Controls whether the connection's transport reads."""

    @property
    def is_open(self) -> bool:
        """It does."""
        ...

    def pause(self) -> None:
        """Pause reading."""
        ...

    def resume(self) -> None:
        """Resume reading."""
        ...


class Carrier(Protocol):
    """The connection: ``r``, or that of a client's response."""

    transport: asyncio.Transport
    gate: WriteGate

    @property
    def read_control(self) -> MessageReading:
        """Controls whether it reads."""
        ...

    def abort(self) -> None:
        """Cut it at once."""
        ...


class Channel:
    """Messages, from the handshake to the close.

    Args:
        ping_every_s: A peer that is silent for so long gets a ping; None: never.
        ping_timeout_s: Still silent after so much more: it is considered gone.

    Attributes:
        subprotocol: Agreed with the peer; None: none.
        close_code: Why it is closed; 1006 without a close frame, None before.
        close_reason: The text of whoever closed it.
    """

    gone: type[PeerGone] = ClientDisconnected
    """The error that is raised once it is closed."""
    close_timeout_s = CLOSE_TIMEOUT_S
    """How long the peer has to confirm a close, seconds."""

    def __init__(self, ping_every_s: float | None, ping_timeout_s: float) -> None:
        self._ping_every_s = ping_every_s
        self._ping_timeout_s = ping_timeout_s
        self._endpoint: FrameEndpoint | None = None
        self._messages: deque[str | bytes] = deque()
        self._held_bytes = 0
        self._unread_answers_bytes = 0
        self._waiter: Arrival | None = None
        self._close_ends_at: float | None = None
        self._raised_end: PeerGone | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_heard = False
        self._is_pinged = False
        self._is_reading_on = False
        self._is_ending = False
        self._slow_bytes = 0
        self._rate: MinRate | None = None
        self._rate_timer: asyncio.TimerHandle | None = None
        self._trail: FrameTrail | None = None
        self._wants_trail = False

    def __repr__(self) -> str:
        state = "new" if self._endpoint is None else self._endpoint.state_name
        return f"<{type(self).__name__} {state}>"

    def begin(
        self,
        endpoint: FrameEndpoint,
        carrier: Carrier,
        limits: Limits,
        most_bytes: int | None = None,
    ) -> None:
        """Begin: the handshake is done.

        Args:
            endpoint: Our end.
            carrier: The connection.
            limits: The least rate of a frame that has begun.
            most_bytes: Reading pauses while more octets than this wait to be taken;
                None: ``limits.receive_bytes``.
        """
        self._endpoint = endpoint
        self._carrier = carrier
        self._transport = carrier.transport
        self._gate = carrier.gate
        self._reading = carrier.read_control
        self._limits = limits
        self._most_bytes = limits.receive_bytes if most_bytes is None else most_bytes
        self._loop = asyncio.get_running_loop()
        if self._ping_every_s is not None:
            self._set_timer(self._ping_every_s)

    def _opened(self) -> FrameEndpoint:
        if self._endpoint is None:
            name = type(self).__name__
            raise LocalProtocolError(f"use it as `async with {name}(...) as ws`")
        return self._endpoint

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol agreed with the peer; None: none."""
        return None if self._endpoint is None else self._endpoint.subprotocol

    @property
    def close_code(self) -> int | None:
        """Why it is closed; 1006 without a close frame; None while it is open."""
        return None if self._endpoint is None else self._endpoint.close_code

    @property
    def close_reason(self) -> str | None:
        """The text that the side which closed it has given; None while it is open."""
        return None if self._endpoint is None else self._endpoint.close_reason

    @property
    def _is_over(self) -> bool:
        """Whether it was closed, by either side."""
        return self._endpoint is not None and not self._endpoint.is_open

    # What the connection calls

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for a message."""
        return self._waiter is not None

    def data_received(self, octets: bytes) -> None:
        """Take octets that have arrived."""
        # Hot: runs once per read.
        endpoint, waiter = self._endpoint, self._waiter
        assert endpoint is not None  # it has begun
        self._is_heard = True
        if self._trail is not None:
            self._trail.feed(octets)
        message = endpoint.receive(octets)
        if message is None:
            self._slow_bytes += len(octets)
            self._read_on()
            return
        if waiter is not None:
            try:
                waiter.set_result(message)
            except asyncio.InvalidStateError:
                pass  # It has one, or was cancelled. To ask before takes 3 %.
            else:
                return
        self._hold(message)
        self._pause_if_full()

    def eof_received(self) -> None:
        """Note that the peer will send no more."""
        self._opened().end()
        self._note_end()

    def connection_lost(self) -> None:
        """Note that the connection is gone."""
        self._opened().end()
        self._unset_timer()
        self._wake()

    def _read_on(self) -> None:
        """Read what is unread, until enough waits to be taken."""
        endpoint = self._opened()
        if endpoint.has_unread and not self._is_full:
            for message in endpoint.read_on():
                self._hold(message)
            self._flush(endpoint)
        if endpoint.is_over:
            self._note_end()
            if not self._reading.is_open:
                self._reading.resume()  # only a FIN is expected now
        elif self._is_full:
            self._reading.pause()
        elif endpoint.has_unread or endpoint.read_count >= FRAMES_PER_READ:
            endpoint.read_count = 0
            self._wait_for_turn()
        elif not self._reading.is_open:
            self._reading.resume()
        self._watch_frame(endpoint)

    # A frame that has begun

    def _watch_frame(self, endpoint: FrameEndpoint) -> None:
        """Have the rest of a frame keep coming; while we do not read, it cannot."""
        is_due = endpoint.is_in_frame and endpoint.is_open
        if not is_due or not self._reading.is_open:
            self._rate = None
        elif self._rate is None:
            self._rate = self._new_rate()
            if self._rate_timer is None:
                judged_at = self._rate.judged_at
                self._rate_timer = self._loop.call_at(judged_at, self._judge_rate)

    def _new_rate(self) -> MinRate:
        limits, now = self._limits, self._loop.time()
        window_s, bytes_per_s = limits.progress_window_s, limits.progress_bytes_per_s
        return MinRate(window_s, bytes_per_s, now, self._slow_bytes)

    def _judge_rate(self) -> None:
        """Close where a frame comes too slowly; one timer serves all frames."""
        self._rate_timer = None
        endpoint, rate = self._opened(), self._rate
        if rate is None or not endpoint.is_open:
            return
        if not self._reading.is_open:  # paused by somebody else
            rate = self._rate = self._new_rate()
        elif not rate.keeps_up(self._loop.time(), self._slow_bytes):
            endpoint.close(CloseCode.POLICY_VIOLATION, "a frame came too slowly")
            self._flush(endpoint)
            endpoint.end()
            self._note_end()
            return
        self._rate_timer = self._loop.call_at(rate.judged_at, self._judge_rate)

    def _wait_for_turn(self) -> None:
        """Stop reading until the loop has served others."""
        if self._reading.is_open:
            self._reading.pause()
        if not self._is_reading_on:
            self._is_reading_on = True
            self._loop.call_soon(self._read_more)

    def _read_more(self) -> None:
        self._is_reading_on = False
        if not self._opened().is_over:
            self._read_on()

    def _hold(self, message: str | bytes) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(message)
        else:
            self._messages.append(message)
            self._held_bytes += len(message)

    @property
    def _is_full(self) -> bool:
        is_large = self._held_bytes > self._most_bytes
        return is_large or len(self._messages) > HELD_MESSAGES

    def _pause_if_full(self) -> None:
        if self._is_full:
            self._reading.pause()

    def _note_end(self) -> None:
        """Wake the receiver: nothing more will come. A busy one has a little time."""
        if self._is_ending:  # octets behind the end give it no more time
            return
        self._unset_timer()
        self._wake()
        if not self.is_awaited:
            self._is_ending = True
            self._timer = self._loop.call_later(CLOSE_TIMEOUT_S, self._carrier.abort)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Receiving

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:  # noqa: C901 - hot: no call in between
        """Return the next message: text is str, binary is bytes.

        Raises:
            StopAsyncIteration: It is closed; ``close_code`` says why.
        """
        # Hot: runs once per message.
        while not self._messages:
            endpoint = self._endpoint or self._opened()
            if endpoint.is_over:
                self._leave()
                await self._yield_to_loop()
                self._check_session()
                raise StopAsyncIteration
            if self._waiter is not None:
                raise LocalProtocolError("two tasks receive from one WebSocket")
            if not self._is_reading_on and not self._reading.is_open:
                self._wait_for_turn()  # for what is unread, then for more
            if self._wants_trail:
                self._begin_trail(endpoint)
            waiter: Arrival = self._loop.create_future()
            self._waiter = waiter
            try:
                message = await waiter
            except asyncio.CancelledError:
                self._requeue(waiter)
                raise
            finally:
                self._waiter = None
            self._gate.spent_bytes = 0  # the loop has turned
            if message is not None:
                if self._trail is not None:
                    self._trail.take()
                return message
        gate = self._gate
        gate.spent_bytes += TAKEN_BYTES
        if gate.spent_bytes >= TURN_BYTES:
            await self._yield_to_loop()
        message = self._messages.popleft()
        if self._trail is not None:
            self._trail.take()
        if not self._messages:
            self._held_bytes = 0
        return message

    def _begin_trail(self, endpoint: FrameEndpoint) -> None:
        """Keep what is not taken from now on, if nothing is half received."""
        if endpoint.is_between_messages:
            self._trail = FrameTrail(TRAIL_BYTES)
            self._wants_trail = False

    async def _yield_to_loop(self) -> None:
        """Let the loop serve others."""
        self._gate.spent_bytes = 0
        await asyncio.sleep(0)

    def _check_session(self) -> None:
        """Raise SessionClosed where the session of the connection was closed."""
        error = self._gate.error
        if isinstance(error, SessionClosed):
            raise error

    def _requeue(self, arrival: Arrival) -> None:
        """Keep a message for the next receiver: this one was cancelled."""
        if not arrival.cancelled() and (message := arrival.result()) is not None:
            self._messages.appendleft(message)

    async def receive(self) -> str | bytes:
        """Return the next message: text is str, binary is bytes.

        Raises:
            PeerGone: It is closed; ``close_code`` says why.
        """
        try:
            return await anext(self)
        except StopAsyncIteration:
            error = self._closed()
            if self._close_ends_at is None:  # not by us
                self._raised_end = error
            raise error from None

    def _closed(self) -> PeerGone:
        code = self.close_code
        return self.gone(f"the WebSocket is closed: {code or 'by this side'}")

    # Sending

    async def send(self, message: str | bytes | bytearray | memoryview) -> None:
        """Send a message: str as text, octets as binary.

        Sleeps while the peer does not read what was sent before.

        Raises:
            PeerGone: It is closed, or the peer is gone: ClientDisconnected on the
                server's side, ServerDisconnected on the client's.
        """
        # Hot: runs once per message.
        endpoint = self._endpoint or self._opened()
        gate = self._gate
        gate.spent_bytes += len(message) + CALL_BYTES
        if gate.spent_bytes >= TURN_BYTES:
            await self._yield_to_loop()
        if not gate.is_open:
            await gate.passed()
        # No ``await`` from here on: frames have the order of the messages.
        if not endpoint.is_open or self._transport.is_closing():
            await (
                self._yield_to_loop()
            )  # a handler that catches it and goes on does not block the loop
            self._check_session()
            raise self._closed()
        self._transport.write(endpoint.serialize(message))

    def send_at_once(self, message: str | bytes) -> bool:
        """Send a message as ``send`` does, where that need not sleep nor fail.

        Returns:
            False where nothing was sent: ``send`` has to.
        """
        # Hot: runs once per message of an ASGI app; a coroutine would take 1.1x.
        endpoint, gate = self._endpoint, self._gate
        spent_bytes = gate.spent_bytes + len(message) + CALL_BYTES
        if (
            spent_bytes >= TURN_BYTES
            or not gate.is_open
            or endpoint is None
            or not endpoint.is_open
            or self._transport.is_closing()
        ):
            return False
        gate.spent_bytes = spent_bytes
        self._transport.write(endpoint.serialize(message))
        return True

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close, and wait until the peer confirms it; only once.

        Args:
            code: RFC 6455 section 7.4; 3000 to 4999 are for apps.
            reason: For the peer, at most 123 octets of UTF-8.

        Raises:
            LocalProtocolError: The code may not be sent, or the reason is longer.
        """
        endpoint = self._opened()
        if endpoint.is_open:
            endpoint.close(code, reason)
            self._close_ends_at = self._loop.time() + self.close_timeout_s
            self._flush(endpoint)
        self._unset_timer()
        if self.is_awaited:
            return  # the task that receives sees the peer's answer
        try:
            # RFC 6455 section 5.5.1: whoever has sent a close waits for the other's, so
            # that messages that are under way still arrive.
            async with asyncio.timeout_at(self._find_close_end()):
                async for _ in self:
                    pass
        except (TimeoutError, SessionClosed):
            pass
        self._leave()

    def _find_close_end(self) -> float:
        """Return until when the peer has to confirm a close, whoever has begun it."""
        if self._close_ends_at is None:
            return self._loop.time() + self.close_timeout_s
        return self._close_ends_at

    def _leave(self) -> None:
        """Release the connection: it is over, and the handler knows."""
        self._unset_timer()
        self._opened().end()

    def _flush(self, endpoint: FrameEndpoint) -> None:
        octets = endpoint.take_octets()
        if not octets or self._transport.is_closing():
            return
        if self._gate.is_open:
            self._unread_answers_bytes = 0
        else:  # a peer that only reads slowly is not pinged again and again
            self._unread_answers_bytes += len(octets)
        if self._unread_answers_bytes > UNREAD_ANSWERS_BYTES:
            self._carrier.abort()
        else:
            self._transport.write(octets)

    # Going on in another process

    def keep_trail(self) -> None:
        """Keep what is received and not taken, from now on or a little later."""
        self._wants_trail = True
        is_free = self._waiter is None or not self._waiter.done()
        if is_free and not self._messages:
            self._begin_trail(self._opened())

    @property
    def is_usable(self) -> bool:
        """Whether neither side has closed it, and the connection is there."""
        return self._opened().is_open and not self._transport.is_closing()

    @property
    def is_at_rest(self) -> bool:
        """Whether a task waits for a message, and nothing else is under way."""
        waiter, trail = self._waiter, self._trail
        return (
            waiter is not None
            and not waiter.done()
            and not self._messages
            and trail is not None
            and trail.is_whole
            and self._gate.is_open
            and self._transport.get_write_buffer_size() == 0
        )

    @contextmanager
    def held_still(self) -> Iterator[bytes]:
        """Read nothing meanwhile; the value is what was read and not taken."""
        assert self._trail is not None  # it is at rest
        self._reading.pause()
        try:
            yield self._trail.rest()
        finally:
            if not self._transport.is_closing():
                self._reading.resume()

    def leave_to_another(self) -> None:
        """End here, without a word to the peer: another process has the socket."""
        self._unset_timer()
        self._opened().end()
        self._wake()
        self._transport.abort()  # closes our descriptor; there is another

    # Silence

    def _set_timer(self, span_s: float) -> None:
        self._timer = self._loop.call_later(span_s, self._note_silence)

    def _unset_timer(self) -> None:
        for timer in (self._timer, self._rate_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._rate_timer = None
        self._is_ending = False

    def _note_silence(self) -> None:
        """Ping, or cut, a peer of which nothing has arrived for a while."""
        endpoint, carrier = self._opened(), self._carrier
        if not endpoint.is_open or self._transport.is_closing():
            return
        is_silent = not self._is_heard and self._reading.is_open
        self._is_heard = False
        if not is_silent:
            self._is_pinged = False
            self._set_timer(self._ping_every_s or PING_EVERY_S)
        elif self._is_pinged:
            carrier.abort()
        else:
            self._is_pinged = True
            endpoint.ping()
            self._flush(endpoint)
            self._set_timer(self._ping_timeout_s)
