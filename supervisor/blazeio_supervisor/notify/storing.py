"""Having the service manager keep the listeners, so that they outlive a restart."""

from blazeio_supervisor.fleet.telling.words import count_of
from blazeio_supervisor.notify.telling import Telling
from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.sockets.listeners import Listeners


class Store:
    """The manager's store of descriptors.

    Args:
        telling: Speaks with the manager.
        listeners: What is kept.
        room: For how many descriptors it has room; 0: there is no store.
    """

    def __init__(self, telling: Telling, listeners: Listeners, room: int) -> None:
        self._telling = telling
        self._listeners = listeners
        self._room = room

    def keep(self) -> None:
        """Have it keep what it does not yet, and forget what nobody opens again."""
        for name in self._listeners.give_up_stored():
            self._telling.forget(name)
        for name, sockets in self._listeners.lend(self._room):
            self._telling.store(name, sockets)
        left = self._listeners.count_own()
        if self._room and left:
            text = (
                f"{count_of(left, 'listener')} will not outlive a restart: "
                f"the unit's FileDescriptorStoreMax= is {self._room}"
            )
            note("not_stored", text, "WARNING")
