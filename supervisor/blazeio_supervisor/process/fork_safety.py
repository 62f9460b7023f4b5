"""What an import left behind that does not survive a fork.

A thread exists only in the process that started it, so its work silently
stops and its locks stay held; an event loop's epoll and a socket are shared by
all children, which then take each other's events and octets.
"""

import asyncio
import gc
import os
import threading

_MOST = 10  # one is enough to know; they are named in a log line


def list_socket_fds() -> frozenset[int]:
    """List the descriptors of this process that are sockets."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                found.add(int(name))
        except FileNotFoundError:
            pass  # the descriptor of this very listing
    return frozenset(found)


def find_fork_dangers(sockets_before: frozenset[int]) -> tuple[str, ...]:
    """Say what makes a fork of this process unsafe; empty when nothing.

    Native threads (of a BLAS, say) are not counted: their libraries restart
    them after a fork, and every app with numpy would be refused.

    Args:
        sockets_before: ``list_socket_fds`` before the app was imported.

    Cost: one walk over all objects; 0.1 s per million.
    """
    dangers = [
        f"the thread {thread.name!r} is running"
        for thread in threading.enumerate()
        if thread is not threading.main_thread()
    ]
    # By type: isinstance() would ask lazy proxies for their __class__.
    loops = [
        item
        for item in gc.get_objects()
        if issubclass(type(item), asyncio.AbstractEventLoop) and not item.is_closed()
    ]
    if loops:
        dangers.append(f"an event loop was made ({type(loops[0]).__name__})")
    opened = list_socket_fds() - sockets_before
    if opened and not loops:  # a loop brings a socketpair of its own
        dangers.append(f"{len(opened)} socket(s) are open")
    return tuple(dangers[:_MOST])
