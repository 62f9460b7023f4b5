"""The process that serves: its event loop, its descriptors, and Python's collector.

``io.loop`` is made when it is first used, never at import: a process that forks must
fork before it has a loop. ``run_through`` runs a loop until one task is done, whatever
the app's tasks do. Functions tell which task runs here, and which errors are meant to
end it or the whole process.
"""

import asyncio
import gc
import inspect
import opcode
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Literal, Self, TypeVar

from blazeio.errors import ConfigurationError
from blazeio.loggers import get_logger

log = get_logger("blazeio.server")

# The event loop


Result = TypeVar("Result")

LoopName = Literal["uvloop", "asyncio"]

DEFAULT_LOOP: LoopName = "uvloop" if sys.platform == "linux" else "asyncio"

# Of the process, not a ContextVar: a thread that serves has a context of its own.
_chosen: list[LoopName] = [DEFAULT_LOOP]
_process_loop: list[asyncio.AbstractEventLoop] = []


def use_loop(name: LoopName) -> None:
    """Choose the kind of loop, before ``io.loop`` is first used.

    ``use_loop("asyncio")`` goes without uvloop. Its module is imported now: a process
    that forks shares it with its children, which then need not find it on the disk.

    Raises:
        ConfigurationError: The name is unknown, or the loop has been made.
    """
    if name not in ("uvloop", "asyncio"):
        raise ConfigurationError(f"loop {name!r}: expected uvloop or asyncio")
    if _process_loop:
        raise ConfigurationError(f"loop {name!r}: too late, io.loop has been made")
    _chosen[0] = name
    if name == "uvloop":
        _find_uvloop()


def new_loop() -> asyncio.AbstractEventLoop:
    """Make a loop of the chosen kind; plain asyncio where uvloop is missing."""
    uvloop = _find_uvloop() if _chosen[0] == "uvloop" else None
    return asyncio.new_event_loop() if uvloop is None else uvloop.new_event_loop()


def _find_uvloop() -> ModuleType | None:
    """Import uvloop; None: not on this interpreter, or it is not installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop


def get_loop() -> asyncio.AbstractEventLoop:
    """Return the loop of this process: made, and made current, on first use."""
    if not _process_loop:
        loop = new_loop()
        asyncio.set_event_loop(loop)
        _process_loop.append(loop)
    return _process_loop[0]


@contextmanager
def temporary_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Have a loop for a while, in a process that forks later; then it has none.

    Raises:
        ConfigurationError: It has one already.
    """
    if _process_loop:
        raise ConfigurationError("the event loop of this process has been made")
    with asyncio.Runner() as runner:  # ends its tasks, and joins its threads
        loop = runner.get_loop()
        _process_loop.append(loop)
        asyncio.set_event_loop(loop)
        try:
            yield loop
        finally:
            _process_loop.clear()
            asyncio.set_event_loop(None)


_STOPPED = "Event loop stopped before Future completed."
"""The text of asyncio and uvloop when ``stop()`` was called."""


def run_through(
    loop: asyncio.AbstractEventLoop, work: asyncio.Future[Result]
) -> Result:
    """Run a loop until a task or future is done, whatever other tasks do.

    A task that ends with ``SystemExit`` or ``KeyboardInterrupt`` (``sys.exit()`` in a
    task that a handler has started) makes asyncio leave the loop, with everything that
    it serves. The error belongs to whoever awaits that task, or to asyncio's log; here
    the loop is entered again. The same after a ``loop.stop()`` of the app. A task
    passed here is not among ``asyncio.all_tasks()``: an app that cancels all of them,
    as many do at a signal, cancels only its own.

    Raises:
        BaseException: The exception of the task; KeyboardInterrupt where there is no
            signal handler of ours; or the end of a process that was forked here.
    """
    pid = os.getpid()
    if isinstance(work, asyncio.Task):
        asyncio.tasks._unregister_task(work)  # documented in "Extending asyncio"
    while True:
        try:
            return loop.run_until_complete(work)
        except RuntimeError as error:
            if work.done() or os.getpid() != pid or str(error) != _STOPPED:
                raise
            log.error("the app has stopped the event loop (loop.stop()): it goes on")
        except (SystemExit, KeyboardInterrupt) as error:
            if work.done() or is_of_keyboard(error) or os.getpid() != pid:
                raise
            if not _is_of_task(error):
                log.exception("a callback of the loop raised %r", error)


def _is_of_task(error: BaseException) -> bool:
    """Tell whether a task has ended with it, which keeps it for whoever awaits it."""
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_flags & inspect.CO_COROUTINE:
            return True
        traceback = traceback.tb_next
    return False


def has_loop() -> bool:
    """Tell whether ``io.loop`` has been made."""
    return bool(_process_loop)


# Descriptors


RESERVED_DESCRIPTORS = 64
"""Left for the app: files, connections of its own, logs."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors to the hard limit.

    Returns:
        The soft limit now in force. A refusal is no error: some sandboxes forbid it,
        and the old limit stays.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return soft
    return hard


def most_connections() -> int:
    """Return how many connections the descriptor limit allows; at least 16."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft - RESERVED_DESCRIPTORS, 16)


# Python's collector


