"""Where new connections go: a weighted draw, made by the kernel.

A classic BPF program on a SO_REUSEPORT group returns the index of the socket
that gets the connection; a plain ``setsockopt``, no capability needed. The
index is the order in which the sockets began to listen.
"""

import ctypes
import errno
import socket
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field

from blazeio_supervisor.ipc.messages import (
    ListenerInfo,
)
from blazeio_supervisor.log.setup import note

if TYPE_CHECKING:
    from blazeio_supervisor.sockets.listeners import Listeners

# Classic BPF programs on sockets: a plain ``setsockopt``, no privilege needed.


_INSTRUCTION = struct.Struct("HBBI")
Instruction = tuple[int, int, int, int]
"""Operation, jump if true, jump if false, operand."""


def attach(sock: socket.socket, option: int, program: Sequence[Instruction]) -> None:
    """Attach a program, in the place of an earlier one of the same option.

    Args:
        sock: Any of its holders may do it, for all of them.
        option: Which hook, a number of ``SOL_SOCKET``.
        program: At most 4,096 instructions.

    Raises:
        OSError: The kernel refused.
    """
    octets = b"".join(_INSTRUCTION.pack(*step) for step in program)
    code = ctypes.create_string_buffer(octets)  # must live until the call returns
    described = struct.pack("HP", len(program), ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, option, described)


_SO_ATTACH_REUSEPORT_CBPF = 51
_SO_DETACH_REUSEPORT_BPF = 68

_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_MODULO = 0x94  # BPF_ALU | BPF_MOD | BPF_K
_JUMP_IF_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_RANDOM = 0xFFFFFFFF & (-0x1000 + 56)  # SKF_AD_OFF + SKF_AD_RANDOM


def make_program(weights: Sequence[int]) -> list[Instruction]:
    """Return the program: draw a number, compare it with the sums of the weights.

    Args:
        weights: One per slot, in order; at least one is above 0.
    """
    program: list[Instruction] = [
        (_LOAD_WORD, 0, 0, _RANDOM),
        (_MODULO, 0, 0, sum(weights)),
    ]
    live = [(slot, weight) for slot, weight in enumerate(weights) if weight > 0]
    border = 0
    for slot, weight in live[:-1]:
        border += weight
        program.append((_JUMP_IF_AT_LEAST, 1, 0, border))  # over the return
        program.append((_RETURN, 0, 0, slot))
    program.append((_RETURN, 0, 0, live[-1][0]))
    return program


def steer(group: Sequence[socket.socket], weights: Sequence[int]) -> None:
    """Draw new connections by these weights from now on; all zero: evenly.

    Raises:
        OSError: The kernel refused, or the group has one socket only.
    """
    if any(weights):
        _attach_to_group(group, make_program(weights))
    else:
        draw_evenly(group)


def pick_always(group: Sequence[socket.socket], index: int) -> None:
    """Give every new connection of the group to one socket.

    Raises:
        OSError: The kernel refused.
    """
    _attach_to_group(group, [(_RETURN, 0, 0, index)])


def _attach_to_group(
    group: Sequence[socket.socket], program: Sequence[Instruction]
) -> None:
    # Never to one that was shut down: the kernel would put it into a group of its own
    # (``reuseport_attach_prog``), which has no part in the address for good.
    for member in group:
        if member.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            attach(member, _SO_ATTACH_REUSEPORT_CBPF, program)
            return


def draw_evenly(group: Sequence[socket.socket]) -> None:
    """Leave the choice to the kernel; a group that is not steered stays so."""
    for member in group:
        try:
            member.setsockopt(socket.SOL_SOCKET, _SO_DETACH_REUSEPORT_BPF, 0)
        except OSError:
            continue  # there was no program, or it was shut down and is no member
        return


