"""A blazeio server on the master's loop that checks each peer.

The control socket and the address of the metrics are open to many who are
trusted less than the master. So each connection is checked when it is accepted: a
peer that may not connect gets an answer and is closed; any other is bounded by
``Shares``. A few connections are accepted in each turn of the loop.
"""

import asyncio
import errno
import ipaddress
import socket
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct

from blazeio.app.app import App
from blazeio.protocol.http1 import Http1Connection
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.server.server import Server
from blazeio_supervisor.ipc.control_api import (
    ErrorAnswer,
)
from blazeio_supervisor.ipc.socket_paths import read_peer
from blazeio_supervisor.log.formats import encode_json

# The bounds of a small server: of all connections, and of those of each peer.
#
# A connection is silent as long as no request of it is being answered, whether it has
# sent nothing, half a head or a former request. At a bound a silent connection is
# closed in favour of a new one; so silent connections keep no client out. Pure.


class Shares(Struct, frozen=True):
    """The bounds.

    Attributes:
        count: Connections in all.
        peer_count: Connections of one peer.
    """

    count: int
    peer_count: int


class OpenConnection(Struct, frozen=True):
    """A connection that is open.

    Attributes:
        peer: The peer: a user id, or an address.
        is_silent: No request of it is being answered.
    """

    peer: Hashable
    is_silent: bool


class NoRoomError(Exception):
    """No connection can be closed in favour of a new one: all are being answered."""


def choose_displaced(
    shares: Shares, occupants: Sequence[OpenConnection], peer: Hashable
) -> int | None:
    """Find the connection that is closed in favour of a new one.

    At its own share a peer displaces its own oldest silent connection; at the
    bound in all, that of the peer that has the most.

    Args:
        shares: The bounds.
        occupants: The open connections, the oldest first.
        peer: The peer of the new connection.

    Returns:
        The index of an occupant; None: there is room.

    Raises:
        NoRoomError: Each connection that could be closed is being answered.
    """
    counts = Counter(each.peer for each in occupants)
    if counts[peer] >= shares.peer_count:
        candidates = [peer]
    elif len(occupants) >= shares.count:
        candidates = [each for each, _ in counts.most_common()]
    else:
        return None
    for candidate in candidates:
        for index, occupant in enumerate(occupants):
            if occupant.is_silent and occupant.peer == candidate:
                return index
    raise NoRoomError


ACCEPTS_PER_TURN = 8
"""A flood of connections costs the master some 0.2 ms in each turn."""
_RETRY_S = 0.5
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NETWORK_BITS = 64  # the part of an IPv6 address that one customer has for himself


class PeerNotAllowedError(Exception):
    """A peer may not connect; the text is the answer."""


Identify = Callable[[socket.socket, Any], Hashable]
"""Returns the peer of a connection; raises PeerNotAllowedError for one that may not
who may ask."""


