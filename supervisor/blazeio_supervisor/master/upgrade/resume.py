"""The next image: it goes on where another one was frozen.

Called by stage 0 of the image that leaves, by these two names and arguments,
which therefore never change. Until ``arrive`` has returned, the other image can
still come back: so nothing is read, sent or closed before that, and only copies
of the named descriptors are used.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence

from blazeio_supervisor.config.live_settings import LiveSettings
from blazeio_supervisor.fleet.actions import (
    Action,
    EndWorker,
    Exit,
    Spawn,
    StartForkserver,
    StopForkserver,
)
from blazeio_supervisor.log.setup import (
    apply_config,
    configure_logs,
    configure_strays,
)
from blazeio_supervisor.master.components import build_master
from blazeio_supervisor.master.master import Master
from blazeio_supervisor.master.output import resume_log_file
from blazeio_supervisor.master.pid_file import pid_removed
from blazeio_supervisor.master.upgrade.state import (
    StateError,
    UpgradeState,
    parse_state,
)
from blazeio_supervisor.version import find_version

_DRASTIC = (EndWorker, Exit, Spawn, StartForkserver, StopForkserver)
"""What a planner that has understood the state does not want at once."""


def rehearse(state_fd: int) -> str:
    """Do all but take over; gives the version of this image.

    Raises:
        SystemExit: It could not take over; says why, in one line.
    """
    state = _read(state_fd)
    master = _take_over(state, asyncio.Runner().get_loop())
    require_calm(master.rehearse(state.planner.clock.real))
    return find_version()


def arrive(state_fd: int, failure: str) -> Callable[[], int]:
    """Take over, up to the point of no return.

    Args:
        state_fd: Of a ``UpgradeState``.
        failure: Why the image that should have taken over did not: this is
            the one that had left.

    Returns:
        What goes on from there, until the end of the service; gives the exit
        code.
    """
    state = _read(state_fd)
    apply_config(state.in_force.settings.log_terms)
    configure_logs(state.in_force.settings.log_terms)
    configure_strays(state.in_force.settings.log_terms)
    runner = asyncio.Runner()
    master = _take_over(state, runner.get_loop())
    master.watch_again()
    master.note_arrival(state, failure)

    def run() -> int:
        _let_go(state_fd, state, keeps_image=bool(failure))
        signal.pthread_sigmask(signal.SIG_SETMASK, state.handover.signal_mask)
        with pid_removed(state.in_force.settings.pid_file), runner:
            return runner.run(master.run_on())

    return run


def _take_over(state: UpgradeState, loop: asyncio.AbstractEventLoop) -> Master:
    in_force = LiveSettings.thaw(state.in_force)
    path = in_force.settings.log_path
    log_file = None if path is None else resume_log_file(path)
    master = Master(build_master(in_force, log_file, loop, state.started_at))
    master.take_over(state, _take)
    return master


def _read(state_fd: int) -> UpgradeState:
    size = os.fstat(state_fd).st_size
    try:
        return parse_state(os.pread(state_fd, size, 0))
    except StateError as error:
        sys.exit(str(error))


def _let_go(state_fd: int, state: UpgradeState, *, keeps_image: bool) -> None:
    """Close what there are copies of.

    An image that came back goes on to live from the very descriptors.
    """
    kept = state.image.list_fds() if keeps_image else []
    for fd in (state_fd, *state.list_fds()):
        if fd in kept:
            os.set_inheritable(fd, False)
        else:
            os.close(fd)


def _take(fd: int) -> socket.socket:
    sock = socket.socket(fileno=os.dup(fd))
    sock.setblocking(False)  # it is already: this is Python's own timeout
    return sock


def require_calm(actions: Sequence[Action]) -> None:
    """A misunderstood state shows as workers that would be ended or started."""
    wanted = [action for action in actions if isinstance(action, _DRASTIC)]
    if wanted:
        sys.exit(f"it would begin with {wanted[0]}: try again, or restart the service")
