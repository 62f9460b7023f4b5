"""The listeners of the service: one per slot and TCP address.

A slot's socket lives as long as the master, whichever worker accepts from it,
so what waits in its queue outlives crash, reload and scaling: a socket that is
closed resets every connection in its queue. Unix sockets are one queue for all
slots (the kernel balances only TCP).
"""

import os
import socket
from collections.abc import Callable, Container
from dataclasses import dataclass, field

import msgspec

from blazeio_supervisor.errors import BindError
from blazeio_supervisor.sockets.address import (
    Address,
    Endpoint,
    UnixAddress,
    resolve,
)
from blazeio_supervisor.sockets.filters.last_call import stop_handshakes
from blazeio_supervisor.sockets.opening import (
    BACKLOG,
    UNIX_MODE,
    identify_path,
    open_first,
    open_sibling,
    open_unix,
)
from blazeio_supervisor.sockets.queues import AcceptQueue, read_queues


@dataclass(slots=True)
class TcpGroup:
    """The sockets of one TCP address, by slot.

    Attributes:
        endpoint: Where it listens; the port that was picked, not 0.
    """

    endpoint: Endpoint
    sockets: list[socket.socket]


@dataclass(slots=True)
class UnixListener:
    """The one socket of a unix address."""

    address: UnixAddress
    sock: socket.socket
    identity: tuple[int, int] | None

    def __str__(self) -> str:
        return str(self.address)


class FrozenGroup(msgspec.Struct, frozen=True):
    """A group by its descriptors, in the order of the slots."""

    host: str
    port: int
    fds: list[int]


class FrozenUnix(msgspec.Struct, frozen=True):
    """A unix listener by its descriptor."""

    address: UnixAddress
    fd: int
    identity: tuple[int, int] | None


class FrozenListeners(msgspec.Struct, frozen=True):
    """Every listener, as the next image of the master takes it over.

    What the kernel knows of them (queues, the order of each group, its steering)
    goes with the descriptors.
    """

    slot_count: int
    scheme: str
    groups: list[FrozenGroup]
    unix: list[FrozenUnix]

    def list_fds(self) -> list[int]:
        """List every descriptor."""
        shared = [listener.fd for listener in self.unix]
        return [fd for group in self.groups for fd in group.fds] + shared


