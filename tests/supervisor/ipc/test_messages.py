import msgspec
import pytest
from hypothesis import given, strategies

from blazeio_supervisor.ipc.messages import (
    Address,
    Adopt,
    Drain,
    Failed,
    Fork,
    Message,
    Ready,
    Unsafe,
    WorkerEvent,
)
from blazeio_supervisor.ipc.packing import (
    MessageError,
    pack,
    parse_from_worker,
    parse_message,
    serialize_message,
    unpack,
)

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


@pytest.mark.parametrize("name", ["upgraded", "", "requests_cut\n", "x requests_cut"])
def test_a_worker_is_not_believed_the_events_of_others(name: str) -> None:
    said = WorkerEvent("requests_cut", "one")
    assert parse_from_worker(serialize_message(said)) == said
    with pytest.raises(MessageError):
        parse_from_worker(serialize_message(WorkerEvent(name, "one")))


def test_the_last_words_of_a_forkserver_are_the_same_in_every_protocol() -> None:
    octets = (
        b"\x84\xa4type\xa6Failed\xa4code\x01\xa6reason\xa3why\xa9traceback\xa6frames"
    )
    assert serialize_message(Failed(1, "why", "frames")) == octets


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
