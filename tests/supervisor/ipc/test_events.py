import msgspec
import pytest

from blazeio_supervisor.ipc.control_api import EventsQuery
from blazeio_supervisor.log.events import EventRecord


def test_what_does_not_apply_is_left_out() -> None:
    event = EventRecord(at_s=1.0, event="ready", level="INFO", text="it is up")
    octets = b'{"at_s":1.0,"event":"ready","level":"INFO","text":"it is up"}'
    assert msgspec.json.encode(event) == octets


@pytest.mark.parametrize("octets", [b'{"last":-1}', b'{"lats":1}'])
def test_a_question_that_is_none_is_refused(octets: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(octets, type=EventsQuery)
