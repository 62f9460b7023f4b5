"""An exit status in words.

The module ``signal`` does I/O, so the names of signals are written here.
"""

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
_CODES = {
    2: "wrong usage",
    3: "the app failed to start",
    4: "the app could not be imported",
    5: "could not bind",
}
USAGE, START_FAILED, NOT_IMPORTABLE, CANNOT_BIND = 2, 3, 4, 5


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
    if status in (USAGE, NOT_IMPORTABLE, CANNOT_BIND):
        return status
    return START_FAILED


# Words that many sentences for the operator have in common.


def count_of(count: int, noun: str) -> str:
    """Return a number with its noun: ``1 worker``, ``3 workers``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def asked_for(by: str) -> str:
    """Return who has ordered something: ``asked for by SIGHUP``."""
    return f"asked for by {by}" if by else "asked for"
