"""Starting a forkserver: a fresh interpreter, and nothing inherited by chance.

The program begins with it: while it reads its command line and imports the master, the
first interpreter imports its own part (``EarlyForkserver``, ``start_at_once``). So this
imports the standard library only, and little of that.
"""

import contextlib
import fcntl
import functools
import glob
import os
import re
import signal
import site
import socket
import stat
import sys
from collections.abc import Mapping, Sequence
from typing import Self

from blazeio_supervisor.ipc.signals import HELD_BACK, STACK_SIGNAL, make_child_pair
from blazeio_supervisor.isolation import (
    VARIABLES,
    isolate,
    list_own_options,
    pack_variables,
)

_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_FOLDERS = [os.path.abspath(folder) for folder in sys.path if folder]
"""Where this process looks for packages; taken before it changes its folder."""
_ENTRY = "blazeio_supervisor.worker"
_NEVER_SET = {signal.SIGKILL, signal.SIGSTOP}


def spawn_forkserver(
    channel: socket.socket,
    variables: Mapping[str, str] | None = None,
    *,
    is_privileged: bool = False,
    interpreter: str = "",
    protocol: str = "",
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
        interpreter: Another one than that of this process, whose environment has this
            package, too; "": the same.
        protocol: That of the master; "": its first datagram is that.

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
    program = interpreter or sys.executable
    entry = ["-m", _ENTRY] if interpreter else find_entry(is_privileged=is_privileged)
    try:
        return os.posix_spawn(
            program,
            # -P: a file `logging.py` in the app's folder must not replace ours.
            [
                program,
                *list_own_options(),
                *options,
                *("-P", *entry),
                *(str(fd), protocol, str(variables_fd)),
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


class EarlyForkserver:
    """The interpreter of the first forkserver, started before the master is whole.

    It imports what it needs while the master does; what app it is to load it is told
    by its first message. So both take their time beside each other.

    Args:
        variables: As of ``spawn_forkserver``,
        is_privileged: likewise,
        interpreter: likewise.

    Attributes:
        given: These three.
    """

    def __init__(
        self, variables: Mapping[str, str], *, is_privileged: bool, interpreter: str
    ) -> None:
        self._channel, theirs = make_child_pair()
        with theirs:
            try:
                self._pid = spawn_forkserver(
                    theirs,
                    variables,
                    is_privileged=is_privileged,
                    interpreter=interpreter,
                )
            except OSError:
                self._channel.close()
                raise
        self.given = variables, is_privileged, interpreter
        self._is_taken = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, unless it was taken."""
        self.end()

    def end(self) -> None:
        """End it, unless it was taken, or ended before."""
        if not self._is_taken:
            self._is_taken = True
            self._channel.close()
            with contextlib.suppress(OSError):  # it has ended, and was reaped
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)

    def take(
        self,
        variables: Mapping[str, str],
        *,
        is_privileged: bool,
        interpreter: str,
        protocol: str,
    ) -> tuple[socket.socket, int] | None:
        """Return the master's end of its channel, and its pid, once.

        It is told the protocol, which nobody knew when it was started.

        Returns:
            None where it was started with something else, or has ended.
        """
        if self._is_taken or self.given != (variables, is_privileged, interpreter):
            return None
        self._is_taken = True
        with contextlib.suppress(OSError):  # it has ended, which is seen later
            self._channel.send(protocol.encode())
        return self._channel, self._pid


# Before the settings are known, as most services are started.


DECIDING = frozenset(
    (
        *("chdir", "config", "env", "env_file", "fd", "group", "log_file", "python"),
        *("reload", "user"),
    )
)
"""The settings that decide with what an interpreter is started, or where it writes."""
_ASKING = frozenset(("-h", "--help", "--print-config", "--version"))
"""The words that start nothing."""
_OWN_FILE, _PROJECT_FILE, _NO_FILE = "blazeio.toml", "pyproject.toml", "--no-config"
_MAY_BE_TABLE = re.compile(rb"blazeio(?![-\w])")
"""In the file of a project: more than the name of what it depends on."""


def is_app_path(word: str) -> bool:
    """Tell an APP from a verb: it has a colon or ends in ``.py``."""
    return ":" in word or word.endswith(".py")


def start_at_once(words: Sequence[str]) -> EarlyForkserver | None:
    """Start the first interpreter before the settings are read, if they are plain.

    A guess: whoever has read the settings takes it, or ends it where it was started
    with something else (``EarlyForkserver.take``). But no child is started that would
    inherit what was opened for the master alone, or write elsewhere than it should.

    Args:
        words: Of the command line.

    Returns:
        None: they may not be plain, or start no service.
    """
    if not (_is_plain(words) and _has_no_file(words)):
        return None
    try:
        return EarlyForkserver({}, is_privileged=False, interpreter="")
    except OSError:
        return None  # it is tried again, and reported


def _is_plain(words: Sequence[str]) -> bool:
    first = words[0] if words else ""
    # An APP or an option; else it is a verb, or nothing.
    if not (is_app_path(first) or first.startswith("-")) or _ASKING & {*words}:
        return False
    flags = {each.partition("=")[0] for each in words}
    decided = {f"--{name.replace('_', '-')}" for name in DECIDING} & flags
    variables = {*VARIABLES, *(f"BLAZEIO_{name.upper()}" for name in DECIDING)}
    return not decided and not variables & os.environ.keys()


def _has_no_file(words: Sequence[str]) -> bool:
    if _NO_FILE in words:
        return True
    if os.path.lexists(_OWN_FILE):
        return False
    if not os.path.lexists(_PROJECT_FILE):
        return True
    # Whoever has written it may have us start one in vain, and nothing else.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
    try:
        with open(os.open(_PROJECT_FILE, flags), "rb") as file:
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return is_file and not _MAY_BE_TABLE.search(file.read())
    except OSError:
        return False


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
        OSError: It cannot be opened: this process has another user by now.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
    return os.open(f"/proc/self/fd/{fd}", flags)
