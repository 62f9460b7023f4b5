"""``TlsSending``: the connection's transport, as far as it writes and ends.

A base of ``TlsTransport``, with the state that both halves have.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from blazeio.protocol.context import ServerContext
from blazeio.protocol.deadlines import NEVER
from blazeio.protocol.tls_terms import ServerSideTls, TlsTerms

HANDSHAKE, OPEN, CLOSING, FAILED, LOST = range(5)
NAMES = ("HANDSHAKE", "OPEN", "CLOSING", "FAILED", "LOST")

SLICE_BYTES = 16 * 1024
"""OpenSSL's memory buffers keep their largest size as long as they live: what
passes through them is cut, or one large message would cost its connection as
much memory for ever. It is also the largest record (RFC 8446 section 5.1)."""


NO_EXTRA: dict[str, Any] = {}


class TlsSending(asyncio.Transport):
    """Enciphers what is written, and ends; see ``transport`` for how.

    Attributes:
        deadline_at: Of the handshake, and of a close; for the wheel.
        entered_at: The wheel's own.
    """

    __slots__ = (
        "_context",
        "_incoming",
        "_is_paused",
        "_is_reading_on",
        "_outgoing",
        "_phase",
        "_raw",
        "_terms",
        "_tls",
        "deadline_at",
        "entered_at",
    )

    _raw: asyncio.Transport

    if TYPE_CHECKING:
        deadline_passed: Callable[[float], None]

    def __init__(self, context: ServerContext, terms: TlsTerms) -> None:
        super().__init__(NO_EXTRA)
        self._context = context
        self._terms = terms
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = cast(
            ServerSideTls,
            terms.context.wrap_bio(self._incoming, self._outgoing, server_side=True),
        )
        self._phase = HANDSHAKE
        self._is_paused = False
        self._is_reading_on = False
        self.deadline_at = NEVER
        self.entered_at = NEVER

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Of the socket's transport; and ``ssl_object``."""
        if name == "ssl_object":
            return self._tls
        return self._raw.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Whether the app can still write."""
        return self._phase != OPEN or self._raw.is_closing()

    def close(self) -> None:
        """Send what was written, the closure alert and FIN; then it is over."""
        if self._phase in (OPEN, CLOSING):
            self._say_goodbye()
            self._context.wheel.forget(self)
            self._raw.close()

    def can_write_eof(self) -> bool:
        """Yes, though it reads no more then."""
        return True

    def write_eof(self) -> None:
        """Send what was written, the closure alert and FIN.

        What the client still sends is dropped, undeciphered, until its end;
        it is neither handed on nor told.
        """
        if self._phase == OPEN:
            self._say_goodbye()
            self._end(CLOSING)

    def _say_goodbye(self) -> None:
        if self._phase == OPEN:
            self._phase = CLOSING
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                pass  # it waits for theirs, or met data instead; ours is made
            self._flush()

    def abort(self) -> None:
        """End at once; the client sees no closure alert."""
        self._phase = FAILED
        self._raw.abort()

    def pause_reading(self) -> None:
        """Read no more."""
        if not self._is_paused:
            self._is_paused = True
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Read again; first what had arrived before."""
        if self._is_paused:
            self._is_paused = False
            if not self._is_reading_on:
                self._raw.resume_reading()

    def is_reading(self) -> bool:
        """Whether it reads."""
        return not self._is_paused and self._raw.is_reading()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encipher and send, or keep until it can be sent."""
        # Hot: runs once per response.
        if self._phase != OPEN or not data:
            return
        if len(data) <= SLICE_BYTES:
            self._tls.write(data)
            self._raw.write(self._outgoing.read())
            return
        view = memoryview(data).cast("B")
        records = []
        for start in range(0, len(view), SLICE_BYTES):
            self._tls.write(view[start : start + SLICE_BYTES])
            records.append(self._outgoing.read())
        # not writelines: asyncio's of 3.12.1 never pauses whoever writes
        self._raw.write(b"".join(records))

    def writelines(
        self, list_of_data: Iterable[bytes | bytearray | memoryview]
    ) -> None:
        """Write them, one after the other."""
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        """Octets that wait here for the kernel, enciphered."""
        return self._raw.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Low and high watermark."""
        return self._raw.get_write_buffer_limits()

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        """Set the watermarks, in octets."""
        self._raw.set_write_buffer_limits(high, low)

    # Ending

    def _fail(self) -> None:
        """TLS was broken: send its alert, then end."""
        self._flush()
        self._end(FAILED)

    def _end(self, phase: int) -> None:
        """End our side; drop what comes until the end of theirs, for a while."""
        self._phase = phase
        if self._raw.is_closing():
            return  # cut by then
        self._raw.write_eof()
        self._raw.resume_reading()  # where it was paused
        self._end_in(self._terms.shutdown_timeout_s)

    def _end_in(self, span_s: float) -> None:
        wheel = self._context.wheel
        wheel.set(self, wheel.now() + span_s)

    def _flush(self) -> None:
        octets = self._outgoing.read()
        if octets:
            self._raw.write(octets)
