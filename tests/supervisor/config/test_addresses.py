import os
import socket

import pytest

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.ipc.socket_paths import SocketPath
from blazeio_supervisor.sockets.address import TcpAddress, UnixAddress
from tests.supervisor.typed import read_settings

TCP = TcpAddress("127.0.0.1", 80)
UNIX = UnixAddress("/run/s")


def test_every_bind_is_read_in_order() -> None:
    settings = read_settings("--bind=unix:/run/s", "--bind=127.0.0.1:80")
    assert settings.binds == (UNIX, TCP)


def test_the_same_address_twice_is_refused() -> None:
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:80 is given twice"):
        read_settings("--bind=127.0.0.1:80", "--bind=127.0.0.1:80")


def test_two_free_ports_may_be_asked_for() -> None:
    assert len(read_settings("--bind=127.0.0.1:0", "--bind=127.0.0.1:0").binds) == 2


def test_a_bad_address_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--bind 80: no host: write `127.+, or `:80`"):
        read_settings("--bind", "80")


def test_a_place_for_the_verbs_is_read_or_left_to_the_master() -> None:
    assert read_settings("--control=/run/c.sock").control == SocketPath("/run/c.sock")
    assert read_settings().control is None


def test_a_place_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="--control @: write a path"):
        read_settings("--control=@")


@pytest.mark.parametrize("mode", ["load", "even", "off"])
def test_each_mode_of_steering_is_read(mode: str) -> None:
    assert read_settings("--steering", mode).steering == mode


def test_another_mode_of_steering_is_refused() -> None:
    with pytest.raises(UsageError, match="--steering on: expected load, even or off"):
        read_settings("--steering=on")


def test_a_socket_that_is_open_may_be_named_by_its_number() -> None:
    with socket.socket() as sock:
        assert read_settings(f"--fd={sock.fileno()}").fds == (sock.fileno(),)


def test_a_number_that_is_no_socket_is_refused() -> None:
    fd = os.open("/", os.O_RDONLY)
    with pytest.raises(UsageError, match=f"--fd {fd}: descriptor {fd} is not a socket"):
        read_settings(f"--fd={fd}")
    os.close(fd)
    with pytest.raises(UsageError, match=f"descriptor {fd} is not open"):
        read_settings(f"--fd={fd}")


def test_the_modes_and_the_owner_of_unix_sockets() -> None:
    assert read_settings().unix_mode == 0o666
    assert read_settings("--umask=027").unix_mode == 0o640
    settings = read_settings("--uds-mode=660", "--uds-owner=0:0", "--umask=077")
    assert (settings.unix_mode, settings.unix_owner) == (0o660, (0, 0))
    assert read_settings().unix_owner is None


def test_an_owner_must_be_there() -> None:
    with pytest.raises(UsageError, match="--uds-owner none: no such user"):
        read_settings("--uds-owner=none")
    with pytest.raises(UsageError, match="--uds-owner root:none: no such group"):
        read_settings("--uds-owner=root:none")


def test_no_control_socket_and_a_place_for_it_do_not_go_together() -> None:
    assert read_settings("--no-control").no_control
    with pytest.raises(UsageError, match="--no-control: and --control @x: which"):
        read_settings("--no-control", "--control=@x")


@pytest.mark.parametrize("text", ["0", "65536", "x"])
def test_a_backlog_that_cannot_be_is_refused(text: str) -> None:
    assert read_settings().backlog == 2048
    with pytest.raises(UsageError, match=f"--backlog {text}: expected a whole number"):
        read_settings("--backlog", text)
