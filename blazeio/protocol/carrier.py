"""What carries requests: the seam between ``r`` and the wire; where they come from.

A handler sees ``r`` (``protocol.request``). Behind it stand the ``ResponseWriter``, the
``ContentStream`` and the ``HandlerTask`` of the request. None of them knows how octets
travel: they talk to a *carrier*, which is an HTTP/1 connection (``protocol.http1``),
or a stream of a connection that multiplexes, or a bridge to another server. So
``Deliver``, ``EventStream``, files, the access log, metrics and deadlines serve all of
them.

How to add a carrier
====================

1. Write a class with the members of ``RequestCarrier``. Make one request for it,
   ``BlazeioServerProtocol(context, carrier)``, and use it again for each request that
   comes after the last one is over.
2. Tell the request of the transport, by ``r.connection_made(transport)``, before the
   first request. An adapter of ``asyncio.Transport`` does: ``is_closing``, ``write``
   (octets as they are), ``get_write_buffer_size``, ``abort``, ``get_extra_info``.
3. For each request make a ``RequestHead`` and call ``r.handler_task.start(head)``, or
   ``start_with_content`` with a ``ContentStream``: ``feed`` it as octets arrive, or
   ``fail`` it.
4. Call ``r.pause_writing()`` and ``r.resume_writing()`` as octets pile up and leave,
   ``r.eof_received()`` when the peer sends no more, and ``r.connection_lost(error)``
   once, when the request has lost its carrier.
5. When the handler is over and the response complete, ``request_is_over`` is called,
   or ``close`` where it has to be the last. Call ``r.handler_task.forget()`` then.
6. What the server sees is a ``ServerConnection``, and is kept in
   ``context.connections`` for as long as its socket is open. A carrier without a socket
   of its own, as a stream, is in no set.

Heads are written once, as the field lines of HTTP/1 (``ResponseWriter`` keeps them by
the second). A carrier that writes heads in another form reads these lines, and drops
those that are about one connection alone: ``Connection``, ``Transfer-Encoding``.
``tests/protocol/memory_carrier.py`` is a whole carrier in some hundred lines;
``blazeio.http2.stream`` and ``blazeio.gateways.asgi_carrier`` are others.

Who the client is
=================

Trusted proxies say so, in two ways: in fields of a request (X-Forwarded-*, Forwarded),
and in a header before everything else on the connection (the PROXY protocol). Each is
believed from its own list of peers, and from nobody by default (``ConnectionOrigin``).

Where a connection goes on
==========================

After HTTP another protocol reads its octets (``Handover``), as that of a WebSocket.
Where that connection goes on in another process, its client does not notice. The socket
itself goes there, by descriptor passing. Along with it goes what the other process
cannot receive any more (``Transfer``): the head of the request, octets that have been
read and not been used, and the state of the app. There the request is handled once
more, by the same route and the same middlewares; only its 101 is not sent again. Who
carries it is not known here: ``ServerContext.send_transfer`` does.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from msgspec import Struct

from blazeio.content.forwarded import (
    NOBODY,
    AllowList,
    Client,
    parse_allow_list,
    resolve_client,
)
from blazeio.wire.framing import OutgoingMessage
from blazeio.wire.grammar import parse_target
from blazeio.wire.headers import Headers
from blazeio.wire.proxy_protocol import Endpoint, ProxyHeader

if TYPE_CHECKING:
    from blazeio.protocol.flow import WriteGate
    from blazeio.protocol.request import BlazeioServerProtocol


class Reading(Protocol):
    """Whether octets come from the peer."""

    @property
    def is_open(self) -> bool:
        """Octets come, or may come."""
        ...

    def pause(self) -> None:
        """Let no more come: the peer is slowed down by what its protocol has for it."""
        ...

    def resume(self) -> None:
        """Let them come again."""
        ...


class RequestCarrier(Protocol):
    """What brings a request, and takes its response away.

    Attributes:
        transport: Octets as they are, and the facts of the peer.
        gate: Where those who write sleep while too much waits to leave.
        read_control: Of the octets after ``take_over``.
        origin: Who is believed about the client; None: the transport tells it all.
        frames_content: The end of content is marked by the carrier itself: content
            without a Content-Length needs neither chunks nor a close.
        can_sendfile: Octets of a file may go past the transport, by ``sendfile``.
    """

    transport: asyncio.Transport
    gate: "WriteGate"

    @property
    def origin(self) -> "ConnectionOrigin | None":
        """Who is believed about the client."""
        ...

    @property
    def read_control(self) -> Reading:
        """Whether octets come; of the octets after ``take_over``."""
        ...

    @property
    def frames_content(self) -> bool:
        """The end of content is marked by the carrier itself."""
        ...

    @property
    def can_sendfile(self) -> bool:
        """Octets of a file may go past the transport."""
        ...

    @property
    def http_version(self) -> str:
        """The version of the request: ``1.0``, ``1.1`` or ``2``."""
        ...

    # The content of the request

    def resume_content(self) -> None:
        """The handler waits for content: let it come.

        A client that waits for ``100 Continue`` is sent it now.
        """
        ...

    # The response

    def note_early_response(self) -> None:
        """A response begins while content of the request is still due.

        Where that content will not be read past, the response has to be the last one:
        ``r.response.give_up_connection()``.
        """
        ...

    def send_interim(self, status: int, lines: bytes) -> None:
        """Send an interim response.

        Args:
            status: 1xx, but not 101.
            lines: Its field lines.
        """
        ...

    @property
    def send_whole(self) -> Callable[[bytes, bytes, bytes], None] | None:
        """Sends a whole response; its length is what is missing of the head.

        It is called with the start (status line, and the fields that each response
        has), a further field line or b"", and the content. None: the response is
        written to the transport, as HTTP/1 has it.
        """
        ...

    def send(
        self, message: OutgoingMessage, octets: bytes | memoryview, *, is_last: bool
    ) -> None:
        """Send content in its framing; the head goes first where it is still held.

        Args:
            message: Checks lengths and holds the head. It is to be asked before
                anything leaves: ``content`` or ``end``.
            octets: Content.
            is_last: The message ends with it.

        Raises:
            LocalProtocolError: Of ``message``; nothing was sent.
        """
        ...

    def send_head(self, message: OutgoingMessage) -> None:
        """Send the head alone; nothing where it was sent before."""
        ...

    async def sendfile(self, file: int, first: int, size: int) -> bool:
        """Send octets of a file as content; asked only where ``can_sendfile``.

        Args:
            file: Descriptor of a regular file.
            first: Offset of the first octet.
            size: How many; they were checked against the declared length.

        Returns:
            False where the file ended before.
        """
        ...

    # Another protocol

    def take_over(self, head: bytes, receive: Callable[[bytes], None] | None) -> None:
        """Send a 101 response; what arrives from now on is not HTTP.

        Args:
            head: The response, whole.
            receive: Called with octets as they arrive; None: feed ``r.content``.
        """
        ...

    # The ends

    def request_is_over(self) -> None:
        """The handler is over and its response complete: turn to what comes next."""
        ...

    def lost_request_is_over(self) -> None:
        """The handler of a request that has lost its carrier is over."""
        ...

    def close(self) -> None:
        """The last octet was written: end, so that the peer gets all of it."""
        ...

    def abort(self) -> None:
        """End at once, so that the peer sees the cut; ``r.is_alive`` is False then."""
        ...


class ServerConnection(Protocol):
    """What a server sees of a connection, whatever is spoken on it."""

    transport: asyncio.Transport

    @property
    def is_idle(self) -> bool:
        """It is kept alive, and nothing of a next request has arrived."""
        ...

    def list_running(self) -> "list[BlazeioServerProtocol]":
        """Return the requests whose handlers run."""
        ...

    def close_idle(self) -> None:
        """Close it if it is idle: another client needs its place."""
        ...

    def silence_s(self, now: float) -> float:
        """Return for how long no whole request has come; below 0: one is served."""
        ...

    def close_silent(self) -> None:
        """Close it as if the time for a request were over."""
        ...

    def drain(self) -> None:
        """The server drains: an idle connection is kept only a little longer."""
        ...

    def cancel(self) -> None:
        """Cancel the handlers that run, and cut the connection."""
        ...

    def abort(self) -> None:
        """Cut the connection."""
        ...


class Trust(Struct, frozen=True):
    """Which peers are proxies; see ``AllowList`` for how they are named.

    Attributes:
        forwarded_allow_ips: Their X-Forwarded-For, -Proto and -Host, or their
            Forwarded, say who the client is.
        proxy_protocol_allow_ips: Their connections begin with a header of the
            PROXY protocol; one without it is closed.
    """

    forwarded_allow_ips: AllowList = NOBODY
    proxy_protocol_allow_ips: AllowList = NOBODY


def make_trust(
    *,
    forwarded_allow_ips: str | Iterable[str] = "",
    proxy_protocol_allow_ips: str | Iterable[str] = "",
) -> Trust | None:
    """Read both lists as an operator writes them; None when both are empty.

    Raises:
        ConfigurationError: A word is no address, network, ``*`` or ``unix``.
    """
    lists = map(parse_allow_list, (forwarded_allow_ips, proxy_protocol_allow_ips))
    trust = Trust(*lists)
    return None if trust == Trust() else trust


class ConnectionOrigin:
    """Where the requests of one connection come from.

    It exists only where a proxy may be trusted. Else the transport knows the client.

    Args:
        trust: Which peers are believed.
        header: Of the PROXY protocol, if the peer has sent one.
    """

    __slots__ = ("_allowed", "_client", "_header", "_headers", "_peer")

    _peer: Client

    def __init__(self, trust: Trust, header: ProxyHeader | None) -> None:
        self._allowed: AllowList | None = trust.forwarded_allow_ips
        self._header = header
        self._headers: Headers | None = None
        self._client: Client | None = None

    def connect(self, transport: asyncio.BaseTransport) -> None:
        """Find out who has connected.

        The fields of a request are judged by the address that the PROXY
        protocol told, if it did: it is that of whoever wrote them.
        """
        host, port = find_peer(transport)
        header = self._header
        if header is not None and header.source is not None:
            host, port = ("", 0) if header.is_unix else header.source
        self._peer = Client(host, port, find_scheme(transport), "")
        if self._allowed is not None and not self._allowed.allows(host):
            self._allowed = None

    @property
    def is_told(self) -> bool:
        """Whether the PROXY protocol has told who the peer is."""
        return self._header is not None

    @property
    def is_trusted(self) -> bool:
        """Whether the peer's fields about a request are believed."""
        return self._allowed is not None

    def find_client(self, headers: Headers) -> Client:
        """Find the client of a request; ``authority`` is "" if no proxy told it."""
        if self._allowed is None:
            return self._peer
        client = self._client
        # One head is asked about again and again. Equal fields may share one
        # object, also between requests: what they tell is the same.
        if client is None or headers is not self._headers:
            client = resolve_client(self._peer, headers, self._allowed)
            self._client, self._headers = client, headers
        return client


