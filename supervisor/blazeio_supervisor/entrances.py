"""What a worker accepts from: its own slot's listeners, and adopted ones.

The sockets stay open, unpolled, while an ordinary drain goes on: they belong to
the master, and whoever comes after accepts from them. Only the end of the
service shuts them.
"""

import asyncio
import logging
import socket
from dataclasses import dataclass

from blazeio.server.listener import ACCEPTS_PER_TURN, Acceptor
from blazeio.server.server import Server
from blazeio_supervisor.sockets.filters.last_call import HANDSHAKE_S, stop_handshakes

log = logging.getLogger("blazeio.worker")

ADOPTED_BATCH = 4  # accepts per loop turn; the owner may be back any moment
# Of a queue that all workers share: whoever wakes first leaves the rest to the
# others, which are on their way. 4 bursts of 500 on 4 workers of 2 cores, most to
# least: 1.2 to 3.4, 1.7 in the middle; with 16 a turn 1.3 to 7.6, 2.3. The rate is
# the same, and 8 workers need a third less time, since fewer wake for nothing.
SHARED_BATCH = 1


@dataclass(slots=True)
class _Adoption:
    """A sibling's queue, while its owner does not serve."""

    sockets: list[socket.socket]
    acceptors: list[Acceptor]

    def end(self) -> None:
        for acceptor in self.acceptors:
            acceptor.close()
        for sock in self.sockets:
            sock.close()


class Entrances:
    """Every queue that this worker takes connections from.

    Args:
        server: Gets the connections.
        own: The listeners of the own slot.
    """

    def __init__(self, server: Server, own: list[socket.socket]) -> None:
        self._server = server
        self._own = own
        self._adopted: dict[int, _Adoption] = {}

    def open(self) -> None:
        """Accept from the own slot."""
        for sock in self._own:
            is_shared = sock.family == socket.AF_UNIX
            batch = SHARED_BATCH if is_shared else ACCEPTS_PER_TURN
            self._server.accept_from(sock, batch=batch)

    def adopt(self, slot: int, sockets: list[socket.socket]) -> None:
        """Accept from another slot's queue too; its sockets are owned here."""
        self.release(slot)
        acceptors = [
            self._server.accept_from(sock, batch=ADOPTED_BATCH) for sock in sockets
        ]
        self._adopted[slot] = _Adoption(sockets, acceptors)

    def release(self, slot: int) -> None:
        """Leave an adopted queue to its owner; one that was not: nothing."""
        if slot in self._adopted:
            self._adopted.pop(slot).end()

    def close(self) -> None:
        """Accept no more; what waits is for whoever comes after."""
        self._server.stop_accepting()

    def take_all_and_shut(self) -> None:
        """Take what waits, and refuse everybody from then on, at once."""
        self._stop_handshakes()
        self._empty_and_shut()

    async def hear_last_calls(self) -> None:
        """The same, but wait for those who have begun to connect by now."""
        self._stop_handshakes()
        self._accept_anew()
        if self._sockets():
            await asyncio.sleep(HANDSHAKE_S)
        self._empty_and_shut()

    def _sockets(self) -> list[socket.socket]:
        adopted = [s for adoption in self._adopted.values() for s in adoption.sockets]
        return [sock for sock in (*self._own, *adopted) if sock.fileno() >= 0]

    def _stop_handshakes(self) -> None:
        try:
            for sock in self._sockets():
                stop_handshakes(sock)
        except OSError as error:
            log.debug("the kernel refuses to hold off connections: %s", error)

    def _accept_anew(self) -> None:
        """Accept from every queue: a SIGTERM may end that at any moment."""
        for sock in self._sockets():
            self._server.accept_from(sock)

    def _empty_and_shut(self) -> None:
        self._accept_anew()
        self._server.stop_accepting(take_queue=True)
        for sock in self._sockets():
            try:
                # Whoever else holds it: a close would leave it listening.
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # shut already, by the master or a sibling
            sock.close()
