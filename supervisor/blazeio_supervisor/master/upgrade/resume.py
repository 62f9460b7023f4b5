"""The next image: it goes on where the one before has stopped.

Called by stage 0 of the image before, by these two names and arguments, which
therefore never change. Until ``resume`` has returned, the other image can
still come back: so nothing is read, sent or closed before that, and only copies
of the named descriptors are used.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence

from blazeio_supervisor.fleet.actions import (
    Action,
    Exit,
    Spawn,
    StartForkserver,
    StopForkserver,
    StopWorker,
)
from blazeio_supervisor.log.setup import (
    apply_config,
    configure_logs,
    configure_other_logs,
)
from blazeio_supervisor.master.components import (
    StateError,
    UpgradeState,
    build_master,
    load_state,
)
from blazeio_supervisor.master.master import Master
from blazeio_supervisor.master.output import resume_log_file
from blazeio_supervisor.master.start import pid_removed
from blazeio_supervisor.version import find_version

_DRASTIC = (StopWorker, Exit, Spawn, StartForkserver, StopForkserver)
"""What a planner that has understood the state does not want at once."""


def rehearse(state_fd: int) -> str:
    """Do all but take over; return the version of this image.

    Raises:
        SystemExit: It could not take over, with the reason in one line.
    """
    state, _ = _read(state_fd)
    master = _make_master(state, asyncio.Runner().get_loop())
    # At the time at which the state was written: by now deadlines may have come, and
    # what the planner does about them would look as if it had misread the state.
    require_calm(master.rehearse(state.master.fleet.clock.real))
    return find_version()


def resume(state_fd: int, failure: str) -> Callable[[], int]:
    """Take over, up to the point of no return.

    Args:
        state_fd: The descriptor of an ``UpgradeState``.
        failure: Why the new image did not take over, if this is the old one again; else
            "".

    Returns:
        A function that serves until the end of the service and returns the exit
        code.
    """
    state, fds = _read(state_fd)
    settings = state.master.settings.settings
    apply_config(settings.log_terms)
    configure_logs(settings.log_terms)
    configure_other_logs(settings.log_terms)
    # A Runner, since the loop is needed before it runs: processes are watched already.
    runner = asyncio.Runner()
    master = _make_master(state, runner.get_loop())
    master.watch_again()
    master.note_outcome(state, failure)

    def run() -> int:
        # The point of no return: the numbers that the other image knows are closed.
        # Only then are signals let through, to a master that can no longer be replaced
        # by the other one.
        _let_go(state_fd, fds, state.image.list_fds() if failure else [])
        signal.pthread_sigmask(signal.SIG_SETMASK, state.run.signal_mask)
        with pid_removed(settings.pid_file), runner:
            return runner.run(master.run_on())

    return run


def _make_master(state: UpgradeState, loop: asyncio.AbstractEventLoop) -> Master:
    path = state.master.settings.settings.log_path
    log_file = None if path is None else resume_log_file(path)
    master = Master(build_master(state.master, log_file, loop))
    master.resume()
    return master


def _read(state_fd: int) -> tuple[UpgradeState, list[int]]:
    size = os.fstat(state_fd).st_size
    try:
        return load_state(os.pread(state_fd, size, 0), _take)
    except StateError as error:
        sys.exit(str(error))


def _let_go(state_fd: int, fds: Sequence[int], kept: Sequence[int]) -> None:
    """Close what there are copies of.

    Args:
        state_fd: The descriptor of the state.
        fds: Every descriptor that is named there.
        kept: Those that this image goes on to use, since it is the old one again.
    """
    for fd in (state_fd, *fds):
        if fd in kept:
            os.set_inheritable(fd, False)
        else:
            os.close(fd)


def _take(fd: int) -> socket.socket:
    # A duplicate: the number itself stays open for the image that may come back.
    sock = socket.socket(fileno=os.dup(fd))
    sock.setblocking(False)  # it is already: this is Python's own timeout
    return sock


def require_calm(actions: Sequence[Action]) -> None:
    """Exit if the first plan stops or starts a process: the state was misread."""
    wanted = [action for action in actions if isinstance(action, _DRASTIC)]
    if wanted:
        sys.exit(f"it would begin with {wanted[0]}: try again, or restart the service")
