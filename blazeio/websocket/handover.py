"""A WebSocket that may go on in the next process.

``PendingHandover`` waits for the moment. ``FrameTrail``, which is pure, has the octets
of the client that no message has been taken of yet, for these go along: what the parser
has begun to read, and whole messages that nobody has taken. They are kept as they came,
so that the other process reads them as if it had received them.
"""

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol

from blazeio.errors import LocalProtocolError
from blazeio.loggers import get_logger
from blazeio.protocol.carrier import RETRY_S, STATE_BYTES, SendTransfer, Transfer
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.websocket.frames import FrameBounds

log = get_logger("blazeio.websocket")

# When it goes


State = bytes | Callable[[], bytes]
"""What goes along; or a function that is asked for it at that moment."""


def check_state(state: object) -> None:
    """Check what an app wants to go along.

    Raises:
        LocalProtocolError: The caller's fault: it is not octets, or too many.
    """
    if not isinstance(state, bytes):
        found = type(state).__name__
        raise LocalProtocolError(f"handover: expected bytes, found {found}")
    if len(state) > STATE_BYTES:
        message = f"handover: at most {STATE_BYTES} octets, found {len(state)}"
        raise LocalProtocolError(message)


def can_leave(r: BlazeioServerProtocol) -> bool:
    """Whether the connection of a request can be served by another process.

    That has neither the keys of TLS nor the streams of HTTP/2, and is not told again
    by the PROXY protocol who the client is. Content of the request was read past here:
    there its octets would be missing, and frames be taken for them.
    """
    origin = r.carrier.origin
    is_told = origin is not None and origin.is_told
    has_content = bool(r.content_length) or r.transfer_encoding is not None
    return r.carrier.can_sendfile and not is_told and not has_content


def write_head(r: BlazeioServerProtocol) -> bytes:
    """Write the head of a request as it would come again."""
    lines = [f"{name}: {value}\r\n" for name, value in r.headers.pairs]
    start = f"{r.method} {r.tail} HTTP/1.1\r\n"
    return "".join((start, *lines, "\r\n")).encode("latin-1")


class Leaving(Protocol):
    """A WebSocket that goes on elsewhere, as a ``Channel`` may."""

    @property
    def is_usable(self) -> bool:
        """Whether neither side has closed it, and the connection is there."""
        ...

    @property
    def is_at_rest(self) -> bool:
        """Whether a task waits for a message, and nothing else is under way."""
        ...

    def held_still(self) -> AbstractContextManager[bytes]:
        """Read nothing meanwhile; the value is what was read and not taken."""
        ...

    def leave_to_another(self) -> None:
        """End here, without a word to the peer: another process has the socket."""
        ...


class PendingHandover:
    """Waits for the drain, then for the moment when nothing is in use.

    Args:
        channel: The WebSocket.
        r: Its request.

    Attributes:
        state: What goes along.
    """

    __slots__ = ("_channel", "_is_trying", "_r", "state")

    def __init__(self, channel: Leaving, r: BlazeioServerProtocol) -> None:
        self._channel = channel
        self._r = r
        self._is_trying = False
        self.state: State = b""

    def offer(self) -> None:
        """Offer the connection when the server drains; soon, where it does already."""
        context = self._r.context
        context.transferable.add(self)
        if context.is_draining and context.send_transfer is not None:
            context.loop.call_soon(self.transfer)

    def withdraw(self) -> None:
        """Take the offer back: the connection is over."""
        self._r.context.transferable.discard(self)

    def transfer(self) -> None:
        """Go on in the next process, now or as soon as nothing is in use here."""
        if not self._is_trying:
            self._try()

    def _try(self) -> None:
        context, channel = self._r.context, self._channel
        self._is_trying = False
        send = context.send_transfer
        if send is None or not channel.is_usable:
            self.withdraw()
        elif not channel.is_at_rest or not self._send(send):
            self._is_trying = True
            context.loop.call_later(RETRY_S, self._try)

    def _send(self, send: SendTransfer) -> bool:
        """Send it; return whether this is settled."""
        r, channel = self._r, self._channel
        try:
            state = self.state() if callable(self.state) else self.state
            check_state(state)
        except Exception:
            log.exception("%s %s: its state cannot be handed over", r.method, r.tail)
            self.withdraw()
            return True
        with channel.held_still() as rest:
            fd = r.transport.get_extra_info("socket").fileno()
            if not send(Transfer(write_head(r), rest, state), fd):
                return False
            self.withdraw()
            channel.leave_to_another()
        return True


# The octets that go along


_FIN: Final = 0x80
_CONTROL: Final = 0x08
"""Opcodes of control frames have this bit (RFC 6455 section 5.2)."""


class FrameTrail:
    """What has arrived since the end of the message that was taken last.

    It begins between two frames, where no message is half received. Control frames in
    front of a message are left out: they have been answered.

    Args:
        most_bytes: Where more waits nothing is kept, until all of it was taken.

    Attributes:
        is_whole: ``rest`` is all that was not taken.
    """

    __slots__ = (
        "_base",
        "_bounds",
        "_end",
        "_ends",
        "_head",
        "_is_fragmented",
        "_most",
        "_octets",
        "is_whole",
    )

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._octets = bytearray()
        self._base = self._end = (
            0  # of what was not taken, counted from the first octet
        )
        self._bounds = FrameBounds()
        self._ends: deque[int] = deque()
        self._head = 0
        self._is_fragmented = False
        self.is_whole = True

    def feed(self, octets: bytes) -> None:
        """Take octets as they have arrived."""
        start, at = self._end, 0
        while at < len(octets):
            if self._bounds.is_at_start:
                self._head = octets[at]
            heads = 0 if self._bounds.is_in_payload else 1
            at = self._bounds.skip(octets, at, most_frames=heads)
            if self._bounds.is_at_start:
                self._note_frame(start + at)
        self._end = start + len(octets)
        if self._end - self._base > self._most:
            self.is_whole = False
            self._octets.clear()
        if self.is_whole:
            self._octets += octets
        self._begin_anew()

    def _note_frame(self, end: int) -> None:
        if self._head & _CONTROL:
            return
        self._is_fragmented = not self._head & _FIN
        if not self._is_fragmented:
            self._ends.append(end)

    def _begin_anew(self) -> None:
        """Keep nothing where all messages were taken and none has begun."""
        if self._bounds.is_at_start and not self._is_fragmented and not self._ends:
            self._octets.clear()
            self._base = self._end
            self.is_whole = True

    def take(self) -> None:
        """Note that the next message was taken."""
        end = self._ends.popleft()
        del self._octets[: end - self._base]
        self._base = end
        self._begin_anew()

    def rest(self) -> bytes:
        """Return what the other process has to read again, if ``is_whole``."""
        return bytes(self._octets)
