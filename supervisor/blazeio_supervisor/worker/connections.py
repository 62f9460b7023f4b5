"""Where the connections of a worker come from, and where they go at its end.

It accepts from the listeners of its own slot, and from adopted ones. The sockets stay
open, unpolled, while an ordinary drain goes on: they belong to the master, and whoever
comes after accepts from them. Only the end of the service shuts them.

What it has accepted may go on in another worker when it ends: see below.
"""

import array
import asyncio
import os
import socket
from collections.abc import Callable

import msgspec
from msgspec import Struct

from blazeio.loggers import get_logger
from blazeio.protocol.carrier import Transfer
from blazeio.server.acceptor import ACCEPTS_PER_TURN, Acceptor
from blazeio.server.server import Server
from blazeio_supervisor.sockets.reuseport import (
    HANDSHAKE_S,
    Queue,
    drop_handshakes,
    stop_handshakes,
)

log = get_logger("blazeio.worker")

ADOPTED_BATCH = 4  # accepts per loop turn; the owner may be back any moment
# Of a queue that all workers share: whoever wakes first leaves the rest to the
# others, which are on their way. 4 bursts of 500 on 4 workers of 2 cores, most to
# least: 1.2 to 3.4, 1.7 in the middle; with 16 a turn 1.3 to 7.6, 2.3. The rate is
# the same, and 8 workers need a third less time, since fewer wake for nothing.
SHARED_BATCH = 1


class _Adoption(Struct):
    """A sibling's queues, while their owner does not serve."""

    queues: list[Queue]
    acceptors: list[Acceptor]

    def end(self) -> None:
        for acceptor in self.acceptors:
            acceptor.close()
        for queue in self.queues:
            queue.sock.close()


class WorkerListeners:
    """Every queue that this worker takes connections from.

    Args:
        server: Serves the connections.
        own: The queues of the own slot.
        is_orphan: Tells whether the master is dead.
    """

    def __init__(
        self, server: Server, own: list[Queue], is_orphan: Callable[[], bool]
    ) -> None:
        self._server = server
        self._own = own
        self._is_orphan = is_orphan
        self._adopted: dict[int, _Adoption] = {}
        self._accepting: list[Acceptor] = []
        self._is_open = False

    def open(self) -> None:
        """Accept from the own slot."""
        self._is_open = True
        self._accepting = [
            self._accept(
                queue, SHARED_BATCH if queue.terms.is_shared else ACCEPTS_PER_TURN
            )
            for queue in self._own
        ]

    def _accept(self, queue: Queue, batch: int = ACCEPTS_PER_TURN) -> Acceptor:
        is_plain = queue.terms.scheme == "http"
        return self._server.accept_from(queue.sock, batch=batch, is_plain=is_plain)

    def adopt(self, slot: int, queues: list[Queue]) -> None:
        """Accept from another slot's queues too; they are owned here."""
        self.release(slot)
        acceptors = [self._accept(queue, ADOPTED_BATCH) for queue in queues]
        self._adopted[slot] = _Adoption(queues, acceptors)

    def replace(self, queues: list[Queue]) -> None:
        """Accept from these in the place of the own ones; they are owned here."""
        for acceptor in self._accepting:
            acceptor.close()
        for queue in self._own:
            queue.sock.close()
        self._own[:] = queues
        if self._is_open:
            self.open()

    def reopen(self) -> None:
        """Accept again, after ``close``, from whatever was accepted from."""
        if self._is_open:
            self.open()
        for slot, adoption in list(self._adopted.items()):
            queues = [Queue(_dup(each.sock), each.terms) for each in adoption.queues]
            self.adopt(slot, queues)

    def release(self, slot: int) -> None:
        """Stop accepting from an adopted queue, if it was adopted."""
        if slot in self._adopted:
            self._adopted.pop(slot).end()

    def close(self) -> None:
        """Stop accepting; what waits is left in the queues."""
        self._server.stop_accepting()

    def take_all_and_shut(self) -> None:
        """Accept what waits, then shut the queues, at once.

        What is lent is left as it is: the next start takes what waits there.
        """
        self.close()
        self._hold_handshakes()
        self._empty_and_shut()

    async def accept_last(self) -> None:
        """Do the same, but wait for handshakes that are under way."""
        self.close()
        self._hold_handshakes()
        self._accept_anew()
        if self._ending():
            await asyncio.sleep(HANDSHAKE_S)
        self._empty_and_shut()

    def _queues(self) -> list[Queue]:
        adopted = [q for each in self._adopted.values() for q in each.queues]
        return [q for q in (*self._own, *adopted) if q.sock.fileno() >= 0]

    def _ending(self) -> list[Queue]:
        """The queues that end with the service."""
        return [q for q in self._queues() if not q.terms.is_kept]

    def _hold_handshakes(self) -> None:
        """Hold off new connections: for good, where nobody is left to come after.

        The end of the channel alone does not say so: the master cuts off a worker that
        misbehaves, and its listeners are those of the next one. Then, and while the
        master that ends does it itself, they are held off so that it can be undone.
        """
        hold = stop_handshakes if self._is_orphan() else drop_handshakes
        try:
            for queue in self._ending():
                hold(queue.sock)
        except OSError as error:
            log.debug("the kernel refuses to hold off connections: %s", error)

    def _accept_anew(self) -> None:
        """Accept from every queue; a SIGTERM may end that at any moment."""
        for queue in self._ending():
            self._accept(queue)

    def _empty_and_shut(self) -> None:
        self._accept_anew()
        self._server.stop_accepting(take_queue=True)
        for queue in self._ending():
            try:
                # Whoever else holds it: a close would leave it listening.
                queue.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # shut already, by the master or a sibling
        for queue in self._queues():
            queue.sock.close()


