"""What a master knows of its service: its name, its events, what can be seen of it.

How it is described to whoever asks is in ``dashboard.py``, which is imported then.
"""

import asyncio
import errno
import logging
import os
import socket
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from blazeio_supervisor.config.settings import LiveSettings, Settings
from blazeio_supervisor.fleet.facts import Fact
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.ipc.processes import refuse_descriptors
from blazeio_supervisor.ipc.socket_paths import (
    NAME_CHARS,
    PREFIX,
    Home,
    SocketPath,
    find_home,
    list_listening,
    read_peer,
)
from blazeio_supervisor.log.formats import EventRecord
from blazeio_supervisor.log.setup import EVENT_LOG, note
from blazeio_supervisor.master.forkservers import Forkservers
from blazeio_supervisor.master.reloads import Reloads
from blazeio_supervisor.master.upgrade.exec_new import Upgrades
from blazeio_supervisor.master.worker_record import (
    BroadcastCounts,
    TaskRuns,
    WorkerOrders,
)
from blazeio_supervisor.master.workers import WorkerReadings
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.sockets.reuseport import Steerer

# What a service is called, so that no two are called the same.
#
# A name is claimed by binding a socket of the abstract namespace to it, which the
# kernel allows once. That namespace belongs to the network namespace: containers
# that share one (a pod, the host's network) share the names, too. So a name that is
# taken gets a number, ``app:web-2``; and beside it a service claims the name that was
# asked for in its own container, where it is known by that one as well.


_NUMBERED_COUNT = 99
"""So many names of a kind; one more is told apart by its pid and a random word, so
that nobody who takes names in advance can take all of them."""
# Room for a number such as "-1000".
_ROOM_CHARS = 5


class Naming(Struct):
    """The names of this service.

    Attributes:
        name: No other service of this user in this network namespace has it; "": none
            was claimed.
        alias: The name that was asked for, when no other service in this container
            is called so; "": there is none.
        why: Why the name is not the one that was asked for; "" when it is.
        home: Where this process lives.
        sockets: Bound to the name and to the alias; none where no socket can be.
    """

    name: str = ""
    alias: str = ""
    why: str = ""
    home: Home = field(default_factory=lambda: find_home())
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def place(self) -> SocketPath | None:
        """The abstract name of this service; None where there can be none."""
        return _place(os.geteuid(), self.name) if self.sockets else None

    def claim(self, wanted: str) -> None:
        """Claim a name; where no socket can be bound, it is the wanted one."""
        self.name = wanted
        for name in _iterate_names(wanted):
            try:
                self.sockets.append(_bind(_place(os.geteuid(), name)))
            except OSError as error:
                if not _is_taken(error):
                    return
                self.why = self.why or _describe_holder(_place(os.geteuid(), name))
            else:
                self.name = name
                break
        self._claim_alias(wanted)

    def _claim_alias(self, wanted: str) -> None:
        known = os.fsencode(f"{self.home.pid_namespace} {self.home.root}")
        word = f"{wanted}/{zlib.crc32(known):08x}"
        try:
            self.sockets.append(_bind(_place(os.geteuid(), word)))
        except OSError:
            return  # another one in this container is called so
        self.alias = wanted

    def take_socket(self) -> socket.socket:
        """Return the socket that is bound to the name; the caller does not close it.

        Raises:
            OSError: No name could be bound.
        """
        if not self.sockets:
            raise OSError(0, "no abstract name can be bound here")
        return self.sockets[0]

    def close(self) -> None:
        """Release the names."""
        for sock in self.sockets:
            sock.close()
        self.sockets.clear()


def _iterate_names(wanted: str) -> Sequence[str]:
    stem = wanted[: NAME_CHARS - _ROOM_CHARS]
    numbered = [f"{stem}-{number}" for number in range(2, _NUMBERED_COUNT + 1)]
    stem = wanted[: NAME_CHARS - 20]
    return [wanted, *numbered, f"{stem}-{os.getpid()}-{os.urandom(4).hex()}"]


def _place(uid: int, name: str) -> SocketPath:
    return SocketPath(f"{PREFIX}{uid}/{name}")


def _bind(place: SocketPath) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # Every connection inherits it; a client could otherwise send descriptors, which
        # nobody here would receive and close.
        refuse_descriptors(sock)
        sock.bind(place.address)
    except OSError:
        sock.close()
        raise
    return sock


def _is_taken(error: OSError) -> bool:
    return error.errno == errno.EADDRINUSE


def _describe_holder(place: SocketPath) -> str:
    """Describe who has a name, as far as the kernel tells."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(place.address)
            peer = read_peer(sock)
        # ECONNREFUSED where nobody listens, EAGAIN where its queue is full
        # (connect(2)).
        except OSError:
            uids = [each.uid for each in list_listening() if each.name == place.text]
            return f"{place} is taken{f' by uid {uids[0]}' if uids else ''}"
    where = f"pid {peer.pid}" if peer.pid else "a process of another container"
    return f"{place} is taken by {where} of uid {peer.uid}"


# The sockets on which the master itself answers: what goes over an upgrade.
#
# Apart from the servers, which are imported when somebody asks.


class ControlState(Struct):
    """Where verbs are answered.

    Attributes:
        place: Where it listens; None: it does not.
        sock: The listening socket; it may be that of the service's name.
        identity: Of the file, so that a later one is not removed in its place.
    """

    place: SocketPath | None = None
    sock: socket.socket | None = None
    identity: tuple[int, int] | None = None


class MetricsState(Struct):
    """Where the metrics are answered.

    Attributes:
        sockets: The listening sockets; none before ``MetricsServer.open``.
        path: The path of a unix socket, and which file that is.
    """

    sockets: list[socket.socket] = []
    path: tuple[str, tuple[int, int] | None] | None = None


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
