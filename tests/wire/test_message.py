import pytest

from blazeio.limits import Limits
from blazeio.wire.request import RequestHead, parse_head


def read() -> RequestHead:
    head = parse_head(b"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n", Limits())
    assert head is not None
    return head


def test_repr_is_the_request_line() -> None:
    assert repr(read()) == "<RequestHead GET /a?b HTTP/1.1>"


def test_nothing_of_it_can_be_set() -> None:
    head = read()
    assert not hasattr(head, "__dict__")
    for name in (*RequestHead.__struct_fields__, "other"):
        with pytest.raises(AttributeError):
            setattr(head, name, None)
