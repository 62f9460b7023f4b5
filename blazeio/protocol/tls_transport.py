"""TLS between the socket's transport and the connection that speaks HTTP.

``TlsTransport`` is both: the protocol of the socket's transport, and the
transport of the connection (``app``). It deciphers what arrives and hands it
on, enciphers what is written, and keeps the promises of a plain transport, so
that the connection needs to know of TLS almost nothing.

    HANDSHAKE -> OPEN -> CLOSING -> LOST
        |         |                  |
        +---------+----> FAILED -----+

Why not the event loops' own TLS (uvloop's and asyncio's are one design):

* A close cannot be in stages: their shutdown ends at the first octet that the
  client still sends, by a reset, and once its timeout is over they drop what
  an honest slow reader has yet to read.
* No half-close: after the client's closure alert they send nothing more, not
  even the answer that is being made.
* Memory: asyncio keeps a 256 KiB buffer per connection. Idle, one costs 283 KB
  there (uvloop: 25 KB) and 20 KB here; see ``docs/tls.md``.

Closing, by us: ``close`` sends the closure alert and FIN and is over, as over
plain TCP; it need not wait for the client's alert (RFC 9112 section 9.8).
``write_eof`` is for a close in stages (section 9.6): what the client still sends
is read and dropped, undeciphered, until its end, for at most
``shutdown_timeout_s`` and ``Limits.linger_bytes``, so that it sees our last
answer and no reset. Closing, by the client: its closure alert, or its FIN, is
``eof_received``, and it can still be answered (RFC 8446 section 6.1); no request
can be cut short unnoticed by a FIN without an alert, since each declares where
it ends.

May import: asyncio, ssl and what the room may.
"""

import asyncio
import ssl
from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from blazeio.loggers import get_logger
from blazeio.protocol.context import ServerContext
from blazeio.protocol.handover import Handover
from blazeio.protocol.tls_sending import (
    CLOSING,
    HANDSHAKE,
    LOST,
    NAMES,
    OPEN,
    SLICE_BYTES,
    TlsSending,
)
from blazeio.protocol.tls_terms import TlsFacts, TlsTerms
from blazeio.wire.serializer import serialize_error

if TYPE_CHECKING:
    from blazeio.protocol.request import BlazeioServerProtocol

log = get_logger("blazeio.protocol")

RECORD_BYTES = SLICE_BYTES + 256
"""The largest enciphered record (RFC 8446 section 5.2)."""

RECORDS_PER_TURN = 256
"""So many records of a connection are deciphered before the loop turns for the
others: 0.5 ms of work, where each holds an octet. The rest of a read waits, still
enciphered, and nothing more is read."""

PLAIN_HTTP = ("HTTP_REQUEST", "HTTPS_PROXY_REQUEST")
"""OpenSSL's names for a client that speaks HTTP without TLS."""


