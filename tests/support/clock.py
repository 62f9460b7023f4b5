"""Waiting in tests: for a condition, with a generous deadline, never for a span.

``BLAZEIO_TEST_TIME_SCALE`` multiplies every deadline, for slow machines.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.005


def time_scale() -> float:
    """The factor by which every deadline of the tests is stretched."""
    return float(os.environ.get("BLAZEIO_TEST_TIME_SCALE", "1"))


def scaled(timeout_s: float) -> float:
    """``timeout_s`` on this machine."""
    return timeout_s * time_scale()


async def wait_until(
    predicate: Callable[[], object], timeout_s: float = 10.0, reason: str = ""
) -> None:
    """Let the loop run until ``predicate()`` is true.

    Raises:
        AssertionError: It was still false after ``timeout_s`` (scaled).
    """
    deadline_at = time.monotonic() + scaled(timeout_s)
    await asyncio.sleep(0)
    while not predicate():
        if time.monotonic() > deadline_at:
            raise AssertionError(_describe(predicate, timeout_s, reason))
        await asyncio.sleep(POLL_S)


def block_until(
    predicate: Callable[[], object], timeout_s: float = 20.0, reason: str = ""
) -> None:
    """The same from a test without a loop, of other processes.

    Raises:
        AssertionError: It was still false after ``timeout_s`` (scaled).
    """
    deadline_at = time.monotonic() + scaled(timeout_s)
    while not predicate():
        if time.monotonic() > deadline_at:
            raise AssertionError(_describe(predicate, timeout_s, reason))
        time.sleep(POLL_S)  # the only sleep of the tests


async def within(awaitable: Awaitable[T], timeout_s: float = 10.0) -> T:
    """Await with a deadline (scaled); TimeoutError when it passes."""
    async with asyncio.timeout(scaled(timeout_s)):
        return await awaitable


def _describe(predicate: Callable[[], object], timeout_s: float, reason: str) -> str:
    code = getattr(predicate, "__code__", None)
    place = f"{code.co_filename}:{code.co_firstlineno}" if code else repr(predicate)
    what = reason or f"the condition at {place}"
    return f"{what}: still false after {scaled(timeout_s):g} s"
