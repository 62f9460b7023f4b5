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
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from msgspec import Struct

from blazeio_supervisor.errors import BindError, UsageError
from blazeio_supervisor.files import identify, look, remove
from blazeio_supervisor.ipc.processes import (
    files_made_as,
    read_command,
    read_parent,
    refuse_descriptors,
)
from blazeio_supervisor.ipc.socket_paths import read_peer
from blazeio_supervisor.sockets.address import TcpEndpoint, UnixAddress
from blazeio_supervisor.trust import FilePlace, walked

BACKLOG = 2048  # what gunicorn and uvicorn ask for; the kernel cuts at somaxconn
UNIX_MODE = 0o666  # as nginx and uvicorn: guard a socket by its folder


class AddressInUseError(BindError):
    """The address is in use; another try in a moment may succeed.

    Attributes:
        pid: The process that listens there; 0: not known.
    """

    pid = 0


def open_first(endpoint: TcpEndpoint, backlog: int = BACKLOG) -> socket.socket:
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
        BindError: The kernel refused, for no reason that we know.
    """
    host, port = first.getsockname()[:2]
    endpoint = TcpEndpoint(first.family, host, port)
    try:
        return open_member(endpoint, backlog)
    except OSError as error:
        raise _explain(endpoint, error) from error


def open_member(endpoint: TcpEndpoint, backlog: int = BACKLOG) -> socket.socket:
    """Bind and listen beside those who listen there already.

    Raises:
        OSError: The kernel refused.
    """
    sock = _make_tcp(endpoint.family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _bind_tcp(sock, endpoint)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def open_unix(
    address: UnixAddress,
    mode: int = UNIX_MODE,
    owner: tuple[int, int] | None = None,
    backlog: int = BACKLOG,
) -> socket.socket:
    """Bind a unix socket; a stale one is replaced, a living one refused.

    In a folder that another user could exchange root acts as that user: so no
    link of that user has root make, or remove, anything elsewhere.

    Args:
        address: Its path.
        mode: The mode of the socket file from the first moment on, so that no client
            can connect before it is set.
        owner: User and group of the path; None: those of this process.

    Raises:
        BindError: Another process listens there, or the path cannot be made.
    """
    try:
        with walked(address.path, follows_last=False) as place:
            is_of_other = place.weakness is not None
            _remove_stale(address, place)
            with _acting_in_folder(place):
                sock = _bind_unix(address.path, mode)
        if owner is None and is_of_other:
            owner = os.geteuid(), os.getegid()
    except OSError as error:
        raise BindError(f"cannot bind {address}: {error.strerror}") from error
    try:
        if owner is not None:
            _give(address.path, owner, is_sure=not is_of_other)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise BindError(f"cannot bind {address}: {error.strerror}") from error
    return sock


def _bind_unix(path: str, mode: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    # Every connection inherits it. To drop what a client sends along may wait for
    # as long as that client likes (SO_LINGER), with the loop.
    refuse_descriptors(sock)
    before = os.umask(0o777 & ~mode)
    try:
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock


@contextmanager
def _acting_in_folder(place: FilePlace) -> Iterator[None]:
    """Act for a while as the user that owns the folder.

    Raises:
        UntrustedError: Others could exchange a folder above one of root's.
    """
    if place.weakness is None:
        yield
    elif place.folder.st_uid != 0:
        with files_made_as(place.folder.st_uid, place.folder.st_gid):
            yield
    elif place.weakness.place == os.path.dirname(place.path):
        yield  # others make files beside ours: bind() follows none of them
    else:
        raise place.weakness


def _give(path: str, owner: tuple[int, int], *, is_sure: bool) -> None:
    """Change the owner of a socket file, whatever its name is by now.

    Args:
        path: The path of the socket.
        owner: User and group.
        is_sure: No other user can have exchanged it.
    """
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        made = os.fstat(fd)
        if (made.st_uid, made.st_gid) == owner:
            return
        if not stat.S_ISSOCK(made.st_mode) or made.st_nlink > 1:
            raise OSError(0, "it was exchanged as soon as it was made")
        try:
            os.chown(f"/proc/self/fd/{fd}", *owner)
        except FileNotFoundError:  # there is no /proc
            if not is_sure:
                raise
            os.chown(path, *owner, follow_symlinks=False)
    finally:
        os.close(fd)


def identify_path(path: str) -> tuple[int, int] | None:
    """Tell one file from a later one of the same name; None when there is none."""
    return identify(path)


def is_gone(path: str) -> bool:
    """Tell whether somebody has removed a path; where nobody can tell, it is there."""
    try:
        return look(path) is None
    except FileNotFoundError:  # its folder is gone
        return True
    except OSError:
        return False


def _make_tcp(family: socket.AddressFamily | int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    # Set once, here: the flag is shared by every process that has the socket.
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


def _bind_tcp(sock: socket.socket, endpoint: TcpEndpoint) -> None:
    sock.bind((endpoint.host, endpoint.port))


def _explain(endpoint: TcpEndpoint, error: OSError) -> BindError:
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


def _remove_stale(address: UnixAddress, place: FilePlace) -> None:
    if place.found is None:
        return
    if not stat.S_ISSOCK(place.found.st_mode):
        raise BindError(f"cannot bind {address}: the path exists and is not a socket")
    holder, pid = _find_unix_holder(address, place)
    if holder:
        error = AddressInUseError(f"{address} is in use by {holder}")
        error.pid = pid
        raise error
    try:
        remove(address.path, (place.found.st_dev, place.found.st_ino))
    except OSError as error:
        raise BindError(f"cannot replace {address}: {error.strerror}") from error


def _find_unix_holder(address: UnixAddress, place: FilePlace) -> tuple[str, int]:
    """Connect, to see who listens, with the pid; "" when nobody does."""
    with ExitStack() as stack:
        probe = stack.enter_context(socket.socket(socket.AF_UNIX))
        probe.setblocking(False)
        try:
            flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(place.name, flags, dir_fd=place.folder_fd)
            stack.callback(os.close, fd)
            # By its descriptor: a name could lead to another one by now.
            has_proc = os.path.exists("/proc/self/fd")
            probe.connect(f"/proc/self/fd/{fd}" if has_proc else address.path)
        except BlockingIOError:
            return "a process whose queue is full", 0
        except OSError as error:
            if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
                return "", 0
            raise BindError(f"cannot bind {address}: {error.strerror}") from error
        pid = read_peer(probe).pid
        return str(describe_holder(pid)), pid


# Which processes listen at an address, for the error that says "in use by".
#
# The listening sockets are read from /proc/net/tcp, and their holders from the open
# files of all processes. ``psutil.net_connections`` cannot do it: it names one process
# for each socket, and a listener is held by a master and all its workers; and it merges
# the sockets of one address whose holder is hidden, so that they cannot be counted.
# What is said of a process (its command line, its parent) comes from ``psutil``.


_LISTEN = "0A"  # the state in /proc/net/tcp
_WILDCARDS = ("0.0.0.0", "::")
_NAME_CHARS = 80


class PortOwner(Struct, frozen=True):
    """A process that has the socket open."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.name})"


