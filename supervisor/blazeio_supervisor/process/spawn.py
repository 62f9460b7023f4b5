"""Starting a forkserver: a fresh interpreter, and nothing inherited by chance."""

import contextlib
import fcntl
import functools
import glob
import os
import signal
import site
import socket
import stat
import sys
from collections.abc import Mapping
from typing import NoReturn

import msgspec

from blazeio_supervisor.notify.environment import VARIABLES
from blazeio_supervisor.process.isolation import (
    isolate,
    list_own_options,
    pack_variables,
)
from blazeio_supervisor.process.messages import PROTOCOL, Fork, Load
from blazeio_supervisor.process.packing import pack, unpack
from blazeio_supervisor.process.signals import HELD_BACK, STACK_SIGNAL

_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_FOLDERS = [os.path.abspath(folder) for folder in sys.path if folder]
"""Where this process looks for packages; taken before it changes its folder."""
_ENTRY = "blazeio_supervisor.generation"
WORKER = "worker"
"""The first argument of a worker that is started by an exec."""
_NEVER_SET = {signal.SIGKILL, signal.SIGSTOP}


def spawn_forkserver(
    channel: socket.socket,
    variables: Mapping[str, str] | None = None,
    *,
    is_privileged: bool = False,
) -> int:
    """Start the interpreter anew, holding one end of a channel; return its pid.

    A fresh exec is what makes reloaded code fresh. ``posix_spawn`` does not
    copy the master's page tables, and takes only the descriptors named here:
    Python's own are closed by the exec.

    Args:
        channel: Its end.
        variables: Set in its environment, so in that of its workers.
        is_privileged: It will take on another user. It then starts isolated, and
            sets the variables afterwards.

    Raises:
        OSError: The system has no room for a process, or the interpreter is
            gone from the disk.
    """
    given = dict(variables or {})
    options, environ = [], {**os.environ, **given}
    if is_privileged:
        isolation = isolate()
        options, environ = isolation.options, isolation.environment
        given = {**isolation.hidden, **given}
    fd, variables_fd = channel.fileno(), pack_variables(given)
    outputs = open_outputs_again()
    own = [(os.POSIX_SPAWN_DUP2, n, n) for n in (fd, variables_fd)]  # inheritable
    try:
        return os.posix_spawn(
            sys.executable,
            # -P: a file `logging.py` in the app's folder must not replace ours.
            [
                sys.executable,
                *list_own_options(),
                *options,
                *("-P", *find_entry(is_privileged=is_privileged)),
                *(str(fd), str(PROTOCOL), str(variables_fd)),
            ],
            {name: environ[name] for name in environ.keys() - VARIABLES},
            file_actions=[
                *own,
                *((os.POSIX_SPAWN_DUP2, n, number) for number, n in outputs.items()),
            ],
            setsigmask=(*HELD_BACK, STACK_SIGNAL),  # until it has handlers for them
            # Whoever started the master may ignore some; what is ignored stays so.
            setsigdef=signal.valid_signals() - _NEVER_SET,
        )
    finally:
        for opened in (variables_fd, *outputs.values()):
            os.close(opened)


@functools.cache
def find_entry(*, is_privileged: bool = False) -> list[str]:
    """Return the options by which a fresh interpreter finds and runs our program.

    A wrapper (a zipapp, a pex, a script that sets ``sys.path``) has found this
    package where a fresh interpreter does not look: it is told where.
    """
    if _PACKAGES in _list_default_folders(is_privileged):
        return ["-m", _ENTRY]
    code = (
        f"import runpy, sys; sys.path += {_FOLDERS!r}; "
        f"runpy.run_module({_ENTRY!r}, run_name='__main__', alter_sys=True)"
    )
    return ["-c", code]


def _list_default_folders(is_privileged: bool) -> list[str]:
    """List where a fresh interpreter looks for packages."""
    sites: list[str] = []
    if not sys.flags.no_site:
        sites += [*site.getsitepackages(), site.getusersitepackages()]
    folders = sites[:]
    if not is_privileged:  # else it starts with another environment
        folders += os.environ.get("PYTHONPATH", "").split(os.pathsep)
    for each in sites:
        for path in glob.glob(os.path.join(glob.escape(each), "*.pth")):
            with contextlib.suppress(OSError, UnicodeDecodeError), open(path) as file:
                folders += file.read().splitlines()
    return [os.path.abspath(folder) for folder in folders if folder]


def open_outputs_again() -> dict[int, int]:
    """Open anew what standard output and error are, where they are files.

    A descriptor that is inherited has its position and flags in common with ours:
    an app that sets the one to 0, or takes O_APPEND off, would have the master
    write over the log. The master's own is made to append, too.

    Returns:
        By the number that it stands for, the new descriptor.
    """
    opened: dict[int, int] = {}
    for number in (1, 2):
        try:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                continue
            flags = fcntl.fcntl(number, fcntl.F_GETFL)
            fcntl.fcntl(number, fcntl.F_SETFL, flags | os.O_APPEND)
            opened[number] = open_again(number)
        except OSError:
            continue  # it is closed, or nobody may open it any more
    return opened


def open_again(fd: int) -> int:
    """Open the file of a descriptor once more, to append to it.

    Raises:
        OSError: That cannot be: we are no longer who has opened it.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
    return os.open(f"/proc/self/fd/{fd}", flags)


class WorkerStart(msgspec.Struct, frozen=True):
    """What a worker is told that is started by an exec, over a memory file.

    Attributes:
        load: What the generation was started with.
        order: What the worker is.
        fds: As they came with the order.
        log_fd: Where its lines of the log go.
    """

    load: Load
    order: Fork
    fds: list[int]
    log_fd: int


def exec_worker(start: WorkerStart) -> NoReturn:
    """Become a worker in a fresh interpreter, with the pid of this process.

    Its own ``sitecustomize`` runs, so the threads that this starts live in it.
    """
    told = os.memfd_create("blazeio-worker", 0)
    os.write(told, pack(start))
    for fd in (*start.fds, start.log_fd):
        os.set_inheritable(fd, True)
    # Until its handlers are there; they stay blocked over the exec.
    held = (*HELD_BACK, signal.SIGTERM, STACK_SIGNAL)
    signal.pthread_sigmask(signal.SIG_BLOCK, held)
    words = [sys.executable, *list_own_options(), "-P", *find_entry()]
    os.execve(
        sys.executable, [*words, WORKER, str(PROTOCOL), str(told)], dict(os.environ)
    )


def read_worker_start(told: int) -> WorkerStart:
    """Read what ``exec_worker`` has left; nobody inherits the descriptors further."""
    with open(told, "rb") as file:
        file.seek(0)
        start = unpack(file.read(), WorkerStart)
    for fd in (*start.fds, start.log_fd):
        os.set_inheritable(fd, fd <= 2)
    return start
