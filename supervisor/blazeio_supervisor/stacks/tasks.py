"""Where each asyncio task waits, as text.

``Task.get_stack`` knows only the outermost frame of one that waits. So the chain
of awaits is followed here, down to what is waited for.
"""

import asyncio
import gc
import linecache
from collections.abc import AsyncGenerator, Iterable
from types import AsyncGeneratorType
from typing import Any

from msgspec import Struct

STACK_COUNT = 50
"""More different stacks are only counted."""
FRAME_COUNT = 50
NAME_COUNT = 5
_LINKS = (
    ("cr_frame", "cr_await"),
    ("gi_frame", "gi_yieldfrom"),
    ("ag_frame", "ag_await"),
)


class Spot(Struct, frozen=True):
    """One frame."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        text = f'  File "{self.file}", line {self.line} in {self.function}'
        code = linecache.getline(self.file, self.line).strip()
        return f"{text}\n    {code}" if code else text


def trace(awaitable: Any) -> tuple[Spot, ...]:
    """Follow a coroutine to what it waits for, the outermost frame first."""
    spots: list[Spot] = []
    while awaitable is not None and len(spots) < FRAME_COUNT:
        for frame_name, next_name in _LINKS:
            frame = getattr(awaitable, frame_name, None)
            if frame is not None:
                code = frame.f_code
                spots.append(Spot(code.co_filename, frame.f_lineno, code.co_qualname))
                awaitable = getattr(awaitable, next_name)
                break
        else:
            awaitable = _find_generator(awaitable)
    return tuple(spots)


def _find_generator(awaitable: Any) -> AsyncGenerator[Any, Any] | None:
    """Find the one behind a step of ``async for``; None: a future, or C code."""
    if not type(awaitable).__name__.startswith("async_generator_"):
        return None
    referents = gc.get_referents(awaitable)  # it has no attribute for that
    return next((r for r in referents if isinstance(r, AsyncGeneratorType)), None)


def describe_tasks(
    tasks: Iterable[asyncio.Task[Any]],
    current: asyncio.Task[Any] | None,
    names: dict[asyncio.Task[Any], str],
) -> str:
    """Write the stack of each; those that wait at the same place are one.

    Args:
        tasks: All of the loop.
        current: The one that runs: its frames are in the stack of its thread.
        names: What a task is for, where that is known.
    """
    stacks: dict[tuple[Spot, ...], list[str]] = {}
    for task in tasks:
        if task is not current and not task.done():
            name = names.get(task, task.get_name())
            stacks.setdefault(trace(task.get_coro()), []).append(name)
    by_count = sorted(stacks.items(), key=lambda item: -len(item[1]))
    lines = [_describe_stack(*item) for item in by_count[:STACK_COUNT]]
    more = len(by_count) - STACK_COUNT
    if more > 0:
        lines.append(f"and {more} more stacks")
    return "\n".join(lines)


def _describe_stack(spots: tuple[Spot, ...], names: list[str]) -> str:
    count = "Task" if len(names) == 1 else f"{len(names)} tasks"
    named = ", ".join(names[:NAME_COUNT])
    if len(names) > NAME_COUNT:
        named += ", ..."
    # As faulthandler writes the threads: the innermost first.
    frames = [str(spot) for spot in reversed(spots)] or ["  in C code"]
    return "\n".join([f"{count} (most recent call first): {named}", *frames])
