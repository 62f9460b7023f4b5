"""The listeners of the service: one per slot and TCP address.

A slot's socket lives as long as the master, whichever worker accepts from it,
so what waits in its queue outlives crash, reload and scaling: a socket that is
closed resets every connection in its queue. Where a service manager keeps it,
it outlives the master too. Unix sockets are one queue for all slots (the kernel
balances only TCP).
"""

import errno
import select
import socket
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress

from msgspec import Struct, field

from blazeio_supervisor.errors import BindError
from blazeio_supervisor.files import remove
from blazeio_supervisor.ipc.messages import (
    ListenerInfo,
)
from blazeio_supervisor.log.setup import note
from blazeio_supervisor.sockets.address import (
    Address,
    TcpEndpoint,
    UnixAddress,
    resolve,
)
from blazeio_supervisor.sockets.bind import (
    BACKLOG,
    UNIX_MODE,
    InheritedSocket,
    ListenAddress,
    identify_path,
    is_gone,
    name_for_store,
    open_first,
    open_member,
    open_sibling,
    open_unix,
)
from blazeio_supervisor.sockets.reuseport import (
    AcceptQueue,
    Queue,
    begin_handshakes,
    draw_evenly,
    read_queues,
    sort_by_order,
    stop_handshakes,
)

# The listeners of one TCP address: one per slot where that can be.
#
# Where there are fewer than slots (a ``.socket`` unit has one), slots share them:
# slot i accepts from the i-th, round and round.


class TcpGroup(Struct):
    """The sockets of one TCP address, by slot.

    Attributes:
        endpoint: Where it listens; the port that was picked, not 0.
        kept_count: How many of them, the first ones, outlive the service.
        is_fixed: No socket can be added.
        is_ordered: Their order in the kernel is known, so that it can steer.
        scheme: The scheme of this address; "": that of all.
        ranks: The place in ``sockets`` of each that listens, as the kernel numbers
            them; empty: in the same order.
    """

    endpoint: TcpEndpoint
    sockets: list[socket.socket]
    kept_count: int = 0
    is_fixed: bool = False
    is_ordered: bool = True
    scheme: str = ""
    ranks: list[int] = []

    def queue_of(self, slot: int, slot_count: int) -> Queue:
        """Return the queue that this slot accepts from."""
        count = len(self.sockets)
        at = slot % count
        terms = ListenerInfo(
            is_shared=count < slot_count,
            is_kept=at < self.kept_count,
            scheme=self.scheme,
        )
        return Queue(self.sockets[at], terms)

    @property
    def own(self) -> list[socket.socket]:
        """The sockets that end with the service."""
        return self.sockets[self.kept_count :]

    def list_ranks(self) -> list[int]:
        """Return the places in ``sockets`` in the order of the kernel's numbers."""
        return self.ranks or list(range(len(self.sockets)))

    def note_lost(self, places: Sequence[int]) -> None:
        """Note that some no longer listen: the kernel has removed them.

        It moves the last one into each hole. With several holes the outcome depends
        on which came first, which nobody has seen.
        """
        ranks = self.list_ranks()
        if 1 < len(places) < len(ranks):
            self.is_ordered = False
        for place in places:
            if place not in ranks:
                continue  # it was lost before, and could not be recreated yet
            at = ranks.index(place)
            ranks[at] = ranks[-1]
            ranks.pop()
        self.ranks = ranks

    def note_renewed(self, place: int) -> None:
        """Note that one listens again: the kernel has it as the last one."""
        self.ranks = [*self.ranks, place]

    def grow(self, count: int, backlog: int = BACKLOG) -> None:
        """Add sockets until there are as many as slots, if any can be added.

        Raises:
            BindError: The kernel refused: another user has made those that are
                there, or there is no room.
        """
        while len(self.sockets) < count and not self.is_fixed:
            self.sockets.append(open_sibling(self.sockets[0], backlog))
            if self.ranks:
                self.ranks = [*self.ranks, len(self.sockets) - 1]


def open_group(
    endpoint: TcpEndpoint, slot_count: int, backlog: int = BACKLOG
) -> TcpGroup:
    """Open one queue for each slot.

    Raises:
        BindError: It cannot be bound; nothing is left open.
    """
    first = open_first(endpoint, backlog)
    host, port = first.getsockname()[:2]
    group = TcpGroup(TcpEndpoint(endpoint.family, host, port), [first])
    try:
        group.grow(slot_count, backlog)
    except BindError:
        for sock in group.sockets:
            sock.close()
        raise
    return group


