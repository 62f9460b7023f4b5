"""The start of a service, once its settings are read.

What has read them, the command line, is not needed any more by then, and may be
forgotten: this imports nothing of it.
"""

import asyncio
import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping

from blazeio_supervisor.config.option import find_misspelt
from blazeio_supervisor.config.settings import OPTIONS, LiveSettings, Settings
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.files import (
    FileIdentity,
    identify,
    look,
    read,
    remove,
    replace,
)
from blazeio_supervisor.ipc.processes import find_process
from blazeio_supervisor.ipc.signals import CHANGES, STOPS, hold
from blazeio_supervisor.isolation import find_open_code
from blazeio_supervisor.log.setup import (
    apply_config,
    configure_logs,
    configure_other_logs,
    note,
)
from blazeio_supervisor.master.output import LogFile, open_log_file
from blazeio_supervisor.trust import describe_kind
from blazeio_supervisor.worker.starting import EarlyForkserver


def run_service(live_settings: LiveSettings, guessed: EarlyForkserver | None) -> int:
    """Serve until the end; return the exit code.

    Args:
        live_settings: What the operator asked for.
        guessed: The interpreter of the first forkserver, if it was started already.

    Raises:
        SupervisorError: It could not be started.
    """
    # Before the log file is opened: its path is relative to this folder.
    os.chdir(live_settings.settings.folder)
    path = live_settings.settings.log_path
    log_file = None if path is None else open_log_file(path)
    # After that: standard error, which the interpreter inherits, may be the log now.
    with _start_early(live_settings.settings, guessed) as early:
        return _run_master(live_settings, log_file, early)


def _start_early(
    settings: Settings, guessed: EarlyForkserver | None
) -> contextlib.AbstractContextManager[EarlyForkserver | None]:
    """Start the first interpreter, which imports its part while we import ours.

    Not where we were given descriptors: until the master has taken them over, any
    child would inherit them.
    """
    given = settings.environment, settings.is_privileged, settings.interpreter
    if guessed is not None and guessed.given == given and not settings.given_fds:
        return contextlib.nullcontext(guessed)
    if guessed is not None:
        guessed.end()
    if not settings.given_fds:
        try:
            return EarlyForkserver(
                settings.environment,
                is_privileged=settings.is_privileged,
                interpreter=settings.interpreter,
            )
        except OSError:
            pass  # the master tries again, and reports it
    return contextlib.nullcontext()


def _run_master(
    live_settings: LiveSettings, log_file: LogFile | None, early: EarlyForkserver | None
) -> int:
    # While the interpreter imports, beside us.
    from blazeio_supervisor.master.master import serve

    apply_config(live_settings.settings.log_terms)
    configure_logs(live_settings.settings.log_terms)
    configure_other_logs(live_settings.settings.log_terms)
    # Not before here: a warning is a record of the log, in the format that was asked
    # for.
    _warn_of_misspelt(live_settings.sources.environ)
    if live_settings.settings.is_privileged:
        _warn_of_open_code()
    hold(STOPS | CHANGES)  # until the master has handlers for them
    with pid_written(live_settings.settings.pid_file, waits=True) as claim:
        return asyncio.run(serve(live_settings, log_file, claim, early))


def _warn_of_open_code() -> None:
    for reason in find_open_code():
        text = f"the app's user may come to run code as root: {reason}"
        note("open_to_others", text, "WARNING")


def _warn_of_misspelt(environ: Mapping[str, str]) -> None:
    for name, meant in find_misspelt(OPTIONS, environ).items():
        text = f"{name} is not a setting, and without effect: did you mean {meant}?"
        note("unknown_variable", text, "WARNING")


