"""What a service is called, so that no two are called the same.

A name is claimed by binding a socket of the abstract namespace to it, which the
kernel allows once. That namespace belongs to the network namespace: containers
that share one (a pod, the host's network) share the names, too. So a name that is
taken gets a number, ``app:web-2``; and beside it a service claims the name that was
asked for in its own container, where it is known by that one as well.
"""

import errno
import os
import socket
import zlib
from collections.abc import Sequence

from msgspec import Struct, field

from blazeio_supervisor.ipc.processes import refuse_descriptors
from blazeio_supervisor.ipc.socket_paths import (
    NAME_CHARS,
    PREFIX,
    Home,
    SocketPath,
    find_home,
    list_listening,
    read_peer,
)

_NUMBERED_COUNT = 99
"""So many names of a kind; one more is told apart by its pid and a random word, so
that nobody who takes names in advance can take all of them."""
# Room for a number such as "-1000".
_ROOM_CHARS = 5


class Naming(Struct):
    """The names of this service.

    Attributes:
        name: No other service of this user in this network namespace has it; "": none
            was claimed.
        alias: The name that was asked for, when no other service in this container
            is called so; "": there is none.
        why: Why the name is not the one that was asked for; "" when it is.
        home: Where this process lives.
        sockets: Bound to the name and to the alias; none where no socket can be.
    """

    name: str = ""
    alias: str = ""
    why: str = ""
    home: Home = field(default_factory=lambda: find_home())
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def place(self) -> SocketPath | None:
        """The abstract name of this service; None where there can be none."""
        return _place(os.geteuid(), self.name) if self.sockets else None

    def claim(self, wanted: str) -> None:
        """Claim a name; where no socket can be bound, it is the wanted one."""
        self.name = wanted
        for name in _iterate_names(wanted):
            try:
                self.sockets.append(_bind(_place(os.geteuid(), name)))
            except OSError as error:
                if not _is_taken(error):
                    return
                self.why = self.why or _describe_holder(_place(os.geteuid(), name))
            else:
                self.name = name
                break
        self._claim_alias(wanted)

    def _claim_alias(self, wanted: str) -> None:
        known = os.fsencode(f"{self.home.pid_namespace} {self.home.root}")
        word = f"{wanted}/{zlib.crc32(known):08x}"
        try:
            self.sockets.append(_bind(_place(os.geteuid(), word)))
        except OSError:
            return  # another one in this container is called so
        self.alias = wanted

    def take_socket(self) -> socket.socket:
        """Return the socket that is bound to the name; the caller does not close it.

        Raises:
            OSError: No name could be bound.
        """
        if not self.sockets:
            raise OSError(0, "no abstract name can be bound here")
        return self.sockets[0]

    def close(self) -> None:
        """Release the names."""
        for sock in self.sockets:
            sock.close()
        self.sockets.clear()


def _iterate_names(wanted: str) -> Sequence[str]:
    stem = wanted[: NAME_CHARS - _ROOM_CHARS]
    numbered = [f"{stem}-{number}" for number in range(2, _NUMBERED_COUNT + 1)]
    stem = wanted[: NAME_CHARS - 20]
    return [wanted, *numbered, f"{stem}-{os.getpid()}-{os.urandom(4).hex()}"]


def _place(uid: int, name: str) -> SocketPath:
    return SocketPath(f"{PREFIX}{uid}/{name}")


def _bind(place: SocketPath) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # Every connection inherits it; a client could otherwise send descriptors, which
        # nobody here would receive and close.
        refuse_descriptors(sock)
        sock.bind(place.address)
    except OSError:
        sock.close()
        raise
    return sock


def _is_taken(error: OSError) -> bool:
    return error.errno == errno.EADDRINUSE


def _describe_holder(place: SocketPath) -> str:
    """Describe who has a name, as far as the kernel tells."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(place.address)
            peer = read_peer(sock)
        # ECONNREFUSED where nobody listens, EAGAIN where its queue is full
        # (connect(2)).
        except OSError:
            uids = [each.uid for each in list_listening() if each.name == place.text]
            return f"{place} is taken{f' by uid {uids[0]}' if uids else ''}"
    where = f"pid {peer.pid}" if peer.pid else "a process of another container"
    return f"{place} is taken by {where} of uid {peer.uid}"


# The sockets on which the master itself answers: what goes over an upgrade.
#
# Apart from the servers, which are imported when somebody asks.


class ControlState(Struct):
    """Where verbs are answered.

    Attributes:
        place: Where it listens; None: it does not.
        sock: The listening socket; it may be that of the service's name.
        identity: Of the file, so that a later one is not removed in its place.
    """

    place: SocketPath | None = None
    sock: socket.socket | None = None
    identity: tuple[int, int] | None = None


class MetricsState(Struct):
    """Where the metrics are answered.

    Attributes:
        sockets: The listening sockets; none before ``MetricsServer.open``.
        path: The path of a unix socket, and which file that is.
    """

    sockets: list[socket.socket] = []
    path: tuple[str, tuple[int, int] | None] | None = None
