"""What holds for the whole schema."""

import re
import typing

import msgspec
import pytest

from blazeio_supervisor.ipc import control_api as answers
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


def test_the_table_names_every_order_and_answer() -> None:
    named = set(
        re.findall(r"\b\w+(?:Answer|Order|Query|Record)\b", answers.__doc__ or "")
    )
    top = {kind.__name__ for kind in ORDERS_AND_ANSWERS}
    assert named == top - {
        "WorkerAnswer",
        "SlotAnswer",
        "Progress",
        "Recycled",
        "WorkerStack",
        "ForkserverStack",
        "SettingAnswer",
    }
