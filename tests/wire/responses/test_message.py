import pytest

from blazeio.wire.responses.message import ResponseHead


def test_repr_is_the_status_line() -> None:
    head = ResponseHead()
    head.status, head.reason, head.minor = 404, "Not Found", 1
    assert repr(head) == "<ResponseHead HTTP/1.1 404 Not Found>"


def test_it_has_slots_only() -> None:
    with pytest.raises(AttributeError):
        ResponseHead().other = 1  # type: ignore[attr-defined]


def test_each_documented_attribute_is_a_slot() -> None:
    assert set(ResponseHead.__slots__) == set(ResponseHead.__annotations__)
