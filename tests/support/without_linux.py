"""Takes away what macOS has not, before anything else is imported.

Run as ``python -m tests.support.without_linux MODULE-OR-SCRIPT ARGUMENTS``. It is no
macOS: what is there and behaves in another way is not seen by it.
"""

import importlib
import os
import runpy
import select
import selectors
import signal
import socket
import sys
import sysconfig

MISSING = {
    os: (
        *("eventfd", "eventfd_read", "eventfd_write", "memfd_create", "pidfd_open"),
        *("sched_getaffinity", "sched_setaffinity", "splice", "sendfile", "pipe2"),
        *("posix_fadvise", "copy_file_range", "getrandom", "RWF_NOWAIT", "O_PATH"),
        *("O_TMPFILE", "P_PIDFD", "getresuid", "setresuid", "getresgid", "setresgid"),
    ),
    select: tuple(name for name in dir(select) if name.lower().startswith("epoll")),
    socket: (
        *("MSG_NOSIGNAL", "MSG_CMSG_CLOEXEC", "SOCK_NONBLOCK", "SOCK_CLOEXEC"),
        *("SO_PEERCRED", "SO_PASSCRED", "SCM_CREDENTIALS", "SO_INCOMING_CPU"),
        *("TCP_QUICKACK", "TCP_DEFER_ACCEPT", "TCP_USER_TIMEOUT", "TCP_INFO"),
        *("AF_NETLINK", "SO_MARK", "SO_DOMAIN", "SO_PROTOCOL"),
    ),
    signal: ("pidfd_send_signal", "sigtimedwait", "sigwaitinfo"),
}


def take_away() -> None:
    """Let this process look like one on macOS, as far as that can be."""
    sysconfig.get_config_vars()  # read from a file of the real platform
    for module, names in MISSING.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    if hasattr(os, "process_cpu_count"):  # since Python 3.13; there as here
        os.process_cpu_count = os.cpu_count
    if hasattr(select, "POLLRDHUP"):
        del select.POLLRDHUP
    selectors.DefaultSelector = selectors.PollSelector  # type: ignore[assignment, misc]
    sys.platform = "darwin"


def main() -> None:
    """Run a module or a script so."""
    take_away()
    sys.argv = sys.argv[1:]
    name = sys.argv[0]
    if name.endswith(".py"):
        sys.path.insert(0, os.path.dirname(os.path.abspath(name)))
        runpy.run_path(name, run_name="__main__")
    else:
        importlib.import_module(name).main()


if __name__ == "__main__":
    main()
