"""``--capture-output``, the master's side: what the app prints becomes lines.

Each process prints into a socket of its own, so that the master knows whose line
it is, also of a process that has died. What the master is slow to take, the
process waits for.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence

import msgspec

from blazeio_supervisor.observe.lines.formats import Origin, make_formatter
from blazeio_supervisor.observe.lines.handler import LineHandler
from blazeio_supervisor.observe.lines.terms import LogTerms

LINE_BYTES = 16 * 1024
"""A longer line is cut into several."""
_PIECE_BYTES = 64 * 1024

_NAME = "blazeio.output"


class FrozenReader(msgspec.Struct, frozen=True):
    """What is read of one process, for the next image of the master.

    Attributes:
        fd: The master's end.
        rest: The begin of a line.
    """

    fd: int
    origin: Origin
    rest: bytes


class CapturedOutput:
    """Everything that is read.

    Args:
        loop: The master's.
        terms: How the log is written.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, terms: LogTerms) -> None:
        self._loop = loop
        # No logger: what is printed is wanted at any level of the log.
        self._handler = LineHandler(is_journal=terms.is_journal)
        self._handler.setFormatter(make_formatter(terms))
        self._readers: set[_Reader] = set()

    def open(self, origin: Origin) -> socket.socket:
        """Read for a new process; give its end, which the caller closes."""
        own, theirs = socket.socketpair()
        own.setblocking(False)
        self._add(_Reader(own, origin, self._handler))
        return theirs

    def _add(self, reader: "_Reader") -> None:
        self._readers.add(reader)
        self._loop.add_reader(reader.sock.fileno(), self._read, reader)

    def freeze(self) -> list[FrozenReader]:
        """Give all that is read, for a process that has the same descriptors."""
        return [
            FrozenReader(reader.sock.fileno(), reader.origin, reader.rest)
            for reader in self._readers
        ]

    def thaw(
        self, frozen: Sequence[FrozenReader], take: Callable[[int], socket.socket]
    ) -> None:
        """Go on with what another one had; ``take`` as of ``Listeners.thaw``."""
        for each in frozen:
            reader = _Reader(take(each.fd), each.origin, self._handler)
            reader.rest = each.rest
            self._add(reader)

    def close(self) -> None:
        """Take what has been printed so far, and no more."""
        for reader in list(self._readers):
            while reader.reads():
                pass
            self._forget(reader)

    def _read(self, reader: "_Reader") -> None:
        if not reader.reads() and reader.is_over:
            self._forget(reader)

    def _forget(self, reader: "_Reader") -> None:
        self._loop.remove_reader(reader.sock.fileno())
        self._readers.discard(reader)
        reader.close()


class _Reader:
    """Reads for one process, and those that it has started."""

    def __init__(
        self, sock: socket.socket, origin: Origin, handler: LineHandler
    ) -> None:
        self.sock = sock
        self.is_over = False
        self.origin = origin
        self._handler = handler
        self.rest = b""

    def reads(self) -> bool:
        """Log the lines of one piece; whether there may be more."""
        try:
            octets = self.sock.recv(_PIECE_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            octets = b""
        if not octets:
            self.is_over = True
            return False
        whole, newline, self.rest = (self.rest + octets).rpartition(b"\n")
        if newline:
            self._log(whole)
        while len(self.rest) >= LINE_BYTES:
            self._log(self.rest[:LINE_BYTES])
            self.rest = self.rest[LINE_BYTES:]
        return True

    def close(self) -> None:
        """Log what has no end of line yet."""
        if self.rest:
            self._log(self.rest)
        self.sock.close()

    def _log(self, octets: bytes) -> None:
        # Lines that came together stay together: a traceback is one write.
        text = octets.decode("utf-8", "backslashreplace")
        record = logging.LogRecord(_NAME, logging.INFO, "", 0, text, None, None)
        record.origin = self.origin
        self._handler.handle(record)
