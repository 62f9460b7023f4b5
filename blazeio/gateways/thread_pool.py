"""``ThreadPool``: a bounded set of threads that run the requests of a WSGI app.

All threads take from one queue, which hands each item to one of them without a lock
of Python's. What they have for the loop waits in a deque, and the loop is woken once
for all that has come meanwhile: one wake-up costs a system call and a turn of the
GIL, and under load most results find one under way.
"""

import asyncio
import contextvars
import os
import queue
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from itertools import dropwhile
from types import FrameType
from typing import Final, NoReturn, Protocol
from weakref import WeakSet

Work = Callable[[], None]


class Job(Protocol):
    """What a thread runs.

    Attributes:
        context: It runs there.
    """

    context: contextvars.Context

    def run(self) -> None:
        """Do the work; must not raise."""
        ...

    def describe(self) -> str:
        """Say what it is, on one line."""
        ...


JOIN_S: Final = 0.05
"""How often the end of the threads is looked at."""


class ThreadPool:
    """Threads that are made with the first work, so after a fork.

    Args:
        count: How many.
        loop: What they give their results to.

    Attributes:
        is_forked: This is a child that the work has forked: nobody serves in it.
    """

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.count = count
        self._loop = loop
        self.is_forked = False
        _pools.add(self)
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        # A SimpleQueue gives nothing back: what is withdrawn stays in it, is no longer
        # in here, and is passed over by the thread that takes it.
        self._waiting: set[Job] = set()
        self._posted: deque[Work] = deque()
        self._is_woken = False
        self._threads: list[threading.Thread] = []
        self._running: dict[int, Job] = {}

    @property
    def busy(self) -> int:
        """How many threads are at work."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many wait for a thread."""
        return len(self._waiting)

    def submit(self, job: Job) -> None:
        """Run it in a thread, after what came before."""
        if len(self._threads) < self.count:
            self._start()
        self._waiting.add(job)
        self._queue.put(job)

    def withdraw(self, job: Job) -> bool:
        """Take back what no thread has begun; whether that could be done."""
        try:
            self._waiting.remove(job)  # atomic: a thread takes it, or it is taken back
        except KeyError:
            return False
        return True

    def post(self, call: Work) -> None:
        """Call something on the loop; from a thread."""
        if self.is_forked:
            end_forked(RuntimeError("a process that is forked must end by itself"))
        self._posted.append(call)
        # Two threads may find it False at once. Then the loop is woken twice, and the
        # second time it finds nothing: a lock would cost every result more than that.
        if not self._is_woken:
            self._is_woken = True
            try:
                self._loop.call_soon_threadsafe(self._call_posted)
            except RuntimeError:  # the loop is closed: nobody waits for it
                pass

    def _call_posted(self) -> None:
        # First: what is appended from here on wakes the loop again.
        self._is_woken = False
        posted = self._posted
        # As many as there are now: what they post themselves waits for the next turn,
        # or busy threads would keep the loop from its sockets.
        for _ in range(len(posted)):
            posted.popleft()()
        if posted and not self._is_woken:
            self._is_woken = True
            self._loop.call_soon(self._call_posted)

    def _start(self) -> None:
        while len(self._threads) < self.count:
            name = f"wsgi-{len(self._threads)}"
            # A daemon: one that never comes back must not hold the process.
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self) -> None:
        # Hot: a turn runs once per request.
        take = self._queue.get
        running, own, waiting = self._running, threading.get_ident(), self._waiting
        while True:
            job = take()
            if job is None:
                return
            try:
                waiting.remove(job)
            except KeyError:  # it was taken back
                continue
            running[own] = job
            job.context.run(job.run)
            # What it has of a request is not kept while this thread waits.
            del running[own], job

    def find_stack(self, job: Job) -> str:
        """Find where the thread is that runs a job; "" where none does."""
        # A copy, made in one step of the interpreter: threads change it meanwhile, and
        # a dict that changes cannot be iterated over.
        for ident, running in self._running.copy().items():
            if running is job:
                return _find_stack(ident)
        return ""

    async def stop(self, span_s: float) -> list[tuple[str, str]]:
        """End the threads once they have done what is queued.

        Args:
            span_s: How long they may take.

        Returns:
            Of each that is still at work, what it runs, and its stack.
        """
        for _ in self._threads:
            self._queue.put(None)
        ends_at = self._loop.time() + span_s
        while any(thread.is_alive() for thread in self._threads):
            if self._loop.time() >= ends_at:
                break
            # ``Thread.join`` would block the loop, and the threads need it to come to
            # their end.
            await asyncio.sleep(min(JOIN_S, max(ends_at - self._loop.time(), 0)))
        self._threads.clear()
        left = self._running.copy().items()
        return [(job.describe(), _find_stack(ident)) for ident, job in left]


# To ask for the process id instead is a system call for each result: 0.4 us.
_pools: Final[WeakSet[ThreadPool]] = WeakSet()


def _note_fork() -> None:
    for pool in _pools:
        pool.is_forked = True


os.register_at_fork(after_in_child=_note_fork)


def end_forked(error: BaseException) -> NoReturn:
    """End a child that the work has forked, as Python would for what it raised."""
    code = error.code if isinstance(error, SystemExit) else 1
    if not isinstance(error, SystemExit):
        sys.excepthook(type(error), error, error.__traceback__)
    elif isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # Not ``sys.exit``, which in a thread ends nothing else and gives no status. The
        # exit handlers, the loop and its epoll instance are the parent's. A status has
        # eight bits (man 3 exit).
        os._exit((code or 0) & 0xFF if isinstance(code, int | None) else 1)


def _find_stack(ident: int) -> str:
    """Return the stack of a thread, from the app's own frame on."""
    innermost = sys._current_frames().get(ident)
    if innermost is None:
        return ""
    frames = reversed(list(traceback.walk_stack(innermost)))
    of_app = dropwhile(lambda pair: _is_before_app(pair[0]), frames)
    return "".join(traceback.StackSummary.extract(iter(list(of_app))).format())


def _is_before_app(frame: FrameType) -> bool:
    name: str = frame.f_globals.get("__name__", "")
    return name == "threading" or name.startswith("blazeio.")