def _dup(sock: socket.socket) -> socket.socket:
    again = sock.dup()
    again.setblocking(False)
    return again


# Connections that go from a worker that ends to one that serves.
#
# The master gives both an end of a socket pair, and has none itself: it takes no
# descriptors from a worker. One connection is one datagram with one descriptor. Both
# ends belong to workers of one service, which trust each other as little as the app
# that runs in both; so what comes is checked for its shape and size.


TRANSFER_BYTES = 200 * 1024
"""A head of 32 KiB, 64 KiB of state, 64 KiB that nobody has read yet, and room."""
TRANSFERS_PER_TURN = 32
"""How many are taken in one turn of the loop; the others wait for the next one."""
_FD = array.array("i").itemsize
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Transfer)


class TransferSender:
    """The end of a worker that drains.

    Args:
        sock: Its end of the pair; owned by this object.

    Attributes:
        count: How many connections have gone.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        # A datagram that is larger than the send buffer is refused (EMSGSIZE), and the
        # kernel counts its own overhead against the buffer as well (socket(7)).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * TRANSFER_BYTES)
        self._sock = sock
        self.count = 0

    def send(self, transfer: Transfer, fd: int) -> bool:
        """Send a connection; False where it is too large, or nobody takes it now."""
        octets = _encoder.encode(transfer)
        if len(octets) > TRANSFER_BYTES:
            return False
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        try:
            self._sock.sendmsg([octets], rights)
        # EAGAIN: the buffer is full; ECONNRESET or EPIPE: the other worker has ended.
        # In both cases this one keeps the connection, and drains it as if there were no
        # heir.
        except OSError:
            return False
        self.count += 1
        return True

    def close(self) -> None:
        """Close it; the other end sees that nothing more comes."""
        self._sock.close()


class TransferReceiver:
    """The end of a worker that serves.

    Args:
        sock: Its end of the pair; owned by this object.
        loop: The running loop.
        resume: Serves a connection; owns it.
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        resume: Callable[[socket.socket, Transfer], object],
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = loop
        self._resume = resume
        loop.add_reader(sock.fileno(), self._read)

    def _read(self) -> None:
        for _ in range(TRANSFERS_PER_TURN):
            try:
                received = self._sock.recvmsg(
                    TRANSFER_BYTES, socket.CMSG_SPACE(_FD), socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            octets, ancillary, _, _ = received
            if not octets and not ancillary:
                self.close()
                return
            self._take(octets, ancillary)

    def _take(self, octets: bytes, ancillary: list[tuple[int, int, bytes]]) -> None:
        fds = array.array("i")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) - len(content) % _FD])
        try:
            transfer = _decoder.decode(octets)
            (fd,) = fds
        except (msgspec.MsgspecError, ValueError):
            for fd in fds:
                os.close(fd)
            log.error("a connection of another worker came damaged, and was closed")
            return
        connection = socket.socket(fileno=fd)
        connection.setblocking(False)
        self._resume(connection, transfer)

    def close(self) -> None:
        """Take no more."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
