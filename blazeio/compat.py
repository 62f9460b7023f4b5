"""What the original package had in another form; ``docs/compat.md`` has the table."""

import dis
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

_AWAITS = dis.opmap["GET_AWAITABLE"]
_CACHE = dis.opmap.get("CACHE", 0)
_STEP = 2
"""Octets of one instruction of CPython."""

T = TypeVar("T")


def is_awaited(depth: int) -> bool:
    """Whether what is returned now is awaited where it was asked for.

    For a function that was a coroutine once and is none any more: who still writes
    ``await`` gets an awaitable.

    Args:
        depth: How many frames above the caller of this function it was asked for.
    """
    frame = sys._getframe(depth + 1)
    code = frame.f_code.co_code
    place = frame.f_lasti + _STEP
    while place < len(code) and code[place] == _CACHE:
        place += _STEP
    return place < len(code) and code[place] == _AWAITS


def awaitable(value: T) -> Coroutine[Any, Any, T]:
    """Make an awaitable of a value that is there."""

    async def give() -> T:
        return value

    return give()
