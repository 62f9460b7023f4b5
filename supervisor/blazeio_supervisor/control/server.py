"""The control socket: a blazeio App inside the master.

The master's loop serves it, so a handler only looks at what is known, or tells
the planner. It is closed by an exec, so neither forkserver nor worker ever has
it.
"""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.protocol.server import BlazeioServerProtocol
from blazeio.server.server import Server
from blazeio_supervisor.control.answers import (
    ErrorAnswer,
    Progress,
    RecycleAnswer,
    RecycleOrder,
    ReloadAnswer,
    ReloadOrder,
    ScaleAnswer,
    ScaleOrder,
    StopAnswer,
)
from blazeio_supervisor.control.places import Place, choose_places
from blazeio_supervisor.control.reloads import Outcome
from blazeio_supervisor.control.status import (
    Service,
    describe_progress,
    describe_service,
    describe_status,
)
from blazeio_supervisor.errors import BindError
from blazeio_supervisor.fleet.facts import RecycleAsked, ScaleAsked
from blazeio_supervisor.fleet.snapshot import SlotView
from blazeio_supervisor.settings import WORKER_LIMIT
from blazeio_supervisor.sockets.address import UnixAddress
from blazeio_supervisor.sockets.opening import identify_path, open_unix
from blazeio_supervisor.sockets.peer import Peer, read_peer

log = logging.getLogger("blazeio.master")

CONNECTION_COUNT = 64
"""More ask in vain: a script gone wild must not take the master's descriptors."""
PROGRESS_EVERY_S = 0.1
_UMASK = 0o177  # mode 0600
_BACKLOG = 16
_ORDER_BYTES = 4096

GivenT = TypeVar("GivenT")
Handler = Callable[[BlazeioServerProtocol], Awaitable[None]]


class RefusedError(Exception):
    """An order is not carried out.

    Args:
        reason: One line for whoever gave it.
        status: 400 when the order is wrong in itself, else 409.
    """

    def __init__(self, reason: str, status: int = 409) -> None:
        super().__init__(reason)
        self.status = status


