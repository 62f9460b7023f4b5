"""Waiting until a transport's socket takes octets again.

An event loop refuses a writer on a descriptor that a transport has, and a dup
of it would hold the connection open after its transport was closed. So, as for
hang-ups, the descriptor is in a side epoll of ours for as long as somebody
waits, and that epoll's own descriptor is a reader of the loop.
"""

import asyncio
import contextvars
import select


class WritabilityWatcher:
    """Watches the sockets of one event loop that are written to beside it."""

    __slots__ = ("_base", "_epoll", "_loop", "_waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._base = contextvars.copy_context()
        self._epoll: select.epoll | None = None  # made on first use
        self._waiters: dict[int, asyncio.Future[None]] = {}

    def list_epolls(self) -> list[int]:
        """Return the descriptor of the side epoll, if there is one by now."""
        return [] if self._epoll is None else [self._epoll.fileno()]

    async def writable(self, fd: int) -> None:
        """Return when the socket takes octets, or is broken.

        Args:
            fd: Of one waiter at a time.
        """
        if self._epoll is None:
            self._epoll = select.epoll()
            # not in the context of the handler that happens to be the first
            side = self._epoll.fileno()
            self._base.copy().run(lambda: self._loop.add_reader(side, self._poll))
        waiter = self._waiters[fd] = self._loop.create_future()
        self._epoll.register(fd, select.EPOLLOUT | select.EPOLLONESHOT)
        try:
            await waiter
        finally:
            self._forget(fd, waiter)

    def _poll(self) -> None:
        assert self._epoll is not None  # _poll is its reader
        for fd, _ in self._epoll.poll(0):
            waiter = self._waiters.get(fd)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def _forget(self, fd: int, waiter: asyncio.Future[None]) -> None:
        if self._epoll is None or self._waiters.get(fd) is not waiter:
            return
        del self._waiters[fd]
        try:
            self._epoll.unregister(fd)
        except OSError:  # closed meanwhile; the kernel has forgotten it
            pass

    def close(self) -> None:
        """Give the epoll back."""
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
        self._epoll = None
        self._waiters.clear()