def find_peer(transport: asyncio.BaseTransport) -> Endpoint:
    """Return the other end of a connection; ``("", 0)`` over a unix socket."""
    peer = transport.get_extra_info("peername")
    return Endpoint(peer[0], peer[1]) if isinstance(peer, tuple) else Endpoint("", 0)


def find_scheme(transport: asyncio.BaseTransport) -> str:
    """Return the scheme that a connection is for."""
    return "http" if transport.get_extra_info("ssl_object") is None else "https"


def find_authority(method: str, target: str, headers: Headers) -> str:
    """Return ``host[:port]`` as the request names it; "" where it does not.

    RFC 9112 section 3.3: that of the target, where it has one, overrides Host.
    """
    if target.startswith("/") or target in ("*", ""):
        return headers.get("host", "")
    return parse_target(method, target).authority or ""


# By another protocol


class Successor(Protocol):
    """Reads the octets of a connection after HTTP, as a WebSocket does."""

    @property
    def is_awaited(self) -> bool:
        """A task sleeps until octets come; a disconnect wakes it."""
        ...

    def data_received(self, octets: bytes) -> None:
        """Octets have arrived."""
        ...

    def eof_received(self) -> None:
        """The peer will send no more."""
        ...

    def connection_lost(self) -> None:
        """The connection is over."""
        ...


