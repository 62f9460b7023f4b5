"""What ends the program, and with which exit code.

The codes are part of the contract with systemd units and scripts: a unit may
say ``RestartPreventExitStatus=2 4`` because neither is mended by waiting.

How a child has ended is put into words here, too. Pure: the planner imports it.
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


# An exit status in words.
#
# The module ``signal`` does I/O, so the names of signals are written here.


_SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
    31: "SIGSYS",
}
_CODES: dict[int, str] = {
    ExitCode.USAGE: "wrong usage",
    ExitCode.APP_FAILED: "the app failed to start",
    ExitCode.NOT_IMPORTABLE: "the app could not be imported",
    ExitCode.CANNOT_BIND: "could not bind",
}


def describe_exit(status: int, reason: str = "") -> str:
    """Describe how a process ended.

    Args:
        status: Exit code, or minus the signal's number.
        reason: What is known beyond that: its last message, an OOM kill.
    """
    if status < 0:
        words = f"killed by {_SIGNALS.get(-status, f'signal {-status}')}"
    else:
        words = f"exit code {status}"
        reason = reason or _CODES.get(status, "")
    return f"{words}: {reason}" if reason else words


_FROM_OUTSIDE = frozenset({1, 2, 3, 9, 15})
"""HUP, INT, QUIT, KILL and TERM come from outside; a process that fails by itself dies
of others (SEGV, ABRT, BUS)."""


def was_killed(status: int | None) -> bool:
    """Whether somebody else has ended the process: an operator, or the kernel."""
    return status is not None and -status in _FROM_OUTSIDE


def name_exit(status: int) -> str:
    """Return how a process ended as one of few words: ``exit_3``, ``SIGKILL``."""
    if status < 0:
        return _SIGNALS.get(-status, f"signal_{-status}")
    return f"exit_{status}"


def decide_exit_code(status: int | None) -> int:
    """Choose the master's exit code after a first boot that failed.

    Args:
        status: What the forkserver or worker exited with; None when it was
            ended because it was late.
    """
    if status in (ExitCode.USAGE, ExitCode.NOT_IMPORTABLE, ExitCode.CANNOT_BIND):
        return status
    return ExitCode.APP_FAILED


# Words that many sentences for the operator have in common.


def count_of(count: int, noun: str) -> str:
    """Return a number with its noun: ``1 worker``, ``3 workers``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def asked_for(by: str) -> str:
    """Return who has ordered something: ``asked for by SIGHUP``."""
    return f"asked for by {by}" if by else "asked for"