# Ending a TCP listener without resetting anybody.
#
# Whatever sits in a queue when its socket is closed is reset, and between the last
# ``accept`` and the close there is always room for one more connection. So no new
# one may begin beforehand, while handshakes under way go on. A listener that is
# bound to a device which is not there does that: the kernel looks it up for the
# first packet of a connection alone, and refuses that at once (a proxy asks the next
# machine). Where the kernel does not bind it (before Linux 5.7 only for root; or it
# is bound already), a filter drops the first packet: its client sends it again after
# a second, and is then refused.


HANDSHAKE_S = 0.1
"""Those under way are whole after this, from most places."""

_SO_BINDTOIFINDEX = 62
_NO_DEVICE = 0x7FFFFFFF  # devices are counted from 1, and never so far
_SO_ATTACH_FILTER = 26
_SO_DETACH_FILTER = 27
_FLAGS = 13  # the octet of the TCP header
_SYN, _ACK = 0x02, 0x10
_PROGRAM: list[Instruction] = [
    (0x30, 0, 0, _FLAGS),  # load this octet
    (0x54, 0, 0, _SYN | _ACK),  # and
    (0x15, 0, 1, _SYN),  # is it SYN alone
    (0x06, 0, 0, 0),  # keep nothing
    (0x06, 0, 0, 0xFFFFFFFF),  # keep all
]


def stop_handshakes(sock: socket.socket) -> None:
    """Let no new connection begin on this listener, in any process, for good.

    A unix socket has no handshake: its path is removed instead. All sockets of a
    group have to be told, for each is looked up for the others.

    Raises:
        OSError: The kernel refused.
    """
    if sock.family == socket.AF_UNIX:
        return
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX, _NO_DEVICE)
    except OSError:
        drop_handshakes(sock)


def drop_handshakes(sock: socket.socket) -> None:
    """Have the first packet of each new connection dropped.

    Raises:
        OSError: The kernel refused.
    """
    attach(sock, _SO_ATTACH_FILTER, _PROGRAM)


def begin_handshakes(sock: socket.socket) -> None:
    """Let connections begin again, if none could; of a device only root lets go."""
    for option in (_SO_DETACH_FILTER, _SO_BINDTOIFINDEX):
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, 0)
        except OSError:
            pass  # there was no filter


# Queues of connections: how a worker gets one, and how long it is.
#
# Of a listening TCP socket ``tcpi_unacked`` is the length of its queue, and
# ``tcpi_sacked`` the most that it holds. For unix sockets there is no such count.


_COUNTS = struct.Struct("=24xII")  # tcpi_unacked, tcpi_sacked of struct tcp_info
_STATE_LISTEN = 10


class Queue(Struct, frozen=True):
    """A listener, with its terms."""

    sock: socket.socket
    terms: ListenerInfo = field(default_factory=ListenerInfo)


def pair(
    sockets: Sequence[socket.socket], terms: Sequence[ListenerInfo]
) -> list[Queue]:
    """Join the sockets and the ``ListenerInfo`` of a message."""
    return [Queue(sock, its) for sock, its in zip(sockets, terms, strict=True)]


def list_sockets(queues: Sequence[Queue]) -> list[socket.socket]:
    """Return the sockets, which go as descriptors of a message."""
    return [queue.sock for queue in queues]


def list_terms(queues: Sequence[Queue]) -> tuple[ListenerInfo, ...]:
    """Return the ``ListenerInfo`` of each, which go as octets of a message."""
    return tuple(queue.terms for queue in queues)


class AcceptQueue(Struct, frozen=True):
    """One queue, or several as one.

    Attributes:
        length: Connections that wait.
        limit: When so many wait, new ones are turned away.
    """

    length: int
    limit: int


def read_queue(sock: socket.socket) -> AcceptQueue | None:
    """Read the queue of a listening TCP socket; None: it listens no more.

    Cost: one system call, 1 us.
    """
    try:
        octets = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _COUNTS.size)
    except OSError:
        return None
    if octets[:1] != bytes([_STATE_LISTEN]):
        return None
    return AcceptQueue(*_COUNTS.unpack(octets))


