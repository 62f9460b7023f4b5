import os
import socket
from pathlib import Path

import pytest

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.sockets.address import TcpEndpoint, UnixAddress
from blazeio_supervisor.sockets.bind import name_for_store, take_inherited


def open_fd(*, family: int = socket.AF_INET, address: object = ("127.0.0.1", 0)) -> int:
    sock = socket.socket(family)
    sock.bind(address)  # type: ignore[arg-type]
    sock.listen()
    sock.set_inheritable(True)
    return sock.detach()


def test_it_is_owned_non_blocking_and_not_passed_on() -> None:
    fd = open_fd()
    (taken,) = take_inherited([(fd, "http")])
    with taken.sock as sock:
        assert sock.fileno() == fd
        assert not os.get_blocking(fd)
        assert not os.get_inheritable(fd)
        host, port = sock.getsockname()
    assert taken.place == TcpEndpoint(socket.AF_INET, host, port)
    assert not taken.is_stored


def test_a_socket_without_a_path_is_known_by_its_name() -> None:
    fd = open_fd(family=socket.AF_UNIX, address=f"\0blazeio-{os.getpid()}\0a")
    (taken,) = take_inherited([(fd, "")])
    taken.sock.close()
    assert taken.place == UnixAddress(f"@blazeio-{os.getpid()}\0a")


def test_a_unix_socket_is_known_by_its_path(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    (taken,) = take_inherited([(open_fd(family=socket.AF_UNIX, address=path), "")])
    taken.sock.close()
    assert taken.place == UnixAddress(path)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (TcpEndpoint(socket.AF_INET, "0.0.0.0", 80), "blazeio_tcp_//0.0.0.0_80"),
        (TcpEndpoint(socket.AF_INET6, "::1", 80), "blazeio_tcp_//[__1]_80"),
        (UnixAddress("/run/a b.sock"), "blazeio_unix_/run/a b.sock"),
        (UnixAddress("/run/\u00e4"), "blazeio_unix_/run/\\xe4"),
    ],
)
def test_what_is_stored_has_a_name_that_systemd_takes(
    place: TcpEndpoint | UnixAddress, name: str
) -> None:
    assert name_for_store(place) == name
    (taken,) = take_inherited([(open_fd(), name)])
    taken.sock.close()
    assert taken.is_stored


def test_a_name_is_cut_at_what_systemd_takes() -> None:
    assert len(name_for_store(UnixAddress("/" + "\u00e4" * 100))) == 255


def test_what_is_no_listening_socket_is_named() -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    with pytest.raises(UsageError, match=rf"descriptor {fd} \(web\) is not a socket"):
        take_inherited([(fd, "web")])
    os.close(fd)
    fd = socket.socket().detach()
    said = f"^descriptor {fd} is not a listening stream socket$"
    with pytest.raises(UsageError, match=said):
        take_inherited([(fd, "")])
