from typing import Any

import pytest

from blazeio.client.pool import PoolLimits
from blazeio.client.settings import ClientTls, Timeouts
from blazeio.errors import ConfigurationError


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (Timeouts, {"read_s": 0}, "timeout read_s=0: expected more than 0"),
        (Timeouts, {"total_s": "1"}, "timeout total_s='1': expected more than 0"),
        (Timeouts, {"continue_s": None}, "timeout continue_s=None: expected more"),
        (Timeouts, {"head_s": float("nan")}, "timeout head_s=nan: expected more"),
        (PoolLimits, {"connections": 0}, "pool connections=0: expected a number >= 1"),
        (PoolLimits, {"idle_s": -1}, "pool idle_s=-1: expected a number >= 0"),
        (ClientTls, {"keyfile": "k"}, "TLS keyfile k: has no effect without certfile"),
        (
            ClientTls,
            {"ca_file": "c", "is_verified": False},
            "TLS ca_file c: has no effect where nothing is verified",
        ),
        (ClientTls, {"tls_min": "1.1"}, "TLS tls_min '1.1': expected 1.2, 1.3"),
    ],
)
def test_what_cannot_be_is_said(kind: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        kind(**given)
    assert str(caught.value).startswith(message)


def test_none_lifts_a_bound() -> None:
    assert Timeouts(connect_s=None, read_s=None).connect_s is None


def test_a_password_is_not_shown() -> None:
    tls = ClientTls(certfile="c", keyfile_password="secret")
    assert "secret" not in repr(tls)
