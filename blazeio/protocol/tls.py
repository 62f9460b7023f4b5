"""TLS between the socket's transport and the connection that speaks HTTP.

``TlsTransport`` is both the protocol of the socket's transport, and the transport of
the connection (``app``). It deciphers what arrives and hands it on, and enciphers what
is written. It keeps the promises of a plain transport, so that the connection knows
almost nothing of TLS.

    HANDSHAKE -> OPEN -> CLOSING -> LOST
        |         |                  |
        +---------+----> FAILED -----+

Why not the event loops' own TLS (uvloop's and asyncio's are one design):

* They cannot close in stages. Their shutdown ends with a reset at the first octet that
  the client still sends, and after its timeout it drops what a slow client has yet to
  read.
* They know no half-close. After the client's closure alert they send nothing more, not
  even the response that is being made.
* They take more memory. asyncio keeps a buffer of 256 KiB per connection: an idle one
  costs 283 KB there, 25 KB with uvloop, and 20 KB here; see ``docs/how-to/tls.md``.

A close by us: ``close`` sends the closure alert and FIN and is over, as over plain TCP;
it need not wait for the client's alert (RFC 9112 section 9.8). ``write_eof`` is for a
close in stages (section 9.6): what the client still sends is read and dropped,
undeciphered, until its end, for at most ``shutdown_timeout_s`` and
``Limits.linger_bytes``. So the client sees our last response and no reset.

A close by the client: its closure alert, or its FIN, is ``eof_received``, and the
client can still be answered (RFC 8446 section 6.1). A FIN without an alert cannot cut a
request short unnoticed, since each request declares where it ends.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct

from blazeio.loggers import get_logger
from blazeio.protocol.carrier import Handover
from blazeio.protocol.context import ServerContext
from blazeio.protocol.kernel import end_output
from blazeio.protocol.timeouts import NEVER
from blazeio.wire.headers import serialize_error

if TYPE_CHECKING:
    from blazeio.protocol.http1 import Http1Connection


class TlsConfig(Struct, frozen=True):
    """What a listener needs to speak TLS; made before the fork, and used after it.

    Attributes:
        context: Certificates, ciphers and ticket keys; its
            ``sslobject_class`` is ``ServerSideTls``.
        others: Further contexts, which the first one chooses by the server name.
        handshake_timeout_s: From the accept to the end of the handshake.
        shutdown_timeout_s: In a close in stages, how long we wait for the client's
            end after ours.
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
        peer_certificate: Of the client, verified, as ``ssl.getpeercert`` returns
            it; it is not to be changed. None if the client sent none.
    """

    version: str
    cipher: str
    server_name: str | None
    peer_certificate: Mapping[str, Any] | None


class ServerSideTls(ssl.SSLObject):
    """The TLS of one connection, and the server name that its client has asked for."""

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
"""So many records of a connection are deciphered before the loop turns for the others:
0.5 ms of work, where each record holds one octet. The rest of a read waits, enciphered,
and nothing more is read."""

PLAIN_HTTP = ("HTTP_REQUEST", "HTTPS_PROXY_REQUEST")
"""OpenSSL's names for a client that speaks HTTP without TLS."""


class TlsTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """TLS of one connection, on the server's side.

    Args:
        context: Shared by the connections of the loop.
        config: Of the listener.
        new_app: Makes the connection's protocol when the handshake is done; called
            with what was agreed by ALPN.

    Attributes:
        deadline_at: Of the handshake, and of a close; read by the wheel.
        entered_at: Written by the wheel.
    """

    __slots__ = (
        "_app",
        "_config",
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
        "_tls",
        "deadline_at",
        "entered_at",
    )

    _raw: asyncio.Transport

    def __init__(
        self,
        context: ServerContext,
        config: TlsConfig,
        new_app: Callable[[str | None], Any],
    ) -> None:
        super().__init__(NO_EXTRA)
        self._context = context
        self._config = config
        self._new_app = new_app
        self._app: Any = None
        self._facts: TlsFacts | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = cast(
            ServerSideTls,
            config.context.wrap_bio(self._incoming, self._outgoing, server_side=True),
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
        """Return the most octets that have arrived and were not handed on.

        OpenSSL does not tell how much it has of a record that is not whole.
        """
        held = self._incoming.pending + self._tls.pending() + len(self._next_turn)
        return held + RECORD_BYTES if self._is_mid_record else held

    # As the transport of the connection

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact of the socket's transport, or one of TLS."""
        if name == "ssl_object":
            return self._tls
        if name == "tls_facts":
            return self.facts
        if name == "held_bytes":
            return self._count_held_bytes()
        return self._raw.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._phase != OPEN or self._raw.is_closing()

    def close(self) -> None:
        """Send what was written, the closure alert and FIN; then it is over."""
        if self._phase in (OPEN, CLOSING):
            self._send_closure_alert()
            self._context.wheel.forget(self)
            self._raw.close()

    def can_write_eof(self) -> bool:
        """Return True; after ``write_eof`` nothing more is handed on."""
        return True

    def write_eof(self) -> None:
        """Send what was written, the closure alert and FIN.

        What the client still sends is dropped, undeciphered, until its end: it is not
        handed on, and neither is its end.
        """
        if self._phase == OPEN:
            self._send_closure_alert()
            self._end(CLOSING)

    def _send_closure_alert(self) -> None:
        if self._phase == OPEN:
            self._phase = CLOSING
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                pass  # OpenSSL wants their alert, or has met data; ours is made
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
        if self._context.is_uvloop:
            self._raw.writelines(records)  # one system call; to join them takes 5 %
        else:
            # Not writelines: asyncio's of Python 3.12.1 never pauses its writers.
            self._raw.write(b"".join(records))

    def writelines(
        self, list_of_data: Iterable[bytes | bytearray | memoryview]
    ) -> None:
        """Write pieces, one after the other."""
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        """Return how many enciphered octets wait here for the kernel."""
        return self._raw.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high watermark."""
        return self._raw.get_write_buffer_limits()

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        """Set the watermarks, in octets."""
        self._raw.set_write_buffer_limits(high, low)

    # As the protocol of the socket's transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected; its handshake comes next."""
        self._raw = cast(asyncio.Transport, transport)
        self._context.handshakes.add(self)
        self._end_in(self._config.handshake_timeout_s)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the loop's buffer for enciphered octets."""
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
        """In the next turn, decipher what has arrived; then let more come."""
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
        """Called by the wheel: the handshake, or the client's end, has not come."""
        if self._phase == CLOSING and self._raw.get_write_buffer_size():
            # The client still reads our last response; the app judges how fast.
            self._end_in(self._config.shutdown_timeout_s)
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
        """Return for how long the handshake has been under way."""
        return now - self.deadline_at + self._config.handshake_timeout_s

    def close_silent(self) -> None:
        """Close it as if the time for a handshake were over."""
        self.abort()

    def _log_failure(self, reason: str) -> None:
        peer = self._raw.get_extra_info("peername")
        log.debug("TLS with %s failed: %s", peer, reason)

    # Receiving

    def _decipher(self) -> None:
        """Decipher what has arrived, into the loop's buffer.

        It is appended to what is ready there, and is handed on before we return to the
        loop, whose buffer is used by the next connection then.
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
        """Send what TLS itself has to send: in TLS 1.2, "no new handshake".

        A client that asks for one again and again, and does not read, would make us
        keep any amount of refusals. A client that only reads slowly does not ask.
        """
        if self._is_writing_paused:
            self.abort()
        else:
            self._flush()

    def _peer_ended(self) -> None:
        """Tell the app of the closure alert or the FIN, whichever comes first."""
        if not self._has_peer_ended and self._app is not None:
            self._has_peer_ended = True
            self._app.eof_received()

    def _drop(self, nbytes: int) -> None:
        """Drop octets, up to a bound."""
        self._late_bytes += nbytes
        if self._late_bytes > self._context.limits.linger_bytes:
            self.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand what comes from now on to another protocol."""
        self._app = cast("Http1Connection | Handover", protocol)

    # Ending

    def _fail(self) -> None:
        """Send the alert of TLS, then end: TLS was broken."""
        self._flush()
        self._end(FAILED)

    def _end(self, phase: int) -> None:
        """End our side; drop what comes until their end, for a while."""
        self._phase = phase
        if self._raw.is_closing():
            return  # it was cut meanwhile
        end_output(self._raw)
        self._raw.resume_reading()  # where it was paused
        self._end_in(self._config.shutdown_timeout_s)

    def _end_in(self, span_s: float) -> None:
        wheel = self._context.wheel
        wheel.set(self, wheel.now() + span_s)

    def _flush(self) -> None:
        octets = self._outgoing.read()
        if octets:
            self._raw.write(octets)
