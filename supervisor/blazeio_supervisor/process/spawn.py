"""Starting a forkserver: a fresh interpreter, and nothing inherited by chance."""

import os
import signal
import socket
import sys
from collections.abc import Mapping

from blazeio_supervisor.notify.environment import VARIABLES
from blazeio_supervisor.process.isolation import (
    isolate,
    list_own_options,
    pack_variables,
)
from blazeio_supervisor.process.messages import PROTOCOL
from blazeio_supervisor.process.signals import HELD_BACK

_ENTRY = "blazeio_supervisor.generation"
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
    try:
        return os.posix_spawn(
            sys.executable,
            # -P: a file `logging.py` in the app's folder must not replace ours.
            [
                sys.executable,
                *list_own_options(),
                *options,
                *("-P", "-m", _ENTRY),
                *(str(fd), str(PROTOCOL), str(variables_fd)),
            ],
            {name: environ[name] for name in environ.keys() - VARIABLES},
            # Onto themselves: inheritable.
            file_actions=[(os.POSIX_SPAWN_DUP2, n, n) for n in (fd, variables_fd)],
            setsigmask=HELD_BACK,
            # Whoever started the master may ignore some; what is ignored stays so.
            setsigdef=signal.valid_signals() - _NEVER_SET,
        )
    finally:
        os.close(variables_fd)