def inherit_group(
    endpoint: TcpEndpoint, sockets: Sequence[socket.socket], *, is_fixed: bool
) -> TcpGroup:
    """Take over the sockets of one address, all of which outlive us."""
    group = TcpGroup(endpoint, list(sockets), len(sockets), is_fixed)
    if len(sockets) > 1:
        ordered = sort_by_order(sockets)
        group.is_ordered = ordered is not None
        group.sockets = ordered or group.sockets
    else:
        draw_evenly(sockets)  # what a larger group before us has left
    return group


class UnixListener(Struct):
    """The one socket of a unix address.

    Attributes:
        identity: The identity of its path, so that that of a later service is not
            removed; None: it was gone as soon as it was made.
        is_kept: It outlives the service, and so does its path.
        scheme: The scheme of this address; "": that of all.
    """

    address: UnixAddress
    sock: socket.socket
    identity: tuple[int, int] | None
    is_kept: bool = False
    scheme: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}" if self.scheme else str(self.address)


class Listeners(Struct):
    """Every listening socket; empty until an address is known.

    Attributes:
        slot_count: Slots that have sockets; only grows.
        scheme: The scheme of the addresses, as they are shown.
        unix_mode: The mode of unix sockets.
        unix_owner: User and group of their paths; None: those of the master.
        backlog: The backlog of each queue.
        stored: Sockets of an earlier start, by address, until that is opened again.
    """

    slot_count: int
    scheme: str = "http"
    unix_mode: int = UNIX_MODE
    unix_owner: tuple[int, int] | None = None
    backlog: int = BACKLOG
    groups: list[TcpGroup] = field(default_factory=list)
    unix: list[UnixListener] = field(default_factory=list)
    stored: dict[ListenAddress, list[socket.socket]] = field(default_factory=dict)

    @property
    def is_bound(self) -> bool:
        """Whether any address has been opened."""
        return bool(self.groups or self.unix)

    @property
    def addresses(self) -> list[str]:
        """Where the service answers, as a person would type it."""
        groups = [
            group.endpoint.write_url(group.scheme or self.scheme)
            for group in self.groups
        ]
        return groups + [str(entry) for entry in self.unix]

    @property
    def has_own_queues(self) -> bool:
        """Whether some address has a queue for each slot."""
        return any(len(group.sockets) >= self.slot_count for group in self.groups)

    @property
    def has_shared_queues(self) -> bool:
        """Whether some address has fewer queues than slots."""
        fewer = any(len(group.sockets) < self.slot_count for group in self.groups)
        return fewer or bool(self.unix)

    @property
    def mode(self) -> str:
        """How connections are spread: for the banner and ``status``."""
        if not self.has_own_queues:
            return "one shared queue"
        if self.has_shared_queues:
            return "a queue per slot (unix: one shared queue)"
        return "a queue per slot"

    def inherit(self, sockets: Iterable[InheritedSocket]) -> None:
        """Take over what we were started with; what we stored waits for ``open``."""
        given: dict[ListenAddress, list[socket.socket]] = {}
        for each in sockets:
            found = self.stored if each.is_stored else given
            found.setdefault(each.place, []).append(each.sock)
        for place, theirs in given.items():
            self._take_over(place, theirs, is_fixed=True)
        self._fill()

    def open(self, address: Address) -> None:
        """Open an address for every slot; a failure leaves it unopened.

        One that we have inherited is there already.

        Raises:
            BindError: It cannot be bound; ``AddressInUseError`` when waiting
                a moment may help.
        """
        if isinstance(address, UnixAddress):
            self._open_unix(address)
            return
        try:
            endpoints = resolve(address)
        except ValueError as error:
            raise BindError(f"cannot bind {address}: {error}") from None
        self._open_tcp(endpoints, address.scheme)
        self._fill()

    def open_slot(self, slot: int) -> None:
        """Make the sockets of a slot that never existed before."""
        self.slot_count = max(self.slot_count, slot + 1)
        self._fill()

    def own_of(self, slot: int) -> list[Queue]:
        """Return the queues of this slot's own worker."""
        return [group.queue_of(slot, self.slot_count) for group in self.groups]

    def queue_of(self, slot: int) -> AcceptQueue | None:
        """Return what waits for this slot; None: it has no TCP queue."""
        groups = (group.sockets for group in self.groups)
        return read_queues([each[slot] for each in groups if slot < len(each)])

    def all_of(self, slot: int) -> list[Queue]:
        """Return all queues that a worker of this slot accepts from."""
        unix = [
            Queue(each.sock, ListenerInfo(True, each.is_kept, each.scheme))
            for each in self.unix
        ]
        return self.own_of(slot) + unix

    # What outlives us

    def mark_kept(self, room: int) -> Iterator[tuple[str, list[socket.socket]]]:
        """Yield the sockets that are not kept yet, and mark them as kept.

        Args:
            room: How many sockets can be kept in all; no more are yielded.
        """
        room -= sum(group.kept_count for group in self.groups if not group.is_fixed)
        room -= sum(listener.is_kept for listener in self.unix)
        for group in self.groups:
            own = group.own
            if own and len(own) <= room:
                room -= len(own)
                group.kept_count = len(group.sockets)
                yield name_for_store(group.endpoint), own
        for listener in self.unix:
            if not listener.is_kept and room > 0:
                room -= 1
                listener.is_kept = True
                yield name_for_store(listener.address), [listener.sock]

    def count_own(self) -> int:
        """Count the sockets that end with the service."""
        unix = sum(not listener.is_kept for listener in self.unix)
        return sum(len(group.own) for group in self.groups) + unix

    def give_up_stored(self) -> list[str]:
        """Close stored sockets whose address is not used; return their names."""
        names = [name_for_store(place) for place in self.stored]
        for sockets in self.stored.values():
            for sock in sockets:
                sock.close()
        self.stored.clear()
        return names

    # How it ends

    def unlink(self) -> None:
        """Remove the unix paths, unless a later service owns them by now.

        One that cannot be removed any more stays: nothing at the end depends on it.
        """
        for listener in self.unix:
            if not listener.is_kept:
                with suppress(OSError):
                    remove(listener.address.path, listener.identity)

    def stop_handshakes(self) -> None:
        """Let no new TCP connection begin; those under way go on.

        Each worker holds them off too, when it ends. But some kernels let only root
        attach a filter, and the workers may have dropped that.

        Raises:
            OSError: The kernel refuses it to the master too.
        """
        for group in self.groups:
            for sock in group.own:
                stop_handshakes(sock)

    def shut_slots_except(self, kept: Container[int]) -> None:
        """Shut the queues of all slots but these."""
        for group in self.groups:
            for slot, sock in enumerate(group.sockets):
                if slot not in kept and slot >= group.kept_count:
                    _shut(sock)

    def shut(self) -> None:
        """Refuse new connections from now on, and close every listener.

        ``shutdown`` and not only ``close``: a worker that does not end holds
        dups, whose queue would go on filling unread. What outlives us is only
        let go of.
        """
        self.unlink()
        for listener in self.unix:
            if not listener.is_kept:
                _shut(listener.sock)
            listener.sock.close()
        for group in self.groups:
            for sock in group.own:
                _shut(sock)
            for sock in group.sockets:
                sock.close()
        self.unix.clear()
        self.groups.clear()
        self.give_up_stored()

    def _open_tcp(self, endpoints: Sequence[TcpEndpoint], scheme: str) -> None:
        present = {group.endpoint for group in self.groups}
        opened: list[TcpGroup] = []
        try:
            for endpoint in endpoints:
                # `localhost:0` means one port, on both families.
                if endpoint.port == 0 and opened:
                    endpoint = endpoint.with_port(opened[0].endpoint.port)
                if endpoint in self.stored:
                    self._take_over(endpoint, self.stored.pop(endpoint), is_fixed=False)
                elif endpoint not in present:
                    opened.append(open_group(endpoint, self.slot_count, self.backlog))
        except BindError:
            for group in opened:
                for sock in group.sockets:
                    sock.close()
            raise
        self.groups += opened
        for group in self.groups:
            if group in opened or group.endpoint in endpoints:
                group.scheme = scheme

    def _open_unix(self, wanted: UnixAddress) -> None:
        address = UnixAddress(wanted.path)
        stored = self.stored.get(address)
        if all(listener.address != address for listener in self.unix):
            if stored and identify_path(address.path):
                del self.stored[address]
                self._take_over(address, stored, is_fixed=False)
            else:
                sock = open_unix(address, self.unix_mode, self.unix_owner, self.backlog)
                identity = identify_path(address.path)
                self.unix.append(UnixListener(address, sock, identity))
        for listener in self.unix:
            if listener.address == address:
                listener.scheme = wanted.scheme

    def _take_over(
        self, place: ListenAddress, sockets: list[socket.socket], *, is_fixed: bool
    ) -> None:
        if isinstance(place, UnixAddress):
            identity = identify_path(place.path)
            self.unix += [UnixListener(place, each, identity, True) for each in sockets]
        else:
            self.groups.append(inherit_group(place, sockets, is_fixed=is_fixed))
            self.slot_count = max(self.slot_count, len(sockets))

    def _fill(self) -> None:
        for group in self.groups:
            try:
                group.grow(self.slot_count, self.backlog)
            except BindError as error:
                text = f"some slots share a queue, no more can be opened: {error}"
                note("queues_shared", text, "WARNING")


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # a worker did it already, with its last accept


