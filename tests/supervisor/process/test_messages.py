import msgspec
import pytest

from blazeio_supervisor.process.messages import (
    Address,
    Adopt,
    Drain,
    Failed,
    Fork,
    Message,
    Ready,
    Unsafe,
    parse_message,
    serialize_message,
)

MESSAGES: list[Message] = [
    Address("127.0.0.1", 8000),
    Adopt(3),
    Drain(30.0, is_final=True),
    Failed(3, "why", "Traceback"),
    Fork(7, 1, 12, is_canary=True),
    Ready(),
    Unsafe(("a thread", "a loop")),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_each_message_is_read_as_it_was_written(message: Message) -> None:
    assert parse_message(serialize_message(message)) == message


@pytest.mark.parametrize("octets", [b"", b"\xff", b"\x81\xa4type\xa5Other"])
def test_octets_that_are_no_message_are_refused(octets: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        parse_message(octets)
