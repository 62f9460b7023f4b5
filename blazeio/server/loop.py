"""Which event loop, and the one of this process.

``io.loop`` is made when it is first asked for, never at import: a process that
forks must do so before it has a loop.
"""

import asyncio
import sys
from contextvars import ContextVar
from types import ModuleType
from typing import Literal

from blazeio.errors import ConfigurationError

LoopName = Literal["uvloop", "asyncio"]

DEFAULT_LOOP: LoopName = "uvloop" if sys.platform == "linux" else "asyncio"

_chosen: ContextVar[LoopName] = ContextVar("_chosen", default=DEFAULT_LOOP)
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
    _chosen.set(name)
    if name == "uvloop":
        _find_uvloop()


def new_loop() -> asyncio.AbstractEventLoop:
    """Make a loop of the chosen kind; plain asyncio where uvloop is missing."""
    uvloop = _find_uvloop() if _chosen.get() == "uvloop" else None
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


def has_loop() -> bool:
    """Whether ``io.loop`` has been made."""
    return bool(_process_loop)
