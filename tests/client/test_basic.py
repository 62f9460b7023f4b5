import pytest

from blazeio.client.proxy import basic_credentials
from blazeio.errors import LocalProtocolError


@pytest.mark.parametrize(
    ("username", "password", "value"),
    [
        ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ("test", "123\u00a3", "Basic dGVzdDoxMjPCow=="),
        ("", "a:b", "Basic OmE6Yg=="),
    ],
)
def test_the_examples_of_the_rfc(username: str, password: str, value: str) -> None:
    assert basic_credentials(username, password) == value


def test_a_name_with_a_colon_is_the_callers_fault() -> None:
    with pytest.raises(LocalProtocolError, match="cannot hold a colon"):
        basic_credentials("a:b", "c")
