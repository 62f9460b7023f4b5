"""Something that comes once, to be seen and to be awaited."""

import asyncio
from collections.abc import Generator


class Happening:
    """``if r.draining: ...`` looks; ``await r.draining`` sleeps until it comes.

    Args:
        has_come: It is there already.
    """

    __slots__ = ("_has_come", "_waiters")

    def __init__(self, *, has_come: bool = False) -> None:
        self._has_come = has_come
        self._waiters: list[asyncio.Future[None]] = []

    def __bool__(self) -> bool:
        return self._has_come

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'come' if self._has_come else 'to come'}>"

    def come(self) -> None:
        """It is there: all sleepers go on."""
        self._has_come = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def __await__(self) -> Generator[object, None, None]:
        if self._has_come:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            yield from waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
