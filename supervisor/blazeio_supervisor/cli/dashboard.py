"""The verb ``dashboard`` while it runs: it serves the page on this machine."""

import asyncio
import secrets
import signal
import socket
import webbrowser
from collections.abc import Callable

from msgspec import Struct

from blazeio.app.app import App
from blazeio_supervisor.cli.client import ControlClient
from blazeio_supervisor.cli.output import say
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.ipc.control_api import (
    DASHBOARD,
    RECYCLE,
    RELOAD,
    STACK,
    DashboardAnswer,
    DashboardQuery,
    RecycleOrder,
    StackAnswer,
    StackOrder,
)
from blazeio_supervisor.master.dashboard import Dashboard

_HOST = "127.0.0.1"
_TOKEN_BYTES = 24


class ClientSource(Struct, frozen=True):
    """A service that is asked by its control socket, each time in a thread."""

    client: ControlClient

    async def look(self, after: int) -> DashboardAnswer:
        """Look at the service."""
        query = DashboardQuery(after)
        return await asyncio.to_thread(self.client.ask, DASHBOARD, query)

    async def stack(self, slot: int) -> StackAnswer:
        """Ask where the workers of a slot are."""
        return await asyncio.to_thread(self.client.ask, STACK, StackOrder(slot))

    async def reload(self) -> None:
        """Load the code anew."""
        await asyncio.to_thread(self.client.ask, RELOAD)

    async def recycle(self, slot: int) -> None:
        """Replace the worker of a slot."""
        await asyncio.to_thread(self.client.ask, RECYCLE, RecycleOrder(slot))


def serve_dashboard(
    client: ControlClient, port: int, opens: Callable[[str], object] | None
) -> None:
    """Serve the page until ^C.

    Whoever has no token cannot even look: other users of this machine can connect to
    the port, too.

    Args:
        client: Asks the service.
        port: Of 127.0.0.1; 0: a free one.
        opens: Opens the address in a browser; None: it is only printed.

    Raises:
        UsageError: The port cannot be bound.
    """
    try:
        # It sets SO_REUSEADDR: the port of a page that was just closed can be had again
        # at once, in spite of connections in TIME_WAIT (socket(7)).
        listener = socket.create_server((_HOST, port))
    except OSError as error:
        raise UsageError(f"cannot bind {_HOST}:{port}: {error.strerror}") from None
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    # Behind ``#``: a browser sends no fragment to a server (RFC 9110, section 4.2.5),
    # so the token comes into no log and into no Referer.
    address = f"http://{_HOST}:{listener.getsockname()[1]}/dashboard#{token}"
    say(f"{address}\nThis page shows the service, and takes orders, until ^C.")
    if opens is not None:
        opens(address)
    with listener:
        listener.setblocking(False)
        asyncio.run(_serve(client, token, listener))


async def _serve(client: ControlClient, token: str, listener: socket.socket) -> None:
    app = App()
    Dashboard(ClientSource(client), token, is_private=True).add_routes(app)
    loop = asyncio.get_running_loop()
    is_over = asyncio.Event()
    # SIGHUP, too: whoever closes the terminal means to end the page.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, is_over.set)
    server = app.make_server(loop)
    server.accept_from(listener)
    await is_over.wait()
    # Without a drain: what is in flight is a look at the service, which the page
    # repeats anyway.
    server.close()


def open_browser(address: str) -> None:
    """Open the address in the user's browser, if there is one."""
    webbrowser.open(address)
