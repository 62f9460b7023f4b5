"""What carries requests: the seam between ``r`` and the wire.

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
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from blazeio.wire.framing import OutgoingMessage

if TYPE_CHECKING:
    from blazeio.protocol.flow import WriteGate
    from blazeio.protocol.request import BlazeioServerProtocol
    from blazeio.protocol.trust import ConnectionOrigin


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
