"""What the service manager is told: the planner's words in its language.

Decides nothing; where no manager listens nothing is sent.
"""

import asyncio
import os
import socket
import time
from collections.abc import Sequence

from blazeio_supervisor.fleet.actions import Notify, Stage
from blazeio_supervisor.notify.sending import FDS_PER_MESSAGE, Notifier, clean


class Telling:
    """Speaks for the master.

    Args:
        address: Of the manager; None: there is none.
        loop: The master's.
    """

    def __init__(self, address: str | None, loop: asyncio.AbstractEventLoop) -> None:
        self.notifier = Notifier(address, loop)

    def tell(self, notice: Notify) -> None:
        """Send one notice, in one message: what belongs together is seen together."""
        lines = [] if notice.stage is None else _describe_stage(notice.stage)
        if notice.status is not None:
            lines.append(f"STATUS={clean(notice.status)}")
        if notice.is_alive:
            lines.append("WATCHDOG=1")
        if notice.extend_s is not None:
            lines.append(f"EXTEND_TIMEOUT_USEC={round(notice.extend_s * 1e6)}")
        self.notifier.send(*lines)

    def store(self, name: str, sockets: Sequence[socket.socket]) -> None:
        """Have the manager keep sockets, for the next start, under one name."""
        for at in range(0, len(sockets), FDS_PER_MESSAGE):
            fds = [sock.fileno() for sock in sockets[at : at + FDS_PER_MESSAGE]]
            self.notifier.send("FDSTORE=1", f"FDNAME={name}", fds=fds)

    def forget(self, name: str) -> None:
        """Have the manager let go of all that it keeps under this name."""
        self.notifier.send("FDSTOREREMOVE=1", f"FDNAME={name}")

    def fail(self, reason: str, number: int | None) -> None:
        """Say why the service ends before it has served.

        Args:
            reason: One line.
            number: The kernel's error, when one is the cause.
        """
        lines = [f"STATUS=failed: {clean(reason)}"]
        if number is not None:
            lines.append(f"ERRNO={number}")
        self.notifier.send(*lines)

    async def end(self) -> None:
        """Have everything heard, then say no more."""
        await self.notifier.settle()
        self.notifier.close()


def _describe_stage(stage: Stage) -> list[str]:
    match stage:
        case Stage.READY:
            # A wrapper may have been started instead of us.
            return ["READY=1", f"MAINPID={os.getpid()}"]
        case Stage.RELOADING:
            # The manager's clock too: it tells this reload from an earlier one.
            return ["RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"]
        case Stage.STOPPING:
            return ["STOPPING=1"]
        case Stage.BOOTING:
            return []
