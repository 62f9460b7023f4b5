"""What holds for the whole schema."""

import typing

import msgspec
import pytest

from blazeio_supervisor.ipc import control_api as api
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
    parts = {api.WorkerAnswer, api.SlotAnswer, api.SettingAnswer, api.ErrorAnswer}
    assert top - parts == used - {api.Nothing, str}


@pytest.mark.parametrize("kind", ORDERS_AND_ANSWERS)
def test_every_field_of_an_order_has_a_default(kind: type[msgspec.Struct]) -> None:
    if kind.__name__.endswith(("Order", "Query")):
        kind()
