"""Which processes listen at an address, for the error that says "in use by".

The listening sockets are read from /proc/net/tcp, and their holders from the open
files of all processes. ``psutil.net_connections`` cannot do it: it names one process
for each socket, and a listener is held by a master and all its workers; and it merges
the sockets of one address whose holder is hidden, so that they cannot be counted. What
is said of a process (its command line, its parent) comes from ``psutil``.
"""

import os
import socket

from msgspec import Struct

from blazeio_supervisor.ipc.processes import read_command, read_parent
from blazeio_supervisor.sockets.address import TcpEndpoint

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
