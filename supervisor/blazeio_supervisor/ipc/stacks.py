"""The master's side: asks one worker for its stacks, and reads the answer.

It reads also without a question: an answer that comes late must not fill the socket,
or the worker would block while it writes.
"""

import asyncio
import socket
from collections.abc import Callable

from msgspec import Struct

from blazeio_supervisor.ipc.channel import (
    ChildFault,
    close_aside,
    receive_octets,
)

END = b"\0"
"""Behind the last line of an answer."""
ANSWER_BYTES = 1024 * 1024
"""The rest of a longer one is dropped."""
MOST_BYTES = 8 * ANSWER_BYTES
"""Read since the last question; a worker that sends more would keep the master
reading for ever, and is ended."""
ANSWER_TIMEOUT_S = 1.0
_PIECE_BYTES = 65536


class Stacks(Struct, frozen=True):
    """The stacks that a worker has sent.

    Attributes:
        text: "" when it said nothing.
        is_whole: It has the tasks too; else C code runs in the worker, or it is
            stopped.
    """

    text: str
    is_whole: bool


class StackCall:
    """Asks one worker for its stacks, by a signal.

    Args:
        sock: The master's end; the worker has the other. Nothing is read before
            ``start``.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._answered: asyncio.Future[None] | None = None
        self._received = bytearray()
        self._read_bytes = 0
        self._is_drained = False

    def start(
        self, loop: asyncio.AbstractEventLoop, on_fault: Callable[[str], None]
    ) -> None:
        """Read from now on.

        Args:
            loop: The running loop.
            on_fault: Called with what the worker has sent that is no answer; nothing
                more is read here.
        """
        self._loop = loop
        self._on_fault = on_fault
        loop.add_reader(self._sock.fileno(), self._read)

    @property
    def sock(self) -> socket.socket:
        """The master's end: the order of a profile goes over it, too."""
        return self._sock

    def fileno(self) -> int:
        """Return the descriptor, for the next image of the master."""
        return self._sock.fileno()

    async def ask(
        self, signal_it: Callable[[], None], timeout_s: float = ANSWER_TIMEOUT_S
    ) -> Stacks:
        """Ask for all stacks; those who ask meanwhile get the same answer.

        Args:
            signal_it: Sends ``STACK_SIGNAL`` to the worker.
            timeout_s: The longest wait.
        """
        answer = self.begin(signal_it)
        await asyncio.wait((answer,), timeout=timeout_s)
        if self._answered is answer:
            self._answered = None
        return self.answer

    def begin(self, signal_it: Callable[[], None]) -> asyncio.Future[None]:
        """Ask without waiting, unless an answer is due; ``answer`` has what comes.

        Returns:
            Done when the answer is whole, or the worker is gone.
        """
        if self._answered is None:
            self._received.clear()
            self._read_bytes = 0
            self._answered = self._loop.create_future()
            signal_it()
        return self._answered

    @property
    def answer(self) -> Stacks:
        """The answer so far to the last question."""
        octets, end, _ = bytes(self._received).partition(END)
        return Stacks(octets.decode("utf-8", "replace"), bool(end))

    def close(self) -> None:
        """Close the socket; those who wait get what there is."""
        if self._answered is not None:
            self._read()  # what came in this turn of the loop
        self._loop.remove_reader(self._sock.fileno())
        if self._is_drained:
            self._sock.close()
        else:
            close_aside([self._sock])  # beside what is unread may be descriptors
        self._finish()

    def _read(self) -> None:
        octets = b""
        try:
            received = receive_octets(self._sock, _PIECE_BYTES)
            octets = received[0] if received else b""
            self._is_drained = not octets
            self._read_bytes += len(octets)
            if self._read_bytes > MOST_BYTES:
                octets = b""
                text = f"it said more than {MOST_BYTES:,} octets where its stacks go"
                self._on_fault(text)
        except BlockingIOError:
            return
        except ChildFault as fault:
            self._on_fault(str(fault))
        except OSError:
            pass  # the worker is gone
        if not octets:
            self._loop.remove_reader(self._sock.fileno())
            self._finish()
        elif self._answered is not None:
            self._received += octets[: ANSWER_BYTES - len(self._received)]
            if END in octets:
                self._finish()

    def _finish(self) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)
