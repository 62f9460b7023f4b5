"""MessagePack of values whose texts may be no Unicode, as paths are.

Python reads an octet of a path that is not UTF-8 as a lone surrogate, which no text
of MessagePack holds. Where a value has one, each text is written as its octets, one
character for each, behind a mark that no MessagePack begins with. Pure.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from blazeio_supervisor.log.formats import map_texts

ValueT = TypeVar("ValueT")

_MARK = b"\xc1"  # the one octet that MessagePack never uses
_encoder = msgspec.msgpack.Encoder()


def pack(value: Any, write: Callable[[Any], Any] | None = None) -> bytes:
    """Write a value, all of it.

    Args:
        value: A structure.
        write: Returns what stands for a part that is no value, as a socket is.
    """
    try:
        return msgspec.msgpack.encode(value, enc_hook=write)
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(value, builtin_types=(bytes,), enc_hook=write)
        return _MARK + _encoder.encode(map_texts(plain, _write_octets))


def unpack(
    octets: bytes,
    kind: type[ValueT],
    read: Callable[[type, Any], Any] | None = None,
) -> ValueT:
    """Read what ``pack`` has written.

    Args:
        octets: What ``pack`` has returned.
        kind: The type of the value.
        read: Returns a part of a type that is no value, from what stands for it.

    Raises:
        msgspec.MsgspecError: It is nothing of that kind.
        ValueError: It is nothing of that kind, in another way.
    """
    if not octets.startswith(_MARK):
        return msgspec.msgpack.decode(octets, type=kind, dec_hook=read)
    plain = map_texts(msgspec.msgpack.decode(octets[1:]), _read_octets)
    return msgspec.convert(plain, kind, dec_hook=read)


def _write_octets(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def _read_octets(text: str) -> str:
    return text.encode("latin-1").decode("utf-8", "surrogatepass")
