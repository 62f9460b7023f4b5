"""Sees to it that each listener accepts: looked at a few times a second.

Two things are looked for: a listener that was shut down, and one that is well
but that its worker has stopped accepting from. The first is made anew; then, for
both, the worker gets the listener again. Where that does not help, as in one whose
descriptors the app closes, another worker takes its place.
"""

import time
from collections.abc import Callable

from blazeio_supervisor.children.record import WorkerRecord
from blazeio_supervisor.children.worker_readings import WorkerReadings
from blazeio_supervisor.children.workers import Workers
from blazeio_supervisor.fleet.facts import ListenersDead, RecycleAsked
from blazeio_supervisor.hands.slots import Slots
from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.sockets.filters.steering import Steerer
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.sockets.renewal import renew

EVERY_S = 0.25
"""Between two looks."""
RETRY_S = 1.0
"""Between two tries to make a listener anew that could not be."""
STUCK_S = 1.5
"""A queue that has stood so long, while its worker is well and has nothing to do,
is accepted from by nobody."""


class Attendance:
    """Looks at every listener.

    Args:
        listeners: Those.
        workers: Get them again.
        readings: Say what each worker does.
        slots: Know who has adopted which.
        steerer: Steers again.
        is_ending: Whether listeners are shut on purpose by now.
        tell: Takes facts for the planner.
    """

    def __init__(
        self,
        listeners: Listeners,
        workers: Workers,
        readings: WorkerReadings,
        slots: Slots,
        steerer: Steerer,
        is_ending: Callable[[], bool],
        tell: Callable[[ListenersDead | RecycleAsked], None],
    ) -> None:
        self._listeners = listeners
        self._workers = workers
        self._readings = readings
        self._slots = slots
        self._steerer = steerer
        self._is_ending = is_ending
        self._tell = tell
        self._next_at = 0.0
        self._failures: list[str] = []
        self._standing: dict[int, tuple[float, int]] = {}
        self._deaf: set[int] = set()

    def look(self, now: float) -> None:
        """Look, once it is time again; ``now`` is monotonic."""
        if now < self._next_at or self._is_ending():
            return
        self._next_at = now + EVERY_S
        self._renew_dead()
        self._wake_deaf(now)

    def _renew_dead(self) -> None:
        renewed, failures = renew(self._listeners, self._listeners.backlog)
        for each in renewed:
            whose = "" if each.slots is None else f" of slot {min(each.slots)}"
            note(
                "listener_dead",
                f"{each.address} did not accept any more: its listener{whose} was shut "
                "down, by the app or by a process of it; it is made anew, and what "
                "waited there was lost",
                "ERROR",
            )
            self._workers.hand_listeners(each.slots)
            for slot, worker in list(self._slots.adopted.items()):
                if each.slots is not None and slot in each.slots:
                    self._slots.adopt(slot, worker)
        if renewed:
            self._steerer.apply_again()
        self._report(failures)

    def _report(self, failures: list[str]) -> None:
        if failures:
            self._next_at = time.monotonic() + RETRY_S
        if failures == self._failures:
            return
        for each in failures:
            text = f"does not accept, and cannot be made anew: {each}; tries go on"
            note("listener_dead", text, "ERROR")
        self._failures = failures
        self._tell(ListenersDead(tuple(failures)))

    def _wake_deaf(self, now: float) -> None:
        """Give a worker its listener again that accepts nothing from it."""
        for record in list(self._workers.records.values()):
            queue = self._listeners.queue_of(record.slot)
            reading = self._readings.read_row(record.worker)
            is_idle = (
                record.is_serving
                and queue is not None
                and queue.length > 0
                and reading is not None
                and not reading.is_full
                and now - reading.beat_at < EVERY_S
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
                self._wake(record, now - since)
        self._standing = {
            worker: stands
            for worker, stands in self._standing.items()
            if worker in self._workers.records
        }
        self._deaf &= self._workers.records.keys()

    def _wake(self, record: WorkerRecord, span_s: float) -> None:
        text = (
            f"it has accepted nothing for {span_s:.1f} s, though connections wait and "
            "its loop runs: "
        )
        if record.worker in self._deaf:
            text += "its listener was given again in vain, so it is replaced"
            record.note("worker_deaf", text, "ERROR")
            self._tell(RecycleAsked(record.slot, "the supervisor, since it is deaf"))
        else:
            self._deaf.add(record.worker)
            record.note("worker_deaf", f"{text}it gets its listener again", "ERROR")
            self._workers.hand_listeners({record.slot})