# A file with the master's pid, for tools that cannot ask otherwise.
#
# It belongs to the service that wrote it, until that service ends. Another one that
# is started with the same file ends before it serves, and leaves the file as it is;
# so does one that cannot have its address, since the file is written only then. What
# was left behind by one that was killed is replaced, as is a symbolic link, which is
# not followed. A file of more than ``CONTENT_BYTES`` is no pid file, and is left.
#
# It locks nothing: a lock could be held by whoever may read the file. Whether the
# service that wrote it still runs is told by its process: one of that pid that is a
# supervisor, and is older than the file.


CONTENT_BYTES = 64
"""A longer file is something else, and is not replaced."""
_MODE = 0o644
_SLACK_S = 2.0
"""The kernel counts the age of a process in ticks of 10 ms, and takes the time of a
file from a clock that may be behind by a tick."""
_OURS = re.compile(r"blazeio: master|blazeio[-_]supervisor")


@contextlib.contextmanager
def pid_written(path: str, *, waits: bool = False) -> Iterator[Callable[[], None]]:
    """Keep the pid of this process in a file for a while; path "" means none.

    The file appears whole. At the end it is removed, if it is still the one that
    we wrote.

    Args:
        path: Of the file; its folder may belong to another user.
        waits: Write the file only when the yielded function is called, which raises the
            same errors; else at once.

    Raises:
        UsageError: It cannot be written, or belongs to a service that runs.
    """
    file = _PidFile(path)
    file.check()
    if not waits:
        file.claim()
    try:
        yield file.claim
    finally:
        file.release()


@contextlib.contextmanager
def pid_removed(path: str) -> Iterator[None]:
    """Remove the file at the end, if it holds our pid; path "" means none."""
    file = _PidFile(path)
    file.take_over()
    try:
        yield
    finally:
        file.release()


class _PidFile:
    def __init__(self, path: str) -> None:
        self._path = path and os.path.abspath(path)
        self._label = f"--pid-file {path}"
        self._identity: FileIdentity | None = None

    def check(self) -> None:
        if not self._path:
            return
        try:
            found = look(self._path)
        except OSError as error:
            raise UsageError(f"{self._label}: {error.strerror}") from None
        if found is None or stat.S_ISLNK(found.st_mode):
            return
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{self._label}: it {describe_kind(found)}")
        if found.st_size > CONTENT_BYTES:
            raise UsageError(
                f"{self._label}: it holds {found.st_size} octets, so it is not a pid "
                "file; remove it, or name another"
            )

    def claim(self) -> None:
        if not self._path:
            return
        self.check()
        # After ``check``, so that the file is small and regular. Between this and
        # ``replace`` another service may be as fast; then the later one has the file,
        # and the earlier one leaves it alone at its end.
        rival = _find_rival(self._path)
        if rival:
            raise UsageError(
                f"{self._label}: belongs to the service that runs as pid {rival}; "
                "stop that, or name another file"
            )
        try:
            # Written beside and renamed over it (rename(2)): a reader sees the old
            # content or the new, and no half of one.
            self._identity = replace(self._path, f"{os.getpid()}\n".encode(), _MODE)
        except OSError as error:
            raise UsageError(f"{self._label}: {error.strerror}") from None

    def take_over(self) -> None:
        if self._path and _read_pid(self._path) == os.getpid():
            self._identity = identify(self._path)

    def release(self) -> None:
        if self._identity is None or _read_pid(self._path) != os.getpid():
            return
        try:
            remove(self._path, self._identity)
        except OSError:
            pass  # the folder is not ours to write any more: it stays


def _read_pid(path: str) -> int:
    """Return the pid that a regular file holds; 0: none."""
    try:
        found = look(path)
        if found is None or not stat.S_ISREG(found.st_mode):
            return 0
        return int(read(path, is_judged=False))
    except (OSError, ValueError):
        return 0


def _find_rival(path: str) -> int:
    """Return the pid of another service to which the file belongs; 0: none."""
    pid = _read_pid(path)
    found = look(path)
    if not 0 < pid < 2**31 or pid == os.getpid() or found is None:
        return 0
    return pid if find_process(pid, _OURS, found.st_mtime + _SLACK_S) else 0
