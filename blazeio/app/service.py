"""What an app has in common in all processes of its service: messages, and tasks.

``web.broadcast`` sends a message to every process. It is a value that MessagePack has:
text, octets, numbers, lists, dicts. The handlers of this process get it in the order of
the calls, one message after the other; the other processes get it by a *carrier*, which
a supervisor provides. Nothing waits: where there is no room, a message is dropped and
counted. All of it happens in the loop that serves the app; a message that is sent in
another thread goes there first.

``OnceTasks`` are tasks that run once in a whole service, however many processes it has.
They run between ``start`` and ``stop``. Alone that is while the app is served. A
supervisor gives one process after the other the right to run them (a *lease*), so that
no two do at once, and passes on when each began last, so that schedules go on over the
change.

A ``Schedule`` says when a run is due, and has no clock: whoever asks says what time it
is. Times are seconds since 1970, UTC; a time of day is that of the machine's own zone.
"""

import asyncio
import functools
import inspect
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from traceback import format_exception_only
from typing import Any

import msgspec
from msgspec import Struct

from blazeio.errors import ConfigurationError
from blazeio.loggers import get_logger

log = get_logger("blazeio.app")

# Messages to every process


MESSAGE_BYTES = 32 * 1024
"""The longest message, as it is sent."""
INBOX_COUNT = 1_000
"""Messages that wait for the handlers of one process."""

BroadcastHandler = Callable[[Any], Any]
Carrier = Callable[[bytes], bool]


class Broadcasts:
    """The handlers of one app, and the way to those of other processes.

    Attributes:
        carrier: Takes a message to the other processes; False: it was dropped. None:
            there is no other process.
        dropped: Messages that this process has dropped: sent, but not carried, or
            received, but too many.
    """

    def __init__(self) -> None:
        self.carrier: Carrier | None = None
        self.dropped = 0
        self._handlers: list[BroadcastHandler] = []
        self._inbox: deque[bytes] = deque()
        self._task: asyncio.Task[None] | None = None
        self._outer: Broadcasts | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Note the loop that serves the app: it is the one that runs."""
        self._loop = asyncio.get_running_loop()

    def include(self, inner: "Broadcasts") -> None:
        """Let the handlers of a mounted app be handlers of this one."""
        self._home._handlers += inner._handlers
        inner._handlers, inner._outer = [], self

    @property
    def _home(self) -> "Broadcasts":
        return self if self._outer is None else self._outer._home

    def add(self, handler: BroadcastHandler) -> None:
        """Call this with each message.

        Raises:
            ConfigurationError: It does not take one argument.
        """
        try:
            inspect.signature(handler).bind(None)
        except TypeError as error:
            from blazeio.app.endpoints import describe  # the master has no handlers

            text = f"on_broadcast: {describe(handler)} takes the message: {error}"
            raise ConfigurationError(text) from None
        self._home._handlers.append(handler)

    def send(self, message: Any) -> bool:
        """Send a message to every process, also to this one; in any thread.

        Returns:
            False: it was dropped, and only this process gets it. In another thread
            than the loop's that is not known yet, and counted later.

        Raises:
            ValueError: It is too long, or no value of MessagePack.
        """
        home = self._home
        try:
            # Encoded even where there is no other process: what passes in a test or on
            # a developer's machine passes under a supervisor too, and no handler gets
            # the sender's own object.
            octets = msgspec.msgpack.encode(message)
        except (TypeError, OverflowError, UnicodeEncodeError) as error:
            text = f"broadcast({message!r:.60}): {error}"
            raise ValueError(text) from None
        if len(octets) > MESSAGE_BYTES:
            text = f"broadcast: {len(octets):,} octets, of at most {MESSAGE_BYTES:,}"
            raise ValueError(text)
        if home._loop is None or home._loop is asyncio._get_running_loop():
            return home._pass_on(octets)
        try:
            home._loop.call_soon_threadsafe(home._pass_on, octets)
        except RuntimeError:  # closed: the app is not served any more
            home.dropped += 1
            return False
        return True

    def _pass_on(self, octets: bytes) -> bool:
        is_carried = self.carrier is None or self.carrier(octets)
        self.dropped += not is_carried
        self.receive(octets)
        return is_carried

    def receive(self, octets: bytes) -> None:
        """Take a message, in the loop's thread; the handlers get it in a turn of it."""
        if not self._handlers:
            return
        # A private function, since ``get_running_loop`` raises where none runs, and the
        # question is asked for each message.
        loop = asyncio._get_running_loop()
        if loop is None or len(self._inbox) >= INBOX_COUNT:
            self.dropped += 1  # an app that is imported handles nothing yet
            return
        self._inbox.append(octets)
        if self._task is None:
            self._task = loop.create_task(self._deliver(), name="broadcast")

    async def _deliver(self) -> None:
        try:
            while self._inbox:
                octets = self._inbox.popleft()
                for handler in self._handlers:
                    await _call(handler, octets)
        finally:
            # No message is left behind: nothing is awaited between the last look at the
            # inbox and here. A task that was cancelled is followed by another one at
            # the next message.
            self._task = None


