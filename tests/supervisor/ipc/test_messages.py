import hashlib
import json
import os
from dataclasses import fields
from importlib.metadata import version
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies

from blazeio.limits import Limits
from blazeio.server.tls import TlsSettings
from blazeio_supervisor.ipc import scoreboard, signals
from blazeio_supervisor.ipc.messages import (
    Address,
    Adopt,
    Drain,
    Failed,
    Fork,
    Message,
    Ready,
    Unsafe,
    describe_skew,
)
from blazeio_supervisor.ipc.packing import (
    MessageError,
    pack,
    parse_message,
    serialize_message,
    unpack,
)
from blazeio_supervisor.version import PROTOCOL

MESSAGES: list[Message] = [
    Address("127.0.0.1", 8000),
    Adopt(3),
    Drain(30.0, is_final=True),
    Failed(3, "why", "Traceback"),
    Fork(7, 1, is_canary=True),
    Ready(),
    Unsafe(("a thread", "a loop")),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_each_message_is_read_as_it_was_written(message: Message) -> None:
    assert parse_message(serialize_message(message)) == message


@pytest.mark.parametrize("octets", [b"", b"\xff", b"\x81\xa4type\xa5Other"])
def test_octets_that_are_no_message_are_refused(octets: bytes) -> None:
    with pytest.raises(MessageError):
        parse_message(octets)


SHAPES = {
    1: "211518012f4be5f8",
    2: "3cd174bf26801d7d",
    3: "a3c8e34a68e2b0c9",
    4: "1d86064e5c5944a7",
    5: "cab66d666869ba86",
    6: "74c74cf7211fb584",
    7: "e5ad9507b969a4cb",
    8: "3d1c059fe24cecb4",
    9: "431ac5e7d103c81c",
    10: "52c9e0a4c2e6325e",
    11: "33ab6a45bffc8e7a",
    12: "f4b59f59da423414",
    13: "0b136135fa4c36c2",
    14: "350dfd7a0e34e421",
    15: "24badf002e9651db",
    16: "638594a76b93320c",
    17: "b5ad660b18ba8b65",
    18: "4cb21ddc46b28d2e",
    19: "3546f237446b408f",
    20: "0db3727d2c265aa8",
    21: "c381918daa9046a0",
    22: "2806cbb96c914f0a",
    23: "7d4364732d27b424",
    24: "257ab7bb8146441c",
    25: "73868ddb04ba11e9",
    26: "2ed6b2969805d093",
    27: "e3e3c56cd45bd47f",
    28: "506bf7b1332648cd",
    29: "b665222ba1116c42",
    30: "e28c82e6444fb7fe",
    31: "de99d29c69fa0c4e",
    32: "57519785d4ada008",
    33: "ea43ad5d78a12535",
    34: "a8813058d941a7af",
    35: "dde621df393b5dd6",
    36: "f87b24d49e57f089",
}
"""Of each protocol, what ``take_fingerprint`` gave."""


def take_fingerprint() -> str:
    """Of all that processes of two versions could read differently."""
    shape = [
        without_prose(msgspec.json.schema(Message)),
        *(
            sorted(field.name for field in fields(kind))
            for kind in (Limits, TlsSettings)
        ),
        write_row().hex(),
        {name: cell for name, cell in vars(scoreboard).items() if is_place(name, cell)},
        {name: sent for name, sent in vars(signals).items() if is_place(name, sent)},
    ]
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]


def without_prose(schema: Any) -> Any:
    if isinstance(schema, dict):
        prose = ("title", "description") if "type" in schema else ()
        return {k: without_prose(v) for k, v in schema.items() if k not in prose}
    return [without_prose(v) for v in schema] if isinstance(schema, list) else schema


def is_place(name: str, cell: object) -> bool:
    return name.isupper() and isinstance(cell, int)


def write_row() -> bytes:
    """Every cell that a worker writes, as it lies in the memory."""
    row = scoreboard.Row(scoreboard.make_row_memory())
    row.beat(at=1.5, late_s=2.5)
    threads = scoreboard.ThreadLoad(7, 8, 9)
    row.count(3, 4, 5, is_full=True, background=6, threads=threads, http2=2)
    row.rest(True)
    row.name_longest(scoreboard.LongestRequest("GET /", 6.5))
    row.routes.count_answered(row.routes.add_answered(10) or 0)
    row.routes.write_failing(1, key=11, count=12, text="GET /x")
    row.routes.count_answered(row.routes.add_answered(10) or 0)
    row.routes.write_failing(1, key=11, count=12, text="GET /x")
    octets = os.pread(row.fileno(), scoreboard.ROW_BYTES, 0)
    row.close()
    return octets


def test_a_changed_shape_is_another_protocol() -> None:
    """This fails? Raise PROTOCOL, and write the new fingerprint beside it.

    The shape of a message, of what it overrides, or of the scoreboard is another
    one, or a signal is: a forkserver of this code would misread a master that
    runs older code.
    """
    assert SHAPES.get(PROTOCOL) == take_fingerprint()
    assert max(SHAPES) == PROTOCOL


def test_the_last_words_of_a_forkserver_are_the_same_in_every_protocol() -> None:
    octets = (
        b"\x84\xa4type\xa6Failed\xa4code\x01\xa6reason\xa3why\xa9traceback\xa6frames"
    )
    assert serialize_message(Failed(1, "why", "frames")) == octets


def test_the_own_protocol_is_served() -> None:
    assert describe_skew(str(PROTOCOL)) is None


def test_another_one_is_told_from_the_own_in_one_line() -> None:
    installed = version("blazeio-supervisor")
    assert describe_skew("0") == (
        f"the installed blazeio ({installed}, protocol {PROTOCOL}) differs "
        "from the running master's (protocol 0): restart the service to use it"
    )


# Values whose texts may be no Unicode.


class Value(msgspec.Struct, frozen=True, tag=True):
    text: str
    octets: bytes = b"\xff"
    names: tuple[str, ...] = ()
    numbers: dict[int, str] = {}


@given(strategies.text(strategies.characters(exclude_categories=())))
def test_any_text_comes_back(text: str) -> None:
    value = Value(text, names=(text, "\xe9"), numbers={7: text})
    assert unpack(pack(value), Value) == value


@pytest.mark.parametrize("octets", [b"", b"\xc1", b"\xc1\xff", b"\xc1\xa3\xe2\x82\xac"])
def test_what_was_not_packed_is_refused(octets: bytes) -> None:
    with pytest.raises((msgspec.MsgspecError, ValueError)):
        unpack(octets, Value)
