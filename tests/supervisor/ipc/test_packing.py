"""Values whose texts may be no Unicode."""

import msgspec
import pytest
from hypothesis import given, strategies

from blazeio_supervisor.ipc.messages import pack, unpack


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
