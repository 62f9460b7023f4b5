"""A part of the state of a master, as the next image gets it."""

import os
import socket
from typing import TypeVar

from blazeio_supervisor.ipc.packing import (
    pack,
    unpack,
)
from blazeio_supervisor.master.components import take_part

PartT = TypeVar("PartT")


def take(fd: int) -> socket.socket:
    """Another socket for the same; as the next image makes it."""
    sock = socket.socket(fileno=os.dup(fd))
    sock.setblocking(False)
    return sock


def copy(part: PartT, kind: type[PartT] | None = None) -> PartT:
    """The same once more, with descriptors of its own."""
    octets = pack(part, lambda each: each.fileno())
    return unpack(octets, kind or type(part), lambda k, fd: take_part(k, fd, take))
