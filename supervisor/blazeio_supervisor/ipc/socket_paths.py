"""Where a service can be asked, and where the verbs look for one.

In ``$RUNTIME_DIRECTORY``, which systemd makes for a unit, it is a file with
mode 0600; elsewhere a name of the abstract namespace, which leaves no file
behind and works on a read-only disk. Such a name holds the uid and the name of
the instance (``master/status.py``). Anybody may take any abstract name: only what
the kernel says of its owner is believed.
"""

import glob
import os
import re
import socket
import struct
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

# Who is at the other end of a unix socket, as the kernel saw it connect.


_UCRED = struct.Struct("3i")


class Peer(Struct, frozen=True):
    """A process at the moment of its ``connect`` or ``listen``.

    Attributes:
        pid: 0 when it is in a PID namespace that we do not see (a container).
    """

    pid: int
    uid: int


def read_peer(sock: socket.socket) -> Peer:
    """Return the peer by SO_PEERCRED, which the kernel vouches for."""
    octets = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(octets)
    return Peer(pid, uid)


def find_runtime_directory() -> str:
    """Return the directory that systemd made for the unit, the first of several."""
    return os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]


# Which abstract names are listened on, and by whom, as the kernel says.
#
# It is asked by sock_diag(7), which names the owner of each socket; so a name that
# another user has taken is known as his without a connection, which he could keep
# waiting. Where that is not allowed, ``/proc/net/unix`` has the names alone.


TABLE = "/proc/net/unix"
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DONE, _ERROR = 3, 2
_LISTENING_STATE = 10
_SHOW_NAME, _SHOW_UID = 0x01, 0x40
_NAME_ATTRIBUTE, _UID = 0, 7
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
        uid: The owner of the socket; None: the kernel does not tell.
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
    name = values.get(_NAME_ATTRIBUTE, b"")
    if not name.startswith(b"\0"):
        return []  # a path, or no name at all
    uid = int.from_bytes(values[_UID], "little") if _UID in values else None
    return [Listening(f"@{os.fsdecode(name[1:])}", uid)]


FILE_NAME = "control.sock"
UNIT_PATTERNS = (
    "/run/blazeio/{name}",
    "/run/blazeio/*/{name}",
    "/run/user/{uid}/blazeio/{name}",
    "/run/user/{uid}/blazeio/*/{name}",
)
"""Where systemd puts the directories of units, the system's and the users'."""
_ABSTRACT = "@"
PREFIX = "@blazeio/"
_NAMED = re.compile(rf"{PREFIX}[0-9]+/[A-Za-z0-9_.:@+/-]+", re.ASCII)
_MOST_BYTES = 107
NAME_CHARS = 64
_NAME = re.compile(r"[A-Za-z0-9_.:@+-]+")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.:@+-]+")


class SocketPath(Struct, frozen=True):
    """A unix socket: a path, or ``@name`` in the abstract namespace."""

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def is_abstract(self) -> bool:
        """Whether it is not a file."""
        return self.text.startswith(_ABSTRACT)

    @property
    def address(self) -> str:
        """As ``connect`` and ``bind`` take it."""
        return f"\0{self.text[1:]}" if self.is_abstract else self.text

    def admits(self, server: Peer, uid: int) -> bool:
        """Whether a server found here may be believed.

        Ours and root's are; behind a path also the one whose file it is, since
        who may make files there is the folder's matter.

        Args:
            server: The process that answers.
            uid: The user that asks.

        Raises:
            OSError: The path is gone.
        """
        if server.uid in (0, uid):
            return True
        return not self.is_abstract and os.stat(self.text).st_uid == server.uid


def parse_place(text: str) -> SocketPath:
    """Read ``--control``: a path (from the working directory), or ``@name``.

    Raises:
        ValueError: The operator's fault; the text says what is wrong.
    """
    if text in ("", _ABSTRACT):
        raise ValueError("write a path, or @name for the abstract namespace")
    place = SocketPath(text if text.startswith(_ABSTRACT) else os.path.abspath(text))
    if len(os.fsencode(place.text)) > _MOST_BYTES:
        raise ValueError(f"longer than the kernel's {_MOST_BYTES} octets")
    return place


