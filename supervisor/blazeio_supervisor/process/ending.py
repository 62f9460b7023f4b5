"""How a process ends that has run code of the app.

It ends by ``os._exit``: what Python does on the way out is done here, one step
after the other, as far as it belongs to the process that ends.
"""

import atexit
import logging
import os
import sys
import threading
from typing import NoReturn

log = logging.getLogger("blazeio.worker")


def end_now(code: int) -> NoReturn:
    """End this process without running what the app left for its own exit."""
    try:
        flush_output()
    finally:
        os._exit(code)


def end_forked(error: BaseException | None) -> NoReturn:
    """End a child that the app forked, as Python would.

    Args:
        error: What left the code of the app; None: it came to its end.
    """
    code = 0
    if isinstance(error, SystemExit):
        code = _read_exit_code(error)
    elif error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    finally:
        end_now(code)


def end_stray() -> NoReturn:
    """End a child that the app forked and that came back to code of ours."""
    log.error(
        "pid %s, which the app has forked, came back to the worker's code: it is "
        "ended; a process that is forked must end by itself (os._exit)",
        os.getpid(),
    )
    end_now(1)


def flush_output() -> None:
    """Write out what standard output and error hold back."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # closed by the app, or nobody reads it any more


def _read_exit_code(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return int(error.code or 0) & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1