def find_holders(endpoint: TcpEndpoint) -> list[PortOwner]:
    """Find the processes that listen there; empty when they cannot be seen.

    A socket is often held by a master and all its workers: a process whose parent
    holds it too is left out. Workers whose master was killed are all named.
    """
    inodes = _find_listening_inodes(endpoint)
    holders = _find_pids(inodes) if inodes else set()
    heads = [pid for pid in holders if read_parent(pid) not in holders]
    return [describe_holder(pid) for pid in sorted(heads)]


def count_listeners(endpoint: TcpEndpoint) -> int | None:
    """Count the sockets that listen at exactly that address; None: hidden."""
    table = "tcp" if endpoint.family is socket.AF_INET else "tcp6"
    try:
        with open(f"/proc/net/{table}") as file:
            rows = [line.split() for line in file.readlines()[1:]]
    except OSError:
        return None
    return sum(row[3] == _LISTEN and _is_at(row[1], endpoint) for row in rows)


def _is_at(local: str, endpoint: TcpEndpoint) -> bool:
    digits, _, port = local.partition(":")
    return int(port, 16) == endpoint.port and _parse_host(digits) == endpoint.host


def describe_holder(pid: int) -> PortOwner:
    """Name a process by its command line, on one line whatever that holds."""
    words = " ".join(read_command(pid).split())
    name = "".join(each if each.isprintable() else "?" for each in words)
    return PortOwner(pid, name[:_NAME_CHARS] or "unnamed")


