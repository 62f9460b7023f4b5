"""The control socket: a blazeio App inside the master.

The master's loop serves it. It is closed by an exec, so neither forkserver nor
worker ever has it.

Many a service is never asked for anything. So what answers is imported with the first
connection, which waits meanwhile: from the image that is kept, whatever has become of
the files on the disk, and in a thread, so that the loop turns on. It takes 4 MiB.
"""

import asyncio
import os
import socket
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from blazeio_supervisor.errors import BindError, count_of
from blazeio_supervisor.files import remove
from blazeio_supervisor.ipc.processes import trim_heap
from blazeio_supervisor.ipc.socket_paths import (
    Peer,
    SocketPath,
    choose_places,
    read_peer,
)
from blazeio_supervisor.log.setup import note
from blazeio_supervisor.master.status import (
    ControlState,
    ServiceState,
)
from blazeio_supervisor.sockets.address import UnixAddress
from blazeio_supervisor.sockets.bind import BACKLOG, identify_path, is_gone, open_unix

if TYPE_CHECKING:
    from blazeio.app.app import App
    from blazeio_supervisor.master.guarded_server import GuardedServer
    from blazeio_supervisor.master.metrics import Exposition

CONNECTION_COUNT = 64
"""Connections that the control socket has at most; a script gone wild must not take
the master's descriptors."""
USER_CONNECTION_COUNT = 48
"""Connections of one user at most: the user of the service leaves some to root."""
REQUEST_TIMEOUT_S = 5.0
"""A request that is not whole by then is given up."""
REFUSALS_NOTED_EVERY_S = 60.0
"""Refused peers are noted at most so often."""
LOOK_EVERY_S = 1.0
"""How often it is looked whether the file of the socket is still there."""
REMOVALS_NOTED_EVERY_S = 60.0
"""That it was not is noted at most so often."""
_MODE = 0o600
_ORDER_BYTES = 4096
_LAST_ANSWERS_S = 0.2
_HANDLERS = "blazeio_supervisor.master.control_handlers"
"""Imports all that answers."""


