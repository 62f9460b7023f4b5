"""The listeners of the slots, looked at a few times a second.

Two faults are mended: a listener that was shut down, and one that its worker has
stopped accepting from. The first is recreated; then, for both, the worker gets the
listener again. Where that does not help, as in a worker whose descriptors the app
closes, another worker takes its place.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from blazeio_supervisor.errors import BindError
from blazeio_supervisor.fleet.facts import ListenersDead, RecycleAsked
from blazeio_supervisor.log.setup import note
from blazeio_supervisor.master.systemd import FdStore
from blazeio_supervisor.master.worker_record import WorkerOrders, WorkerRecord
from blazeio_supervisor.master.workers import WorkerReadings, Workers
from blazeio_supervisor.sockets.address import Address, TcpAddress, UnixAddress
from blazeio_supervisor.sockets.bind import AddressInUseError, identify_path
from blazeio_supervisor.sockets.listeners import Dead, Listeners, renew
from blazeio_supervisor.sockets.reuseport import Steerer

# What is done to the slots: opened, adopted, steered, and shut in the end.


class SlotListeners:
    """Opens, adopts, steers and closes the slots as the planner orders.

    Args:
        listeners: The sockets of every slot.
        steerer: Distributes new connections.
        orders: Orders workers to accept from another slot's queue.
        workers: Know which slots have a worker that accepts.
        store: Stores the sockets of new slots too.
        adopted: As below, of the image before; it is shared with this object.

    Attributes:
        adopted: By which worker, for each such slot.
    """

    def __init__(
        self,
        listeners: Listeners,
        steerer: Steerer,
        orders: WorkerOrders,
        workers: Workers,
        store: FdStore,
        adopted: dict[int, int] | None = None,
    ) -> None:
        self._listeners = listeners
        self._steerer = steerer
        self._orders = orders
        self._workers = workers
        self._store = store
        self.adopted = {} if adopted is None else adopted

    def open(self, slot: int) -> None:
        """Make the listeners of one that never existed before."""
        self._listeners.open_slot(slot)
        self._store.keep()

    def adopt(self, slot: int, by: int) -> None:
        """Order a worker to accept from this slot's queue too."""
        text = f"worker={by} accepts from its queue as well"
        note("adopted", text, "DEBUG", slot=slot)
        self.adopted[slot] = by
        self._orders.adopt(slot, by)

    def release(self, slot: int, by: int) -> None:
        """End an adoption."""
        text = f"worker={by} no longer accepts from its queue"
        note("released", text, "DEBUG", slot=slot)
        if self.adopted.get(slot) == by:  # else it has a newer adopter
            del self.adopted[slot]
        self._orders.release(slot, by)

    def steer(self, weights: tuple[int, ...]) -> None:
        """Share new connections out by these weights."""
        text = f"new connections by weights: {' '.join(map(str, weights))}"
        note("steered", text, "DEBUG")
        self._steerer.apply(self._listeners, weights)

    def close(self) -> None:
        """Let no connection begin any more; those in the queues are still accepted.

        Each worker empties its queue once more, and shuts it. A slot without
        one refuses from now on, instead of leaving clients waiting for the end
        of the service.
        """
        self._listeners.unlink()
        # What a worker still accepts from is left to it: to shut it here would reset
        # what waits in the queue.
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


EVERY_S = 0.25
"""Between two looks."""
RETRY_S = 1.0
"""Between two tries to make a listener anew that could not be."""
REMOVALS_NOTED_EVERY_S = 60.0
"""That the path of a unix socket was removed is noted at most so often."""
STUCK_S = 1.5
"""If a queue has stood for so long, while its worker is well and has nothing to do,
then no process accepts from it."""


