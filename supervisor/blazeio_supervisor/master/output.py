"""``--capture-output``, the master's side: what the app prints becomes lines.

Each process prints into a socket of its own, so that the master knows whose line
it is, also of a process that has died. A process that prints faster than the master
reads has to wait.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.files import open_to_append
from blazeio_supervisor.ipc.channel import (
    ChildFault,
    Descriptor,
    Sendable,
    close_aside,
    receive_octets,
)
from blazeio_supervisor.log.formats import (
    STDERR,
    LogConfig,
    LogOrigin,
    make_formatter,
)
from blazeio_supervisor.log.setup import LineHandler, note
from blazeio_supervisor.worker.starting import open_again

LINE_BYTES = 16 * 1024
"""A longer line is cut into several."""
PIECE_BYTES = 16 * 1024
"""Octets that are read of one process in one turn of the loop."""
LINES_PER_TURN = 64
"""Lines of one process that are written in one turn; the others wait, and in the end
the process does, since its socket is full."""
LAST_BYTES = 1024 * 1024
"""Octets that are read of each process at the end of the service: one that is not ours
to end may print on for ever."""
LAST_S = 0.2
"""Time for all of that; what is not written by then is lost."""
MOST_ORPHANS = 64
"""How many processes that workers left behind may still print. Older ones print into
the void, since each of them holds a descriptor of the master's."""

_NAME = "blazeio.output"

OnFault = Callable[[int, str], None]


def _ignore(worker: int, fault: str) -> None:
    """Ignore a fault: the default of ``on_fault``."""


class OutputReader(Struct, eq=False):
    """Reads what one process prints, and those that it has started.

    Attributes:
        sock: The master's end.
        origin: The process.
        rest: What was read and is not logged yet: the start of a line, at least.
        is_over: Nothing more will come.
        is_drained: Nothing is left unread.
        fault: What was sent that is not an output; "" when there was nothing.
    """

    sock: socket.socket
    origin: LogOrigin
    rest: bytes = b""
    is_over: bool = False
    is_drained: bool = False
    fault: str = ""

    @property
    def has_lines(self) -> bool:
        """Whether a whole line was taken, and is not written yet."""
        return b"\n" in self.rest

    def reads(self, handler: LineHandler, most_lines: int | None) -> bool:
        """Read one piece and log lines of it; return whether there may be more."""
        octets = b""
        try:
            received = receive_octets(self.sock, PIECE_BYTES)
            octets = received[0] if received else b""
            self.is_drained = not octets
        except BlockingIOError:
            return False
        except ChildFault as fault:
            self.fault = str(fault)
        except OSError:
            pass
        if not octets:
            self.is_over = True
            return False
        self.rest += octets
        self.write(handler, most_lines)
        return True

    def write(self, handler: LineHandler, most_lines: int | None) -> None:
        """Log whole lines, and of a very long one its start.

        Lines that came together stay together: a traceback is one write.
        """
        if most_lines is None:
            end = self.rest.rfind(b"\n")
        else:
            end = _find_nth(self.rest, most_lines)
        if end >= 0:
            self._log(handler, self.rest[:end])
            self.rest = self.rest[end + 1 :]
        if not self.has_lines:
            while len(self.rest) >= LINE_BYTES:
                self._log(handler, self.rest[:LINE_BYTES])
                self.rest = self.rest[LINE_BYTES:]

    def close(self, handler: LineHandler) -> None:
        """Log what has no end of line yet."""
        if self.rest:
            self._log(handler, self.rest)
        if self.is_drained:
            self.sock.close()
        else:
            close_aside([self.sock])  # beside what is unread may be descriptors

    def _log(self, handler: LineHandler, octets: bytes) -> None:
        text = octets.decode("utf-8", "backslashreplace")
        record = logging.LogRecord(_NAME, logging.INFO, "", 0, text, None, None)
        record.origin = self.origin
        handler.handle(record)


def _find_nth(octets: bytes, count: int) -> int:
    """Find the end of the last of so many lines; -1 when there is none."""
    end = -1
    for _ in range(count):
        following = octets.find(b"\n", end + 1)
        if following < 0:
            break
        end = following
    return end


