"""Starting a forkserver: a fresh interpreter, and nothing inherited by chance."""

import os
import signal
import socket
import sys
from collections.abc import Mapping

from blazeio_supervisor.notify.environment import VARIABLES
from blazeio_supervisor.process.messages import PROTOCOL
from blazeio_supervisor.process.signals import HELD_BACK

_ENTRY = "blazeio_supervisor.generation"
_NEVER_SET = {signal.SIGKILL, signal.SIGSTOP}


def spawn_forkserver(
    channel: socket.socket, variables: Mapping[str, str] | None = None
) -> int:
    """Start the interpreter anew, holding one end of a channel; give its pid.

    A fresh exec is what makes reloaded code fresh. ``posix_spawn`` does not
    copy the master's page tables, and takes only the descriptors named here:
    Python's own are closed by the exec.

    Args:
        channel: Its end.
        variables: Set in its environment, so in that of its workers.

    Raises:
        OSError: The system has no room for a process, or the interpreter is
            gone from the disk.
    """
    fd = channel.fileno()
    inherited = {name: os.environ[name] for name in os.environ.keys() - VARIABLES}
    environ = {**inherited, **(variables or {})}
    return os.posix_spawn(
        sys.executable,
        # -P: a file `logging.py` in the app's folder must not replace ours.
        [
            sys.executable,
            *list_own_options(),
            *("-P", "-m", _ENTRY),
            *(str(fd), str(PROTOCOL)),
        ],
        environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, fd, fd)],  # onto itself: inheritable
        setsigmask=HELD_BACK,
        # Whoever started the master may ignore some; what is ignored stays so.
        setsigdef=signal.valid_signals() - _NEVER_SET,
    )


def list_own_options() -> list[str]:
    """Give the interpreter options under which the master itself runs."""
    options = ["-O"] * sys.flags.optimize
    options += [f"-W{option}" for option in sys.warnoptions]
    for name, value in sys._xoptions.items():
        options.append(f"-X{name}" if value is True else f"-X{name}={value}")
    return options