class TlsTransport(TlsSending, asyncio.BufferedProtocol):
    """TLS of one connection, on the server's side.

    Args:
        context: Shared by the connections of the loop.
        terms: Of the listener.
        new_app: Makes the connection's protocol, when the handshake is done.
    """

    __slots__ = (
        "_app",
        "_facts",
        "_has_peer_ended",
        "_is_mid_record",
        "_is_writing_paused",
        "_late_bytes",
        "_new_app",
        "_next_turn",
        "_ready_bytes",
        "_record_count",
    )

    def __init__(
        self,
        context: ServerContext,
        terms: TlsTerms,
        new_app: "Callable[[], BlazeioServerProtocol]",
    ) -> None:
        super().__init__(context, terms)
        self._new_app = new_app
        self._app: BlazeioServerProtocol | Handover | None = None
        self._facts: TlsFacts | None = None
        self._late_bytes = 0
        self._ready_bytes = 0
        self._record_count = 0
        self._next_turn = b""
        self._has_peer_ended = False
        self._is_mid_record = False
        self._is_writing_paused = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {NAMES[self._phase]}>"

    @property
    def facts(self) -> TlsFacts:
        """What was agreed in the handshake."""
        if self._facts is None:
            tls = self._tls
            cipher = tls.cipher()
            certificate = tls.getpeercert()
            self._facts = TlsFacts(
                version=tls.version() or "",
                cipher=cipher[0] if cipher else "",
                server_name=tls.server_name,
                peer_certificate=MappingProxyType(certificate) if certificate else None,
            )
        return self._facts

    @property
    def held_bytes(self) -> int:
        """Octets that have arrived and were not handed on: at the most these.

        OpenSSL does not tell how much it has of a record that is not whole.
        """
        held = self._incoming.pending + self._tls.pending() + len(self._next_turn)
        return held + RECORD_BYTES if self._is_mid_record else held

    # As the protocol of the socket's transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected; its handshake is awaited."""
        self._raw = cast(asyncio.Transport, transport)
        self._context.handshakes.add(self)
        self._end_in(self._terms.handshake_timeout_s)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the loop's buffer for what is still enciphered."""
        return self._context.ciphertext_view

    def buffer_updated(self, nbytes: int) -> None:
        """Enciphered octets have arrived; they are copied before we return."""
        # Hot: runs once per read.
        self._receive(self._context.ciphertext_view[:nbytes])

    def _receive(self, octets: memoryview) -> None:
        nbytes = len(octets)
        self._record_count = 0
        for start in range(0, nbytes, SLICE_BYTES):
            if self._phase > OPEN or self._has_peer_ended:
                self._drop(nbytes - start)
                return
            if self._record_count >= RECORDS_PER_TURN:
                self._next_turn = octets[start:].tobytes()
                break
            self._incoming.write(octets[start : min(start + SLICE_BYTES, nbytes)])
            if self._phase == OPEN:
                self._decipher()
            else:
                self._shake_hands()
        if self._ready_bytes:
            self._hand_on()
        if self._record_count >= RECORDS_PER_TURN and not self._raw.is_closing():
            self._is_reading_on = True
            self._raw.pause_reading()
            base = self._context.base.copy()
            self._context.loop.call_soon(self._read_on, context=base)

    def _read_on(self) -> None:
        """The next turn: what has arrived, then more."""
        octets, self._next_turn = self._next_turn, b""
        self._record_count = 0
        self._is_reading_on = False
        if octets and self._phase < LOST:
            self._receive(memoryview(octets))
        if not (self._is_reading_on or self._is_paused or self._raw.is_closing()):
            self._raw.resume_reading()

    def eof_received(self) -> bool:
        """The client will send no more."""
        if self._phase == OPEN:
            self._peer_ended()
            return True
        if self._phase == HANDSHAKE:
            self._log_failure("the client closed")
        return False  # the socket's transport closes by itself

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over, by either side."""
        self._phase = LOST
        context = self._context
        context.wheel.forget(self)
        context.handshakes.discard(self)
        app, self._app = self._app, None
        if app is not None:
            app.connection_lost(exc)
        elif context.when_closed is not None:
            context.when_closed()

    def pause_writing(self) -> None:
        """The socket's transport holds more than the high watermark."""
        self._is_writing_paused = True
        if self._app is not None:
            self._app.pause_writing()

    def resume_writing(self) -> None:
        """The socket's transport has sent enough."""
        self._is_writing_paused = False
        if self._app is not None:
            self._app.resume_writing()

    def deadline_passed(self, now: float) -> None:
        """For the wheel: the handshake, or the client's end, did not come."""
        if self._phase == CLOSING and self._raw.get_write_buffer_size():
            # the client still reads our last answer; how fast, the app judges
            self._end_in(self._terms.shutdown_timeout_s)
            return
        if self._phase == HANDSHAKE:
            self._log_failure("it took too long")
        self.abort()

    # The handshake

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self._log_failure(error.reason or str(error))
            if error.reason in PLAIN_HTTP:
                message = "this port speaks TLS: the address begins with https://"
                self._raw.write(
                    serialize_error(400, self._context.date_line(), message)
                )
            self._fail()
        else:
            self._flush()  # session tickets
            self._open()

    def _open(self) -> None:
        self._phase = OPEN
        self._context.wheel.forget(self)
        self._context.handshakes.discard(self)
        app = self._app = self._new_app()
        app.connection_made(self)
        if self._is_writing_paused:
            app.pause_writing()
        self._decipher()

    def silence_s(self, now: float) -> float:
        """Say for how long the handshake has not been over."""
        return now - self.deadline_at + self._terms.handshake_timeout_s

    def close_silent(self) -> None:
        """Make room for somebody else."""
        self.abort()

    def _log_failure(self, reason: str) -> None:
        peer = self._raw.get_extra_info("peername")
        log.debug("TLS with %s failed: %s", peer, reason)

    # Receiving

    def _decipher(self) -> None:
        """Decipher what has arrived, behind what is ready to be handed on.

        The buffer is the loop's: it is handed on before we return to the loop.
        """
        # Hot: runs once per read of up to SLICE_BYTES.
        tls, incoming = self._tls, self._incoming
        received = self._context.receive_view
        self._is_mid_record = False
        try:
            # Asked first: the exception that says "no more" costs 1 us.
            while incoming.pending or tls.pending():
                view = received[self._ready_bytes :]
                nbytes = cast(int, tls.read(len(view), view))  # typeshed: bytes
                if not nbytes:
                    self._hand_on()
                    self._peer_ended()
                    return
                self._ready_bytes += nbytes
                self._record_count += 1
        except ssl.SSLWantReadError:
            self._is_mid_record = True  # the rest of it is still to come
        except ssl.SSLError as error:
            self._log_failure(error.reason or str(error))
            self._fail()
            return
        if self._outgoing.pending:
            self._answer_for_tls()

    def _hand_on(self) -> None:
        nbytes, self._ready_bytes = self._ready_bytes, 0
        if nbytes and self._app is not None:
            self._app.data_received(self._context.receive_view[:nbytes].tobytes())

    def _answer_for_tls(self) -> None:
        """Send what TLS itself wants sent: in TLS 1.2, "no new handshake".

        A client that asks again and again without reading would have us keep
        any amount; one that only reads slowly does not ask.
        """
        if self._is_writing_paused:
            self.abort()
        else:
            self._flush()

    def _peer_ended(self) -> None:
        """Its closure alert, or its FIN; whichever comes first."""
        if not self._has_peer_ended and self._app is not None:
            self._has_peer_ended = True
            self._app.eof_received()

    def _drop(self, nbytes: int) -> None:
        """Octets that nobody will decipher; only so many."""
        self._late_bytes += nbytes
        if self._late_bytes > self._context.limits.linger_bytes:
            self.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell another of what comes from now on."""
        self._app = cast("BlazeioServerProtocol | Handover", protocol)
