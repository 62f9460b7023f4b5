"""What is done to the slots: opened, adopted, steered, and shut in the end."""

from blazeio_supervisor.children.worker_orders import WorkerOrders
from blazeio_supervisor.children.workers import Workers
from blazeio_supervisor.notify.storing import Store
from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.sockets.filters.steering import Steerer
from blazeio_supervisor.sockets.listeners import Listeners


class Slots:
    """Does it, as the planner wants it.

    Args:
        listeners: The sockets of every slot.
        steerer: Shares new connections out.
        orders: Tells workers to take from another slot's queue.
        workers: Say which slots have one that accepts.
        store: Keeps the sockets of new slots too.

    Attributes:
        adopted: By which worker, for each such slot.
    """

    def __init__(
        self,
        listeners: Listeners,
        steerer: Steerer,
        orders: WorkerOrders,
        workers: Workers,
        store: Store,
    ) -> None:
        self._listeners = listeners
        self._steerer = steerer
        self._orders = orders
        self._workers = workers
        self._store = store
        self.adopted: dict[int, int] = {}

    def open(self, slot: int) -> None:
        """Make the listeners of one that never existed before."""
        self._listeners.open_slot(slot)
        self._store.keep()

    def adopt(self, slot: int, by: int) -> None:
        """Have a worker accept from this slot's queue too."""
        text = f"worker={by} accepts from its queue as well"
        note("adopted", text, "DEBUG", slot=slot)
        self.adopted[slot] = by
        self._orders.adopt(slot, by)

    def release(self, slot: int, by: int) -> None:
        """End that."""
        text = f"worker={by} no longer accepts from its queue"
        note("released", text, "DEBUG", slot=slot)
        if self.adopted.get(slot) == by:  # else it has a newer adopter
            del self.adopted[slot]
        self._orders.release(slot, by)

    def steer(self, weights: tuple[int, ...]) -> None:
        """Share new connections out by these weights."""
        text = f"new connections by weights: {' '.join(map(str, weights))}"
        note("steered", text, "DEBUG")
        self._steerer.apply(weights)

    def call_last(self) -> None:
        """Let no connection begin any more; those in the queues are still taken.

        Each worker empties its queue once more, and shuts it. A slot without
        one refuses from now on, instead of leaving clients waiting for the end
        of the service.
        """
        self._listeners.unlink()
        attended = self._workers.serving_slots | self.adopted.keys()
        self._listeners.shut_slots_except(attended)
        try:
            self._listeners.stop_handshakes()
        except OSError as error:
            note(
                "not_held_off",
                "cannot hold off new connections while the last ones are taken: "
                f"{error.strerror}; one that comes in this instant may be reset",
            )
