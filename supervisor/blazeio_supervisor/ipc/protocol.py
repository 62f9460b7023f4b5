"""Which protocol master, forkserver and workers speak.

The package on the disk may be replaced under a running master, and a reload starts the
forkserver from the disk. So a forkserver is told the protocol of the master, and ends
at once if its own is another one. Three things are the same in every protocol, or that
could not be reported: the arguments of a forkserver (more may follow them), the first
datagram of one that was started before the master knew its protocol, and the message
``Failed``.

A protocol is a checksum over the shapes of all that two processes share. Their texts
are made here, and not by a library, so that they are the same whichever Python and
whichever msgspec reads the same source: the app may have another interpreter than the
master (--python).
"""

import functools
import struct
from collections.abc import Iterator
from types import ModuleType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from zlib import crc32

import msgspec

from blazeio_supervisor.ipc import messages, row_tables, scoreboard, signals
from blazeio_supervisor.ipc.status_api import (
    MemoryLine,
    Profiled,
    ProfileWish,
    Sampled,
)
from blazeio_supervisor.version import find_version

MEANING = 1
"""Raised by one when something means another thing and has the shape that it had: a
signal, a field, a cell. All else makes another protocol by itself."""
_OF_PROFILES = (ProfileWish, Sampled, MemoryLine, Profiled)
PROTOCOL_BYTES = 64
"""Room for a protocol as the first datagram of a channel."""
_CONSTANTS = (bool, int, float, str, bytes, tuple, range, slice, struct.Struct)
_BOUNDS = (
    *("gt", "ge", "lt", "le", "multiple_of"),
    *("pattern", "min_length", "max_length"),
)


@functools.cache
def find_protocol() -> str:
    """Return the protocol of this process: eight hexadecimal digits.

    Cost: 0.6 ms, once.
    """
    return f"{crc32(chr(10).join(list_shapes()).encode()):08x}"


def list_shapes() -> list[str]:
    """List a text for each shape, sorted: its place in the source does not count."""
    shared = (messages, scoreboard, row_tables)
    shapes = {describe_struct(each) for each in _iterate_structs(*shared)}
    shapes |= {describe_struct(each) for each in _OF_PROFILES}
    return sorted({f"{MEANING=}", *shapes, *_list_constants(*shared, signals)})


def _iterate_structs(*modules: ModuleType) -> Iterator[type[msgspec.Struct]]:
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, msgspec.Struct):
                yield value


def describe_struct(kind: type[msgspec.Struct]) -> str:
    """Describe how a structure is written, and what each field of it may be.

    Default values do not count: each field is written.
    """
    types: dict[str, Any] = {}
    for each in reversed(kind.__mro__):
        types |= getattr(each, "__annotations__", {})
    config = kind.__struct_config__
    names = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    fields = [f"{written}: {_describe(types[name])}" for name, written in names]
    form = "array" if config.array_like else "map"
    return f"{kind.__name__} {config.tag} {form}({', '.join(fields)})"


def _describe(kind: Any) -> str:
    """Describe a type, alike in every Python."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return " ".join((_describe(args[0]), *map(_describe_bounds, args[1:])))
    if origin is Literal:
        return f"one of {args}"
    if origin is not None:
        parts = [*map(_describe, args)]
        if origin in (Union, UnionType):
            return " | ".join(sorted(parts))
        return f"{origin.__name__}[{', '.join(parts)}]"
    return getattr(kind, "__name__", str(kind))


def _describe_bounds(meta: Any) -> str:
    bounds = ((name, getattr(meta, name, None)) for name in _BOUNDS)
    return " ".join(f"{name}={each!r}" for name, each in bounds if each is not None)


def _list_constants(*modules: ModuleType) -> list[str]:
    """List the constants of modules: places, sizes, edges, numbers of signals."""
    return [
        f"{name} = {_write_constant(value)}"
        for module in modules
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, _CONSTANTS)
    ]


def _write_constant(value: Any) -> str:
    if isinstance(value, struct.Struct):
        return value.format
    if isinstance(value, tuple):
        return f"({', '.join(map(_write_constant, value))})"
    return str(int(value)) if isinstance(value, int) else repr(value)


def describe_skew(masters_protocol: str) -> str | None:
    """Return why this process cannot serve a master; None when it can.

    Args:
        masters_protocol: What the master says of its own.
    """
    own = find_protocol()
    if masters_protocol == own:
        return None
    return (
        f"the installed blazeio ({find_version()}, protocol {own}) differs from the "
        f"running master's (protocol {masters_protocol}): restart the service to use it"
    )