class CapturedOutput:
    """Reads and logs what all processes print.

    Args:
        loop: The event loop of the master.
        terms: How the log is written.
        readers: Of the image before; the list is shared with this object.

    Attributes:
        on_fault: Called with a worker that sends what is no output, and what that
            is; nothing more is read of it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        terms: LogConfig,
        readers: list[OutputReader] | None = None,
    ) -> None:
        self._loop = loop
        # No logger: what is printed is wanted at any level of the log.
        self._handler = LineHandler(is_journal=terms.is_journal)
        self._handler.setFormatter(make_formatter(terms))
        self._readers = [] if readers is None else readers
        self.on_fault: OnFault = _ignore
        self._orphans: list[OutputReader] = []

    def open(self, origin: LogOrigin) -> socket.socket:
        """Read for a new process; return its end, which the caller closes."""
        own, theirs = socket.socketpair()
        own.setblocking(False)
        reader = OutputReader(own, origin)
        self._readers.append(reader)
        self._listen(reader)
        return theirs

    def note_forked(self, worker: int, pid: int) -> None:
        """Log the pid of a worker from now on."""
        for reader in self._readers:
            if reader.origin.worker == worker:
                reader.origin.pid = pid

    def note_end(self, worker: int) -> None:
        """Note that a worker has ended; processes that it has started may print on."""
        ended = [r for r in self._readers if r.origin.worker == worker]
        self._orphans += [reader for reader in ended if reader in self._readers]
        while len(self._orphans) > MOST_ORPHANS:
            reader = self._orphans.pop(0)
            if reader in self._readers:
                self._forget(reader)

    def _listen(self, reader: OutputReader) -> None:
        self._loop.add_reader(reader.sock.fileno(), self._read, reader)

    def resume(self) -> None:
        """Read on from every process that the image before has read from."""
        for reader in self._readers:
            self._listen(reader)

    def close(self) -> None:
        """Log what has been printed so far, or a part of it, then stop reading."""
        until = self._loop.time() + LAST_S
        for reader in list(self._readers):
            for _ in range(LAST_BYTES // PIECE_BYTES):
                if self._loop.time() > until or not reader.reads(
                    self._handler, most_lines=None
                ):
                    break
            self._forget(reader)

    def _read(self, reader: OutputReader) -> None:
        reader.reads(self._handler, LINES_PER_TURN)
        if reader.fault and reader.origin.worker is not None:
            self.on_fault(reader.origin.worker, reader.fault)
        if reader.is_over:
            self._forget(reader)
        elif reader.has_lines:
            # The process has to wait meanwhile: its socket is not read until its lines
            # are written.
            self._loop.remove_reader(reader.sock.fileno())
            self._loop.call_soon(self._write_on, reader)

    def _write_on(self, reader: OutputReader) -> None:
        """Log more of what was read before any more is read."""
        if reader not in self._readers:
            return
        reader.write(self._handler, LINES_PER_TURN)
        if reader.has_lines:
            self._loop.call_soon(self._write_on, reader)
        else:
            self._loop.add_reader(reader.sock.fileno(), self._read, reader)

    def _forget(self, reader: OutputReader) -> None:
        self._loop.remove_reader(reader.sock.fileno())
        self._readers.remove(reader)
        if reader in self._orphans:
            self._orphans.remove(reader)
        reader.close(self._handler)


# ``--log-file``: it takes the place of standard error, here and in all children.
#
# Every process of the service, also of another user, gets a descriptor of what is
# opened here: no link leads it elsewhere, see ``files.py``.


_MODE = 0o640


class LogFile:
    """The file of the log.

    Args:
        path: Absolute; it is appended to.
        fd: Of the open file, owned by this object.
    """

    def __init__(self, path: str, fd: int) -> None:
        self._path = path
        self._fd = fd

    def open_again(self) -> Descriptor:
        """Return another descriptor, for a process that writes there too.

        Opened anew, so that nothing but the file is shared, unless it cannot be.
        """
        try:
            return Descriptor(open_again(self._fd))
        except OSError:
            return Descriptor(os.dup(self._fd))

    def close(self) -> None:
        """Close the file; the descriptor of standard error stays open."""
        os.close(self._fd)

    def take_place(self) -> None:
        """Put the file in the place of standard error."""
        os.dup2(self._fd, STDERR, inheritable=True)

    def reopen(self) -> str:
        """Write to a new file of the same name, since the old one was renamed.

        Returns:
            Why that cannot be, and the old one is written on; "" when it can.
        """
        try:
            fd = open_to_append(self._path, _MODE)
        except OSError as error:
            return f"{self._path}: {error.strerror}; going on with the old one"
        # dup2(2) exchanges the file in one step: a line that is written at this moment
        # goes to the old file or to the new one, and never to a closed descriptor.
        os.dup2(fd, self._fd, inheritable=False)
        os.close(fd)
        self.take_place()
        return ""


def open_log_file(path: str) -> LogFile:
    """Open the log file, and put it in the place of standard error.

    Raises:
        UsageError: The file cannot be opened.
    """
    try:
        log_file = LogFile(path, open_to_append(path, _MODE))
    except OSError as error:
        text = f"--log-file {path}: cannot open it: {error.strerror}"
        raise UsageError(text) from error
    log_file.take_place()
    return log_file


def resume_log_file(path: str) -> LogFile:
    """Go on with the log file that is in that place already, whatever its name is."""
    return LogFile(path, os.dup(STDERR))


# Writing to new log files, since the old ones were renamed.


REACHED_S = 2.0
"""Who has not read the order by then is busy: its loop stands still, or it imports."""
_LOOK_EVERY_S = 0.005


class Writers(Protocol):
    """Other processes that write logs."""

    def reopen_logs(self, files: Sequence[Sendable]) -> None:
        """Send the new log files; ``files`` has that of the log, if it is a file."""

    def list_unread(self) -> list[str]:
        """List those of them that have not read their orders."""


class LogReopener:
    """Opens the log anew, here and in every process.

    Args:
        log_file: Of the master; None: it writes to standard error.
        writers: All others.
    """

    def __init__(self, log_file: LogFile | None, *writers: Writers) -> None:
        self._log_file = log_file
        self._writers = writers

    def reopen(self) -> str:
        """Open every log anew; return why the log itself could not be, or ""."""
        failure = self._log_file.reopen() if self._log_file else ""
        if failure:
            note("logs_reopened", failure, "ERROR")
        else:
            note("logs_reopened", "the log and every access log are reopened")
        files = [self._log_file.open_again()] if self._log_file else []
        for writers in self._writers:
            writers.reopen_logs(files)
        for file in files:
            file.close()
        return failure

    async def reopen_everywhere(self) -> str:
        """Reopen, and return when every process has been reached, or why it is not.

        Whoever has renamed the files may then compress them.
        """
        failure, loop = self.reopen(), asyncio.get_running_loop()
        late_at = loop.time() + REACHED_S
        while unread := [who for each in self._writers for who in each.list_unread()]:
            if loop.time() >= late_at:
                late = ", ".join(unread)
                return failure or f"busy, and may still write to the old files: {late}"
            await asyncio.sleep(_LOOK_EVERY_S)
        return failure
