"""Which abstract names are listened on, and by whom, as the kernel says.

It is asked by sock_diag(7), which names the owner of each socket; so a name that
another user has taken is known as his without a connection, which he could keep
waiting. Where that is not allowed, ``/proc/net/unix`` has the names alone.
"""

import os
import socket
import struct
from collections.abc import Iterator

from msgspec import Struct

TABLE = "/proc/net/unix"
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DONE, _ERROR = 3, 2
_LISTENING_STATE = 10
_SHOW_NAME, _SHOW_UID = 0x01, 0x40
_NAME, _UID = 0, 7
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBHIIIII")
_ATTRIBUTE = struct.Struct("=HH")
_MESSAGE_BYTES = 16
_RECEIVE_BYTES = 1 << 16
_TIMEOUT_S = 1.0
_IS_LISTENING = 0x10000  # __SO_ACCEPTCON


class Listening(Struct, frozen=True):
    """A name that somebody listens on.

    Attributes:
        name: ``@name``.
        uid: Whose socket it is; None: the kernel does not say.
    """

    name: str
    uid: int | None = None


def list_listening() -> list[Listening]:
    """List the abstract names of this network namespace, each once."""
    try:
        found = _ask_kernel()
    except (OSError, struct.error):
        found = read_table(TABLE)
    return sorted(set(found), key=lambda each: (each.name, each.uid or 0))


def read_table(path: str) -> list[Listening]:
    """Read the kernel's table as text; of a file that is not there: nothing."""
    try:
        with open(path, errors="surrogateescape") as file:
            rows = [line.rstrip("\n").split(" ", 7) for line in file]
    except OSError:
        return []  # /proc is hidden here
    return [Listening(row[-1]) for row in rows if _is_listening(row)]


def _is_listening(row: list[str]) -> bool:
    is_named = len(row) == 8 and row[-1].startswith("@")
    return is_named and bool(int(row[3], 16) & _IS_LISTENING)


def _ask_kernel() -> list[Listening]:
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
    ) as sock:
        sock.settimeout(_TIMEOUT_S)
        shown = _SHOW_NAME | _SHOW_UID
        everything = 0xFFFFFFFF
        states = 1 << _LISTENING_STATE
        request = _REQUEST.pack(
            socket.AF_UNIX, 0, 0, states, 0, shown, everything, everything
        )
        size = _HEADER.size + len(request)
        sock.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _DUMP, 1, 0) + request)
        found: list[Listening] = []
        while True:
            for kind, content in _split(sock.recv(_RECEIVE_BYTES)):
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    number = struct.unpack_from("=i", content)[0]
                    raise OSError(-number, os.strerror(-number))
                found += _read_socket(content)


def _split(octets: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(octets):
        size, kind, *_ = _HEADER.unpack_from(octets, at)
        if size < _HEADER.size:
            return
        yield kind, octets[at + _HEADER.size : at + size]
        at += size + 3 & ~3


def _read_socket(content: bytes) -> list[Listening]:
    values, at = {}, _MESSAGE_BYTES
    while at + _ATTRIBUTE.size <= len(content):
        size, kind = _ATTRIBUTE.unpack_from(content, at)
        if size < _ATTRIBUTE.size:
            break
        values[kind] = content[at + _ATTRIBUTE.size : at + size]
        at += size + 3 & ~3
    name = values.get(_NAME, b"")
    if not name.startswith(b"\0"):
        return []  # a path, or no name at all
    uid = int.from_bytes(values[_UID], "little") if _UID in values else None
    return [Listening(f"@{os.fsdecode(name[1:])}", uid)]
