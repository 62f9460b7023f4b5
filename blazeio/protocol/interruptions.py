"""What ends the task that a handler runs in, and is no error of the handler.

A handler may raise everything that Python has: ``SystemExit`` comes of argparse,
``asyncio.CancelledError`` of a task that it awaits. None of that may end the
process or the loop; only what was meant for the task itself goes on.
"""

import asyncio
import opcode
import signal
import threading
from types import TracebackType

_RAISE = opcode.opmap["RAISE_VARARGS"]


def is_cancelled() -> bool:
    """Whether the running task itself was cancelled, not one that it awaited."""
    task = find_task()
    return task is not None and task.cancelling() > 0


def find_task() -> "asyncio.Task[object] | None":
    """Return the task that runs here; None outside of one, or without a loop."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def is_of_keyboard(error: BaseException) -> bool:
    """Whether it is the ^C of somebody who runs the loop without our signals.

    Python's own handler of SIGINT raises in whatever code runs at that moment,
    asyncio's ``Runner`` at the second signal. One that code has raised by itself
    is an error as any other.
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
