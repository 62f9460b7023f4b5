"""Blocking work in a thread, finished before anybody goes on who is cancelled.

``asyncio.to_thread`` leaves the thread alone with its work when its caller is
cancelled: it would read on from a file that is sent once more meanwhile, or write to
a descriptor whose number is another file's by then.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

_Result = TypeVar("_Result")
_Args = TypeVarTuple("_Args")


async def finish_in_thread(
    function: Callable[[*_Args], _Result], *args: *_Args
) -> _Result:
    """Call it in a thread; return what it returns, raise what it raises.

    A caller who is cancelled is cancelled when the call is over, and only then.
    """
    work = asyncio.get_running_loop().run_in_executor(None, function, *args)
    is_cancelled = False
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        work.exception()  # it is nobody's business any more
        raise asyncio.CancelledError
    return work.result()
