"""Connections that go from a worker that ends to one that serves.

The master gives both an end of a socket pair, and has none itself: it takes no
descriptors from a worker. One connection is one datagram with one descriptor. Both
ends belong to workers of one service, which trust each other as little as the app
that runs in both; so what comes is checked for its shape and size.
"""

import array
import asyncio
import os
import socket
from collections.abc import Callable

import msgspec

from blazeio.loggers import get_logger
from blazeio.protocol.transfer import Transfer

log = get_logger("blazeio.worker")

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
