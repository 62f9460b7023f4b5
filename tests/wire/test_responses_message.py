import pytest

from blazeio.limits import Limits
from blazeio.wire.response import ResponseHead, parse_response_head


def read() -> ResponseHead:
    head = parse_response_head(b"HTTP/1.1 404 Not Found\r\n\r\n", Limits())
    assert head is not None
    return head


def test_repr_is_the_status_line() -> None:
    assert repr(read()) == "<ResponseHead HTTP/1.1 404 Not Found>"


def test_nothing_of_it_can_be_set() -> None:
    for name in (*ResponseHead.__struct_fields__, "other"):
        with pytest.raises(AttributeError):
            setattr(read(), name, None)
