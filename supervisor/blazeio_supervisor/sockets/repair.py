"""Listeners that do not accept any more: found, and recreated.

Each process that has a listening socket can shut it down for all, for good: a worker,
and what its app has forked. The kernel then refuses every connection, though each
worker is well. ``poll`` tells which sockets are shut down, in 1 us each.

A TCP socket can listen again, and is then the same for all who have it. But it
has lost its place in its group: the kernel moves the last one into the hole, and
puts it at the end. A unix socket cannot: another one takes its path.
"""

import errno
import select
import socket
from collections.abc import Iterable

from msgspec import Struct

from blazeio_supervisor.errors import BindError
from blazeio_supervisor.files import remove
from blazeio_supervisor.sockets.bind import identify_path, open_member, open_unix
from blazeio_supervisor.sockets.listeners import Listeners, TcpGroup, UnixListener
from blazeio_supervisor.sockets.reuseport import begin_handshakes

_DEAD = select.POLLHUP | select.POLLRDHUP | select.POLLNVAL


class Dead(Struct, frozen=True):
    """A listener that does not accept.

    Attributes:
        address: The address, as a person would type it.
        slots: The slots whose queue it was; None: all.
    """

    address: str
    slots: frozenset[int] | None = None


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
        if find_dead([listener.sock]):
            _renew_unix(listeners, listener, renewed, failures)
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


def _renew_unix(
    listeners: Listeners,
    listener: UnixListener,
    renewed: list[Dead],
    failures: list[str],
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
    renewed.append(Dead(str(listener)))
