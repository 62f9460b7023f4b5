"""``--metrics-bind``: ``/metrics``, ``/livez`` and ``/readyz``, for anybody who asks.

A blazeio App on the master's loop. A connection that sends nothing, or half a
request, gives way to one that asks; ``/metrics`` is answered to a few at once, so
that there are places left for the probes; and who reads slowly is cut.
"""

import asyncio
import socket
from collections.abc import Callable

import msgspec

from blazeio.app.app import App
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio_supervisor.control.answering import show
from blazeio_supervisor.control.answers.service import ErrorAnswer
from blazeio_supervisor.control.guarded_server import (
    GuardedServer,
    judge_by_address,
    judge_by_user,
)
from blazeio_supervisor.control.status import Service
from blazeio_supervisor.errors import BindError
from blazeio_supervisor.files.opening import remove
from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.observe.metrics.exposition import CONTENT_TYPE, Exposition
from blazeio_supervisor.sockets.address import (
    Address,
    UnixAddress,
    join_host_port,
    resolve,
)
from blazeio_supervisor.sockets.opening import (
    UNIX_MODE,
    identify_path,
    open_first,
    open_unix,
)
from blazeio_supervisor.sockets.shares import Shares

CONNECTION_COUNT = 64
"""Connections that it has at most; a scraper gone wild must not take the master's
descriptors."""
PEER_CONNECTION_COUNT = 16
"""Of them, connections of one address (of IPv6, one /64) or of one user."""
METRICS_COUNT = 32
"""Answers of ``/metrics`` under way at most: the other places are the probes'."""
PEER_METRICS_COUNT = 8
"""Of them, answers to one address or user."""
REQUEST_TIMEOUT_S = 5.0
"""A request that is not whole by then is given up."""
ANSWER_TIMEOUT_S = 30.0
"""An answer that is not read by then is cut."""
_RETRY_AFTER = {"Retry-After": "1"}
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
        self._server: GuardedServer | None = None
        self._answering = 0
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
        shares = Shares(CONNECTION_COUNT, PEER_CONNECTION_COUNT)
        judge = judge_by_address if self._path is None else judge_by_user
        self._server = GuardedServer(self._make_app(), shares, judge, loop)
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
            self._sockets.append(open_unix(address, self._choose_mode()))
            self._path = (address.path, identify_path(address.path))
            return
        for endpoint in resolve(address):
            self._sockets.append(open_first(endpoint))

    def _choose_mode(self) -> int:
        return UNIX_MODE & ~(self._service.settings.umask or 0)

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
            remove(*self._path)

    def _make_app(self) -> App:
        app = App(
            connections=2 * CONNECTION_COUNT,
            content_bytes=_CONTENT_BYTES,
            head_timeout_s=REQUEST_TIMEOUT_S,
            handler_timeout_s=ANSWER_TIMEOUT_S,
        )
        app.add_route(self._show_metrics, "/metrics", methods=["GET"])
        app.add_route(self._show_life, "/livez", methods=["GET"])
        app.add_route(self._show_readiness, "/readyz", methods=["GET"])
        return app

    async def _show_metrics(self, r: BlazeioServerProtocol) -> None:
        assert self._server is not None
        peer = self._server.peer_of(r)  # its own request is among those counted
        is_over_share = self._server.count_answering(peer) > PEER_METRICS_COUNT
        if is_over_share or self._answering >= METRICS_COUNT:
            text = "as many answers as there may be are under way"
            show(r, ErrorAnswer(text), 503, _RETRY_AFTER)
            return
        self._answering += 1
        try:
            await r.prepare({"Content-Type": CONTENT_TYPE}, compress=True)
            await r.write(self._exposition.write())
        finally:
            self._answering -= 1

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
        show(r, health, 503 if reason else 200)
