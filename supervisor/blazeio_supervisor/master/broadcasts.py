"""Messages of one worker's app to those of all others: the master passes them on.

It neither reads nor keeps them. Two budgets bound what that takes of its loop, and a
worker that does not read gets nothing more until it does; what has no room is counted
as dropped.
"""

import time
from collections.abc import Callable

from msgspec import Struct

from blazeio_supervisor.ipc.messages import Broadcast
from blazeio_supervisor.master.worker_record import Records

MESSAGES_PER_S = 1_000
"""Messages of one worker in a second that are passed on."""
DELIVERIES_PER_S = 20_000
"""Messages that are sent on in a second: one counts for each worker that gets it."""


class BroadcastCounts(Struct):
    """What became of the messages.

    Attributes:
        messages: That workers have sent.
        delivered: Messages that a worker was sent, each of them counted.
        dropped: Messages that one was not sent, likewise.
    """

    messages: int = 0
    delivered: int = 0
    dropped: int = 0


class BroadcastRelay:
    """Passes messages on.

    Args:
        records: Of the workers.
        counts: Of the image before, or blank; shared with this object.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self,
        records: Records,
        counts: BroadcastCounts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records = records
        self._clock = clock
        self._until = 0.0
        self._sent: dict[int, int] = {}
        self._deliveries = 0
        self.counts = counts

    def relay(self, message: Broadcast, sender: int) -> None:
        """Send a message to every worker that serves but the one that has sent it."""
        now = self._clock()
        if now >= self._until:
            self._until = now + 1.0
            self._sent.clear()
            self._deliveries = 0
        self._sent[sender] = self._sent.get(sender, 0) + 1
        has_room = self._sent[sender] <= MESSAGES_PER_S
        self.counts.messages += 1
        for record in list(self._records.values()):
            if record.worker == sender or not record.has_ready:
                continue
            if not record.channel.is_open:
                continue
            if not has_room or self._deliveries >= DELIVERIES_PER_S:
                self.counts.dropped += 1
            # Sent now or not at all. Nothing may wait for a worker that does not read:
            # its orders wait in the same queue, and must not come behind messages of
            # the app.
            elif record.channel.offer(message):
                self._deliveries += 1
                self.counts.delivered += 1
            else:
                self.counts.dropped += 1