def is_name(text: str) -> bool:
    """Whether this may be the name of an instance: one word without slashes."""
    return len(text) <= NAME_CHARS and _NAME.fullmatch(text) is not None


def name_after(app: str) -> str:
    """Return the name of an instance by its app: ``app:web``, ``app.py``."""
    word = _NOT_IN_A_NAME.sub("-", os.path.basename(app))
    return word[:NAME_CHARS]


def choose_places(
    given: SocketPath | None, runtime_directory: str, own: SocketPath | None
) -> list[SocketPath]:
    """Choose where the master makes its socket: the first that it can make.

    Args:
        given: The value of ``--control``.
        runtime_directory: That systemd made for the unit, or "".
        own: The abstract name of this service; None: there is none.
    """
    if given is not None:
        return [given]
    places = [] if own is None else [own]
    if runtime_directory:
        places.insert(0, SocketPath(os.path.join(runtime_directory, FILE_NAME)))
    return places


class Search(Struct, frozen=True):
    """Where a verb looks for the service.

    Attributes:
        places: Which exist, in the order in which they are listed.
        looked_at: The same in words, also for those that do not exist.
        others: Services of other users, which answer only to these; or names that
            such a one has taken.
    """

    places: Sequence[SocketPath]
    looked_at: Sequence[str]
    others: Sequence[SocketPath] = ()


def search(
    given: SocketPath | None,
    runtime_directory: str,
    uid: int,
    list_names: Callable[[], Sequence[Listening]] = list_listening,
    *,
    is_named: bool = False,
) -> Search:
    """Find what may be a service.

    Inside a unit (``ExecReload=``, say) ``$RUNTIME_DIRECTORY`` names its own
    service, whichever others run.

    Args:
        given: The value of ``--control``.
        runtime_directory: Of the unit that the verb runs in, or "".
        uid: The user that asks.
        list_names: Returns the abstract names that are listened on.
        is_named: One is meant by its name, which may be another unit's.
    """
    if given is not None:
        return Search([given], [str(given)])
    own = os.path.join(runtime_directory, FILE_NAME)
    paths = [own] if runtime_directory and os.path.exists(own) else []
    if paths and not is_named:
        return Search([SocketPath(own)], [own])
    patterns = [each.format(uid=uid, name=FILE_NAME) for each in UNIT_PATTERNS]
    paths += [path for pattern in patterns for path in sorted(glob.glob(pattern))]
    names = [each for each in list_names() if _NAMED.fullmatch(each.name)]
    mine = f"{PREFIX}{uid}/"
    ours = [
        each.name
        for each in names
        if each.name.startswith(mine) and each.uid in (None, 0, uid)
    ]
    looked_at = [*([own] if runtime_directory else []), *patterns, f"{mine}*"]
    return Search(
        [SocketPath(text) for text in dict.fromkeys([*paths, *ours])],
        looked_at,
        [SocketPath(each.name) for each in names if each.name not in ours],
    )


# Where a process lives: another container has other paths and names.


class Home(Struct, frozen=True):
    """Where a process lives: another home is another container.

    Attributes:
        pid_namespace: As ``/proc/self/ns/pid`` has it; "" where that is hidden.
        root: Device and inode of its root directory; "" where that is hidden.
    """

    pid_namespace: str = ""
    root: str = ""

    def is_same(self, other: "Home") -> bool:
        """Whether both are one, as far as is known of them."""
        return _agree(self.pid_namespace, other.pid_namespace) and _agree(
            self.root, other.root
        )


def find_home() -> Home:
    """Return where this process lives."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    try:
        found = os.stat("/")
    except OSError:
        return Home(namespace)
    return Home(namespace, f"{found.st_dev}:{found.st_ino}")


def _agree(one: str, other: str) -> bool:
    return not one or not other or one == other
