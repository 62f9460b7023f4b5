"""Keys of a terminal, one by one; the terminal is as before in the end.

``watch`` also wakes for a signal: a window that was resized, a TERM.
"""

import os
import select
import signal
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

UP, DOWN, ESCAPE = "up", "down", "escape"
_SEQUENCES = {
    b"\x1b[A": UP,
    b"\x1bOA": UP,
    b"\x1b[B": DOWN,
    b"\x1bOB": DOWN,
    b"\x1b": ESCAPE,
}
_MOST_BYTES = 64


def read_keys(octets: bytes) -> list[str]:
    """Read what was typed: a character each, or the name of a key."""
    if octets.startswith(b"\x1b"):
        name = _SEQUENCES.get(octets)
        return [name] if name else []  # some other key that sends a sequence
    return list(octets.decode("utf-8", "ignore"))


class Keyboard:
    """A terminal's keys. Made by ``watched_keyboard``.

    Args:
        fd: Of the terminal.
        waker: Becomes readable when a signal has come.
    """

    def __init__(self, fd: int, waker: int) -> None:
        self._fd = fd
        self._waker = waker

    def wait(self, timeout_s: float) -> list[str]:
        """Wait for keys; none when the time is over or a signal has come."""
        ready, _, _ = select.select([self._fd, self._waker], [], [], timeout_s)
        if self._waker in ready:
            os.read(self._waker, _MOST_BYTES)
        if self._fd not in ready:
            return []
        octets = os.read(self._fd, _MOST_BYTES)
        if not octets:
            raise KeyboardInterrupt  # the terminal is gone
        return read_keys(octets)


@contextmanager
def watched_keyboard(fd: int) -> Iterator[Keyboard]:
    """Take keys without their echo, without waiting for a whole line.

    TERM and HUP are told as ``KeyboardInterrupt``, like ^C, so that the terminal
    is put right by whoever has changed it; ^Z is ignored.
    """
    before = termios.tcgetattr(fd)
    waker, wake = os.pipe()
    os.set_blocking(wake, False)
    handlers = {
        signal.SIGWINCH: signal.signal(signal.SIGWINCH, lambda *_: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, _interrupt),
        signal.SIGHUP: signal.signal(signal.SIGHUP, _interrupt),
        signal.SIGTSTP: signal.signal(signal.SIGTSTP, signal.SIG_IGN),
    }
    earlier_wake = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    try:
        tty.setcbreak(fd)
        yield Keyboard(fd, waker)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
        signal.set_wakeup_fd(earlier_wake)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(waker)
        os.close(wake)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
