"""What an import left behind that does not survive a fork.

A thread exists only in the process that started it, so its work silently stops
and its locks stay held. An event loop's epoll, a socket and a pipe are shared by
all children, which then take each other's events and octets. A file that is open
has one position for all of them: one reads where another has just read. A child
process answers whoever reads first.
"""

import asyncio
import contextlib
import gc
import os
import random
import socket
import stat
import sys
import threading
import time
import warnings
from time import monotonic
from typing import Any

from msgspec import Struct

from blazeio_supervisor.ipc.processes import (
    find_tracker,
    list_descendants,
    read_command,
)
from blazeio_supervisor.worker.import_app import (
    MAP,
    PROCESS,
    SOCKET,
    ImportOrigins,
    is_machinery,
)

_MOST = 10  # one is enough to know; they are named in a log line
_TEXT_CHARS = 60
_OF_A_LOOP = ("a socket", "a pipe", "an eventpoll", "an io_uring", "an eventfd")
_HARMLESS = ("pidfd",)
_TERMINALS = ("/dev/pts/", "/dev/ptmx", "/dev/pty")
_SETTLE_S = 0.25  # a thread that has ended leaves /proc a little later
_SHARED_TYPES = (
    ("concurrent.futures.process", "ProcessPoolExecutor"),
    ("multiprocessing.pool", "Pool"),
    ("multiprocessing.managers", "BaseManager"),
    ("multiprocessing.queues", "Queue"),
    ("multiprocessing.queues", "SimpleQueue"),
    ("multiprocessing.connection", "Connection"),
    ("multiprocessing.synchronize", "SemLock"),
    ("multiprocessing.synchronize", "Condition"),
    ("multiprocessing.synchronize", "Event"),
    ("multiprocessing.shared_memory", "SharedMemory"),
    ("multiprocessing.sharedctypes", "SynchronizedBase"),
)
"""What stands for a resource that processes share, the most specific ones first."""


class ImportSnapshot(Struct, frozen=True):
    """What there was before an import.

    Attributes:
        fds: Descriptors, each with what it is.
        maps: Memory that is shared and may be written to, by place.
        children: Pids of all that is below this process.
    """

    fds: frozenset[tuple[int, str]]
    maps: frozenset[tuple[str, str]]
    children: frozenset[int]


def take_snapshot() -> ImportSnapshot:
    """Return what there is by now."""
    return ImportSnapshot(
        frozenset(_list_fds()),
        frozenset(_list_maps()),
        frozenset(list_descendants(os.getpid())),
    )


def is_pristine(*own_fds: int) -> bool:
    """Whether this interpreter holds nothing yet that a fork would lose or share.

    An agent that ``sitecustomize`` starts may hold threads and sockets before any
    line of ours.

    Args:
        own_fds: Descriptors of ours.
    """
    own = {each for each in _list_fds() if each[0] <= 2 or each[0] in own_fds}
    return not find_fork_dangers(
        ImportSnapshot(frozenset(own), frozenset(), frozenset())
    )


def find_fork_dangers(
    before: ImportSnapshot,
    births: ImportOrigins | None = None,
    objects: list[Any] | None = None,
) -> tuple[str, ...]:
    """Return what makes a fork of this process unsafe; empty when nothing.

    Forks once, to see which native threads stay.

    Args:
        before: Taken before the app was imported.
        births: Where it has made things.
        objects: All that the collector knows; None: they are asked for.

    Cost: one walk over all objects; 0.1 s per million.
    """
    births = births or ImportOrigins()
    objects = gc.get_objects() if objects is None else objects
    dangers = _find_threads(births)
    loops = _find_loops(objects)
    if loops:
        made = _type_name(loops[0])
        dangers.append(
            _with_place(f"an event loop was made ({made})", _find_variable(loops[0]))
        )
    shared = _find_shared(objects)
    dangers += shared
    dangers += _find_processes(before, births)
    dangers += _find_fds(before, births, has_loop=bool(loops), has_shared=bool(shared))
    if not shared:
        dangers += _find_maps(before, births)
    return tuple(dict.fromkeys(dangers))[:_MOST]


def _find_threads(births: ImportOrigins) -> list[str]:
    named = [
        _with_place(
            f"the thread {thread.name!r} is running",
            births.threads.get(id(thread)) or _find_target(thread),
        )
        for thread in threading.enumerate()
        if thread is not threading.main_thread()
    ]
    return named + _find_native_threads()


def _find_target(thread: threading.Thread) -> str:
    """Find the function that a thread runs; Python 3.11 does not tell of its start."""
    run = getattr(thread, "_target", None) or type(thread).run
    code = getattr(run, "__code__", None)
    if code is None or is_machinery(code.co_filename):
        return ""
    return f"{code.co_qualname}, {_shorten(code.co_filename)}:{code.co_firstlineno}"


def _find_loops(objects: list[Any]) -> list[asyncio.AbstractEventLoop]:
    # By type: isinstance() would ask lazy proxies for their __class__.
    return [
        item
        for item in objects
        if issubclass(type(item), asyncio.AbstractEventLoop) and not item.is_closed()
    ]


