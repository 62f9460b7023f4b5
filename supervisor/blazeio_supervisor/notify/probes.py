"""Asking workers for a sign of life, over connections of the master's own.

A connection is handed over that says nothing and is ended at once: whoever
serves closes it in turn. That takes a turning loop and the code that serves,
runs no handler of the app, and counts as no request.
"""

import asyncio
import socket
from collections.abc import Callable

from blazeio_supervisor.fleet.facts import Answered, Fact
from blazeio_supervisor.observe.health_path import MOST_S, NEWS_OF_DEATH_S


class Probes:
    """The probes under way: at most one for each worker.

    Args:
        connect: Gives a connection to a worker; None: it is gone.
        tell: Takes the answer as a fact; silence is none.
    """

    def __init__(
        self,
        connect: Callable[[int], socket.socket | None],
        tell: Callable[[Fact], None],
    ) -> None:
        self._connect = connect
        self._tell = tell
        self._open: dict[int, asyncio.Task[None]] = {}

    def begin(self, worker: int) -> None:
        """Ask one worker; one that has yet to answer is not asked again."""
        sock = None if worker in self._open else self._connect(worker)
        if sock is not None:
            self._open[worker] = asyncio.create_task(self._ask(worker, sock))

    async def _ask(self, worker: int, sock: socket.socket) -> None:
        sock.shutdown(socket.SHUT_WR)
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            async with asyncio.timeout(MOST_S):
                await reader.read(1)
        except OSError:  # also TimeoutError
            return
        finally:
            writer.close()
            del self._open[worker]
        # The end of a worker closes it too: then the news of that come first.
        await asyncio.sleep(NEWS_OF_DEATH_S)
        self._tell(Answered(worker))