class GuardedServer:
    """Serves an App to those who may ask, each within a share.

    Args:
        app: What answers; its own bound of connections is not reached.
        shares: How many may be connected.
        identify: Returns the peer of a connection.
        loop: The running one.
    """

    def __init__(
        self,
        app: App,
        shares: Shares,
        identify: Identify,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._server: Server = app.make_server(loop)
        self._shares = shares
        self._identify = identify
        self._loop = loop
        self._sockets: list[socket.socket] = []
        self._peers: dict[Http1Connection, Hashable] = {}
        self._beginning: dict[asyncio.Task[None], Hashable] = {}
        self._is_closed = False

    def accept_from(self, sock: socket.socket) -> None:
        """Accept from a non-blocking listening socket, which the caller closes."""
        self._sockets.append(sock)
        self._loop.add_reader(sock, self._accept_some, sock)

    def stop_accepting(self, sock: socket.socket) -> None:
        """Accept from this socket no more; its connections stay."""
        self._sockets.remove(sock)
        self._loop.remove_reader(sock)

    @property
    def connection_count(self) -> int:
        """The number of open connections."""
        return len(self._list_open()) + len(self._beginning)

    def count_answering(self, peer: Hashable) -> int:
        """Count the requests of a peer that are being answered."""
        return sum(
            self._peers[each] == peer and bool(each.list_running())
            for each in self._list_open()
        )

    def peer_of(self, r: BlazeioServerProtocol) -> Hashable:
        """Return the peer of a connection, as ``identify`` has returned it."""
        carrier = r.carrier
        return (
            self._peers.get(carrier) if isinstance(carrier, Http1Connection) else None
        )

    async def drain(self, span_s: float) -> None:
        """Wait until those who are being answered have read the end, or so long."""
        self._server.start_draining(0)
        await self._server.drained_within(span_s)

    def close(self) -> None:
        """Accept no more, and close every connection."""
        self._is_closed = True
        for sock in self._sockets:
            self._loop.remove_reader(sock)
        self._sockets.clear()
        self._server.close()

    def _accept_some(self, sock: socket.socket) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                connection, address = sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    # accept(2) fails at once for every connection that waits, and the
                    # listener stays readable: without a rest the loop would spin until
                    # a descriptor is free.
                    self._rest(sock)
                    return
                # Errors of the network that belong to the new connection, as
                # ECONNABORTED: it is gone, and the next one may be well (accept(2),
                # "Error handling").
                continue
            # On Linux a connection does not inherit O_NONBLOCK from its listener
            # (accept(2)).
            connection.setblocking(False)
            self._admit(connection, address)

    def _rest(self, sock: socket.socket) -> None:
        """Accept nothing for a while: there are no descriptors."""
        self._loop.remove_reader(sock)

        def go_on() -> None:
            if sock in self._sockets:
                self._loop.add_reader(sock, self._accept_some, sock)

        self._loop.call_later(_RETRY_S, go_on)

    def _admit(self, connection: socket.socket, address: Any) -> None:
        try:
            peer = self._identify(connection, address)
            self._make_room(peer)
        except PeerNotAllowedError as error:
            _refuse(connection, HTTPStatus.FORBIDDEN, str(error))
        except NoRoomError:
            text = "as many requests as there may be are being answered: ask again"
            _refuse(connection, HTTPStatus.SERVICE_UNAVAILABLE, text)
        except OSError:
            # ENOTCONN or the like: its peer is gone.
            connection.close()
        else:
            task = self._loop.create_task(self._begin(connection, peer))
            self._beginning[task] = peer
            task.add_done_callback(self._beginning.pop)

    def _make_room(self, peer: Hashable) -> None:
        """Close a silent connection, if the new one needs its place.

        Raises:
            NoRoomError: Each connection that could be closed is being answered.
        """
        connections = self._list_open()
        occupants = [
            OpenConnection(self._peers[each], not each.list_running())
            for each in connections
        ]
        # A connection that was just accepted is not silent yet.
        occupants += [OpenConnection(each, False) for each in self._beginning.values()]
        victim = choose_displaced(self._shares, occupants, peer)
        # Forgotten here and not when it is closed, so that the place counts as free for
        # the next connection of this turn.
        if victim is not None:
            connection = connections[victim]
            self._peers.pop(connection, None)
            connection.abort()

    def _list_open(self) -> list[Http1Connection]:
        """List the connections, the oldest first; forget those that are gone."""
        living = self._server.context.connections
        for each in [each for each in self._peers if each not in living]:
            del self._peers[each]
        return list(self._peers)

    async def _begin(self, connection: socket.socket, peer: Hashable) -> None:
        try:
            protocol = await self._server.serve(connection)
        except OSError:
            connection.close()  # reset before we got to it
            return
        self._peers[protocol] = peer


def identify_by_user(connection: socket.socket, address: Any) -> Hashable:
    """Return the user at the other end of a unix socket."""
    return read_peer(connection).uid


def identify_by_address(connection: socket.socket, address: Any) -> Hashable:
    """Return the address of a peer, of IPv6 its network."""
    # The part behind ``%`` is the zone of a link-local address (RFC 4007, section 11).
    host = ipaddress.ip_address(address[0].partition("%")[0])
    if host.version == 4:
        return host
    return ipaddress.ip_network((host, _NETWORK_BITS), strict=False)


def _refuse(connection: socket.socket, status: HTTPStatus, reason: str) -> None:
    """Answer without reading; one small write goes into an empty buffer."""
    content = msgspec.json.encode(ErrorAnswer(reason))
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        "Connection: close\r\n\r\n"
    )
    # Nothing was read, so the close may send an RST behind the answer (RFC 9112,
    # section 9.6). To read first, as is right for a server at large, would let a peer
    # that may not ask hold a descriptor of the master.
    with connection:
        try:
            connection.send(head.encode() + content)
        except OSError:
            pass  # its peer is gone


# How the control socket answers: JSON, a refusal, or an answer that lasts.
#
# Who follows the events, or waits for the end of something, holds a connection for as
# long as it likes, so there is a bound for those: the other verbs are always answered.


_JSON = {"Content-Type": "application/json"}
_NO_FIELDS: Mapping[str, str] = MappingProxyType({})

LASTING_COUNT = 24
"""How many may be under way at once."""


def show(
    r: BlazeioServerProtocol,
    answer: Struct,
    status: int = HTTPStatus.OK,
    fields: Mapping[str, str] = _NO_FIELDS,
) -> None:
    """Send an answer as JSON; texts in it may come from anybody."""
    r.reply(encode_json(answer), status, headers={**_JSON, **fields})


class RefusedError(Exception):
    """An order is not carried out.

    Args:
        reason: One line for the client.
        status: 400 when the order is wrong in itself, 503 when there are too many
            of its kind, else 409.
    """

    def __init__(self, reason: str, status: int = 409) -> None:
        super().__init__(reason)
        self.status = status


class Lasting:
    """Counts the answers that last until the client leaves."""

    def __init__(self) -> None:
        self._count = 0

    @contextmanager
    def answer(self) -> Iterator[None]:
        """Count an answer while it lasts.

        Raises:
            RefusedError: There are too many.
        """
        if self._count >= LASTING_COUNT:
            text = (
                f"{LASTING_COUNT} are following events or waiting for the end of an "
                "order: end one of them"
            )
            raise RefusedError(text, 503)
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
