"""The sockets on which the master itself answers: what goes over an upgrade.

Apart from the servers, which are imported when somebody asks.
"""

import socket

from msgspec import Struct

from blazeio_supervisor.ipc.socket_paths import SocketPath


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
