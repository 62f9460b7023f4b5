"""How the log is written, the same in all our processes."""

import os
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

STDERR = 2


class LogTerms(msgspec.Struct, frozen=True):
    """Goes to each process that logs.

    Attributes:
        level: The least that is printed.
        is_json: Each line is an object; else text.
        has_color: A person reads it on a terminal.
        is_journal: systemd's journal reads it: it wants priorities, and has the
            time by itself.
        config: For ``logging.config.dictConfig``, which then says all; None: none.
    """

    level: str = "INFO"
    is_json: bool = False
    has_color: bool = False
    is_journal: bool = False
    config: dict[str, Any] | None = None


class StandardError(Struct, frozen=True):
    """What standard error is.

    Attributes:
        has_color: A terminal, and nobody said NO_COLOR.
        is_journal: The journal, as $JOURNAL_STREAM says by device and inode.
    """

    has_color: bool = False
    is_journal: bool = False


def look_at_standard_error(environ: Mapping[str, str]) -> StandardError:
    """Find out who reads it."""
    try:
        found = os.fstat(STDERR)
    except OSError:
        return StandardError()  # it is closed
    stream = f"{found.st_dev}:{found.st_ino}"
    is_plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
    return StandardError(
        has_color=os.isatty(STDERR) and not is_plain,
        is_journal=environ.get("JOURNAL_STREAM") == stream,
    )
