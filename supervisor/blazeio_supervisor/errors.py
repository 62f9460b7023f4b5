"""What ends the program, and with which exit code.

The codes are part of the contract with systemd units and scripts: a unit may
say ``RestartPreventExitStatus=2 4`` because neither is mended by waiting.
"""

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """Why the program ended."""

    OK = 0
    CRASHED = 1  # a fault of ours
    USAGE = 2  # an option or argument was wrong
    APP_FAILED = 3  # imported, but it did not start: a hook raised, or was late
    NOT_IMPORTABLE = 4  # no such module, attribute or file, or its import raised
    CANNOT_BIND = 5  # an address is in use or not ours
    NOT_RUNNING = 6  # a verb found no service
    INTERRUPTED = 130  # ^C, as the shell has it


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
