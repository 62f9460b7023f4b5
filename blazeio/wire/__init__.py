"""RFC 9112 framing as values: octets to messages and back. Pure: no I/O, no clock.

The values are immutable structs. The options of a struct stand here and not at each
class, which inherits them: where this room is compiled, mypyc leaves out all keywords
of a class statement. (Type checkers want ``frozen=True`` at each class all the same.)
This module itself is never compiled.
"""

from typing import Final

from msgspec import Struct

from blazeio.wire import grammar

IS_COMPILED: Final = grammar.__file__.endswith(".so")
"""This room runs as machine code, made of the same files by mypyc; see
``deploy/compiled_wheel.py``. Never with ``BLAZEIO_PURE=1`` in the environment."""


class FrozenRecord(Struct, frozen=True):
    """Compared by its values."""


class SharedRecord(FrozenRecord, frozen=True, eq=False, gc=False):
    """Made for each message, and shared by equal ones: compared by identity.

    Python's collector does not look at it, so it must never be part of a cycle.
    """
