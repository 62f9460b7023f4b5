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
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct

from blazeio.loggers import get_logger
from blazeio.protocol.context import ServerContext
from blazeio.protocol.handover import Handover
from blazeio.protocol.timeouts import NEVER
from blazeio.wire.serializer import serialize_error

if TYPE_CHECKING:
    from blazeio.protocol.http1 import Http1Connection


class TlsConfig(Struct, frozen=True):
    """What a listener needs to speak TLS; made before a fork, used after.

    Attributes:
        context: Certificates, ciphers and ticket keys; its
            ``sslobject_class`` is ``ServerSideTls``.
        others: Further ones, that the first chooses by the name that is asked for.
        handshake_timeout_s: From the accept to the end of the handshake.
        shutdown_timeout_s: In a close in stages, how long the client's end is
            awaited after ours.
    """

    context: ssl.SSLContext
    handshake_timeout_s: float
    shutdown_timeout_s: float
    others: tuple[ssl.SSLContext, ...] = ()

    def offer(self, protocols: list[str]) -> None:
        """Offer these by ALPN (RFC 7301), the best first."""
        for context in (self.context, *self.others):
            context.set_alpn_protocols(protocols)


class TlsFacts(Struct, frozen=True):
    """What was agreed with a client; ``r.tls``.

    Attributes:
        version: "TLSv1.2" or "TLSv1.3".
        cipher: OpenSSL's name of the cipher suite.
        server_name: The name that the client asked for (SNI), in lower case;
            None if it named none.
        peer_certificate: Of the client, verified, as ``ssl.getpeercert`` gives
            it, not to be changed; None if it sent none.
    """

    version: str
    cipher: str
    server_name: str | None
    peer_certificate: Mapping[str, Any] | None


class ServerSideTls(ssl.SSLObject):
    """One connection's TLS; remembers the name that was asked for."""

    server_name: str | None = None


HANDSHAKE, OPEN, CLOSING, FAILED, LOST = range(5)
NAMES = ("HANDSHAKE", "OPEN", "CLOSING", "FAILED", "LOST")

SLICE_BYTES = 16 * 1024
"""OpenSSL's memory buffers keep their largest size as long as they live: what
passes through them is cut, or one large message would cost its connection as
much memory for ever. It is also the largest record (RFC 8446 section 5.1)."""


NO_EXTRA: dict[str, Any] = {}


log = get_logger("blazeio.protocol")

RECORD_BYTES = SLICE_BYTES + 256
"""The largest enciphered record (RFC 8446 section 5.2)."""

RECORDS_PER_TURN = 256
"""So many records of a connection are deciphered before the loop turns for the
others: 0.5 ms of work, where each holds an octet. The rest of a read waits, still
enciphered, and nothing more is read."""

PLAIN_HTTP = ("HTTP_REQUEST", "HTTPS_PROXY_REQUEST")
"""OpenSSL's names for a client that speaks HTTP without TLS."""


class TlsTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """TLS of one connection, on the server's side.

    Args:
        context: Shared by the connections of the loop.
        terms: Of the listener.
        new_app: Makes the connection's protocol, when the handshake is done; given
            what was agreed by ALPN.

    Attributes:
        deadline_at: Of the handshake, and of a close; for the wheel.
        entered_at: The wheel's own.
    """

    __slots__ = (
        "_app",
        "_context",
        "_facts",
        "_has_peer_ended",
        "_incoming",
        "_is_mid_record",
        "_is_paused",
        "_is_reading_on",
        "_is_writing_paused",
        "_late_bytes",
        "_new_app",
        "_next_turn",
        "_outgoing",
        "_phase",
        "_raw",
        "_ready_bytes",
        "_record_count",
        "_terms",
        "_tls",
        "deadline_at",
        "entered_at",
    )

    _raw: asyncio.Transport

    def __init__(
        self,
        context: ServerContext,
        terms: TlsConfig,
        new_app: Callable[[str | None], Any],
    ) -> None:
        super().__init__(NO_EXTRA)
        self._context = context
        self._terms = terms
        self._new_app = new_app
        self._app: Any = None
        self._facts: TlsFacts | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = cast(
            ServerSideTls,
            terms.context.wrap_bio(self._incoming, self._outgoing, server_side=True),
        )
        self._phase = HANDSHAKE
        self._is_paused = self._is_reading_on = self._is_writing_paused = False
        self._has_peer_ended = self._is_mid_record = False
        self._late_bytes = self._ready_bytes = self._record_count = 0
        self._next_turn = b""
        self.deadline_at = NEVER
        self.entered_at = NEVER

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

    def _count_held_bytes(self) -> int:
        """Octets that have arrived and were not handed on: at the most these.

        OpenSSL does not tell how much it has of a record that is not whole.
        """
        held = self._incoming.pending + self._tls.pending() + len(self._next_turn)
        return held + RECORD_BYTES if self._is_mid_record else held

    # As the transport of the connection

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Of the socket's transport; and ``ssl_object``, ``tls_facts``."""
        if name == "ssl_object":
            return self._tls
        if name == "tls_facts":
            return self.facts
        if name == "held_bytes":
            return self._count_held_bytes()
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
        app = self._app = self._new_app(self._tls.selected_alpn_protocol())
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
        self._app = cast("Http1Connection | Handover", protocol)

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
