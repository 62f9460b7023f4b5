"""Which task runs here, and which errors are meant to end it or the whole process."""

import asyncio
import opcode
import signal
import threading
from types import TracebackType

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
