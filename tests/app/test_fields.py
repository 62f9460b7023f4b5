import pytest

from blazeio.app.deliver import list_fields, merge_fields, names_field
from blazeio.errors import FieldInput


@pytest.mark.parametrize(
    ("headers", "pairs"),
    [
        (None, []),
        ({"A": "1", "B": ["2", "3"]}, [("A", "1"), ("B", "2"), ("B", "3")]),
        ([("A", "1"), ("A", 2)], [("A", "1"), ("A", 2)]),
        (iter([(b"A", b"1")]), [(b"A", b"1")]),
    ],
)
def test_fields_are_pairs_however_they_were_written(
    headers: FieldInput | None, pairs: list[tuple[object, object]]
) -> None:
    assert list_fields(headers) == pairs


def test_a_field_of_the_caller_goes_instead_of_the_usual_one() -> None:
    usual = {"Content-Type": "text/plain", "Vary": "Accept"}
    merged = merge_fields([(b"content-type", "text/csv"), ("X", "1")], usual)
    assert merged == [("Vary", "Accept"), (b"content-type", "text/csv"), ("X", "1")]


def test_a_field_is_found_by_its_name_in_any_case() -> None:
    assert names_field([("Content-TYPE", "x")], "content-type")
    assert names_field([(b"Vary", "x")], "vary")
    assert not names_field([("Vary", "x")], "content-type")
