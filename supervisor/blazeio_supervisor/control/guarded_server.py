"""A blazeio server on the master's loop that knows whom it lets in.

The control socket and the address of the metrics are open to many who are
trusted less than the master, so each connection is judged at its accept: who is
a stranger is told so and takes no place; who is not gets one by the rules of
``sockets.shares``. A few connections are accepted in each turn of the loop.
"""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Callable, Hashable
from http import HTTPStatus
from typing import Any

import msgspec

from blazeio.app.app import App
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.server.server import Server
from blazeio_supervisor.control.answers.service import ErrorAnswer
from blazeio_supervisor.sockets.peer import read_peer
from blazeio_supervisor.sockets.shares import (
    NoPlaceError,
    Occupant,
    Shares,
    find_victim,
)

ACCEPTS_PER_TURN = 8
"""A flood of connections costs the master some 0.2 ms in each turn."""
_RETRY_S = 0.5
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NETWORK_BITS = 64  # the part of an IPv6 address that one customer has for himself


class StrangerError(Exception):
    """A connection is not let in; the text is the answer."""


Judge = Callable[[socket.socket, Any], Hashable]
"""Says whose a connection is, by the socket and the address; StrangerError: nobody's
who may ask."""


class GuardedServer:
    """Serves an App to those who may ask, each within a share.

    Args:
        app: What answers; its own bound of connections is not reached.
        shares: How many may be connected.
        judge: Says whose a connection is.
        loop: The running one.
    """

    def __init__(
        self,
        app: App,
        shares: Shares,
        judge: Judge,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._server: Server = app.make_server(loop)
        self._shares = shares
        self._judge = judge
        self._loop = loop
        self._sockets: list[socket.socket] = []
        self._peers: dict[BlazeioServerProtocol, Hashable] = {}
        self._beginning: dict[asyncio.Task[None], Hashable] = {}
        self._is_closed = False

    def accept_from(self, sock: socket.socket) -> None:
        """Accept from a listening socket that does not block; it stays the caller's."""
        self._sockets.append(sock)
        self._loop.add_reader(sock, self._accept_some, sock)

    @property
    def connection_count(self) -> int:
        """How many places are taken."""
        return len(self._list_open()) + len(self._beginning)

    def count_answering(self, peer: Hashable) -> int:
        """Count the requests of a peer that are being answered."""
        return sum(
            self._peers[each] == peer and each.handling.is_running
            for each in self._list_open()
        )

    def peer_of(self, r: BlazeioServerProtocol) -> Hashable:
        """Say whose a connection is, as it was judged."""
        return self._peers.get(r)

    async def drain(self, span_s: float) -> None:
        """Let those who are being answered read the end, for so long at most."""
        self._server.start_draining(0)
        await self._server.drained_within(span_s)

    def close(self) -> None:
        """Accept no more, cut what is open."""
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
                    self._rest(sock)
                    return
                continue  # it failed before it was accepted: accept(2)
            connection.setblocking(False)
            self._admit(connection, address)

    def _rest(self, sock: socket.socket) -> None:
        """Accept nothing for a while: there are no descriptors."""
        self._loop.remove_reader(sock)

        def go_on() -> None:
            if not self._is_closed:
                self._loop.add_reader(sock, self._accept_some, sock)

        self._loop.call_later(_RETRY_S, go_on)

    def _admit(self, connection: socket.socket, address: Any) -> None:
        try:
            peer = self._judge(connection, address)
            self._make_room(peer)
        except StrangerError as error:
            _refuse(connection, HTTPStatus.FORBIDDEN, str(error))
        except NoPlaceError:
            text = "as many requests as there may be are being answered: ask again"
            _refuse(connection, HTTPStatus.SERVICE_UNAVAILABLE, text)
        except OSError:
            connection.close()  # its peer is gone
        else:
            task = self._loop.create_task(self._begin(connection, peer))
            self._beginning[task] = peer
            task.add_done_callback(self._beginning.pop)

    def _make_room(self, peer: Hashable) -> None:
        """Have a silent connection give way, if the new one needs its place.

        Raises:
            NoPlaceError: None of those that could is silent.
        """
        connections = self._list_open()
        occupants = [
            Occupant(self._peers[each], not each.handling.is_running)
            for each in connections
        ]
        # Those that are just beginning have had no turn to speak.
        occupants += [Occupant(each, False) for each in self._beginning.values()]
        victim = find_victim(self._shares, occupants, peer)
        if victim is not None:
            connection = connections[victim]
            self._peers.pop(connection, None)
            connection.abort()

    def _list_open(self) -> list[BlazeioServerProtocol]:
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


def judge_by_user(connection: socket.socket, address: Any) -> Hashable:
    """Say which user is at the other end of a unix socket."""
    return read_peer(connection).uid


def judge_by_address(connection: socket.socket, address: Any) -> Hashable:
    """Say from where a connection comes: an address, of IPv6 the network of it."""
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
    with connection:
        try:
            connection.send(head.encode() + content)
        except OSError:
            pass  # its peer is gone
