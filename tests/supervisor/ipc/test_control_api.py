"""What may be asked on the control socket, and what is answered."""

import typing

import msgspec
import pytest

from blazeio_supervisor.ipc import control_api as api
from blazeio_supervisor.ipc import status_api
from blazeio_supervisor.ipc.control_api import (
    EventsQuery,
    ReloadAnswer,
    SettingAnswer,
    StopAnswer,
)
from blazeio_supervisor.ipc.status_api import (
    Progress,
    SlotAnswer,
)
from blazeio_supervisor.log.formats import EventRecord
from tests.architecture.documents.control_schema import list_structs

ORDERS_AND_ANSWERS = list_structs()


@pytest.mark.parametrize("kind", ORDERS_AND_ANSWERS)
def test_every_span_and_size_names_its_unit(kind: type[msgspec.Struct]) -> None:
    floats = [
        name
        for name, hint in typing.get_type_hints(kind).items()
        if hint is float and not name.endswith("_s")
    ]
    assert not floats


def test_every_order_and_answer_is_of_an_endpoint() -> None:
    endpoints = [
        each for each in vars(api).values() if isinstance(each, api.ControlEndpoint)
    ]
    used = {each.order for each in endpoints} | {each.answer for each in endpoints}
    top = {
        kind
        for kind in ORDERS_AND_ANSWERS
        if kind.__name__.endswith(("Order", "Query", "Answer"))
    }
    parts = {
        status_api.WorkerAnswer,
        status_api.SlotAnswer,
        status_api.TaskAnswer,
        status_api.BroadcastAnswer,
        api.SettingAnswer,
        api.ErrorAnswer,
    }
    assert top - parts == used - {api.Nothing, str}


@pytest.mark.parametrize("kind", ORDERS_AND_ANSWERS)
def test_every_field_of_an_order_has_a_default(kind: type[msgspec.Struct]) -> None:
    if kind.__name__.endswith(("Order", "Query")):
        kind()


@pytest.mark.parametrize("value", [None, 4, 1.5, "a", ["a", "b"], True])
def test_a_value_is_of_any_kind_that_a_file_has(value: object) -> None:
    setting = SettingAnswer(key="workers", value=value, origin="default")
    octets = msgspec.json.encode(setting)
    assert msgspec.json.decode(octets, type=SettingAnswer) == setting


def test_a_slot_of_an_earlier_version_can_be_read() -> None:
    octets = (
        b'{"slot":0,"is_parked":false,"adopted_by":null,"weight":100,"failures":1,'
        b'"retry_in_s":0.0,"requests":7}'
    )
    slot = msgspec.json.decode(octets, type=SlotAnswer)
    assert (slot.failures, slot.is_failing, slot.failed_s) == (1, False, None)


def test_the_two_kinds_of_line_of_a_reload_are_told_apart() -> None:
    progress = Progress(step="rolling", generation=2, replaced=1, slots=2)
    ended = ReloadAnswer(is_over=True, is_ok=True)
    kinds = Progress | ReloadAnswer
    for line in (progress, ended):
        assert msgspec.json.decode(msgspec.json.encode(line), type=kinds) == line


def test_a_later_version_may_add_fields() -> None:
    octets = b'{"pid":1,"later":true}'
    assert msgspec.json.decode(octets, type=StopAnswer).pid == 1


def test_what_does_not_apply_is_left_out() -> None:
    event = EventRecord(at_s=1.0, event="ready", level="INFO", text="it is up")
    octets = b'{"at_s":1.0,"event":"ready","level":"INFO","text":"it is up"}'
    assert msgspec.json.encode(event) == octets


@pytest.mark.parametrize("octets", [b'{"last":-1}', b'{"lats":1}'])
def test_a_question_that_is_none_is_refused(octets: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(octets, type=EventsQuery)
