"""What an import left behind that does not survive a fork.

A thread exists only in the process that started it, so its work silently
stops and its locks stay held; an event loop's epoll and a socket are shared by
all children, which then take each other's events and octets.
"""

import asyncio
import gc
import os
import socket
import threading
import time
import warnings

_MOST = 10  # one is enough to know; they are named in a log line
_SHARED = ("socket:", "anon_inode:[eventpoll]", "anon_inode:[io_uring]")
_OF_A_LOOP = ("a socket", "an eventpoll", "an io_uring")
_SETTLE_S = 0.25  # a thread that has ended leaves /proc a little later


def list_shared_fds() -> frozenset[int]:
    """List the descriptors of this process that a fork must not share."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        if _read_kind(int(name)).startswith(_SHARED):
            found.add(int(name))
    return frozenset(found)


def _read_kind(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:
        return ""  # the descriptor of the very listing


def find_fork_dangers(before: frozenset[int]) -> tuple[str, ...]:
    """Say what makes a fork of this process unsafe; empty when nothing.

    Forks once, to see which native threads stay.

    Args:
        before: ``list_shared_fds`` before the app was imported.

    Cost: one walk over all objects; 0.1 s per million.
    """
    dangers = [
        f"the thread {thread.name!r} is running"
        for thread in threading.enumerate()
        if thread is not threading.main_thread()
    ]
    dangers += _find_native_threads()
    # By type: isinstance() would ask lazy proxies for their __class__.
    loops = [
        item
        for item in gc.get_objects()
        if issubclass(type(item), asyncio.AbstractEventLoop) and not item.is_closed()
    ]
    if loops:
        dangers.append(f"an event loop was made ({type(loops[0]).__name__})")
    opened = [_describe_fd(fd) for fd in sorted(list_shared_fds() - before)]
    if loops:  # each brings such of its own
        opened = [each for each in opened if each not in _OF_A_LOOP]
    dangers += [f"{each} is open" for each in opened]
    return tuple(dangers[:_MOST])


def _find_native_threads() -> list[str]:
    """Find those that Python did not start and that a fork would lose.

    Some libraries know of forks: OpenBLAS, which numpy brings, ends its
    threads before each one (``pthread_atfork``) and starts them again when
    they are needed. So fork once, and count what is still there.
    """
    if not _list_native_threads():
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that threads are running is our question
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    give_up_at = time.monotonic() + _SETTLE_S
    while names := _list_native_threads():
        if time.monotonic() > give_up_at:
            return [f"{len(names)} native thread(s) are running ({_join(names)})"]
        time.sleep(0.01)
    return []


def _list_native_threads() -> list[str]:
    """Give their names as ``ps -T`` shows them."""
    ours = {thread.native_id for thread in threading.enumerate()}
    names = []
    for tid in os.listdir("/proc/self/task"):
        if int(tid) not in ours:
            try:
                with open(f"/proc/self/task/{tid}/comm") as file:
                    names.append(file.read().strip())
            except OSError:
                pass  # it has just ended
    return names


def _join(names: list[str]) -> str:
    return ", ".join(sorted(set(names))[:_MOST])


def _describe_fd(fd: int) -> str:
    """Say what a descriptor is, with its addresses when it has any."""
    kind = _read_kind(fd)
    if not kind.startswith("socket:"):
        return f"an {kind.removeprefix('anon_inode:').strip('[]')}"
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
