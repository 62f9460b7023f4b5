"""MessagePack of values whose texts may be no Unicode, as paths are.

Python reads an octet of a path that is not UTF-8 as a lone surrogate, which no text
of MessagePack holds. Where a value has one, each text is written as its octets, one
character for each, behind a mark that no MessagePack begins with. Pure.
"""

from typing import Any, TypeVar

import msgspec

from blazeio_supervisor.escaping import map_texts

ValueT = TypeVar("ValueT")

_MARK = b"\xc1"  # the one octet that MessagePack never uses
_encoder = msgspec.msgpack.Encoder()


def pack(value: Any) -> bytes:
    """Write a value, all of it."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        told = msgspec.to_builtins(value, builtin_types=(bytes,))
        return _MARK + _encoder.encode(map_texts(told, _write_octets))


def unpack(octets: bytes, kind: type[ValueT]) -> ValueT:
    """Read what ``pack`` has written.

    Raises:
        msgspec.MsgspecError: It is nothing of that kind.
        ValueError: Likewise.
    """
    if not octets.startswith(_MARK):
        return msgspec.msgpack.decode(octets, type=kind)
    told = map_texts(msgspec.msgpack.decode(octets[1:]), _read_octets)
    return msgspec.convert(told, kind)


def _write_octets(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def _read_octets(text: str) -> str:
    return text.encode("latin-1").decode("utf-8", "surrogatepass")