class ControlServer:
    """Answers on the control socket.

    Args:
        service: What is shown, and takes the orders.
        state: Of the image before, or blank; it is shared with this object.
        exposition: Writes the metrics, if something else needs it too.
        prepare: Awaited before what answers is imported.
    """

    def __init__(
        self,
        service: ServiceState,
        state: ControlState | None = None,
        exposition: "Exposition | None" = None,
        prepare: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._service = service
        self._exposition = exposition
        self._prepare = prepare
        self._uid = os.geteuid()
        self._state = ControlState() if state is None else state
        self._server: GuardedServer | None = None
        self._loading: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._look_timer: asyncio.TimerHandle | None = None
        self._is_lost = False
        self._removal_noted_at = -REMOVALS_NOTED_EVERY_S
        self._refusals_noted_at = -REFUSALS_NOTED_EVERY_S
        self._refused_count = 0

    @property
    def place(self) -> SocketPath | None:
        """Where it answers; None until ``open`` could make it."""
        return self._state.place

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to answer; where no socket can be made, that is a line in the log."""
        settings, naming = self._service.settings, self._service.naming
        if settings.no_control:
            note("no_control", "no verb reaches this service: --no-control")
            return
        # With ``--control`` it is found by that path alone, so it takes no name from
        # others.
        if settings.control is None:
            naming.claim(settings.instance)
        places = choose_places(
            settings.control, settings.runtime_directory, naming.place
        )
        failures: list[str] = []
        if naming.why:
            failures.append(f"called {naming.name}, since {naming.why}")
        for place in places:
            try:
                sock = self._open_socket(place)
            except (BindError, OSError) as error:
                failures.append(str(error))
                continue
            why = f" ({'; '.join(failures)})" if failures else ""
            note("control", f"verbs reach this service at {place}{why}")
            self._take(place, sock)
            self._serve(loop)
            return
        # A read-only container has no place for a socket, and nothing is wrong with
        # that. Who has named one counts on it.
        level = "WARNING" if settings.control else "INFO"
        text = f"no verb reaches this service: {'; '.join(failures)}"
        note("no_control", text, level)

    def _take(self, place: SocketPath, sock: socket.socket) -> None:
        self._state.place, self._state.sock = place, sock
        if not place.is_abstract:
            self._state.identity = identify_path(place.text)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._wait_for_first(loop)
        place = self._state.place
        if place is not None and not place.is_abstract:
            self._look_timer = loop.call_later(LOOK_EVERY_S, self._look, loop)

    def _wait_for_first(self, loop: asyncio.AbstractEventLoop) -> None:
        sock = self._state.sock
        assert sock is not None

        def begin() -> None:
            loop.remove_reader(sock)
            self._loading = loop.create_task(self._load(loop))

        loop.add_reader(sock, begin)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make the file of the socket anew where somebody has removed it.

        Else the service could be asked for nothing any more, not even for its end: what
        tidies up /tmp removes what is old. Another file in its place is left alone.
        """
        self._look_timer = loop.call_later(LOOK_EVERY_S, self._look, loop)
        place = self._state.place
        if place is None or not is_gone(place.text):
            return
        try:
            sock = _open_socket(place)
        except (BindError, OSError) as error:
            if not self._is_lost:
                text = f"no verb reaches this service: {place} was removed: {error}"
                note("no_control", text, "WARNING")
            self._is_lost = True
            return
        now = time.monotonic()
        # Whoever removes it all the time writes no log of it.
        if self._is_lost or now >= self._removal_noted_at + REMOVALS_NOTED_EVERY_S:
            self._removal_noted_at = now
            note("control", f"{place} was removed: it is made anew", "WARNING")
        self._is_lost = False
        self._replace(place, sock, loop)

    def _replace(
        self, place: SocketPath, sock: socket.socket, loop: asyncio.AbstractEventLoop
    ) -> None:
        before = self._state.sock
        assert before is not None
        self._take(place, sock)
        if self._server is not None:
            self._server.stop_accepting(before)
            self._server.accept_from(sock)
        elif self._loading is None:
            loop.remove_reader(before)
            self._wait_for_first(loop)
        before.close()

    async def _load(self, loop: asyncio.AbstractEventLoop) -> None:
        """Import what answers, then answer."""
        if self._prepare is not None:
            await self._prepare()
        try:
            if _HANDLERS not in sys.modules:
                await loop.run_in_executor(None, _import_handlers)
            self._answer(loop)
        except Exception as error:
            note(
                "no_control",
                f"no verb reaches this service: {type(error).__name__}: {error}",
                "ERROR",
                traceback=traceback.format_exc(),
            )

    def _answer(self, loop: asyncio.AbstractEventLoop) -> None:
        from blazeio_supervisor.master.guarded_server import GuardedServer, Shares

        shares = Shares(CONNECTION_COUNT, USER_CONNECTION_COUNT)
        self._server = GuardedServer(self._make_app(), shares, self._identify, loop)
        assert self._state.sock is not None
        self._server.accept_from(self._state.sock)

    async def drain(self) -> None:
        """Wait until those who follow something have read its end, for a moment."""
        if self._server is not None:
            await self._server.drain(_LAST_ANSWERS_S)

    def _open_socket(self, place: SocketPath) -> socket.socket:
        if place == self._service.naming.place:
            sock = self._service.naming.take_socket()
            # The socket that has claimed the name is the one that listens: there is no
            # moment in which another process could bind it.
            sock.listen(BACKLOG)
            return sock
        return _open_socket(place)

    def resume(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer where the image before has answered, if it has."""
        if self._state.sock is not None:
            self._serve(loop)

    def stop_answering(self) -> None:
        """Accept no more, and close every connection."""
        if self._look_timer is not None:
            self._look_timer.cancel()
        if self._loading is not None:
            self._loading.cancel()
        if self._server is not None:
            self._server.close()
        elif self._loop is not None and self._state.sock is not None:
            self._loop.remove_reader(self._state.sock)

    def close(self) -> None:
        """Stop answering, and remove the file if it is still ours."""
        self.stop_answering()
        state = self._state
        if state.sock is not None:
            state.sock.close()
            state.sock = None
        if state.place and state.identity:
            # By its identity: a later service may have replaced the file by its own.
            # It stays where its folder is not ours any more.
            with suppress(OSError):
                remove(state.place.text, state.identity)
        self._service.naming.close()

    def _make_app(self) -> "App":
        from blazeio.app.app import App
        from blazeio_supervisor.master.control_handlers import ControlHandlers
        from blazeio_supervisor.master.guarded_server import Lasting
        from blazeio_supervisor.master.metrics import Exposition

        # Twice the connections: the bound that counts is that of ``Shares``, which
        # answers whom it refuses.
        app = App(
            connections=2 * CONNECTION_COUNT,
            head_timeout_s=REQUEST_TIMEOUT_S,
            content_bytes=_ORDER_BYTES,
            collected_bytes=_ORDER_BYTES,
        )
        exposition = self._exposition or Exposition(self._service)
        handlers = ControlHandlers(self._service, exposition, Lasting())
        for endpoint, handler in handlers.list_routes():
            app.add_route(handler, endpoint.path, methods=[endpoint.method])
        return app

    def _identify(self, connection: socket.socket, address: Any) -> int:
        """Accept the user of the service and root, by what the kernel says of a peer.

        Raises:
            PeerNotAllowedError: It is another user.
        """
        from blazeio_supervisor.master.guarded_server import PeerNotAllowedError

        # SO_PEERCRED (unix(7)): the kernel's word on who called connect. The mode of
        # the file alone would not do, since an abstract name has none.
        peer = read_peer(connection)
        if peer.uid in (0, self._uid):
            return peer.uid
        self._note_refused(peer)
        raise PeerNotAllowedError(
            f"you are uid {peer.uid}: it answers only to uid {self._uid} and root"
        )

    def _note_refused(self, peer: Peer) -> None:
        self._refused_count += 1
        now = time.monotonic()
        if now < self._refusals_noted_at + REFUSALS_NOTED_EVERY_S:
            return
        text = (
            f"{count_of(self._refused_count, 'connection')} to the control socket "
            f"refused, the last of uid {peer.uid} (pid {peer.pid})"
        )
        note("stranger_refused", text, "WARNING")
        self._refusals_noted_at, self._refused_count = now, 0


def _import_handlers() -> None:
    import_module(_HANDLERS)
    trim_heap()  # what an import has read: a thread's heap is kept by glibc, too


def _open_socket(place: SocketPath) -> socket.socket:
    if not place.is_abstract:
        return open_unix(UnixAddress(place.text), _MODE)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(place.address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise BindError(f"cannot bind {place}: {error.strerror}") from error
    return sock