@dataclass(slots=True)
class Listeners:
    """Every listening socket; empty until an address is known.

    Attributes:
        slot_count: Slots that have sockets; only grows.
        scheme: What is spoken there, for whoever types an address.
        unix_mode: Of unix sockets.
        unix_owner: User and group of their paths; None: the master's.
        backlog: Of each queue.
    """

    slot_count: int
    scheme: str = "http"
    unix_mode: int = UNIX_MODE
    unix_owner: tuple[int, int] | None = None
    backlog: int = BACKLOG
    groups: list[TcpGroup] = field(default_factory=list)
    unix: list[UnixListener] = field(default_factory=list)

    @property
    def is_bound(self) -> bool:
        """Whether any address has been opened."""
        return bool(self.groups or self.unix)

    @property
    def addresses(self) -> list[str]:
        """Where the service answers, as a person would type it."""
        groups = [group.endpoint.write_url(self.scheme) for group in self.groups]
        return groups + [str(entry) for entry in self.unix]

    @property
    def mode(self) -> str:
        """How connections are spread: for the banner and ``status``."""
        if not self.groups:
            return "one shared queue"
        if self.unix:
            return "a queue per slot (unix: one shared queue)"
        return "a queue per slot"

    def open(self, address: Address) -> None:
        """Open an address for every slot; a failure leaves it unopened.

        Raises:
            BindError: It cannot be bound; ``AddressInUseError`` when waiting
                a moment may help.
        """
        if isinstance(address, UnixAddress):
            sock = open_unix(address, self.unix_mode, self.unix_owner, self.backlog)
            self.unix.append(UnixListener(address, sock, identify_path(address.path)))
            return
        try:
            endpoints = resolve(address)
        except ValueError as error:
            raise BindError(f"cannot bind {address}: {error}") from None
        opened: list[TcpGroup] = []
        try:
            for endpoint in endpoints:
                opened.append(self._open_group(endpoint, opened))
        except BindError:
            for group in opened:
                for sock in group.sockets:
                    sock.close()
            raise
        self.groups += opened

    def _open_group(self, endpoint: Endpoint, earlier: list[TcpGroup]) -> TcpGroup:
        # `localhost:0` means one port, on both families.
        if endpoint.port == 0 and earlier:
            port = earlier[0].endpoint.port
            endpoint = Endpoint(endpoint.family, endpoint.host, port)
        sockets = [open_first(endpoint, self.backlog)]
        host, port = sockets[0].getsockname()[:2]
        try:
            for _ in range(1, self.slot_count):
                sockets.append(open_sibling(sockets[0], self.backlog))
        except BindError:
            for sock in sockets:
                sock.close()
            raise
        return TcpGroup(Endpoint(endpoint.family, host, port), sockets)

    def open_slot(self, slot: int) -> None:
        """Make the sockets of a slot that never existed before.

        Raises:
            BindError: The kernel refused.
        """
        self.slot_count = max(self.slot_count, slot + 1)
        for group in self.groups:
            while len(group.sockets) < self.slot_count:
                group.sockets.append(open_sibling(group.sockets[0], self.backlog))

    def own_of(self, slot: int) -> list[socket.socket]:
        """Give the sockets that only this slot's worker accepts from."""
        return [group.sockets[slot] for group in self.groups]

    def queue_of(self, slot: int) -> AcceptQueue | None:
        """Look at what waits for this slot; None: it has no TCP queue."""
        groups = (group.sockets for group in self.groups)
        return read_queues([each[slot] for each in groups if slot < len(each)])

    def all_of(self, slot: int) -> list[socket.socket]:
        """Give what a worker of this slot accepts from, shared ones too."""
        return self.own_of(slot) + [listener.sock for listener in self.unix]

    def freeze(self) -> FrozenListeners:
        """Name every socket, for a process that has the same descriptors."""
        groups = [
            FrozenGroup(
                group.endpoint.host,
                group.endpoint.port,
                [sock.fileno() for sock in group.sockets],
            )
            for group in self.groups
        ]
        unix = [
            FrozenUnix(each.address, each.sock.fileno(), each.identity)
            for each in self.unix
        ]
        return FrozenListeners(self.slot_count, self.scheme, groups, unix)

    def thaw(
        self, frozen: FrozenListeners, take: Callable[[int], socket.socket]
    ) -> None:
        """Go on with what another one had.

        Args:
            frozen: By that one.
            take: Gives our own socket for a descriptor that is named there.
        """
        self.slot_count, self.scheme = frozen.slot_count, frozen.scheme
        for group in frozen.groups:
            sockets = [take(fd) for fd in group.fds]
            family = socket.AddressFamily(sockets[0].family)
            endpoint = Endpoint(family, group.host, group.port)
            self.groups.append(TcpGroup(endpoint, sockets))
        self.unix += [
            UnixListener(each.address, take(each.fd), each.identity)
            for each in frozen.unix
        ]

    def unlink(self) -> None:
        """Remove the unix paths, unless a later service owns them by now."""
        for listener in self.unix:
            if identify_path(listener.address.path) == listener.identity:
                os.unlink(listener.address.path)

    def stop_handshakes(self) -> None:
        """Let no new TCP connection begin; those under way go on.

        Each worker does so too, when it ends. But some kernels let only root
        attach a filter, and the workers may have dropped that.

        Raises:
            OSError: The kernel refuses us too.
        """
        for group in self.groups:
            for sock in group.sockets:
                stop_handshakes(sock)

    def shut_slots_except(self, kept: Container[int]) -> None:
        """Refuse new connections on the queues that nobody will empty."""
        for group in self.groups:
            for slot, sock in enumerate(group.sockets):
                if slot not in kept:
                    _shut(sock)

    def shut(self) -> None:
        """Refuse new connections from now on, and let go of everything.

        ``shutdown`` and not only ``close``: a worker that does not end holds
        dups, whose queue would go on filling unread.
        """
        self.unlink()
        for listener in self.unix:
            _shut(listener.sock)
            listener.sock.close()
        for group in self.groups:
            for sock in group.sockets:
                _shut(sock)
                sock.close()
        self.unix.clear()
        self.groups.clear()


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # a worker did it already, with its last accept