def read_queues(sockets: Sequence[socket.socket]) -> AcceptQueue | None:
    """Read all queues of a slot; None: it has none of its own."""
    queues = [queue for sock in sockets if (queue := read_queue(sock)) is not None]
    if not queues:
        return None
    lengths, limits = zip(*((each.length, each.limit) for each in queues), strict=True)
    return AcceptQueue(sum(lengths), sum(limits))


# In which order the kernel numbers the sockets of a group: found by trying.
#
# A program that steers returns a number, which is the order in which the sockets
# began to listen, with the last one moved into each hole that a close has left.
# Of sockets that we did not open ourselves nobody can tell it. So the kernel is
# told "number i" and one connection is made: it reached the queue that grew.


_CONNECT_S = 1.0
_TRIES = 2
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def sort_by_order(sockets: Sequence[socket.socket]) -> list[socket.socket] | None:
    """Sort the sockets of one address as the kernel numbers them.

    Each gets a connection that is over at once. Nobody may accept meanwhile.

    Returns:
        None when it cannot be told: the kernel takes no program, a queue is
        full, or a firewall forbids to connect to ourselves.
    """
    try:
        for _ in range(_TRIES):
            found = [_find(sockets, index) for index in range(len(sockets))]
            if sorted(found) == list(range(len(sockets))):
                return [sockets[at] for at in found]
    except OSError:
        pass
    finally:
        draw_evenly(sockets)
    return None  # a handshake under way has ended elsewhere, twice


def _find(sockets: Sequence[socket.socket], index: int) -> int:
    """Return the socket that has this number in the kernel."""
    pick_always(sockets, index)
    before = [_count_queued(sock) for sock in sockets]
    host, port = sockets[0].getsockname()[:2]
    address = (_ANYWHERE.get(host, host), port)
    socket.create_connection(address, timeout=_CONNECT_S).close()
    grown = [
        _count_queued(sock) - count for sock, count in zip(sockets, before, strict=True)
    ]
    return grown.index(max(grown))


def _count_queued(sock: socket.socket) -> int:
    queue = read_queue(sock)
    if queue is None:
        raise OSError(errno.EINVAL, "it listens no more")
    return queue.length


# Steers the groups of the service by the weights of its slots.
#
# The kernel's index of a socket is its slot's here: slots are opened in order, and
# none is ever closed while we run; of those that we did not open, the order is
# found by ``sort_by_order``.


class Steerer(Struct):
    """Steers every group of the service, as long as the kernel takes it.

    Attributes:
        is_active: The kernel has taken the last weights.
        is_refused: The kernel has refused to steer, and is not asked again.
        weights: The last weights.
    """

    is_active: bool = False
    is_refused: bool = False
    weights: tuple[int, ...] = ()

    def apply(self, listeners: "Listeners", weights: tuple[int, ...]) -> None:
        """Steer by these weights; after a refusal the kernel is not asked again."""
        self.weights = weights
        groups = [
            group
            for group in listeners.groups
            if group.is_ordered and len(group.sockets) > 1
        ]
        if self.is_refused or len(weights) < 2 or not groups:
            return
        try:
            for group in groups:
                shares = fold(weights, len(group.sockets))
                by_number = [shares[place] for place in group.list_ranks()]
                steer(group.sockets, by_number)
            self.is_active = True
        except OSError as error:
            self.is_refused = True
            self.is_active = False
            text = f"the kernel shares out connections evenly: {error.strerror}"
            note("not_steered", text)

    def apply_again(self, listeners: "Listeners") -> None:
        """Steer as before, after the kernel numbers some sockets anew."""
        for group in listeners.groups:
            if not group.is_ordered:
                draw_evenly(group.sockets)
        self.apply(listeners, self.weights)


def fold(weights: tuple[int, ...], count: int) -> list[int]:
    """Return the weight of each socket: the sum of the slots that share it."""
    return [sum(weights[at::count]) for at in range(count)]
