"""Where new connections go: a weighted draw, made by the kernel.

A classic BPF program on a SO_REUSEPORT group returns the index of the socket
that gets the connection; a plain ``setsockopt``, no capability needed. The
index is the order in which the sockets began to listen, which is the slot's
index here: slots are opened in order, and none is ever closed while we run.
"""

import logging
import socket
from collections.abc import Sequence

from blazeio_supervisor.sockets.filters.bpf import Instruction, attach
from blazeio_supervisor.sockets.listeners import Listeners

log = logging.getLogger("blazeio.master")

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
    if not any(weights):
        group[0].setsockopt(socket.SOL_SOCKET, _SO_DETACH_REUSEPORT_BPF, 0)
        return
    attach(group[0], _SO_ATTACH_REUSEPORT_CBPF, make_program(weights))


class Steerer:
    """Steers every group of the service, as long as the kernel takes it.

    Args:
        listeners: Whose groups.

    Attributes:
        is_active: The kernel has taken the last weights.
    """

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners
        self._is_refused = False
        self.is_active = False

    def freeze(self) -> tuple[bool, bool]:
        """Say whether the kernel steers, and whether it has refused to."""
        return self.is_active, self._is_refused

    def thaw(self, frozen: tuple[bool, bool]) -> None:
        """Go on from there; the program itself is in the kernel."""
        self.is_active, self._is_refused = frozen

    def apply(self, weights: tuple[int, ...]) -> None:
        """Steer by these weights; a kernel that refuses is not asked again."""
        groups = self._listeners.groups
        if self._is_refused or len(weights) < 2 or not groups:
            return
        try:
            for group in groups:
                steer(group.sockets, weights)
            self.is_active = True
        except OSError as error:
            self._is_refused = True
            self.is_active = False
            log.info("event=not_steered the kernel refuses: %s", error.strerror)