def _find_listening_inodes(endpoint: TcpEndpoint) -> set[str]:
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            with open(f"/proc/net/{table}") as file:
                lines = file.readlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and _collides(fields[1], endpoint):
                inodes.add(fields[9])
    return inodes


def _collides(local: str, endpoint: TcpEndpoint) -> bool:
    digits, _, port = local.partition(":")
    if int(port, 16) != endpoint.port:
        return False
    host = _parse_host(digits)
    return host == endpoint.host or host in _WILDCARDS or endpoint.host in _WILDCARDS


def _parse_host(digits: str) -> str:
    """Read the kernel's hexadecimal address: host-endian 32-bit words."""
    octets = bytes.fromhex(digits)
    words = [octets[at : at + 4][::-1] for at in range(0, len(octets), 4)]
    family = socket.AF_INET if len(octets) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, b"".join(words))


def _find_pids(inodes: set[str]) -> set[int]:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    pids = set()
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            fds = os.listdir(f"/proc/{name}/fd")
        except OSError:
            continue  # gone, or another user's
        if any(_points_to(f"/proc/{name}/fd/{fd}", wanted) for fd in fds):
            pids.add(int(name))
    return pids


def _points_to(path: str, wanted: set[str]) -> bool:
    try:
        return os.readlink(path) in wanted
    except OSError:
        return False


# Listening sockets that somebody else has made, or kept for us.
#
# Either a service manager has opened them (a ``.socket`` unit), or whoever
# started us (``--fd``), or they are of an earlier life of this service and were
# kept meanwhile (systemd's file descriptor store). They outlive us: nothing here
# or later shuts them down, and what waits in their queues waits for our next life.


_STORED = "blazeio_"
_MOST_NAME_CHARS = 255

ListenAddress = TcpEndpoint | UnixAddress


class InheritedSocket(Struct, frozen=True):
    """A socket that this process was started with.

    Attributes:
        place: The address that it listens on.
        is_stored: It was made by an earlier start of the service, and stored.
    """

    sock: socket.socket
    place: ListenAddress
    name: str
    is_stored: bool


def name_for_store(place: ListenAddress) -> str:
    """Return the name of an address in the file descriptor store.

    systemd takes ASCII without colons and control characters.
    """
    text = str(place) if isinstance(place, UnixAddress) else place.write_url("tcp")
    plain = text.encode("ascii", "backslashreplace").decode().replace(":", "_")
    return f"{_STORED}{plain}"[:_MOST_NAME_CHARS]


def take_inherited(fds: Iterable[tuple[int, str]]) -> list[InheritedSocket]:
    """Take the descriptors over; no exec passes them on from now on.

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
        raise UsageError(f"{said} is not a socket: {error.strerror}") from None
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(
        socket.SOL_SOCKET, socket.SO_ACCEPTCONN
    ):
        sock.close()
        raise UsageError(f"{said} is not a listening stream socket")
    # Once, here, for all who share it: systemd hands it over blocking.
    sock.setblocking(False)
    refuse_descriptors(sock)
    return InheritedSocket(sock, _find_place(sock, said), name, _is_ours(name))


def _is_ours(name: str) -> bool:
    return name.startswith(_STORED)


def _find_place(sock: socket.socket, said: str) -> ListenAddress:
    address = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        path = os.fsdecode(address)
        return UnixAddress(path.replace("\0", "@", 1))
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        return TcpEndpoint(socket.AddressFamily(sock.family), address[0], address[1])
    raise UsageError(f"{said} is of no family that HTTP is served on")