class ControlServer:
    """Answers on the control socket.

    Args:
        service: What is shown and ordered.

    Attributes:
        place: Where; None until ``open`` could make it.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._uid = os.geteuid()
        self._sock: socket.socket | None = None
        self._identity: tuple[int, int] | None = None
        self._server: Server | None = None
        self.place: Place | None = None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to answer; that no place can be had is a line in the log."""
        settings = self._service.settings
        places = choose_places(
            settings.control,
            settings.runtime_directory,
            self._uid,
            settings.instance,
            os.getpid(),
        )
        failures: list[str] = []
        for place in places:
            try:
                sock = _open_socket(place)
            except (BindError, OSError) as error:
                failures.append(str(error))
                continue
            log.info("event=control %s", "; ".join([f"verbs: {place}", *failures]))
            self._serve(place, sock, loop)
            return
        log.info("event=no_control no verb reaches this one: %s", "; ".join(failures))

    def _serve(
        self, place: Place, sock: socket.socket, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.place, self._sock = place, sock
        if not place.is_abstract:
            self._identity = identify_path(place.text)
        self._server = self._make_app().make_server(loop)
        self._server.accept_from(sock)

    def close(self) -> None:
        """Answer no more; the file is removed, if it is still ours."""
        if self._server is not None:
            self._server.close()
        if self._sock is not None:
            self._sock.close()
        if self.place and self._identity:
            _unlink(self.place, self._identity)

    def _make_app(self) -> App:
        app = App(
            connections=CONNECTION_COUNT,
            content_bytes=_ORDER_BYTES,
            collected_bytes=_ORDER_BYTES,
        )
        for method, path, handler in (
            ("GET", "/service", self._show_service),
            ("GET", "/status", self._show_status),
            ("POST", "/reload", self._reload),
            ("POST", "/scale", self._scale),
            ("POST", "/recycle", self._recycle),
            ("POST", "/stop", self._stop),
        ):
            app.add_route(self._guard(handler), path, methods=[method])
        return app

    def _guard(self, handler: Handler) -> Handler:
        """Let in whom the service belongs to, and root."""

        async def guarded(r: BlazeioServerProtocol) -> None:
            peer = _read_client(r)
            if peer.uid not in (0, self._uid):
                text = (
                    f"you are uid {peer.uid}: it answers only to uid {self._uid}"
                    " and root"
                )
                await Deliver.json(r, ErrorAnswer(text), 403)
                return
            try:
                await handler(r)
            except RefusedError as error:
                await Deliver.json(r, ErrorAnswer(str(error)), error.status)

        return guarded

    # What is asked

    async def _show_service(self, r: BlazeioServerProtocol) -> None:
        await Deliver.json(r, describe_service(self._service))

    async def _show_status(self, r: BlazeioServerProtocol) -> None:
        await Deliver.json(r, describe_status(self._service))

    # What is ordered

    async def _reload(self, r: BlazeioServerProtocol) -> None:
        order = await _read_order(r, ReloadOrder)
        self._check_that_it_serves()
        outcome = self._service.reloads.ask(f"pid {_read_client(r).pid}")
        if not order.wait:
            await Deliver.json(r, ReloadAnswer(is_over=False))
            return
        await r.prepare({"Content-Type": "application/x-ndjson"})
        async for progress in self._follow(outcome):
            await r.write(msgspec.json.encode(progress) + b"\n")
        ended = outcome.result()
        answer = ReloadAnswer(
            is_over=True,
            is_ok=ended.is_ok,
            generation=ended.generation,
            reason=ended.reason,
            output=ended.output,
            took_s=ended.took_s,
        )
        await r.write(msgspec.json.encode(answer) + b"\n")
        await r.eof()

    async def _follow(
        self, outcome: asyncio.Future[Outcome]
    ) -> AsyncIterator[Progress]:
        """Give each new step of the reload until it is over."""
        last = None
        while not outcome.done():
            now = describe_progress(self._service.planner.snapshot())
            if now is not None and now != last:
                yield now
                last = now
            await asyncio.wait((outcome,), timeout=PROGRESS_EVERY_S)

    async def _scale(self, r: BlazeioServerProtocol) -> None:
        order = await _read_order(r, ScaleOrder)
        self._check_that_it_runs()
        if not 1 <= order.count <= WORKER_LIMIT:
            raise RefusedError(
                f"{order.count} workers: expected 1 to {WORKER_LIMIT}", 400
            )
        slots = self._service.planner.snapshot().slots
        before = sum(not slot.is_parked for slot in slots)
        self._service.tell(ScaleAsked(count=order.count))
        await Deliver.json(r, ScaleAnswer(before, order.count))

    async def _recycle(self, r: BlazeioServerProtocol) -> None:
        order = await _read_order(r, RecycleOrder)
        self._check_that_it_serves()
        snapshot = self._service.planner.snapshot()
        # Parked are always the last ones.
        slots = [slot for slot in snapshot.slots if not slot.is_parked]
        if not 0 <= order.slot < len(slots):
            text = f"slot {order.slot}: expected 0 to {len(slots) - 1}"
            raise RefusedError(text, 400)
        pid = _check_recyclable(slots[order.slot])
        self._service.tell(RecycleAsked(order.slot))
        await Deliver.json(r, RecycleAnswer(order.slot, pid))

    async def _stop(self, r: BlazeioServerProtocol) -> None:
        await Deliver.json(r, StopAnswer(os.getpid()))
        self._service.stop()

    def _check_that_it_runs(self) -> None:
        if self._service.planner.snapshot().is_ending:
            raise RefusedError("the service is stopping")

    def _check_that_it_serves(self) -> None:
        self._check_that_it_runs()
        if not self._service.planner.snapshot().has_served:
            raise RefusedError("the service has not started yet")


def _open_socket(place: Place) -> socket.socket:
    if not place.is_abstract:
        return open_unix(UnixAddress(place.text), _UMASK)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(place.address)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise BindError(f"cannot bind {place}: {error.strerror}") from error
    return sock


def _unlink(place: Place, identity: tuple[int, int]) -> None:
    """Remove our own file, not that of a later service."""
    if identify_path(place.text) == identity:
        os.unlink(place.text)


def _read_client(r: BlazeioServerProtocol) -> Peer:
    own: Any = r.transport.get_extra_info("socket")
    # The transport's is a stand-in that differs between the loops.
    with socket.socket(fileno=os.dup(own.fileno())) as sock:
        return read_peer(sock)


async def _read_order(r: BlazeioServerProtocol, kind: type[GivenT]) -> GivenT:
    content = await r.read()
    try:
        return msgspec.json.decode(content or b"{}", type=kind)
    except msgspec.MsgspecError as error:
        raise RefusedError(f"the order cannot be read: {error}", 400) from None


def _check_recyclable(slot: SlotView) -> int | None:
    """Give the pid that will be replaced."""
    owner = slot.owner
    if owner is None:
        return None
    if owner.state != "serving" or slot.successor is not None:
        raise RefusedError(f"slot {slot.index} is just getting a new worker")
    return owner.pid
