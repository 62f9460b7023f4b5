"""An app of another interface below a path of an ``App``.

It runs in a task of its own, in the context of the request's task: the handler is
over when the response is complete, so that middlewares and the connection go on, and
what the app does after that is counted as in flight until it ends.
"""

import asyncio

from blazeio.gateways.connection import GatewayProtocol, end_in_time
from blazeio.gateways.gateway import Gateway
from blazeio.gateways.http import HttpExchange
from blazeio.protocol.timeouts import NEVER


class MountedExchange(HttpExchange):
    """A request whose handler waits beside the app for the response."""

    __slots__ = ("over",)

    def __init__(self, r: GatewayProtocol, gateway: Gateway) -> None:
        super().__init__(r, gateway)
        self.over: asyncio.Future[None] = self.loop.create_future()

    def detach(self) -> None:
        """The response is complete: the handler returns, whatever the app does."""
        if not self.over.done():
            self.over.set_result(None)


async def serve_mounted(gateway: Gateway, r: GatewayProtocol, prefix: str) -> None:
    """Serve one request by an app that is mounted below a path.

    Args:
        gateway: Whose app it is.
        r: The request, whose path begins with the prefix.
        prefix: Where the app is mounted.
    """
    context = r.context
    exchange = MountedExchange(r, gateway)
    root_path = context.root_path
    work = gateway.call(r, exchange, root_path, prefix)
    task = context.loop.create_task(work, name="mounted app")
    try:
        await asyncio.wait((task, exchange.over), return_when="FIRST_COMPLETED")
    except asyncio.CancelledError:
        # Waited for, too: the app uses ``r``, which serves another request once this
        # returns.
        task.cancel()
        await asyncio.wait((task,))
        raise
    if task.done():
        task.result()
    else:
        end = context.begin_background(task)
        ends_at = r.handler_task.deadline_at
        if ends_at != NEVER:
            end = end_in_time(task, ends_at, context, end)
        task.add_done_callback(lambda _: end())