def _find_shared(objects: list[Any]) -> list[str]:
    """Find what executors, pools and ``multiprocessing`` share between processes."""
    types = [
        found
        for module, name in _SHARED_TYPES
        if isinstance(found := getattr(sys.modules.get(module), name, None), type)
    ]
    if not types:
        return []
    ranks: dict[type, int | None] = {}
    items: list[tuple[int, str, str]] = []
    for item in objects:
        kind = type(item)
        if kind not in ranks:
            ranked = (n for n, each in enumerate(types) if issubclass(kind, each))
            ranks[kind] = next(ranked, None)
        rank = ranks[kind]
        if rank is not None:
            items.append((rank, _with_article(kind.__name__), _find_variable(item)))
    if not items:
        return []
    named = [item for item in sorted(items) if item[2]] or [min(items)]
    return [_with_place(f"{what} was made", name) for _, what, name in named]


def _find_processes(before: ImportSnapshot, births: ImportOrigins) -> list[str]:
    tracker = find_tracker()
    return [
        _with_place(
            f"the process {_read_command(pid)!r} runs", births.find_all(PROCESS)
        )
        for pid in list_descendants(os.getpid())
        if pid not in before.children and pid != tracker
    ]


def _find_fds(
    before: ImportSnapshot, births: ImportOrigins, *, has_loop: bool, has_shared: bool
) -> list[str]:
    found = []
    for fd, link in sorted(_list_fds() - before.fds):
        what, where = _describe_fd(fd, link, births)
        if not what or (has_loop and what in _OF_A_LOOP):  # a loop brings such
            continue
        if has_shared and what == "a pipe":
            continue
        found.append(_with_place(f"{what} is open", where))
    return found


def _find_maps(before: ImportSnapshot, births: ImportOrigins) -> list[str]:
    where = births.find_all(MAP)
    return [
        _with_place(f"shared memory is mapped ({path or 'anonymous'})", where)
        for _, path in sorted(_list_maps() - before.maps)
    ]


def _with_place(what: str, where: str | None) -> str:
    return f"{what} ({where})" if where else what


def _find_variable(item: object) -> str:
    """Find the variable of a module that holds something; "" when none does."""
    for name, module in list(sys.modules.items()):
        for variable, value in list(getattr(module, "__dict__", {}).items()):
            if value is item:
                return f"{name}.{variable}"
    return ""


def _type_name(item: object) -> str:
    return type(item).__name__


def _with_article(name: str) -> str:
    return f"{'an' if name[:1] in 'AEIOUaeio' else 'a'} {name}"


def _find_native_threads() -> list[str]:
    """Find threads that Python did not start and that a fork would lose.

    Some libraries know of forks: OpenBLAS, which numpy brings, ends its
    threads before each one (``pthread_atfork``) and starts them again when
    they are needed. So fork once, and count what is still there.
    """
    if not _list_native_threads():
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that threads are running is our question
        pid = os.fork()
    # Nothing but the exit: in this child only this thread is left, and a lock that
    # another one held stays locked.
    if pid == 0:
        os._exit(0)
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass  # the app ignores SIGCHLD, or reaps every child
    give_up_at = monotonic() + _SETTLE_S
    while names := _list_native_threads():
        if monotonic() > give_up_at:
            return [f"{len(names)} native thread(s) are running ({_join(names)})"]
        time.sleep(0.01)
    return []


def _list_native_threads() -> list[str]:
    """Return their names as ``ps -T`` shows them."""
    ours = {thread.native_id for thread in threading.enumerate()}
    names = []
    for tid in _list_folder("/proc/self/task"):
        if int(tid) not in ours:
            try:
                with open(f"/proc/self/task/{tid}/comm") as file:
                    names.append(file.read().strip())
            except OSError:
                pass  # it has just ended
    return names


def _join(names: list[str]) -> str:
    return ", ".join(sorted(set(names))[:_MOST])


