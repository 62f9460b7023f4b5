"""How a fetch ends, for scripts.

May import: blazeio.errors.
"""

from enum import IntEnum

from blazeio.errors import (
    BlazeioError,
    ConfigurationError,
    ConnectError,
    InvalidUrl,
    LocalProtocolError,
    RequestTimeout,
)


class ExitCode(IntEnum):
    """The exit codes of ``python -m blazeio``."""

    OK = 0
    REFUSED = 1
    """The server answered 4xx or 5xx; what it said was given out."""
    USAGE = 2
    """An option or the URL is wrong."""
    NO_CONNECTION = 3
    """No address, nobody there, not to be trusted."""
    TOO_LATE = 4
    """It took too long."""
    BROKEN = 5
    """The response was malformed, or broke off."""
    NO_FILE = 6
    """A file cannot be read or written."""
    INTERRUPTED = 130
    """By ^C."""


_KINDS: tuple[tuple[type[Exception], ExitCode], ...] = (
    (InvalidUrl, ExitCode.USAGE),
    (ConfigurationError, ExitCode.USAGE),
    (LocalProtocolError, ExitCode.USAGE),
    (RequestTimeout, ExitCode.TOO_LATE),
    (ConnectError, ExitCode.NO_CONNECTION),
    (BlazeioError, ExitCode.BROKEN),
    (OSError, ExitCode.NO_FILE),
)


def choose_exit_code(error: Exception) -> ExitCode:
    """Say how a fetch ends that failed with this error of ours, or of a file."""
    return next(code for kind, code in _KINDS if isinstance(error, kind))
