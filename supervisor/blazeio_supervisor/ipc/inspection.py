"""The master's side of a look into a process: at its stacks, or a profile of it.

A signal asks for either. The answer comes over a socket of its own, by no way through
the process's loop, which may be blocked.

Stacks are read also without a question: an answer that comes late must not fill the
socket, or the worker would block while it writes.
"""

import array
import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Callable

import msgspec
from msgspec import Struct

from blazeio_supervisor.ipc.channel import (
    ChildFault,
    close_aside,
    receive_octets,
)
from blazeio_supervisor.ipc.processes import refuse_descriptors
from blazeio_supervisor.ipc.signals import STACKS_END
from blazeio_supervisor.ipc.status_api import (
    ANSWER_BYTES,
    NAME_CHARS,
    PROGRESS_EVERY_S,
    Profiled,
    ProfileWish,
    Sampled,
    parse_profile,
)

STACKS_BYTES = 1024 * 1024
"""The rest of a longer one is dropped."""
MOST_BYTES = 8 * STACKS_BYTES
"""Read since the last question; a worker that sends more would keep the master
reading for ever, and is ended."""
ANSWER_TIMEOUT_S = 1.0
_STACKS_PIECE_BYTES = 65536


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
        octets, end, _ = bytes(self._received).partition(STACKS_END)
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
            received = receive_octets(self._sock, _STACKS_PIECE_BYTES)
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
            self._received += octets[: STACKS_BYTES - len(self._received)]
            if STACKS_END in octets:
                self._finish()

    def _finish(self) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)


# A profile of one worker: ordered, and read.
#
# The order goes over the socket that the stacks come by, with one end of a socket of
# its own for the answer, and a signal says that it is there: the worker's loop, which
# may be blocked, has no part in it. The answer is lines of JSON: how many samples were
# taken so far, then the whole profile. Whoever closes the socket ends the profile.


SLACK_S = 10.0
"""How long the whole profile may take to come after the end of its span."""
MEMORY_SLACK_S = 120.0
"""The same for a profile of the memory: an app may have millions of blocks."""
_PIECE_BYTES = 262_144


def send_wish(asker: socket.socket, wish: ProfileWish, end: socket.socket) -> None:
    """Send an order, with the socket for its answer.

    Raises:
        OSError: The worker is gone, or reads nothing.
    """
    fds = array.array("i", [end.fileno()])
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)]
    asker.sendmsg([msgspec.json.encode(wish)], ancillary, socket.MSG_DONTWAIT)


async def follow_profile(
    asker: socket.socket, wish: ProfileWish, signal_it: Callable[[], None]
) -> AsyncGenerator[Sampled | Profiled, None]:
    """Have a worker profiled; yield how far it is, and in the end the profile.

    To end the iteration ends the profile.

    Args:
        asker: The master's end of the socket for stacks.
        wish: What is wanted.
        signal_it: Sends ``PROFILE_SIGNAL`` to the worker.

    Yields:
        How far it is, twice a second; the last one is the profile, or why there is
        none.
    """
    own, theirs = socket.socketpair()
    refuse_descriptors(own)
    own.setblocking(False)
    reader = _LineReader(own)
    slack_s = MEMORY_SLACK_S if wish.is_of_memory else SLACK_S
    ends_at = time.monotonic() + wish.seconds + slack_s
    last = Sampled(0)
    try:
        with theirs:
            send_wish(asker, wish, theirs)
        signal_it()
        while time.monotonic() < ends_at:
            for said in await reader.read(PROGRESS_EVERY_S):
                if isinstance(said, Profiled):
                    yield said
                    return
                last = said
            yield last  # also without news: whoever waits sees that somebody is there
        yield Profiled(failure="it does not answer: C code computes, or it is stopped")
    except OSError as error:
        yield Profiled(failure=f"it could not be asked: {error.strerror}")
    except EOFError:
        yield Profiled(failure="the worker has ended meanwhile")
    except (ValueError, ChildFault) as fault:
        yield Profiled(failure=f"what it sent is no profile: {fault}"[:NAME_CHARS])
    finally:
        reader.close()


class _LineReader:
    """Reads the lines of one worker, within a bound."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._read_bytes = 0
        self._is_ended = False

    async def read(self, span_s: float) -> list[Sampled | Profiled]:
        """Wait at most this long for octets; return the messages that are whole now.

        Raises:
            EOFError: There was an end before the profile.
            ValueError: It is no profile, or too long.
        """
        if self._is_ended:
            raise EOFError
        if not await self._wait(span_s):
            return []
        try:
            received = receive_octets(self._sock, _PIECE_BYTES)
        except BlockingIOError:
            return []
        octets = received[0] if received else b""
        self._is_ended = not octets
        self._received += octets
        self._read_bytes += len(octets)
        if self._read_bytes > ANSWER_BYTES:
            message = f"it is longer than {ANSWER_BYTES:,} octets"
            raise ValueError(message)
        *lines, rest = self._received.split(b"\n")
        self._received = rest
        return [parse_profile(bytes(line)) for line in lines]

    async def _wait(self, span_s: float) -> bool:
        """Wait until it can be read; only then is it looked at by the loop."""
        is_readable = asyncio.Event()
        self._loop.add_reader(self._sock.fileno(), is_readable.set)
        try:
            async with asyncio.timeout(span_s):
                await is_readable.wait()
        except TimeoutError:
            return False
        finally:
            self._loop.remove_reader(self._sock.fileno())
        return True

    def close(self) -> None:
        """Close the socket: the worker stops sampling."""
        close_aside([self._sock])  # beside what is unread may be descriptors