def _list_folder(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []  # there is no /proc


def _list_fds() -> set[tuple[int, str]]:
    found = set()
    for name in _list_folder("/proc/self/fd"):
        try:
            found.add((int(name), os.readlink(f"/proc/self/fd/{name}")))
        except OSError:
            pass  # the descriptor of the very listing
    return found


def _list_maps() -> set[tuple[str, str]]:
    """List what is shared and may be written to, each with its path."""
    try:
        with open("/proc/self/maps") as file:
            lines = [line.split(maxsplit=5) for line in file]
    except OSError:
        return set()
    found = {
        (words[0], words[5].strip() if len(words) > 5 else "")
        for words in lines
        if words[1].endswith("s") and "w" in words[1]
    }
    # Those of an io_uring or the like: its descriptor is found as well.
    return {each for each in found if not each[1].startswith("anon_inode:")}


def _read_command(pid: int) -> str:
    return read_command(pid)[:_TEXT_CHARS] or f"pid {pid}"


def _describe_fd(fd: int, link: str, births: ImportOrigins) -> tuple[str, str]:
    """Describe a descriptor, and where it was made; "" when it does no harm."""
    if link.startswith("socket:"):
        return _describe_socket(fd), births.find_all(SOCKET)
    if link.startswith("pipe:"):
        return "a pipe", births.find_all(PROCESS)
    if link.startswith("anon_inode:"):
        kind = link.removeprefix("anon_inode:").strip("[]")
        return ("" if kind in _HARMLESS else _with_article(kind)), ""
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISFIFO(mode):
            return f"the fifo {link}", births.find_file(link)
        if stat.S_ISCHR(mode) and link.startswith(_TERMINALS):
            return f"the terminal {link}", ""
        if stat.S_ISREG(mode) and _shares_position(fd):
            return f"the file {_shorten(link)}", births.find_file(link)
    except OSError:
        pass  # closed meanwhile
    return "", ""


def _shares_position(fd: int) -> bool:
    """Whether it matters that all workers have one position in a file.

    It does not for a file that is only appended to; for one that can only be read
    and of which nothing was read yet (``open_anew`` opens it again in each worker);
    and for a lock file.
    """
    told = _read_fdinfo(fd)
    flags = int(told["flags"], 8)
    if flags & os.O_APPEND and flags & os.O_ACCMODE == os.O_WRONLY:
        return False
    is_to_be_locked = "lock" in told and told["pos"] == "0"
    return not (is_to_be_locked or _is_unread(fd, told))


def _is_unread(fd: int, told: dict[str, str]) -> bool:
    """Whether a file is at its beginning, can only be read, and be opened again."""
    is_read_only = int(told["flags"], 8) & os.O_ACCMODE == os.O_RDONLY
    if told["pos"] != "0" or not is_read_only or "lock" in told:
        return False
    try:
        os.close(_open_again(fd))
    except OSError:
        return False
    return True


def _open_again(fd: int) -> int:
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)


def _read_fdinfo(fd: int) -> dict[str, str]:
    with open(f"/proc/self/fdinfo/{fd}") as file:
        fields = [line.split(":", 1) for line in file]
    return {name: text.strip() for name, text in fields}


def find_unread_files(before: ImportSnapshot) -> list[tuple[int, str]]:
    """Find the files that ``open_anew`` opens again.

    Args:
        before: Taken before the app was imported.

    Returns:
        The descriptor and the path of each.
    """
    found = []
    for fd, link in sorted(_list_fds() - before.fds):
        with contextlib.suppress(OSError):  # closed meanwhile
            is_file = stat.S_ISREG(os.fstat(fd).st_mode)
            if is_file and _is_unread(fd, _read_fdinfo(fd)):
                found.append((fd, link))
    return found


def open_anew(files: list[tuple[int, str]]) -> None:
    """Open files again, each under its own number, in a process that was forked.

    A fork shares the position: the ``seek`` of one worker would move that of all.
    """
    for fd, link in files:
        with contextlib.suppress(OSError):  # it is closed, or may not be read any more
            if os.readlink(f"/proc/self/fd/{fd}") != link:
                continue
            again = _open_again(fd)
            os.dup2(again, fd, os.get_inheritable(fd))
            os.close(again)


def _shorten(path: str) -> str:
    return path.removeprefix(os.getcwd() + os.sep)


def _describe_socket(fd: int) -> str:
    with socket.socket(fileno=os.dup(fd)) as sock:
        own = _format(sock.getsockname())
        try:
            peer = _format(sock.getpeername())
        except OSError:
            peer = ""  # not connected
    return "a socket" + (f" at {own}" if own else "") + (f" to {peer}" if peer else "")


def _format(address: object) -> str:
    """Write an address; "" for a socket that has none."""
    if isinstance(address, tuple):
        return f"{address[0]}:{address[1]}" if address[1] else ""
    return str(address or "")


# Random generators that the import has made: each worker seeds them anew.
#
# A fork copies their state, so all workers would draw the same numbers: the same
# tokens, the same sample of requests. Python does so by itself for the functions of
# ``random``, and for nothing else. A generator whose state no code can reach (in a
# closure of C, in a library that is not numpy) goes on as it was copied.


def find_generators(objects: list[Any]) -> list[Any]:
    """Find the random generators of ``random`` and numpy, before a fork.

    Args:
        objects: All that the collector knows.
    """
    numpy: Any = sys.modules.get("numpy.random")
    kinds: tuple[type, ...] = (random.Random,)
    if numpy is not None:
        kinds += (numpy.RandomState, numpy.Generator)
    found = [item for item in objects if issubclass(type(item), kinds)]
    if numpy is not None:
        found.append(numpy.mtrand._rand)
    return [item for item in found if not isinstance(item, random.SystemRandom)]


def seed_anew(generators: list[Any]) -> None:
    """Seed each generator anew; one that cannot be is left."""
    for each in generators:
        try:
            if hasattr(each, "bit_generator"):
                fresh = type(each.bit_generator)()
                each.bit_generator.state = fresh.state
            else:
                each.seed()
        except Exception:
            pass  # a kind of its own, that cannot be seeded from nothing
