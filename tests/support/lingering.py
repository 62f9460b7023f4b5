"""A socket whose last close waits, as a hostile process may send it."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LINGER_S = 4
"""How long it waits."""


@contextmanager
def lingering() -> Iterator[socket.socket]:
    """Give a socket whose last close waits for a peer that does not read."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        receiver, _ = listener.accept()
    with receiver:
        sender.setblocking(False)
        value = struct.pack("2i", 1, LINGER_S)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, value)
        with suppress(BlockingIOError):
            while True:
                sender.send(bytes(1 << 16))
        yield sender