async def _call(handler: BroadcastHandler, octets: bytes) -> None:
    try:
        # Decoded for each: one handler may change what it was given.
        result = handler(msgspec.msgpack.decode(octets))
        if inspect.isawaitable(result):
            await result
    except Exception:
        from blazeio.app.endpoints import describe  # likewise

        log.exception("broadcast handler %s failed", describe(handler))


# When a task is due


LEAST_EVERY_S = 1.0
"""Between the beginnings of two runs."""
MOST_EVERY_S = 366 * 86_400.0
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN = re.compile(r"(?:\d{1,8}(?:\.\d{1,8})?[smhd])+", re.ASCII)
_PART = re.compile(r"(\d{1,8}(?:\.\d{1,8})?)([smhd])", re.ASCII)
_TIME = re.compile(r"(\d\d?):(\d\d)", re.ASCII)


class Schedule(Struct, frozen=True):
    """When a task runs; with neither it runs as long as it likes, from the start.

    Attributes:
        every_s: So long after the beginning of the last run.
        at: Each day at this hour and minute.
    """

    every_s: float | None = None
    at: tuple[int, int] | None = None

    @property
    def is_repeated(self) -> bool:
        """Whether it has runs."""
        return self.every_s is not None or self.at is not None

    def next_after(self, last: float) -> float:
        """Return when the run is due that follows one that began then.

        A time of day that does not exist, since the clocks are put forward, is taken
        as the one an hour later; one that comes twice is due the first time.
        """
        if self.every_s is not None:
            return last + self.every_s
        hour, minute = self.at or (0, 0)
        day = datetime.fromtimestamp(last)
        due = day.replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)
        # Days are added to the local date and hour, and not seconds to the time: a day
        # on which the clocks change has 23 or 25 hours.
        while due.timestamp() <= last:
            due += timedelta(days=1)
        return due.timestamp()

    def __str__(self) -> str:
        if self.every_s is not None:
            return f"every {self.every_s:g} s"
        return "at {:02}:{:02}".format(*self.at) if self.at is not None else ""


def parse_schedule(every: str | float | None = None, at: str | None = None) -> Schedule:
    """Read when a task runs.

    Args:
        every: Seconds, or a text: ``"30s"``, ``"15m"``, ``"1h30m"``, ``"1d"``.
        at: A time of day: ``"03:00"``.

    Raises:
        ConfigurationError: Both are given, or one cannot be read.
    """
    if every is not None and at is not None:
        raise ConfigurationError(f"every={every!r} and at={at!r}: which?")
    if at is not None:
        match = _TIME.fullmatch(at) if isinstance(at, str) else None
        if match is None or int(match[1]) > 23 or int(match[2]) > 59:
            raise ConfigurationError(f"at={at!r}: a time of day is expected, '03:00'")
        return Schedule(at=(int(match[1]), int(match[2])))
    return Schedule() if every is None else Schedule(_parse_span(every))


def _parse_span(every: str | float) -> float:
    span_s = 0.0
    if isinstance(every, str) and _SPAN.fullmatch(every):
        for number, unit in _PART.findall(every):
            span_s += float(number) * _UNITS_S[unit]
    elif isinstance(every, int | float):
        span_s = float(every)
    if not LEAST_EVERY_S <= span_s <= MOST_EVERY_S:
        text = f"every={every!r}: a span of 1 s to 366 days is expected"
        raise ConfigurationError(f"{text}, such as '30s', '15m', '1h30m' or '1d'")
    return span_s


# The tasks


TASK_COUNT = 64
"""The most tasks of one app."""
NAME_CHARS = 100
"""The longest name of a task."""
LOOK_EVERY_S = 60.0
"""A clock that was set, or a machine that slept, is noticed so soon."""


class OnceTask(Struct, frozen=True):
    """One task.

    Attributes:
        name: By which it is known over reloads.
        run: Called for each run; it may return an awaitable.
    """

    name: str
    run: Callable[[], Any]
    schedule: Schedule = Schedule()


class OnceObserver:
    """Is told what the tasks do; by default nobody is."""

    def note_began(self, name: str, at: float) -> None:
        """A run begins; ``at`` in seconds since 1970."""

    def note_ended(self, name: str, failure: str) -> None:
        """A run is over; ``failure`` is "" or what it raised, in one line."""


class OnceTasks:
    """The tasks of one app.

    Attributes:
        is_leased: Somebody else says when they may run: ``start`` is theirs to call.
        observer: Is told what they do.
    """

    def __init__(self) -> None:
        self.is_leased = False
        self.observer = OnceObserver()
        self._tasks: dict[str, OnceTask] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._outer: OnceTasks | None = None

    @property
    def tasks(self) -> list[OnceTask]:
        """All tasks; a mounted app has none, since they are the outer app's."""
        return list(self._tasks.values())

    @property
    def running(self) -> set[asyncio.Task[None]]:
        """Those that have been started and have not ended."""
        return self._running.copy()

    def check(self, tasks: Sequence[OnceTask]) -> None:
        """Check that tasks, each of another name, can be added.

        Raises:
            ConfigurationError: There is one of the same name, too many, or it is too
                late.
        """
        if self._outer is not None:
            self._outer.check(tasks)
            return
        for count, task in enumerate(tasks, len(self._tasks)):
            name = task.name
            if self._running:
                raise ConfigurationError(f"task {name}: the app is served by now")
            if name in self._tasks:
                text = "is there already: give one of them another name="
                raise ConfigurationError(f"task {name!r} {text}")
            if count >= TASK_COUNT:
                message = f"task {name!r}: more than {TASK_COUNT} of them"
                raise ConfigurationError(message)
            if not name.isprintable() or not 0 < len(name) <= NAME_CHARS:
                text = f"a name has 1 to {NAME_CHARS} printable characters"
                raise ConfigurationError(f"task {name!r:.130}: {text}")

    def add(self, *tasks: OnceTask) -> None:
        """Add tasks, or none of them, before they are started.

        Raises:
            ConfigurationError: See ``check``.
        """
        self.check(tasks)
        home = self
        while home._outer is not None:
            home = home._outer
        home._tasks.update((task.name, task) for task in tasks)

    def include(self, inner: "OnceTasks") -> None:
        """Run the tasks of a mounted app with these.

        Raises:
            ConfigurationError: See ``check``.
        """
        self.add(*inner.tasks)
        inner._tasks, inner._outer = {}, self

    def start(self, last: Mapping[str, float] | None = None) -> None:
        """Run them from now on, until ``stop``.

        Args:
            last: By name, when the last run of each began; others: now.
        """
        loop, now = asyncio.get_running_loop(), time.time()
        for task in self.tasks:
            began_at = (last or {}).get(task.name, now)
            running = loop.create_task(
                self._run(task, began_at), name=f"once {task.name}"
            )
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def stop(self) -> None:
        """Cancel them, and return when the last one has really ended."""
        while self._running:
            for task in self._running:
                if not task.cancelling():  # a second time would cut its clean-up
                    task.cancel()
            # Without a limit: the lease passes to another process when this returns,
            # and the task must not run in two at once. A supervisor kills a process
            # that does not end at all.
            await asyncio.wait(self._running)

    async def _run(self, task: OnceTask, last: float) -> None:
        if not task.schedule.is_repeated:
            await self._run_once(task)
            return
        while True:
            due_at = task.schedule.next_after(last)
            # asyncio sleeps by CLOCK_MONOTONIC, which neither notices that the clock
            # was set nor counts the time that the machine was suspended (man 2
            # clock_gettime).
            while (wait_s := due_at - time.time()) > 0:  # noqa: ASYNC110 - of a clock
                await asyncio.sleep(min(wait_s, LOOK_EVERY_S))
            # Counted from when it really begins: runs that were missed are not made up
            # for. Not less than due: if the clock was just set back, the run would come
            # twice.
            last = max(time.time(), due_at)
            await self._run_once(task)

    async def _run_once(self, task: OnceTask) -> None:
        self.observer.note_began(task.name, time.time())
        # Without a schedule it goes on in the next process: nothing is left undone.
        failure = "it was cancelled" if task.schedule.is_repeated else ""
        try:
            result = task.run()
            if inspect.isawaitable(result):
                await result
            failure = ""
        except Exception as error:
            failure = "".join(format_exception_only(error)).strip().splitlines()[-1]
            log.exception("task %s failed", task.name)
        finally:
            self.observer.note_ended(task.name, failure)


def name_function(function: Callable[..., Any]) -> str:
    """Return the name that a task has unless it is given one."""
    module = getattr(function, "__module__", None) or "?"
    return f"{module}.{getattr(function, '__qualname__', type(function).__name__)}"


def in_thread(function: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:
    """Return what runs a plain function in a thread, as a task.

    A thread cannot be cancelled: then its end is waited for.
    """

    @functools.wraps(function)
    async def run() -> Any:
        future = asyncio.get_running_loop().run_in_executor(None, function)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait((future,))
            raise

    return run