class ListenerWatch:
    """Looks at every listener.

    Args:
        listeners: What is looked at.
        workers: Are sent a listener again.
        readings: What each worker does.
        slots: Which worker has adopted which slot.
        steerer: Distributes new connections, again after a repair.
        is_ending: Returns whether listeners are shut on purpose by now.
        put_fact: Takes facts for the planner.
    """

    fault = "cannot look at listeners"

    def __init__(
        self,
        listeners: Listeners,
        workers: Workers,
        readings: WorkerReadings,
        slots: SlotListeners,
        steerer: Steerer,
        is_ending: Callable[[], bool],
        put_fact: Callable[[ListenersDead | RecycleAsked], None],
    ) -> None:
        self._listeners = listeners
        self._workers = workers
        self._readings = readings
        self._slots = slots
        self._steerer = steerer
        self._is_ending = is_ending
        self._put_fact = put_fact
        self._next_at = 0.0
        self._failures: list[str] = []
        self._standing: dict[int, tuple[float, int]] = {}
        self._renewed: set[int] = set()
        self._removal_noted_at: dict[str, float] = {}

    def look(self, now: float) -> None:
        """Look at every listener, if it is time again; ``now`` is monotonic seconds."""
        if now < self._next_at or self._is_ending():
            return
        self._next_at = now + EVERY_S
        self._renew_dead()
        self._check_stuck(now)

    def _renew_dead(self) -> None:
        renewed, failures = renew(self._listeners, self._listeners.backlog)
        for each in renewed:
            if not each.is_unlinked or self._may_note_removal(each.address):
                note("listener_dead", _explain_renewal(each), "ERROR")
            # The socket is the same one, and listens again. But a worker whose
            # ``accept`` has failed may have given it up, so it gets a descriptor that
            # it polls anew.
            self._workers.hand_listeners(each.slots)
            for slot, worker in list(self._slots.adopted.items()):
                if each.slots is not None and slot in each.slots:
                    self._slots.adopt(slot, worker)
        # The kernel has numbered the sockets of the group anew
        # (``TcpGroup.note_lost``): the old program would steer to other slots than
        # those that were meant.
        if renewed:
            self._steerer.apply_again(self._listeners)
        self._report(failures)

    def _may_note_removal(self, address: str) -> bool:
        """Whether it is long ago: who removes a path all the time writes no log."""
        now, noted_at = time.monotonic(), self._removal_noted_at.get(address)
        if noted_at is not None and now < noted_at + REMOVALS_NOTED_EVERY_S:
            return False
        self._removal_noted_at[address] = now
        return True

    def _report(self, failures: list[str]) -> None:
        if failures:
            self._next_at = time.monotonic() + RETRY_S
        if failures == self._failures:
            return
        for each in failures:
            text = f"does not accept, and cannot be recreated: {each}; tries go on"
            note("listener_dead", text, "ERROR")
        self._failures = failures
        self._put_fact(ListenersDead(tuple(failures)))

    def _check_stuck(self, now: float) -> None:
        """Send a worker its listener again that accepts nothing from it."""
        for record in list(self._workers.records.values()):
            queue = self._listeners.queue_of(record.slot)
            reading = self._readings.read_row(record.worker)
            # A queue that stands is no fault in a worker that is full or blocked: those
            # have their own ladder (``fleet/health.py``). What is left is one whose
            # loop runs and that does not poll.
            is_idle = (
                record.is_serving
                and queue is not None
                and queue.length > 0
                and reading is not None
                and not reading.is_full
                and reading.is_fresh(now, EVERY_S)
            )
            if not is_idle or reading is None:
                self._standing.pop(record.worker, None)
                continue
            since, requests = self._standing.get(record.worker, (now, reading.requests))
            if requests != reading.requests:
                since, requests = now, reading.requests
            self._standing[record.worker] = since, requests
            if now - since >= STUCK_S:
                del self._standing[record.worker]
                self._renew_stuck(record, now - since)
        self._standing = {
            worker: stands
            for worker, stands in self._standing.items()
            if worker in self._workers.records
        }
        self._renewed &= self._workers.records.keys()

    def _renew_stuck(self, record: WorkerRecord, span_s: float) -> None:
        text = (
            f"it has accepted nothing for {span_s:.1f} s, though connections wait and "
            "its loop runs: "
        )
        if record.worker in self._renewed:
            text += "its listener was given again in vain, so it is replaced"
            record.note("worker_deaf", text, "ERROR")
            self._put_fact(
                RecycleAsked(record.slot, "the supervisor, since it is deaf")
            )
        else:
            self._renewed.add(record.worker)
            record.note("worker_deaf", f"{text}it gets its listener again", "ERROR")
            self._workers.hand_listeners({record.slot})


def _explain_renewal(renewed: Dead) -> str:
    if renewed.is_unlinked:
        return f"{renewed.address} was removed: nobody could connect; it is made anew"
    whose = "" if renewed.slots is None else f" of slot {min(renewed.slots)}"
    return (
        f"{renewed.address} did not accept any more: its listener{whose} was shut "
        "down, by the app or by a process of it; it is recreated, and what waited "
        "there was lost"
    )


# Listeners stay non-blocking, whatever those who hold them do.
#
# The mode belongs to what a descriptor refers to, so to all who hold a listener: the
# master, the worker of its slot, and whoever has adopted the queue at some time. In
# one that blocks, a worker's loop would stand still in its next accept, and then that
# of each sibling that takes its queue. Who has changed it cannot be known.