# Listeners that do not accept any more: found, and recreated.
#
# Each process that has a listening socket can shut it down for all, for good: a
# worker, and what its app has forked. The kernel then refuses every connection,
# though each worker is well. ``poll`` tells which sockets are shut down, in 1 us
# each.
#
# A TCP socket can listen again, and is then the same for all who have it. But it has
# lost its place in its group: the kernel moves the last one into the hole, and puts
# it at the end. A unix socket cannot: another one takes its path.


_DEAD = select.POLLHUP | select.POLLRDHUP | select.POLLNVAL


class Dead(Struct, frozen=True):
    """A listener that does not accept.

    Attributes:
        address: The address, as a person would type it.
        slots: The slots whose queue it was; None: all.
        is_unlinked: It would accept still, but its path was removed.
    """

    address: str
    slots: frozenset[int] | None = None
    is_unlinked: bool = False


def find_dead(sockets: Iterable[socket.socket]) -> list[socket.socket]:
    """Find the listeners that are shut down."""
    poller, by_fd = select.poll(), {}
    for sock in sockets:
        poller.register(sock, select.POLLRDHUP)
        by_fd[sock.fileno()] = sock
    return [by_fd[fd] for fd, events in poller.poll(0) if events & _DEAD]


def renew(listeners: Listeners, backlog: int) -> tuple[list[Dead], list[str]]:
    """Make every listener anew that is dead.

    Returns:
        Those that were, and are well again; and why others could not be recreated.
    """
    renewed: list[Dead] = []
    failures: list[str] = []
    for group in listeners.groups:
        _renew_group(listeners, group, backlog, renewed, failures)
    for listener in listeners.unix:
        is_unlinked = not find_dead([listener.sock]) and _is_unlinked(listener)
        if is_unlinked or find_dead([listener.sock]):
            _renew_unix(listeners, listener, renewed, failures, is_unlinked=is_unlinked)
    return renewed, failures