class Owner(Protocol):
    """The protocol that the transport had before; it still gets all but octets."""

    def eof_received(self) -> bool | None:
        """See ``asyncio.Protocol``, as for all of these."""
        ...

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        ...

    def pause_writing(self) -> None:
        """The transport holds more than the high watermark."""
        ...

    def resume_writing(self) -> None:
        """The transport has sent enough."""
        ...


class Handover(asyncio.Protocol):
    """The protocol of a transport whose octets go to a ``Successor``.

    It is no BufferedProtocol: a small read then needs no ``get_buffer``, no view and no
    copy. An echo of 64 octets takes 0.3 us less, of 9. Its methods are those of the
    successor and of the owner themselves, so that no call stands between.
    """

    __slots__ = (
        "connection_lost",
        "data_received",
        "eof_received",
        "pause_writing",
        "resume_writing",
    )

    # asyncio calls them by position
    data_received: Callable[[bytes], None]  # type: ignore[assignment]
    eof_received: Callable[[], bool | None]
    connection_lost: Callable[[Exception | None], None]  # type: ignore[assignment]
    pause_writing: Callable[[], None]
    resume_writing: Callable[[], None]

    def __init__(self, owner: Owner, receive: Callable[[bytes], None]) -> None:
        self.data_received = receive
        self.eof_received = owner.eof_received
        self.connection_lost = owner.connection_lost
        self.pause_writing = owner.pause_writing
        self.resume_writing = owner.resume_writing


