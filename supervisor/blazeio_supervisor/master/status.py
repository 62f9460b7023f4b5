"""What a master knows of its service: its events, and the parts that can be seen.

How it is described to whoever asks is in ``dashboard.py``, which is imported then.
"""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

from msgspec import Struct, field
from msgspec.structs import replace

from blazeio_supervisor.config.settings import LiveSettings, Settings
from blazeio_supervisor.fleet.facts import Fact
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.log.events import EventRecord
from blazeio_supervisor.log.setup import EVENT_LOG, note
from blazeio_supervisor.master.forkservers import Forkservers
from blazeio_supervisor.master.reloads import Reloads
from blazeio_supervisor.master.service_name import Naming
from blazeio_supervisor.master.upgrade.exec_new import Upgrades
from blazeio_supervisor.master.worker_record import (
    BroadcastCounts,
    TaskRuns,
    WorkerOrders,
)
from blazeio_supervisor.master.workers import WorkerReadings
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.sockets.reuseport import Steerer

# The last events of the service, printed or not, and the counts of all.


EVENTS_KEPT_COUNT = 10_000
"""More events than this are not kept: the oldest are forgotten."""
EVENTS_KEPT_BYTES = 8 * 1024 * 1024
"""The oldest are forgotten as well when all take more memory than this."""
_EVENT_BYTES = 600  # of one without its texts: the object, its numbers, its place


class EventHistory(Struct):
    """The last events, and counts of all.

    Attributes:
        seq: The number of the last event.
        events: The last ones, the oldest first.
        counts: How often each event was noted, by event and reason.
    """

    seq: int = 0
    events: list[EventRecord] = field(default_factory=list)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)