def _renew_group(
    listeners: Listeners,
    group: TcpGroup,
    backlog: int,
    renewed: list[Dead],
    failures: list[str],
) -> None:
    dead = [group.sockets.index(sock) for sock in find_dead(group.sockets)]
    if not dead:
        return
    group.note_lost(dead)
    address = group.endpoint.write_url(group.scheme or listeners.scheme)
    for at in dead:
        try:
            _listen_again(group, at, backlog)
        except OSError as error:
            is_taken = error.errno == errno.EADDRINUSE
            if not (is_taken and _replace(group, at, backlog)):
                failures.append(f"{address}: {error.strerror}")
                continue
        group.note_renewed(at)
        count = len(group.sockets)
        slots = frozenset(range(at, listeners.slot_count, count))
        renewed.append(Dead(address, slots))


def _listen_again(group: TcpGroup, at: int, backlog: int) -> None:
    sock = group.sockets[at]
    begin_handshakes(sock)
    try:
        # One whose port the kernel has chosen does not keep it.
        sock.bind((group.endpoint.host, group.endpoint.port))
    except OSError as error:
        if error.errno != errno.EINVAL:  # it is bound still
            raise
    sock.listen(backlog)


def _replace(group: TcpGroup, at: int, backlog: int) -> bool:
    """Put another socket in the place of one that cannot listen again.

    A program that was attached just after it was shut down has put it into a group of
    its own. The kernel then takes the others for strangers who have its address.
    """
    if group.is_fixed or at < group.kept_count:
        return False  # others hold it too, and will again
    try:
        made = open_member(group.endpoint, backlog)
    except OSError:
        return False
    group.sockets[at].close()
    group.sockets[at] = made
    return True


def _is_unlinked(listener: UnixListener) -> bool:
    """Whether nobody finds it any more: what tidies up /tmp has removed its path."""
    return not listener.is_kept and is_gone(listener.address.path)


def _renew_unix(
    listeners: Listeners,
    listener: UnixListener,
    renewed: list[Dead],
    failures: list[str],
    *,
    is_unlinked: bool,
) -> None:
    path = listener.address.path
    if listener.is_kept:
        failures.append(f"{listener}: it belongs to whoever has started the service")
        return
    if identify_path(path) not in (listener.identity, None):
        failures.append(f"{listener}: its path is another file by now")
        return
    try:
        remove(path, listener.identity)
    except OSError as error:
        failures.append(f"{listener}: {error.strerror}")
        return
    mode, owner = listeners.unix_mode, listeners.unix_owner
    try:
        sock = open_unix(listener.address, mode, owner, listeners.backlog)
    except BindError as error:
        failures.append(str(error))
        return
    listener.sock.close()
    listener.sock, listener.identity = sock, identify_path(path)
    renewed.append(Dead(str(listener), is_unlinked=is_unlinked))
