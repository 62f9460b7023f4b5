"""How many sockets listen at an address, as /proc says."""

import socket

import pytest

from blazeio_supervisor.sockets.address import TcpEndpoint
from blazeio_supervisor.sockets.bind import count_listeners

FAMILIES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]


def listen(family: socket.AddressFamily, host: str, port: int = 0) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, port))
    sock.listen()
    return sock


@pytest.mark.parametrize(("family", "host"), FAMILIES)
def test_those_of_the_address_that_listen_are_counted(
    family: socket.AddressFamily, host: str
) -> None:
    with listen(family, host) as one:
        port = one.getsockname()[1]
        endpoint = TcpEndpoint(family, host, port)
        assert count_listeners(endpoint) == 1
        with listen(family, host, port), socket.create_connection((host, port)):
            assert count_listeners(endpoint) == 2  # and not those that are connected
        assert count_listeners(endpoint.with_port(port)) == 1
    assert count_listeners(endpoint) == 0


def test_another_address_or_port_is_not_counted() -> None:
    with listen(socket.AF_INET, "127.0.0.1") as one:
        port = one.getsockname()[1]
        with listen(socket.AF_INET, "127.0.0.1") as other:
            assert other.getsockname()[1] != port
            assert count_listeners(TcpEndpoint(socket.AF_INET, "127.0.0.1", port)) == 1
        assert count_listeners(TcpEndpoint(socket.AF_INET, "127.0.0.2", port)) == 0
        assert count_listeners(TcpEndpoint(socket.AF_INET6, "::1", port)) == 0


def test_an_endpoint_with_another_port() -> None:
    endpoint = TcpEndpoint(socket.AF_INET, "127.0.0.1", 1)
    assert endpoint.with_port(2) == TcpEndpoint(socket.AF_INET, "127.0.0.1", 2)
    assert str(endpoint) == "http://127.0.0.1:1"
