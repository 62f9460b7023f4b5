"""The start of a service, once its settings are read.

What has read them, the command line, is not needed any more by then, and may be
forgotten: this imports nothing of it.
"""

import asyncio
import contextlib
import os
from collections.abc import Mapping

from blazeio_supervisor.config.option import find_misspelt
from blazeio_supervisor.config.settings import OPTIONS, LiveSettings, Settings
from blazeio_supervisor.ipc.signals import CHANGES, STOPS, hold
from blazeio_supervisor.isolation import find_open_code
from blazeio_supervisor.log.setup import (
    apply_config,
    configure_logs,
    configure_other_logs,
    note,
)
from blazeio_supervisor.master.output import LogFile, open_log_file
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
    from blazeio_supervisor.master.pid_file import pid_written

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
