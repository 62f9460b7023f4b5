"""What the operating system offers, and what stands in for it where it does not.

Servers run on Linux. Many develop on macOS, where the framework and its client work by
the fallbacks below: each is chosen here, by what is there and not by a name. They cost
something that development does not need, and each says what.
"""

import fcntl
import os
import select
import socket

HAS_EPOLL = hasattr(select, "epoll")
"""Else a paused connection is looked at from time to time: ``readiness.SidePoll``."""

HAS_NOWAIT_READS = hasattr(os, "RWF_NOWAIT")
"""preadv2(2) tells what is in the page cache. Else files are read in threads."""

HAS_SENDFILE = HAS_EPOLL and HAS_NOWAIT_READS and hasattr(os, "sendfile")
"""sendfile(2) as Linux has it, with a way to wait for room in the socket. Else files
are read and written in chunks, as over TLS."""

HAS_UNSENT_COUNT = HAS_EPOLL
"""SIOCOUTQ (tcp(7)) tells what the peer has not acknowledged. Else that counts as
nothing: a slow reader is noticed when the transport's own buffer is full."""

NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
"""Else Python has SIGPIPE ignored, as it does by default."""

PEER_HAS_ENDED = getattr(select, "POLLRDHUP", 0)
"""Else poll(2) tells of a FIN by POLLIN alone."""


def find_real_path(descriptor: int) -> str:
    """Return the path of an open file, without links.

    Raises:
        OSError: The system does not tell it.
    """
    get_path = getattr(fcntl, "F_GETPATH", None)  # macOS: fcntl(2)
    if get_path is None:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    octets = fcntl.fcntl(descriptor, get_path, bytes(1024))
    return os.fsdecode(octets.partition(b"\0")[0])
