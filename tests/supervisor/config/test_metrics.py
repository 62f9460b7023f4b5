import pytest

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.sockets.address import TcpAddress, UnixAddress
from tests.supervisor.typed import read_settings


def test_by_default_there_are_none() -> None:
    assert read_settings().metrics_bind is None


@pytest.mark.parametrize(
    ("word", "address"),
    [
        ("127.0.0.1:9100", TcpAddress("127.0.0.1", 9100)),
        (":9100", TcpAddress("", 9100)),
        ("unix:/run/m.sock", UnixAddress("/run/m.sock")),
    ],
)
def test_an_address_is_read_as_by_bind(
    word: str, address: TcpAddress | UnixAddress
) -> None:
    assert read_settings(f"--metrics-bind={word}").metrics_bind == address


def test_an_address_without_a_port_is_refused() -> None:
    with pytest.raises(UsageError, match="--metrics-bind localhost: no port"):
        read_settings("--metrics-bind=localhost")