class EventRing(logging.Handler):
    """A logging handler that keeps each event that is noted while it is attached.

    Args:
        history: Of the image before; it is shared with this object.

    Attributes:
        history: What has happened so far.
    """

    def __init__(self, history: EventHistory | None = None) -> None:
        super().__init__(logging.DEBUG)
        self.history = EventHistory() if history is None else history
        self._kept_bytes = sum(map(measure, self.history.events))
        self._waiting: list[asyncio.Future[None]] = []
        self._is_closed = False
        self._level_before = logging.NOTSET

    def attach(self) -> None:
        """Keep events from now on, also those below the level of the log."""
        self._level_before = EVENT_LOG.level
        EVENT_LOG.setLevel(logging.DEBUG)
        EVENT_LOG.addHandler(self)

    def detach(self) -> None:
        """Keep no more events; for those who follow, this is the end."""
        EVENT_LOG.removeHandler(self)
        EVENT_LOG.setLevel(self._level_before)
        self._is_closed = True
        self._wake()

    @property
    def is_followed(self) -> bool:
        """Whether a client waits for the next event."""
        return bool(self._waiting)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the event of a record; called by ``logging``."""
        event = getattr(record, "event", None)
        if isinstance(event, EventRecord):
            history, key = self.history, (event.event, event.reason)
            history.seq += 1
            history.counts[key] = history.counts.get(key, 0) + 1
            self._keep(replace(event, seq=history.seq))
            self._wake()

    def _keep(self, event: EventRecord) -> None:
        events = self.history.events
        events.append(event)
        self._kept_bytes += measure(event)
        while len(events) > 1 and (
            len(events) > EVENTS_KEPT_COUNT or self._kept_bytes > EVENTS_KEPT_BYTES
        ):
            # A list and no deque, since it goes over an upgrade as it is; to take the
            # first of 10,000 takes 1 us.
            self._kept_bytes -= measure(events.pop(0))

    def list_after(self, seq: int, most: int | None = None) -> list[EventRecord]:
        """Return the events after ``seq``, of more than ``most`` the last ones."""
        found = [event for event in self.history.events if event.seq > seq]
        return found if most is None else found[max(len(found) - most, 0) :]

    async def follow(self, seq: int) -> AsyncIterator[list[EventRecord]]:
        """Yield the events after ``seq`` as they are noted, until ``detach``.

        Who is slower than the ring turns misses some: their numbers are missing.
        """
        while True:
            events = self.list_after(seq)
            if events:
                seq = events[-1].seq
                yield events
            elif self._is_closed:
                return
            else:
                waiter = asyncio.get_running_loop().create_future()
                self._waiting.append(waiter)
                await waiter

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


def measure(event: EventRecord) -> int:
    """Estimate how many octets of memory an event takes, whatever is in it."""
    texts = (event.event, event.text, event.reason, event.traceback)
    size = _EVENT_BYTES + sum(map(sys.getsizeof, texts))
    return size + sum(
        sys.getsizeof(name) + sys.getsizeof(value)
        for name, value in event.fields.items()
    )


# The line ``event=listening``, once all that it says is known.
#
# The addresses are bound before the App is imported, and only the App knows whether it
# speaks TLS, unless the operator has said so. A reload may change that.


_FIRST = 1
_SCHEMES = {False: "http", True: "https"}
_ALONE = {
    "0.0.0.0": "0.0.0.0 is IPv4 alone, `--bind :PORT` is both",
    "::": "[::] is IPv6 alone, `--bind :PORT` is both",
}


class Banner:
    """Prints the line once the addresses and the scheme are known.

    Args:
        settings: The settings in force.
        listeners: Their scheme is set here.
    """

    def __init__(self, settings: Settings, listeners: Listeners) -> None:
        self._settings = settings
        self._listeners = listeners
        self._is_bound = False
        self._is_scheme_known = False
        self._spoken: dict[int, bool] = {}
        if settings.overrides.tls is not None:
            self.note_scheme(_FIRST, is_tls=True)

    def note_taken_over(self) -> None:
        """Note that the image before has printed the line."""
        self._is_bound = self._is_scheme_known = True

    def note_bound(self) -> None:
        """Note that every address is open."""
        self._is_bound = True
        if not self._is_scheme_known:
            count = len(self._listeners.addresses)
            where = "1 address is" if count == 1 else f"{count} addresses are"
            note("bound", f"{where} open; connections wait for the app to start")
        self._print()

    def note_scheme(self, generation: int, *, is_tls: bool) -> None:
        """Note whether a generation speaks TLS: a process of it or the operator says.

        At the start the first word counts. Of a later generation it is the last
        one, when that serves: its workers know more than its forkserver.
        """
        self._spoken[generation] = is_tls
        if not self._is_scheme_known:
            self._is_scheme_known = True
            self._listeners.scheme = _SCHEMES[is_tls]
            self._print()

    def take(self, generation: int, settings: Settings) -> None:
        """Note that a generation serves in every slot by now, with these settings."""
        self._settings = settings
        is_tls = self._spoken.get(generation)
        self._spoken.clear()
        if is_tls is not None and self._listeners.scheme != _SCHEMES[is_tls]:
            self._listeners.scheme = _SCHEMES[is_tls]
            self._print()

    def _print(self) -> None:
        if not (self._is_bound and self._is_scheme_known):
            return
        settings = self._settings
        where = " ".join(self._listeners.addresses)
        note(
            "listening",
            f"{settings.app.text} on {where}: {settings.describe_workers()}, "
            f"{self._listeners.mode}, {settings.usual_loop}, pid {os.getpid()}"
            f"{self._describe_family()}",
        )

    def _describe_family(self) -> str:
        """Say which family "everywhere" leaves out: a browser may come by the other."""
        hosts = {group.endpoint.host for group in self._listeners.groups}
        for host, text in _ALONE.items():
            if host in hosts and hosts.isdisjoint(_ALONE.keys() - {host}):
                return f"; {text}"
        return ""


# The state of the service: all parts of the master.


class ServiceState(Struct, frozen=True, kw_only=True):
    """The parts of a master that can be seen, and what takes its orders.

    Attributes:
        put_fact: Takes facts for the planner.
        stop: Stops the service; True: quickly.
        reopen_logs: Opens every log file anew; returns why that failed, or "".
        started_at: Monotonic seconds.
        naming: The names of the service.
    """

    live_settings: LiveSettings
    planner: Planner
    listeners: Listeners
    steerer: Steerer
    orders: WorkerOrders
    readings: WorkerReadings
    task_runs: TaskRuns
    broadcast_counts: BroadcastCounts
    forkservers: Forkservers
    reloads: Reloads
    events: EventRing
    upgrades: Upgrades
    put_fact: Callable[[Fact], None]
    stop: Callable[[bool, str], None]
    reopen_logs: Callable[[], Awaitable[str]]
    started_at: float
    naming: Naming = field(default_factory=Naming)

    @property
    def name(self) -> str:
        """The name of the service, which no other one has."""
        return self.naming.name or self.settings.instance

    @property
    def settings(self) -> Settings:
        """The settings in force now."""
        return self.live_settings.settings