THRESHOLDS = (10_000, 20, 100)
"""New objects until the youngest generation is collected; collections of it until the
next generation is, and of that until all are."""
USUAL_THRESHOLDS = {(700, 10, 10), (2000, 10, 10), (2000, 10, 0)}
"""The thresholds that Python has by default; an app that has set others is left
alone."""
GROWTH = 1.25
LEAST_GROWTH_BYTES = 16 * 1024 * 1024
LOOK_EVERY_S = 0.1
"""How often the size of the process is read while it changes, seconds; 13 us each."""
LOOK_IDLE_EVERY_S = 1.0
"""How often while it does not change."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")


class CollectorTuning:
    """The collector of the process that serves, tuned while a block runs.

    By default the collector looks again and again at what has been made since the
    last time, and now and then at everything: modules, routes, and about twelve
    objects for each idle connection. So a request costs more the more connections
    there are. Here everything that exists when serving begins is frozen
    (gc.freeze), and the rest is looked at less often. Counted by callgrind, 1,024
    requests in a turn of the loop on 5,000 connections: 41,600 instructions a
    request with Python's thresholds, 36,050 with these, 37,100 with 2,000 as the
    first of them and 36,060 with 20,000.

    Objects in cycles then keep their memory for longer, and 10,000 of them may hold
    any amount. So a full collection is made whenever the process has grown by a
    quarter. Its size is read from /proc/self/statm: 13 us, ten times a second; to
    import psutil for it would take 18 ms and 4 MiB.

    What is freed then goes back to the kernel. glibc would keep what does not lie at
    the end of its heap: the process seemed as large as before, and was left alone
    until it had grown by a quarter of that, again and again. 60 times 16 MB of garbage
    made 303 MB of 35 MB, now it comes down to 35 MB each time; 0.5 ms for each MB.

    It is entered once the app has started. Nothing is changed where the thresholds are
    no longer Python's own, or the collector is off.

    Args:
        loop: Its timers call ``look``; None: the caller has to.
        is_wanted: False: nothing is changed.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop | None, *, is_wanted: bool = True
    ) -> None:
        self._loop = loop
        is_usual = gc.isenabled() and gc.get_threshold() in USUAL_THRESHOLDS
        self._is_on = is_wanted and is_usual
        self._usual = gc.get_threshold()
        self._was_frozen = gc.get_freeze_count() > 0
        self._timer: asyncio.TimerHandle | None = None
        self._kept_bytes = self._seen_bytes = 0

    def __enter__(self) -> Self:
        """Freeze what exists, and set the thresholds."""
        if self._is_on:
            gc.collect()
            gc.freeze()
            gc.set_threshold(*THRESHOLDS)
            self._kept_bytes = read_resident_bytes()
            if self._loop is not None:
                self._look_on(self._loop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Restore thresholds and frozen objects, but for those frozen for a fork."""
        if self._timer is not None:
            self._timer.cancel()
        if self._is_on:
            gc.set_threshold(*self._usual)
            if not self._was_frozen:
                gc.unfreeze()

    def _look_on(self, loop: asyncio.AbstractEventLoop) -> None:
        delay_s = LOOK_EVERY_S if self.look() else LOOK_IDLE_EVERY_S
        self._timer = loop.call_later(delay_s, self._look_on, loop)

    def look(self) -> bool:
        """Collect everything where memory has grown much since the last time.

        Returns:
            Whether memory has changed since.
        """
        if not self._is_on:
            return False
        has_bytes = read_resident_bytes()
        is_changing, self._seen_bytes = has_bytes != self._seen_bytes, has_bytes
        bound = max(self._kept_bytes * GROWTH, self._kept_bytes + LEAST_GROWTH_BYTES)
        if has_bytes > bound:
            gc.collect()
            if read_resident_bytes() > bound:
                trim_heap()
            self._kept_bytes = has_bytes = read_resident_bytes()
        self._kept_bytes = min(self._kept_bytes, has_bytes)
        return is_changing


def trim_heap() -> None:
    """Give the kernel back what is allocated by ``malloc`` and free (malloc_trim(3)).

    Only glibc has such a call.
    """
    import ctypes  # 2 ms, and many processes never grow

    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))


def read_resident_bytes() -> int:
    """Return the resident memory of this process, octets; 0: unknown."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES
    except OSError:  # /proc is not mounted
        return 0


_RAISE = opcode.opmap["RAISE_VARARGS"]


def is_cancelled() -> bool:
    """Whether the running task itself was cancelled, and not one that it awaits."""
    task = find_task()
    return task is not None and task.cancelling() > 0


def find_task() -> "asyncio.Task[object] | None":
    """Return the task that runs here; None outside of one, or without a loop."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def is_of_keyboard(error: BaseException) -> bool:
    """Whether an error is the ^C of a terminal, where our signal handlers are not set.

    Python's own handler of SIGINT raises it in whatever code runs at that moment, and
    asyncio's ``Runner`` at the second signal. A KeyboardInterrupt that code has raised
    by itself is an error like any other.
    """
    if not isinstance(error, KeyboardInterrupt):
        return False
    if threading.current_thread() is not threading.main_thread():
        return False
    innermost = _find_innermost(error.__traceback__)
    if innermost is None:
        return True
    frame = innermost.tb_frame
    if frame.f_globals.get("__name__") == "asyncio.runners":
        return True
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return False
    return frame.f_code.co_code[innermost.tb_lasti] != _RAISE


def _find_innermost(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback
