"""``--metrics-bind``: ``/metrics``, ``/livez`` and ``/readyz``, for anybody who asks.

A blazeio App on the master's loop. Its deadlines and bounds are the library's:
who reads slowly, or sends nothing, costs the master a few kilobytes until it is
cut.
"""

import asyncio
import os
import socket
from collections.abc import Callable

import msgspec

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.protocol.server import BlazeioServerProtocol
from blazeio.server.server import Server
from blazeio_supervisor.control.status import Service
from blazeio_supervisor.errors import BindError
from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.observe.metrics.exposition import CONTENT_TYPE, Exposition
from blazeio_supervisor.sockets.address import (
    Address,
    UnixAddress,
    join_host_port,
    resolve,
)
from blazeio_supervisor.sockets.opening import identify_path, open_first, open_unix

CONNECTION_COUNT = 64
"""More ask in vain: a scraper gone wild must not take the master's descriptors."""
_CONTENT_BYTES = 1024


class Health(msgspec.Struct, frozen=True):
    """The answer of ``/livez`` and ``/readyz``.

    Attributes:
        reason: Why not; "" when all is well.
    """

    ok: bool
    reason: str
    workers_serving: int
    workers_wanted: int


class FrozenMetrics(msgspec.Struct, frozen=True):
    """The sockets, as the next image of the master takes them over.

    Attributes:
        path: Of a unix socket, and which file that is.
    """

    fds: list[int]
    path: tuple[str, tuple[int, int] | None] | None


class MetricsServer:
    """Answers on one address of its own.

    Args:
        service: What is told.
        exposition: Writes the figures.
    """

    def __init__(self, service: Service, exposition: Exposition) -> None:
        self._service = service
        self._exposition = exposition
        self._sockets: list[socket.socket] = []
        self._server: Server | None = None
        self._path: tuple[str, tuple[int, int] | None] | None = None

    def open(self, address: Address, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to answer.

        Raises:
            BindError: It cannot be had.
        """
        try:
            self._bind(address)
        except ValueError as error:
            raise BindError(f"cannot bind {address}: {error}") from None
        self._serve(loop)
        note(
            "metrics", f"/metrics, /livez and /readyz are at {self._describe(address)}"
        )

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        self._server = self._make_app().make_server(loop)
        for sock in self._sockets:
            self._server.accept_from(sock)

    def freeze(self) -> FrozenMetrics | None:
        """Name the sockets; None when there are none."""
        if self._server is None:
            return None
        return FrozenMetrics([sock.fileno() for sock in self._sockets], self._path)

    def thaw(
        self,
        frozen: FrozenMetrics | None,
        take: Callable[[int], socket.socket],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Answer where another one did; ``take`` as of ``Listeners.thaw``."""
        if frozen is not None:
            self._sockets = [take(fd) for fd in frozen.fds]
            self._path = frozen.path
            self._serve(loop)

    def _bind(self, address: Address) -> None:
        if isinstance(address, UnixAddress):
            self._sockets.append(open_unix(address, self._service.settings.umask or 0))
            self._path = (address.path, identify_path(address.path))
            return
        for endpoint in resolve(address):
            self._sockets.append(open_first(endpoint))

    def _describe(self, address: Address) -> str:
        if isinstance(address, UnixAddress):
            return str(address)
        names = [sock.getsockname() for sock in self._sockets]
        return " ".join(join_host_port(*name[:2]) for name in names)

    def close(self) -> None:
        """Answer no more; a path is removed, if it is still ours."""
        if self._server is not None:
            self._server.close()
        for sock in self._sockets:
            sock.close()
        if self._path is not None:
            path, identity = self._path
            if identify_path(path) == identity:
                os.unlink(path)

    def _make_app(self) -> App:
        app = App(connections=CONNECTION_COUNT, content_bytes=_CONTENT_BYTES)
        app.add_route(self._show_metrics, "/metrics", methods=["GET"])
        app.add_route(self._show_life, "/livez", methods=["GET"])
        app.add_route(self._show_readiness, "/readyz", methods=["GET"])
        return app

    async def _show_metrics(self, r: BlazeioServerProtocol) -> None:
        await r.prepare({"Content-Type": CONTENT_TYPE}, compress=True)
        await r.write(self._exposition.write())

    async def _show_life(self, r: BlazeioServerProtocol) -> None:
        """The master answers: so it lives, whatever its workers do."""
        await self._show(r, "")

    async def _show_readiness(self, r: BlazeioServerProtocol) -> None:
        await self._show(r, self._service.planner.snapshot().why_not_ready)

    async def _show(self, r: BlazeioServerProtocol, reason: str) -> None:
        snapshot = self._service.planner.snapshot()
        health = Health(
            not reason, reason, snapshot.serving_count, snapshot.wanted_count
        )
        await Deliver.json(r, health, 503 if reason else 200)
