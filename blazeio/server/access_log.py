"""The access log: one line for each response that is over.

It is off by default; then a response costs one comparison. Lines are collected and
written at the end of the loop's turn by one write(2) (pipes get one for every 4,096
octets).

A destination never blocks the server, nor stops it. Where it accepts no more, up to
``HELD_BYTES`` of lines wait; after that new lines are dropped and counted. Where it is
broken (a full disk, a pipe without a reader) lines are dropped at once, and each turn
tries again. Both are logged, but not while it is blocked: that log may have the same
destination, and block.

Cost, by tests/bench/access_log.py (a file, 16 requests in a turn): combined 1.2 us per
request, 1.5 where a browser's Referer and User-Agent are written; as JSON 1.4 and 1.8.
"""

import asyncio
import contextvars
import os
import select
import socket
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from blazeio.errors import ConfigurationError
from blazeio.loggers import get_logger
from blazeio.protocol.context import Record
from blazeio.protocol.kernel import NO_SIGNAL
from blazeio.server.log_format import Compose, compile_format

if TYPE_CHECKING:
    from blazeio.protocol.request import BlazeioServerProtocol


# Destinations: a file, a pipe, a terminal or a socket
#
# A write that would block is not made; its lines are written later. How depends on what
# is written to:
#
# * A file: the write goes to the page cache. (A disk that hangs can block it, as it
#   would any server's; only a thread could wait instead, which would cost every request
#   more than the line does.)
# * A pipe or a terminal: it is opened again, so that O_NONBLOCK is set on an open file
#   description of our own. The flag of the inherited one would change for the shell and
#   for every other process that shares it (open(2)).
# * A socket (the journal's): each write has MSG_DONTWAIT.
# * A pipe or terminal that may not be opened again (it belongs to another user):
#   poll(2) is asked first whether it accepts something. Another process that shares it
#   may be quicker, so here a write may block.
#
# Several workers write to one pipe: what is written at once is made of whole lines and
# at most PIPE_BUF octets, which the kernel keeps together (pipe(7)).


STANDARD_OUTPUT = "-"
PIPE_BUF_BYTES = select.PIPE_BUF
MODE = 0o640

OpenFile = Callable[[str, int], int]


class LogDestination:
    """Writes whole lines, as many as there is room for.

    Args:
        path: A file, which is appended to, or a pipe; "-": standard output. A relative
            path is resolved now, also for when it is opened again.
        open_file: Opens a path with the mode of a new file: for a process that does not
            trust every link. The descriptor must be non-blocking.

    Raises:
        ConfigurationError: It cannot be opened; says why.
    """

    def __init__(self, path: str, open_file: OpenFile | None = None) -> None:
        self._path = path
        if path != STANDARD_OUTPUT:
            self._path = os.path.join(os.getcwd(), path)
        self._open_file = open_file or _open_file
        self._open()

    def _open(self) -> None:
        try:
            if self._path == STANDARD_OUTPUT:
                self._fd = _open_standard_output()
            else:
                self._fd = self._open_file(self._path, MODE)
        except OSError as error:
            message = f"cannot open access log {self._path}: {error.strerror or error}"
            raise ConfigurationError(message) from error
        mode = os.fstat(self._fd).st_mode
        self._is_file = stat.S_ISREG(mode)
        self._socket: socket.socket | None = None
        self._poll: select.poll | None = None
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=self._fd)
        elif not self._is_file and os.get_blocking(self._fd):
            self._poll = select.poll()
            self._poll.register(self._fd, select.POLLOUT)

    def fileno(self) -> int:
        """Return what to watch for room, after a write that found none."""
        return self._fd

    def write(self, lines: bytes) -> int:
        """Write lines; does not block, except as the section above says.

        Returns:
            How many octets were taken; 0 when there is no room now.

        Raises:
            OSError: It is broken: no reader, no space ... Nothing was taken.
        """
        if self._is_file:
            return os.write(self._fd, lines)
        written = 0
        while written < len(lines):
            piece = _next_piece(lines, written)
            try:
                taken = self._try(piece)
            except BlockingIOError:
                break
            except OSError:
                if written == 0:
                    raise
                break  # it will be raised again for the rest
            written += taken
            if taken < len(piece):
                break
        return written

    def _try(self, piece: bytes) -> int:
        if self._socket is not None:
            flags = socket.MSG_DONTWAIT | NO_SIGNAL
            return self._socket.send(piece, flags)
        if self._poll is not None and not self._poll.poll(0):
            return 0
        return os.write(self._fd, piece)

    def reopen(self) -> None:
        """Open the path again: the old file was renamed.

        Raises:
            ConfigurationError: It cannot be opened; the old one stays open.
        """
        former, former_socket = self._fd, self._socket
        self._open()
        _close(former, former_socket)

    def close(self) -> None:
        """Close it; nothing is written any more."""
        _close(self._fd, self._socket)


def _open_file(path: str, mode: int) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(path, flags, mode)


