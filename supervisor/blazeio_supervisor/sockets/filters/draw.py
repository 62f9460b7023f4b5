"""Where new connections go: a weighted draw, made by the kernel.

A classic BPF program on a SO_REUSEPORT group returns the index of the socket
that gets the connection; a plain ``setsockopt``, no capability needed. The
index is the order in which the sockets began to listen.
"""

import socket
from collections.abc import Sequence

from blazeio_supervisor.sockets.filters.bpf import Instruction, attach

_SO_ATTACH_REUSEPORT_CBPF = 51
_SO_DETACH_REUSEPORT_BPF = 68

_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_MODULO = 0x94  # BPF_ALU | BPF_MOD | BPF_K
_JUMP_IF_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_RANDOM = 0xFFFFFFFF & (-0x1000 + 56)  # SKF_AD_OFF + SKF_AD_RANDOM


def make_program(weights: Sequence[int]) -> list[Instruction]:
    """Write the program: draw a number, walk up the ladder of live slots.

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
        attach(group[0], _SO_ATTACH_REUSEPORT_CBPF, make_program(weights))
    else:
        draw_evenly(group[0])


def pick_always(member: socket.socket, index: int) -> None:
    """Give every new connection of the group to one socket.

    Raises:
        OSError: The kernel refused.
    """
    attach(member, _SO_ATTACH_REUSEPORT_CBPF, [(_RETURN, 0, 0, index)])


def draw_evenly(member: socket.socket) -> None:
    """Leave the choice to the kernel; a group that is not steered stays so."""
    try:
        member.setsockopt(socket.SOL_SOCKET, _SO_DETACH_REUSEPORT_BPF, 0)
    except OSError:
        pass  # there was no program
