"""Messages, and other values, as octets: MessagePack, whatever texts are in them.

What a child sends was written by a process that runs foreign code: it is checked, and
long texts in it are cut. Pure.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from blazeio_supervisor.ipc.messages import (
    Failed,
    ForkFailed,
    FromChild,
    FromForkserver,
    FromWorker,
    Loaded,
    Message,
    TaskEnded,
    Unsafe,
    WorkerEvent,
)
from blazeio_supervisor.log.formats import escape_surrogates, map_texts

TEXT_CHARS = 4_000
"""The longest text that is taken from a child; the rest is cut where it is read."""
TRACEBACK_CHARS = 16_000
"""The longest traceback that is taken from a child; cut likewise."""
ERROR_CHARS = 300
"""The longest text about what is wrong with a message."""
MOST_FINDINGS = 20
"""How many things that make a fork unsafe are told; the rest is dropped."""


class MessageError(Exception):
    """Octets are no message that the sender may send."""


_forkserver_decoder = msgspec.msgpack.Decoder(FromForkserver)
_worker_decoder = msgspec.msgpack.Decoder(FromWorker)


def serialize_message(message: Message) -> bytes:
    """Return the octets of one datagram.

    What a child tells is written to be read by people; the master's texts are paths.
    """
    if isinstance(message, FromChild):
        message = escape_surrogates(message)
    return pack(message)


def parse_message(octets: bytes) -> Message:
    """Read one datagram of the master.

    Raises:
        MessageError: It is no message of ours.
    """
    return _decode(_unpack_any, octets)


def parse_from_forkserver(octets: bytes) -> FromForkserver:
    """Read one datagram of a forkserver, which runs foreign code.

    Raises:
        MessageError: It is nothing that a forkserver says.
    """
    return cut_texts(_decode(_forkserver_decoder.decode, octets))


def parse_from_worker(octets: bytes) -> FromWorker:
    """Read one datagram of a worker, which runs foreign code.

    Raises:
        MessageError: It is nothing that a worker says.
    """
    return cut_texts(_decode(_worker_decoder.decode, octets))


MessageT = TypeVar("MessageT", bound=Message)


def _unpack_any(octets: bytes) -> Message:
    return unpack(octets, Message)  # type: ignore[arg-type]  # a union is a kind


def _decode(decode: Callable[[bytes], MessageT], octets: bytes) -> MessageT:
    try:
        return decode(octets)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        # It quotes what was sent.
        words = "".join(c if c.isprintable() else "?" for c in str(error))
        raise MessageError(f"it sent no message: {words[:ERROR_CHARS]}") from None


def cut_texts(message: MessageT) -> MessageT:
    """Return the message with long texts cut."""
    match message:
        case Failed(_, reason, traceback):
            cut = {"reason": reason[:TEXT_CHARS]}
            cut["traceback"] = traceback[-TRACEBACK_CHARS:]
            return msgspec.structs.replace(message, **cut)
        case WorkerEvent(_, text, traceback):
            cut = {"text": text[:TEXT_CHARS]}
            cut["traceback"] = traceback[-TRACEBACK_CHARS:]
            return msgspec.structs.replace(message, **cut)
        case TaskEnded(_, failure):
            return msgspec.structs.replace(message, failure=failure[:TEXT_CHARS])
        case ForkFailed(_, reason):
            return msgspec.structs.replace(message, reason=reason[:TEXT_CHARS])
        case Unsafe(findings):
            return msgspec.structs.replace(message, findings=_cut_lines(findings))
        case Loaded():
            return msgspec.structs.replace(message, cold=_cut_lines(message.cold))
    return message


def _cut_lines(lines: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each[:TEXT_CHARS] for each in lines[:MOST_FINDINGS])


# Values whose texts may be no Unicode, as paths are.
#
# Python reads an octet of a path that is not UTF-8 as a lone surrogate, which no text
# of MessagePack holds. Where a value has one, each text is written as its octets, one
# character for each, behind a mark that no MessagePack begins with.


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
