"""The master's side of a profile: it orders one of a worker, and reads the answer.

The order goes over the socket that the stacks come by, with one end of a socket of
its own for the answer, and a signal says that it is there: the worker's loop, which
may be blocked, has no part in it. The answer is lines of JSON: how many samples were
taken so far, then the whole profile. Whoever closes the socket ends the profile.
"""

import array
import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Callable

import msgspec

from blazeio_supervisor.ipc.channel import ChildFault, close_aside, receive_octets
from blazeio_supervisor.ipc.processes import refuse_descriptors
from blazeio_supervisor.ipc.profile_api import (
    ANSWER_BYTES,
    NAME_CHARS,
    PROGRESS_EVERY_S,
    Profiled,
    ProfileWish,
    Sampled,
    parse_profile,
)

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
