"""Which request the running code belongs to, for who does not pass ``r``.

Nothing is noted when a request begins: its task knows the coroutine that it
runs, and that one knows its request. So it costs a request nothing, where
setting a ContextVar costs 0.05 us. One is set when a handler first asks, for
the tasks that it begins afterwards.

May import: blazeio.errors, blazeio.protocol.
"""

import asyncio
import inspect
from contextvars import ContextVar
from typing import Any

from blazeio.errors import LocalProtocolError
from blazeio.protocol.request import BlazeioServerProtocol

Known = tuple[BlazeioServerProtocol, asyncio.Task[Any]]
"""A request, and the task that handles it: ``r`` serves the next one, too."""

_known: ContextVar[Known | None] = ContextVar("r", default=None)


def find_request(r: BlazeioServerProtocol | None = None) -> BlazeioServerProtocol:
    """Give ``r`` if it is one, else the request of the running handler.

    Raises:
        LocalProtocolError: No handler is running here, or it is over, or it
            runs in a task that was begun before the handler first asked: pass
            ``r``.
    """
    if r is not None:
        return r
    known = _ask_task() or _known.get()
    if known is None or not known[0].handling.is_done_by(known[1]):
        raise LocalProtocolError("no request is being handled here: pass r")
    return known[0]


def _ask_task() -> Known | None:
    task = asyncio.current_task()
    work = None if task is None else task.get_coro()
    if task is None or not inspect.iscoroutine(work):
        return None
    found = inspect.getcoroutinelocals(work).get("self")
    if not isinstance(found, BlazeioServerProtocol):
        return None
    if not found.handling.is_done_by(task):
        return None
    _known.set((found, task))
    return found, task
