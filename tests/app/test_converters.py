import uuid
from typing import Any

import pytest

from blazeio.app.endpoints import CONVERTERS, REST

ID = "12345678-9abc-DEF0-1234-56789abcdef0"


@pytest.mark.parametrize(
    ("kind", "segment", "value"),
    [
        ("int", "0", 0),
        ("int", "007", 7),
        ("int", "9" * 300, int("9" * 300)),
        ("float", "1.5", 1.5),
        ("float", "-12", -12.0),
        ("float", "9" * 300, float("9" * 300)),
        ("uuid", ID, uuid.UUID(ID)),
        ("str", "ada", "ada"),
        ("str", "..", ".."),
        ("path", "a/b", "a/b"),
        ("path", "", ""),
    ],
)
def test_a_segment_has_a_value(kind: str, segment: str, value: Any) -> None:
    converted = CONVERTERS[kind].convert(segment)
    assert converted == value
    assert type(converted) is CONVERTERS[kind].python_type


@pytest.mark.parametrize(
    ("kind", "segment"),
    [
        ("int", ""),
        ("int", "-1"),
        ("int", "+1"),
        ("int", "1_0"),
        ("int", " 1"),
        ("int", "1\n"),
        ("int", "٣"),
        ("int", "1.0"),
        ("int", "9" * 5000),
        ("float", ""),
        ("float", "."),
        ("float", "1."),
        ("float", "1e5"),
        ("float", "nan"),
        ("float", "inf"),
        ("float", "9" * 400),
        ("uuid", ID.replace("-", "")),
        ("uuid", "{" + ID + "}"),
        ("uuid", ID + "0"),
        ("str", ""),
    ],
)
def test_another_segment_has_none(kind: str, segment: str) -> None:
    assert CONVERTERS[kind].convert(segment) is None


def test_the_narrower_kind_goes_first() -> None:
    ranks = [each.rank for each in CONVERTERS.values()]
    assert ranks == sorted(set(ranks))
    assert CONVERTERS["path"] is REST
    assert list(CONVERTERS) == ["int", "uuid", "float", "str", "path"]
