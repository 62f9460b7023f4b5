"""Which event loop, and the one of this process.

``io.loop`` is made when it is first asked for, never at import: a process that
forks must do so before it has a loop.
"""

import asyncio
import inspect
import os
import resource
import sys
from types import ModuleType
from typing import Literal, TypeVar

from blazeio.errors import ConfigurationError
from blazeio.loggers import get_logger
from blazeio.protocol.handler_task import is_of_keyboard

log = get_logger("blazeio.server")

Result = TypeVar("Result")

LoopName = Literal["uvloop", "asyncio"]

DEFAULT_LOOP: LoopName = "uvloop" if sys.platform == "linux" else "asyncio"

# Of the process, as its loop is: a thread that serves has a context of its own.
_chosen: list[LoopName] = [DEFAULT_LOOP]
_process_loop: list[asyncio.AbstractEventLoop] = []


def use_loop(name: LoopName) -> None:
    """Choose the kind of loop, before ``io.loop`` is first used.

    Its module is imported now: whoever forks, shares it, and need not find it
    on the disk again.

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
    """Import it; None: not on this interpreter, where it is not installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop


def get_loop() -> asyncio.AbstractEventLoop:
    """The loop of this process: made, and made current, on first use."""
    if not _process_loop:
        loop = new_loop()
        asyncio.set_event_loop(loop)
        _process_loop.append(loop)
    return _process_loop[0]


_STOPPED = "Event loop stopped before Future completed."
"""What asyncio and uvloop say when ``stop()`` was called."""


def run_through(
    loop: asyncio.AbstractEventLoop, work: asyncio.Future[Result]
) -> Result:
    """Run a loop until this task or future of it is done, whatever other tasks do.

    A task that ends with ``SystemExit`` or ``KeyboardInterrupt``, as by
    ``sys.exit()`` in one that a handler began, makes asyncio leave the loop, with
    everything that it serves. The error belongs to who awaits that task, or to
    asyncio's log; the loop is entered again. So it is after a ``loop.stop()`` of
    the app. And a task given here is not one of ``asyncio.all_tasks()``: an app
    that cancels all of them, as many do when they get a signal, cancels its own.

    Raises:
        BaseException: What it was done with; the ^C of who runs the loop without
            signal handlers of ours; or the end of a process that was forked here.
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
    """Whether a task has ended with it, which keeps it for who awaits it."""
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_flags & inspect.CO_COROUTINE:
            return True
        traceback = traceback.tb_next
    return False


def has_loop() -> bool:
    """Whether ``io.loop`` has been made."""
    return bool(_process_loop)


# How many connections this process can hold.


RESERVED_DESCRIPTORS = 64
"""Left for the app: files, upstream connections, logs."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors to the hard one.

    Returns:
        The soft limit now in force. A refusal is no error: some sandboxes
        forbid it, and the limit that is stays.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return soft
    return hard


def most_connections() -> int:
    """What the descriptor limit leaves for connections; at least 16."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft - RESERVED_DESCRIPTORS, 16)
