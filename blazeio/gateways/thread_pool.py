"""``ThreadPool``: a bounded set of threads that run the requests of a WSGI app.

All threads take from one queue, which hands each item to one of them without a lock
of Python's. What they have for the loop waits in a deque, and the loop is woken once
for all that has come meanwhile: one wake-up costs a system call and a turn of the
GIL, and under load most results find one under way.
"""

import asyncio
import os
import queue
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from typing import Final, NoReturn

Work = Callable[[], None]

JOIN_S: Final = 0.05
"""How often the end of the threads is looked at."""


class ThreadPool:
    """Threads that are made with the first work, so after a fork.

    Args:
        count: How many.
        loop: What they give their results to.
    """

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.count = count
        self._loop = loop
        self._pid = os.getpid()
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._posted: deque[Work] = deque()
        self._is_woken = False
        self._threads: list[threading.Thread] = []
        self._busy: set[int] = set()

    @property
    def waiting(self) -> int:
        """How many wait for a thread."""
        return self._queue.qsize()

    @property
    def is_forked(self) -> bool:
        """Whether this is a child that the work has forked: nobody serves in it."""
        return os.getpid() != self._pid

    def submit(self, work: Work) -> None:
        """Run it in a thread, after what came before; it must not raise."""
        if len(self._threads) < self.count:
            self._start()
        self._queue.put(work)

    def post(self, call: Work) -> None:
        """Call something on the loop; from a thread."""
        if self.is_forked:
            end_forked(RuntimeError("a process that is forked must end by itself"))
        self._posted.append(call)
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
        busy, own = self._busy, threading.get_ident()
        while True:
            work = take()
            if work is None:
                return
            busy.add(own)
            work()
            busy.discard(own)
            del work  # what it has of a request is not kept while this thread waits

    async def stop(self, span_s: float) -> list[str]:
        """End the threads once they have done what is queued.

        Args:
            span_s: How long they may take.

        Returns:
            Of each that is still at work, its name and its stack.
        """
        for _ in self._threads:
            self._queue.put(None)
        ends_at = self._loop.time() + span_s
        while any(thread.is_alive() for thread in self._threads):
            if self._loop.time() >= ends_at:
                break
            await asyncio.sleep(min(JOIN_S, max(ends_at - self._loop.time(), 0)))
        left = [thread for thread in self._threads if thread.is_alive()]
        self._threads.clear()
        return [_describe(thread) for thread in left]


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
        os._exit((code or 0) & 0xFF if isinstance(code, int | None) else 1)


def _describe(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
    return f"thread {thread.name}:\n{stack}"
