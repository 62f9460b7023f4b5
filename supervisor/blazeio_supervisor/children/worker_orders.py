"""What the master orders a worker to do, over its channel or by a signal.

An order to one that is gone is void.
"""

import signal
import socket
from collections.abc import Sequence

from blazeio_supervisor.children.record import Records
from blazeio_supervisor.fleet.actions import Ending
from blazeio_supervisor.process.channel import Sendable
from blazeio_supervisor.process.kernel import refuse_descriptors
from blazeio_supervisor.process.messages import (
    Admit,
    Adopt,
    Drain,
    Message,
    Release,
    ReopenLogs,
    Serve,
    Stay,
)
from blazeio_supervisor.process.reaper import Reaper
from blazeio_supervisor.process.signals import STACK_SIGNAL
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.sockets.queues import list_sockets, list_terms
from blazeio_supervisor.stacks.call import Stacks


class WorkerOrders:
    """Gives them.

    Args:
        records: Of the workers.
        reaper: Sends the signals: it knows for certain whose a pid is.
        listeners: What is adopted.
    """

    def __init__(self, records: Records, reaper: Reaper, listeners: Listeners) -> None:
        self._records = records
        self._reaper = reaper
        self._listeners = listeners

    def end(self, worker: int, ending: Ending, drain: Drain) -> None:
        """End a worker; ``drain`` is the order when it is asked nicely."""
        record = self._records.get(worker)
        if record is None:
            return
        record.is_told_to_end = True
        if ending is Ending.DRAIN:  # needs no pid
            record.is_serving = False
            record.channel.send(drain)
            return
        if record.pid is None:
            return
        match ending:
            case Ending.TERM:
                self._reaper.send_signal(record.pid, signal.SIGTERM)
            case Ending.KILL:
                record.is_killed = True
                self._reaper.send_signal(record.pid, signal.SIGKILL)

    def stay(self) -> None:
        """Have every worker serve on, whoever sends it SIGTERM."""
        for record in self._records.values():
            record.channel.send(Stay())

    def admit(self, worker: int) -> None:
        """Let a canary accept from its slot."""
        self._send(worker, Admit())

    def adopt(self, slot: int, by: int) -> None:
        """Have one worker accept from another slot's queue too."""
        queues = self._listeners.own_of(slot)
        self._send(by, Adopt(slot, list_terms(queues)), list_sockets(queues))

    def release(self, slot: int, by: int) -> None:
        """End an adoption."""
        self._send(by, Release(slot))

    def connect(self, worker: int) -> socket.socket | None:
        """Give a connection to a worker, which serves it though it accepts none.

        None when the worker is gone.
        """
        record = self._records.get(worker)
        if record is None:
            return None
        own, theirs = socket.socketpair()
        refuse_descriptors(own)
        with theirs:
            for sock in (own, theirs):
                sock.setblocking(False)
            record.channel.send(Serve(), [theirs])
        return own

    def reopen_logs(self, files: Sequence[Sendable]) -> None:
        """Have every worker write to new log files: the old ones were renamed.

        Args:
            files: The new one of the log, if that is a file.
        """
        for record in self._records.values():
            record.channel.send(ReopenLogs(), files)

    async def ask_stacks(self, worker: int) -> Stacks:
        """Have a worker say where it is; works while it is blocked, too."""
        record = self._records.get(worker)
        if record is None or record.pid is None or not record.channel.is_open:
            return Stacks("", False)  # another program has taken its place, perhaps
        pid = record.pid
        return await record.stacks.ask(
            lambda: self._reaper.send_signal(pid, STACK_SIGNAL)
        )

    def begin_stacks(self, worker: int) -> None:
        """Ask likewise, for the report of its death; nobody waits for it."""
        record = self._records.get(worker)
        if record is not None and record.pid is not None:
            pid = record.pid
            record.stacks.begin(lambda: self._reaper.send_signal(pid, STACK_SIGNAL))

    def _send(
        self, worker: int, message: Message, sockets: list[socket.socket] | None = None
    ) -> None:
        record = self._records.get(worker)
        if record is not None:
            record.channel.send(message, sockets or [])
