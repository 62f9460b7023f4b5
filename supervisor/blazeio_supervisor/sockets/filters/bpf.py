"""Classic BPF programs on sockets: a plain ``setsockopt``, no privilege needed."""

import ctypes
import socket
import struct
from collections.abc import Sequence

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
