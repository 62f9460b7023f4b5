"""What the values of this room are made of: immutable structs.

The options of a struct stand here and not at each class, which inherits them: where
this room is compiled, mypyc leaves out all keywords of a class statement. (Type
checkers want ``frozen=True`` at each class all the same.) This module itself is never
compiled.
"""

from msgspec import Struct


class FrozenRecord(Struct, frozen=True):
    """Compared by its values."""


class SharedRecord(FrozenRecord, frozen=True, eq=False, gc=False):
    """Made for each message, and shared by equal ones: compared by identity.

    Python's collector does not look at it, so it must never be part of a cycle.
    """
