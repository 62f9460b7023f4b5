import pytest

from blazeio.wire.message import RequestHead


def test_repr_is_the_request_line() -> None:
    head = RequestHead()
    head.method, head.target, head.minor = "GET", "/a?b", 1
    assert repr(head) == "<RequestHead GET /a?b HTTP/1.1>"


def test_it_has_slots_only() -> None:
    head = RequestHead()
    assert not hasattr(head, "__dict__")
    with pytest.raises(AttributeError):
        head.other = 1  # type: ignore[attr-defined]


def test_each_documented_attribute_is_a_slot() -> None:
    assert set(RequestHead.__slots__) == set(RequestHead.__annotations__)
