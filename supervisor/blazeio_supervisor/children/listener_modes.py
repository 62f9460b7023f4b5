"""Listeners stay non-blocking, whatever those who hold them do.

The mode belongs to what a descriptor refers to, so to all who hold a listener: the
master, the worker of its slot, and whoever has adopted the queue at some time. In
one that blocks, a worker's loop would stand still in its next accept, and then that
of each sibling that takes its queue. Who has changed it cannot be known.
"""

import os

from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.sockets.listeners import Listeners

QUIET_LOOKS = 1200
"""After one that was noted: a minute, at 20 a second."""


class ListenerModes:
    """Looks at them as often as the scoreboard is read, and sets what was changed.

    Args:
        listeners: Of all slots.
    """

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners
        self._quiet_looks = 0

    def look(self) -> None:
        """Set them."""
        self._quiet_looks = max(self._quiet_looks - 1, 0)
        for slot in range(self._listeners.slot_count):
            for queue in self._listeners.all_of(slot):
                fd = queue.sock.fileno()
                if fd >= 0 and os.get_blocking(fd):
                    os.set_blocking(fd, False)
                    self._note(slot)

    def _note(self, slot: int) -> None:
        if not self._quiet_looks:
            self._quiet_looks = QUIET_LOOKS
            text = "a process of the app has made a listener block; it is set back"
            note("listener_changed", text, "WARNING", slot=slot)
