"""What ends the program, and with which exit code.

The codes are part of the contract with systemd units and scripts: a unit may
say ``RestartPreventExitStatus=2 4`` because neither is mended by waiting.
"""

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """Why the program ended; what each means is in ``EXIT_MEANINGS``."""

    OK = 0
    CRASHED = 1
    USAGE = 2
    APP_FAILED = 3
    NOT_IMPORTABLE = 4
    CANNOT_BIND = 5
    NOT_RUNNING = 6
    INTERRUPTED = 130  # as a shell reports SIGINT


EXIT_MEANINGS = {
    ExitCode.OK: "told to stop",
    ExitCode.CRASHED: "a fault of the supervisor; of a verb: it was tried and failed",
    ExitCode.USAGE: "an option or argument is wrong; nothing was started",
    ExitCode.APP_FAILED: "the app was imported and failed to start: a hook raised, or "
    "was late",
    ExitCode.NOT_IMPORTABLE: "the app cannot be imported: it is not there, or its code "
    "raised",
    ExitCode.CANNOT_BIND: "an address cannot be bound; the line names the process that "
    "holds it",
    ExitCode.NOT_RUNNING: "a verb found no service",
    ExitCode.INTERRUPTED: "a verb was ended by ^C; what it ordered goes on",
}
"""The table of ``README.md``."""


class SupervisorError(Exception):
    """Ends the program with one line for the operator.

    Args:
        message: What was wrong and what to do, in one line.
        details: Further lines, where there is something to choose from.
    """

    exit_code = ExitCode.CRASHED

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        super().__init__("\n".join([message, *details]))
        self.message = message
        self.details = details


class UsageError(SupervisorError):
    """An option or argument was wrong; nothing was started."""

    exit_code = ExitCode.USAGE


class BindError(SupervisorError):
    """An address could not be bound; the line names who holds it."""

    exit_code = ExitCode.CANNOT_BIND


class NotRunningError(SupervisorError):
    """A verb found no service; the line says where it looked for one."""

    exit_code = ExitCode.NOT_RUNNING


class NotAnsweringError(SupervisorError):
    """A service is there, but does not answer, or its answer must not be believed."""


class BrokenOffError(NotAnsweringError):
    """The connection ended before the answer was whole.

    Either the service is gone, or an upgrade's exec has cut the connection; in the
    latter case the same question is answered when it is asked again.
    """


class NotAllowedError(NotAnsweringError):
    """The service is another user's: it may not be asked, or must not be believed."""


class OutputError(SupervisorError):
    """Standard output takes no more: a full disk, or a pipe whose reader has ended."""