# In another process


STATE_BYTES: Final = 64 * 1024
"""Most octets of an app's state that go along with one connection."""
RETRY_S: Final = 0.05
"""A connection that is in use when its process drains is looked at again after this."""
STATE: Final = "transferred_state"
"""The name of the state among the facts of a transport."""

_SWITCHED: Final = b"HTTP/1.1 101 "
_RESTART: Final = b"\x88\x02\x03\xf4"
"""A close frame with 1012 (RFC 6455 section 7.4 and its registry)."""


class Transfer(Struct, frozen=True, array_like=True):
    """What goes along with a connection.

    Attributes:
        head: The head of the request, as HTTP/1.1.
        rest: Octets that were received and not used.
        state: The app's own.
    """

    head: bytes
    rest: bytes
    state: bytes


SendTransfer = Callable[[Transfer, int], bool]
"""Sends it, with the descriptor of the connection; False: not now."""


class Transferable(Protocol):
    """A connection whose handler lets it go on elsewhere."""

    def transfer(self) -> None:
        """Go on elsewhere as soon as nothing is in use."""


class ResumingConnection(asyncio.Protocol):
    """The first protocol of a connection that comes from another process.

    Args:
        connection: Serves it.
        transfer: What came along.
    """

    def __init__(self, connection: asyncio.Protocol, transfer: Transfer) -> None:
        self.connection = connection
        self._transfer = transfer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Receive the request once more, then what was not used."""
        real = cast(asyncio.Transport, transport)
        real.set_protocol(self.connection)
        resumed = ResumedTransport(real, self._transfer.state)
        self.connection.connection_made(cast(asyncio.Transport, resumed))
        self.connection.data_received(self._transfer.head + self._transfer.rest)


class ResumedTransport:
    """The transport of a connection whose client has had its 101 already.

    That is left out. Where anything else is answered, the client is told by a close
    frame to come back: it could not read a response.
    """

    def __init__(self, transport: asyncio.Transport, state: bytes) -> None:
        self._transport = transport
        self._state = state

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See ``asyncio.BaseTransport``."""
        if name == STATE:
            return self._state
        return self._transport.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Leave the 101 out, and be the transport itself from then on."""
        self.write = self._transport.write  # type: ignore[method-assign]
        if bytes(data[: len(_SWITCHED)]) != _SWITCHED:
            self._transport.write(_RESTART)
            self._transport.close()