def _close(fd: int, owner: socket.socket | None) -> None:
    if owner is not None:
        owner.close()
    else:
        os.close(fd)


def _open_standard_output() -> int:
    mode = os.fstat(1).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISSOCK(mode):
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
            return os.open("/proc/self/fd/1", flags | os.O_NOCTTY)
        except OSError:
            pass  # it is another user's: the inherited one is used
    return os.dup(1)


def _next_piece(lines: bytes, start: int) -> bytes:
    """Cut at the last line end within PIPE_BUF; else a line is longer than that."""
    if start == 0 and len(lines) <= PIPE_BUF_BYTES:
        return lines
    end = lines.rfind(b"\n", start, start + PIPE_BUF_BYTES) + 1
    return lines[start : end or lines.find(b"\n", start) + 1]


log = get_logger("blazeio.server")

HELD_BYTES = 1024 * 1024
"""How many octets of lines wait for a destination without room; further lines are
dropped."""
REPORT_EVERY_S = 10.0
"""Failures and losses are logged at most this often, seconds."""


class AccessLog:
    """Writes a line for each response. Made after the fork, on its loop.

    Args:
        path: A file, which is appended to, or a pipe; "-": standard output.
        loop: The loop that serves.
        format_text: See ``log_format.compile_format``.
        worker: The worker's name; None: the process id.
        open_file: Opens the path; see ``LogDestination``.

    Attributes:
        record: Called with ``r`` for each response that is over.
        lost_count: Lines that were dropped.

    Raises:
        ConfigurationError: The path cannot be opened, or there is no such format.
    """

    def __init__(
        self,
        path: str,
        loop: asyncio.AbstractEventLoop,
        *,
        format_text: str = "combined",
        worker: str | None = None,
        open_file: OpenFile | None = None,
    ) -> None:
        form = compile_format(format_text, worker or str(os.getpid()))
        self._read_clock = form.read_clock
        self._destination: LogDestination | None = LogDestination(path, open_file)
        self._loop = loop
        self._base = contextvars.copy_context()
        self._lines: list[str] = []
        self.record = self._make_record(form.compose)
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._watched_fd: int | None = None
        self._reported_at = -REPORT_EVERY_S
        self._reported_count = 0
        self.lost_count = 0

    def _make_record(self, compose: Compose) -> Record:
        lines, begin_turn = self._lines, self._begin_turn

        def record(r: "BlazeioServerProtocol") -> None:
            # Hot: runs once per request; see tests/bench/access_log.py. A method takes
            # 600 instructions more: it has to look for all of this.
            if not lines:
                begin_turn()
            lines.append(compose(r))

        return record

    def _begin_turn(self) -> None:
        self._read_clock()
        self._loop.call_soon(self._flush, context=self._base)

    def _flush(self) -> None:
        count = len(self._lines)
        octets = "".join(self._lines).encode()
        self._lines.clear()
        if self._watched_fd is None:
            self._send(octets)
        elif self._held_bytes + len(octets) <= HELD_BYTES:
            self._hold(octets)
        else:
            self.lost_count += count

    def _hold(self, octets: bytes) -> None:
        self._held.append(octets)
        self._held_bytes += len(octets)

    def _send(self, octets: bytes) -> None:
        destination = self._destination
        if destination is None:
            return
        while octets:
            try:
                written = destination.write(octets)
            except OSError as error:
                self.lost_count += octets.count(b"\n")
                if self._may_report():
                    reason = error.strerror or error
                    log.error("access log: %s; lines are being lost", reason)
                return
            if not written:
                self._hold(octets)
                self._watch(destination.fileno())
                return
            octets = octets[written:]
        if self.lost_count > self._reported_count and self._may_report():
            lost = self.lost_count - self._reported_count
            self._reported_count = self.lost_count
            log.warning("access log: %d lines were lost", lost)

    def _watch(self, fd: int) -> None:
        self._watched_fd = fd
        self._base.copy().run(lambda: self._loop.add_writer(fd, self._write_held))

    def _write_held(self) -> None:
        """Write again: lines that waited come first."""
        self._unwatch()
        octets = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        self._send(octets)

    def _unwatch(self) -> None:
        if self._watched_fd is not None:
            self._loop.remove_writer(self._watched_fd)
            self._watched_fd = None

    def _may_report(self) -> bool:
        now = self._loop.time()
        if now - self._reported_at < REPORT_EVERY_S:
            return False
        self._reported_at = now
        return True

    def reopen(self) -> None:
        """Write to a new file of the same path: the old one was renamed.

        An error is logged, and the old file is used.
        """
        if self._destination is None:
            return
        self._flush()
        self._unwatch()  # its descriptor is about to be closed
        try:
            self._destination.reopen()
        except ConfigurationError as error:
            log.error("%s; going on with the old one", error)
        self._write_held()

    def close(self) -> None:
        """Write what is left, as far as it is accepted, and nothing from now on."""
        self._flush()
        self._write_held()
        self._unwatch()
        if self._destination is not None:
            self._destination.close()
        self._destination = None
