"""Making listening sockets that no second service can join or steal.

A service that opens an address with SO_REUSEPORT is silently joined by any
other of the same user, which then takes its share of the connections. So the
first socket binds *and listens* without the option (the kernel refuses it if
anybody listens there); only then the option is turned on, for the sockets of
the other slots. A port is refused to a later instance by the same first step.
"""

import errno
import os
import socket
import stat

from blazeio_supervisor.errors import BindError
from blazeio_supervisor.sockets.address import Endpoint, UnixAddress
from blazeio_supervisor.sockets.holder import describe_holder, find_holders
from blazeio_supervisor.sockets.peer import read_peer

BACKLOG = 2048  # what gunicorn and uvicorn ask for; the kernel cuts at somaxconn
UNIX_MODE = 0o666  # as nginx and uvicorn: guard a socket by its folder


class AddressInUseError(BindError):
    """Somebody listens there; worth another try for a moment."""


def open_first(endpoint: Endpoint, backlog: int = BACKLOG) -> socket.socket:
    """Bind and listen alone, then let siblings join.

    Raises:
        AddressInUseError: Names the holder when it can be seen.
        BindError: The address is not this machine's, or not allowed.
    """
    sock = _make_tcp(endpoint.family)
    try:
        _bind_tcp(sock, endpoint)
        sock.listen(backlog)  # two may bind at once; only one may listen
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        sock.close()
        raise _explain(endpoint, error) from error
    return sock


def open_sibling(first: socket.socket, backlog: int = BACKLOG) -> socket.socket:
    """Join the group of ``open_first`` with one more queue.

    Raises:
        BindError: The kernel refused, which it has no reason for.
    """
    host, port = first.getsockname()[:2]
    endpoint = Endpoint(first.family, host, port)
    sock = _make_tcp(first.family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _bind_tcp(sock, endpoint)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise _explain(endpoint, error) from error
    return sock


def open_unix(
    address: UnixAddress,
    mode: int = UNIX_MODE,
    owner: tuple[int, int] | None = None,
    backlog: int = BACKLOG,
) -> socket.socket:
    """Bind a unix socket; a stale one is replaced, a living one refused.

    Args:
        address: Its path.
        mode: It has that from the first moment on, so that no client comes in
            by a wider one before.
        owner: User and group that get the path; None: who we are.

    Raises:
        BindError: Somebody answers there, or the path is not ours to make.
    """
    _remove_stale(address)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    before = os.umask(0o777 & ~mode)
    try:
        sock.bind(address.path)
        if owner is not None:
            os.chown(address.path, *owner, follow_symlinks=False)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise BindError(f"cannot bind {address}: {error.strerror}") from error
    finally:
        os.umask(before)
    return sock


def identify_path(path: str) -> tuple[int, int] | None:
    """Tell one file from a later one of the same name; None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _make_tcp(family: socket.AddressFamily | int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    # Set once, here: the flag is shared by every process that has the socket.
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


def _bind_tcp(sock: socket.socket, endpoint: Endpoint) -> None:
    sock.bind((endpoint.host, endpoint.port))


def _explain(endpoint: Endpoint, error: OSError) -> BindError:
    if error.errno == errno.EADDRINUSE:
        holders = ", ".join(map(str, find_holders(endpoint)))
        who = f"by {holders}" if holders else "by a process of another user"
        return AddressInUseError(f"{endpoint} is in use {who}")
    hint = ""
    if error.errno == errno.EACCES and endpoint.port < 1024:
        hint = "; a port below 1024 needs CAP_NET_BIND_SERVICE"
    elif error.errno == errno.EADDRNOTAVAIL:
        hint = "; no interface of this machine has that address"
    return BindError(f"cannot bind {endpoint}: {error.strerror}{hint}")


def _remove_stale(address: UnixAddress) -> None:
    try:
        mode = os.lstat(address.path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise BindError(f"cannot bind {address}: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise BindError(f"cannot bind {address}: the path exists and is no socket")
    holder = _find_unix_holder(address)
    if holder:
        raise AddressInUseError(f"{address} is in use by {holder}")
    try:
        os.unlink(address.path)
    except FileNotFoundError:
        pass  # removed by somebody else
    except OSError as error:
        raise BindError(f"cannot replace {address}: {error.strerror}") from error


def _find_unix_holder(address: UnixAddress) -> str:
    """Connect, to see who listens; "" when nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address.path)
        except BlockingIOError:
            return "a process whose queue is full"
        except OSError as error:
            if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
                return ""
            raise BindError(f"cannot bind {address}: {error.strerror}") from error
        return str(describe_holder(read_peer(probe).pid))
