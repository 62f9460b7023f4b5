"""``GatewayProtocol``: a connection whose handlers are apps of other interfaces.

What is different from a handler of ours: a disconnect is told and cancels nothing,
and work that goes on after the response holds up neither the next request nor the
close. Who serves only handlers of ours has the plain protocol, and pays for nothing
here.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from blazeio.errors import ClientDisconnected
from blazeio.protocol.context import ServerContext
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.timeouts import NEVER
from blazeio.protocol.trust import find_scheme


class ClientLost(ClientDisconnected, OSError):  # noqa: N818 - a fact
    """The client is gone: what ``send`` raises, as ASGI 2.4 wants an ``OSError``."""


class GatewayProtocol(BlazeioServerProtocol):
    """One connection, also for what runs on after its response.

    Attributes:
        peer: The client's address and port; None where the transport has none.
        local: Ours; or the path of a unix socket, and None.
        own_scheme: What the connection is for.
        when_lost: Called when the connection is lost; None: nobody needs to know.
    """

    __slots__ = ("local", "own_scheme", "peer", "when_lost")

    peer: tuple[str, int] | None
    local: tuple[str, int | None] | None
    own_scheme: str
    when_lost: Callable[[], None] | None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self.peer = _find_peer(transport)
        self.local = _find_local(transport)
        self.own_scheme = find_scheme(transport)
        self.when_lost = None
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over, by either side."""
        super().connection_lost(exc)
        if self.when_lost is not None:
            self.when_lost()

    def detach(self) -> Callable[[], None] | None:
        """Turn to what comes next; the handler, which has answered, runs on.

        It is counted until it calls what is returned, and returns ``DETACHED``; it
        must not touch the request any more.

        ``Limits.handler_timeout_s`` holds for it as before.

        Returns:
            None where no handler runs.
        """
        task, ends_at = self.handler_task.task, self.handler_task.deadline_at
        end = self.handler_task.detach()
        if end is None or task is None or ends_at == NEVER:
            return end
        return end_in_time(task, ends_at, self.context, end)

    def _stays_for_response(self) -> bool:
        """After a FIN in mid-response: the app was told, what it sends is delivered."""
        return self.handler_task.outlives_carrier


def end_in_time(
    task: asyncio.Task[Any],
    ends_at: float,
    context: ServerContext,
    end: Callable[[], None],
) -> Callable[[], None]:
    """Cancel a task that runs on after its response when its deadline has passed.

    Args:
        task: What runs on.
        ends_at: The deadline, as of ``HandlerTask``.
        context: Of its server.
        end: To be called when it is over.

    Returns:
        To be called instead.
    """
    # A timer of its own: the deadline of ``handler_task`` is that of the connection's
    # next request from now on.
    left_s = max(ends_at - context.wheel.now(), 0.0)
    timer = context.loop.call_later(left_s, task.cancel)

    def end_both() -> None:
        timer.cancel()
        end()

    return end_both


def _find_peer(transport: asyncio.BaseTransport) -> tuple[str, int] | None:
    name = transport.get_extra_info("peername")
    return (name[0], name[1]) if isinstance(name, tuple) else None


def _find_local(transport: asyncio.BaseTransport) -> tuple[str, int | None] | None:
    name = transport.get_extra_info("sockname")
    if isinstance(name, tuple):
        return name[0], name[1]
    if isinstance(name, bytes):  # an abstract one
        return "@" + name[1:].decode(errors="replace"), None
    return (name, None) if name else None
