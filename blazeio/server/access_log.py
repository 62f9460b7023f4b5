"""The access log: one line for each response that is over.

Off by default; then a response costs one comparison. Lines are collected and
leave at the end of the loop's turn by one write (of which pipes get one for
every 4,096 octets, see ``lines.destination``).

A destination never holds the server up, nor brings it down. Where it takes no
more, up to ``HELD_BYTES`` of lines wait until it does; then new lines are
dropped, and counted. Where it is broken (a full disk, a pipe without a reader)
lines are dropped at once, and each turn tries again. Both are logged, but while
it is blocked nothing is: that log may go the same way, and wait.

Cost, by tests/bench/access_log.py (a file, 16 requests in a turn): combined
1.2 us per request, 1.5 where a browser's Referer and User-Agent are written; as
JSON 1.4 and 1.8.
"""

import asyncio
import contextvars
import os
from typing import TYPE_CHECKING

from blazeio.errors import ConfigurationError
from blazeio.loggers import get_logger
from blazeio.server.lines.destination import Destination, OpenFile
from blazeio.server.lines.format import compile_format

if TYPE_CHECKING:
    from blazeio.protocol.request import BlazeioServerProtocol

log = get_logger("blazeio.server")

HELD_BYTES = 1024 * 1024
"""What a destination without room may owe us; beyond it lines are dropped."""
REPORT_EVERY_S = 10.0
"""Failures and losses are logged at most this often."""


class AccessLog:
    """Writes a line for each response. Made after the fork, on its loop.

    Args:
        path: Of a file, which is appended to, or of a pipe; "-": standard
            output.
        loop: The loop that serves.
        format_text: See ``lines.format.compile_format``.
        worker: The worker's name; None: the process id.
        open_file: Opens the path instead of us; see ``Destination``.

    Attributes:
        lost_count: Lines that were dropped.

    Raises:
        ConfigurationError: The path cannot be opened, or there is no such
            format.
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
        self._compose, self._read_clock = form
        self._destination: Destination | None = Destination(path, open_file)
        self._loop = loop
        self._base = contextvars.copy_context()
        self._lines: list[str] = []
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._watched_fd: int | None = None
        self._reported_at = -REPORT_EVERY_S
        self._reported_count = 0
        self.lost_count = 0

    def record(self, r: "BlazeioServerProtocol") -> None:
        """Note a response that is over."""
        # Hot: runs once per request; see tests/bench/access_log.py.
        lines = self._lines
        if not lines:
            self._read_clock()
            self._loop.call_soon(self._flush, context=self._base)
        lines.append(self._compose(r))

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        octets = "".join(lines).encode()
        if self._watched_fd is None:
            self._send(octets)
        elif self._held_bytes + len(octets) <= HELD_BYTES:
            self._hold(octets)
        else:
            self.lost_count += len(lines)

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
        self._base.copy().run(lambda: self._loop.add_writer(fd, self._go_on))

    def _go_on(self) -> None:
        """Try again: what was held comes first."""
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

        An error is logged, and the old one is written on.
        """
        if self._destination is None:
            return
        self._flush()
        self._unwatch()  # the descriptor is closed
        try:
            self._destination.reopen()
        except ConfigurationError as error:
            log.error("%s; going on with the old one", error)
        self._go_on()

    def close(self) -> None:
        """Write what is left, as far as it is taken, and nothing from now on."""
        self._flush()
        self._go_on()
        self._unwatch()
        if self._destination is not None:
            self._destination.close()
        self._destination = None