QUIET_LOOKS = 1200
"""After one that was noted: a minute, at 20 a second."""


class ListenerModes:
    """Looks at them at least as often as the scoreboard is read.

    Args:
        listeners: Of all slots.
    """

    fault = "cannot look at listeners"

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners
        self._quiet_looks = 0

    def look(self, now: float) -> None:
        """Set back each that was changed, whatever the time."""
        self._quiet_looks = max(self._quiet_looks - 1, 0)
        for slot in range(self._listeners.slot_count):
            for queue in self._listeners.all_of(slot):
                fd = queue.sock.fileno()
                # One fcntl(2) for each listener, 20 times a second; O_NONBLOCK belongs
                # to the open file description, which all its holders share (open(2)).
                if fd >= 0 and os.get_blocking(fd):
                    os.set_blocking(fd, False)
                    self._note(slot)

    def _note(self, slot: int) -> None:
        if not self._quiet_looks:
            self._quiet_looks = QUIET_LOOKS
            text = "a process of the app has made a listener block; it is set back"
            note("listener_changed", text, "WARNING", slot=slot)


# Opening the addresses of the service, at once or when the app says its own.


# A predecessor that is just ending has let go of its address by then.
RETRY_FOR_S = 2.0
_RETRY_EVERY_S = 0.05


class BoundState(Struct):
    """What is known of the addresses.

    Attributes:
        own: The app's own address, when that is what is open.
        is_open: Every address is.
    """

    own: TcpAddress | None = None
    is_open: bool = False


class Binding:
    """Opens addresses, and calls back those who need one when it is open.

    Args:
        state: Of the image before, or blank; it is shared with this object.
        listeners: Where they are opened.
        on_bound: Each is called once, in this order, when everything is open.
        on_failure: Called when something cannot be opened.
    """

    def __init__(
        self,
        state: BoundState,
        listeners: Listeners,
        on_bound: Sequence[Callable[[], None]],
        on_failure: Callable[[BindError], None],
    ) -> None:
        self._listeners = listeners
        self._on_bound = on_bound
        self._on_failure = on_failure
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[Callable[[], None]] = []
        self._state = state

    def begin(
        self, addresses: Sequence[Address], then: Callable[[], None] | None = None
    ) -> None:
        """Open what the operator asked for; then go on."""
        if then is not None:
            self._waiting.append(then)
        self._task = asyncio.get_running_loop().create_task(self._open(addresses))

    def need(self, host: str, port: int, then: Callable[[], None]) -> None:
        """Open the app's own address unless the operator gave one; then go on."""
        own = TcpAddress(host, port)
        if self._task is None and not self._state.is_open:
            self._state.own = own
            self.begin([own])
        elif self._state.own not in (None, own):
            served = " ".join(self._listeners.addresses)
            text = f"the app now says {own}, and is served at {served} until a restart"
            note("address_kept", text, "WARNING")
        if self._state.is_open:
            then()
        else:
            self._waiting.append(then)

    def cancel(self) -> None:
        """Wait no longer for an address to become free."""
        if self._task is not None:
            self._task.cancel()

    async def _open(self, addresses: Sequence[Address]) -> None:
        try:
            for address in addresses:
                await self._open_one(address)
        except BindError as error:
            self._on_failure(error)
            return
        self._state.is_open = True
        for note_bound in self._on_bound:
            note_bound()
        for then in self._waiting:
            then()
        self._waiting.clear()

    async def _open_one(self, address: Address) -> None:
        give_up_at = time.monotonic() + RETRY_FOR_S
        while True:
            try:
                self._listeners.open(address)
            except AddressInUseError as error:
                await _change(address, error, give_up_at)
                if time.monotonic() >= give_up_at:
                    raise
            else:
                return


async def _change(address: Address, error: AddressInUseError, until: float) -> None:
    """Return when another try may succeed, or at ``until``.

    A port is tried by binding it, which nobody notices. Who listens at a path is
    asked by connecting, which a service that is not ours would notice each time:
    it is asked again when the path is another one, or its process is gone.
    """
    before = _look_at(address, error)
    while True:
        await asyncio.sleep(_RETRY_EVERY_S)
        if before is None or time.monotonic() >= until:
            return
        if _look_at(address, error) != before:
            return


def _look_at(
    address: Address, error: AddressInUseError
) -> tuple[tuple[int, int] | None, bool] | None:
    """Return the file at a path, and whether its listener lives; None for a port."""
    if not isinstance(address, UnixAddress):
        return None
    return identify_path(address.path), os.path.exists(f"/proc/{error.pid}")
