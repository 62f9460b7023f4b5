"""Where lines go: a file, a pipe, a terminal or a socket; never waited for.

A write that would have to wait is not made; its lines come again later. How
that is done depends on what is written to:

* A file: the write goes to the page cache. (A disk that hangs can hold it up,
  as it would any server's; only a thread could wait in our place, and it would
  cost every request more than the line does.)
* A pipe or a terminal: it is opened anew, so that O_NONBLOCK is set on a file
  description of ours. Set on the one we were started with, it would hold for
  the shell and for every other process that shares it.
* A socket (the journal's): each write says that it must not wait.
* A pipe or terminal that may not be opened anew (it belongs to another user):
  it is asked first whether it takes something. A sibling that shares it may
  be quicker, so here a write may wait.

Several workers write to one pipe: what is written at once is made of whole
lines and at most PIPE_BUF octets, which the kernel keeps together.

May import: blazeio.errors.
"""

import os
import select
import socket
import stat
from collections.abc import Callable

from blazeio.errors import ConfigurationError

STANDARD_OUTPUT = "-"
PIPE_BUF_BYTES = select.PIPE_BUF
MODE = 0o640

OpenFile = Callable[[str, int], int]


class Destination:
    """Takes whole lines, as many as there is room for.

    Args:
        path: Of a file, which is appended to, or of a pipe; "-": standard
            output. A relative one starts from the working directory of now, also
            when it is opened anew.
        open_file: Opens a path with the mode of a new file, instead of us: for a
            process that trusts not every link. The descriptor must not wait.

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
        """What to watch for room, after a write that found none."""
        return self._fd

    def write(self, lines: bytes) -> int:
        """Write lines; at once, as a rule.

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
            flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
            return self._socket.send(piece, flags)
        if self._poll is not None and not self._poll.poll(0):
            return 0
        return os.write(self._fd, piece)

    def reopen(self) -> None:
        """Open the path anew: the old file was renamed.

        Raises:
            ConfigurationError: It cannot be opened; the old one stays open.
        """
        former, former_socket = self._fd, self._socket
        self._open()
        _close(former, former_socket)

    def close(self) -> None:
        """Write no more."""
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
            pass  # it is another user's: the one that we have must do
    return os.dup(1)


def _next_piece(lines: bytes, start: int) -> bytes:
    """Cut at the last line end within PIPE_BUF; else a line is longer than that."""
    if start == 0 and len(lines) <= PIPE_BUF_BYTES:
        return lines
    end = lines.rfind(b"\n", start, start + PIPE_BUF_BYTES) + 1
    return lines[start : end or lines.find(b"\n", start) + 1]
