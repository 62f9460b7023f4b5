"""Writes each record to a descriptor by one write, whole lines whoever writes too.

The kernel appends one write after another to a file opened with O_APPEND, and
to a pipe as long as it is no more than 4,096 octets.
"""

import logging
import os
import select

from blazeio_supervisor.observe.lines.terms import STDERR

UNREAD_S = 0.2
"""A line that nobody reads for so long is lost, where the log does not block."""

_PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}


class LineHandler(logging.Handler):
    """Writes to a descriptor by its number: another file may take its place.

    Args:
        fd: Of the log.
        is_journal: Each line begins with its priority, ``<3>``: the journal takes
            it, and would else give the level of the stream to all.
    """

    def __init__(self, fd: int = STDERR, *, is_journal: bool = False) -> None:
        super().__init__()
        self._fd = fd
        self._is_journal = is_journal

    def emit(self, record: logging.LogRecord) -> None:
        """For ``logging``: write a record."""
        try:
            text = self.format(record)
            if self._is_journal:
                priority = f"<{_PRIORITIES.get(record.levelname, 6)}>"
                text = priority + text.replace("\n", f"\n{priority}")
            write_all(self._fd, f"{text}\n".encode("utf-8", "backslashreplace"))
        except Exception:
            self.handleError(record)


def write_all(fd: int, octets: bytes) -> None:
    """Write, by one call where the kernel takes it whole.

    What cannot be written is lost: there is nobody left to tell.
    """
    try:
        while octets:
            try:
                octets = octets[os.write(fd, octets) :]
            except BlockingIOError:
                # O_NONBLOCK is set by whoever shares the pipe or terminal.
                if not _wait_writable(fd):
                    return
    except OSError:
        pass  # a full disk, a reader that left


def _wait_writable(fd: int) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    return bool(poller.poll(UNREAD_S * 1000))
