"""Listening sockets that somebody else has made, or kept for us.

Either a service manager has opened them (a ``.socket`` unit), or whoever
started us (``--fd``), or they are of an earlier life of this service and were
kept meanwhile (systemd's file descriptor store). They outlive us: nothing here
or later shuts them down, and what waits in their queues waits for our next life.
"""

import os
import socket
from collections.abc import Iterable

from msgspec import Struct

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.process.kernel import refuse_descriptors
from blazeio_supervisor.sockets.address import Endpoint, UnixAddress

_STORED = "blazeio_"
_MOST_NAME_CHARS = 255

Place = Endpoint | UnixAddress


class InheritedSocket(Struct, frozen=True):
    """One of them.

    Attributes:
        place: Where it listens, by its own word.
        is_stored: We made it, in an earlier life.
    """

    sock: socket.socket
    place: Place
    name: str
    is_stored: bool


def name_for_store(place: Place) -> str:
    """Name what is kept: by its address, so that it can be dropped by that.

    systemd takes ASCII without colons and control characters.
    """
    text = str(place) if isinstance(place, UnixAddress) else place.write_url("tcp")
    plain = text.encode("ascii", "backslashreplace").decode().replace(":", "_")
    return f"{_STORED}{plain}"[:_MOST_NAME_CHARS]


def take_inherited(fds: Iterable[tuple[int, str]]) -> list[InheritedSocket]:
    """Own the descriptors; from now on no exec passes them on.

    Args:
        fds: Each with its name.

    Raises:
        UsageError: One is no listening stream socket.
    """
    return [_take(fd, name) for fd, name in fds]


def _take(fd: int, name: str) -> InheritedSocket:
    said = f"descriptor {fd}" + (f" ({name})" if name else "")
    try:
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise UsageError(f"{said} is no socket: {error.strerror}") from None
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(
        socket.SOL_SOCKET, socket.SO_ACCEPTCONN
    ):
        sock.close()
        raise UsageError(f"{said} is no listening stream socket")
    # Once, here, for all who share it: systemd hands it over blocking.
    sock.setblocking(False)
    refuse_descriptors(sock)
    return InheritedSocket(sock, _find_place(sock, said), name, _is_ours(name))


def _is_ours(name: str) -> bool:
    return name.startswith(_STORED)


def _find_place(sock: socket.socket, said: str) -> Place:
    address = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        path = os.fsdecode(address)
        return UnixAddress(path.replace("\0", "@", 1))
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        return Endpoint(socket.AddressFamily(sock.family), address[0], address[1])
    raise UsageError(f"{said} is of no family that HTTP is served on")
