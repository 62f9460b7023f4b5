import errno
import os
import re
import socket
from pathlib import Path

import pytest

from blazeio_supervisor.errors import BindError, ExitCode
from blazeio_supervisor.sockets import bind
from blazeio_supervisor.sockets.address import TcpEndpoint, UnixAddress
from blazeio_supervisor.sockets.bind import (
    AddressInUseError,
    PortOwner,
    _explain,
    _find_unix_holder,
    identify_path,
    open_first,
    open_sibling,
    open_unix,
)
from blazeio_supervisor.trust import walked

ANY_PORT = TcpEndpoint(socket.AF_INET, "127.0.0.1", 0)


def endpoint_of(sock: socket.socket) -> TcpEndpoint:
    host, port = sock.getsockname()[:2]
    return TcpEndpoint(sock.family, host, port)


def test_siblings_join_the_first_socket() -> None:
    with open_first(ANY_PORT) as first, open_sibling(first) as second:
        assert first.getsockname() == second.getsockname()
        assert not second.getblocking()


def test_a_second_service_is_refused_though_it_shares_ports_too() -> None:
    with (
        open_first(ANY_PORT) as first,
        open_sibling(first),
        pytest.raises(AddressInUseError) as caught,
    ):
        open_first(endpoint_of(first))
    assert f"is in use by pid {os.getpid()} (" in str(caught.value)
    assert caught.value.exit_code is ExitCode.CANNOT_BIND


def test_a_foreign_service_with_the_option_is_not_joined() -> None:
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        with pytest.raises(AddressInUseError):
            open_first(endpoint_of(foreign))


def test_what_was_bound_is_free_at_once_when_it_is_closed() -> None:
    with open_first(ANY_PORT) as first:
        endpoint = endpoint_of(first)
        with socket.create_connection(first.getsockname()) as client:
            accepted, _ = first.accept()
            accepted.close()  # it waits in TIME_WAIT from here on
            client.recv(1)
    open_first(endpoint).close()


def test_a_v6_socket_leaves_the_v4_port_free() -> None:
    with open_first(TcpEndpoint(socket.AF_INET6, "::", 0)) as v6:
        port = v6.getsockname()[1]
        open_first(TcpEndpoint(socket.AF_INET, "0.0.0.0", port)).close()


def test_an_address_of_another_machine_is_refused_with_the_reason() -> None:
    with pytest.raises(BindError, match="no interface of this machine"):
        open_first(TcpEndpoint(socket.AF_INET, "192.0.2.1", 0))


@pytest.mark.parametrize(
    ("number", "port", "said"),
    [
        (errno.EACCES, 1023, ": no; a port below 1024 needs CAP_NET_BIND_SERVICE"),
        (errno.EACCES, 1024, ": no"),
        (errno.EPERM, 80, ": no"),
        (
            errno.EADDRNOTAVAIL,
            80,
            ": no; no interface of this machine has that address",
        ),
    ],
)
def test_the_error_says_what_to_do(number: int, port: int, said: str) -> None:
    error = _explain(
        TcpEndpoint(socket.AF_INET, "127.0.0.1", port), OSError(number, "no")
    )
    assert str(error) == f"cannot bind http://127.0.0.1:{port}{said}"


@pytest.mark.parametrize(
    ("holders", "who"),
    [
        ([], "by a process of another user"),
        ([PortOwner(7, "a")], "by pid 7 (a)"),
        ([PortOwner(7, "a"), PortOwner(8, "b")], "by pid 7 (a), pid 8 (b)"),
    ],
)
def test_the_error_names_all_that_can_be_seen(
    monkeypatch: pytest.MonkeyPatch, holders: list[PortOwner], who: str
) -> None:
    monkeypatch.setattr(bind, "find_holders", lambda _: holders)
    endpoint = TcpEndpoint(socket.AF_INET, "127.0.0.1", 80)
    error = _explain(endpoint, OSError(errno.EADDRINUSE, "taken"))
    assert str(error) == f"http://127.0.0.1:80 is in use {who}"


@pytest.fixture
def address(tmp_path: Path) -> UnixAddress:
    return UnixAddress(str(tmp_path / "s"))


def test_a_unix_socket_answers_everybody(address: UnixAddress) -> None:
    with open_unix(address) as sock:
        assert not sock.getblocking()
        assert os.stat(address.path).st_mode & 0o777 == 0o666
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(address.path)
            sock.accept()[0].close()


def test_a_unix_socket_is_closed_to_whom_the_umask_says(address: UnixAddress) -> None:
    before = os.umask(0o22)
    try:
        with open_unix(address, mode=0o660, owner=(os.getuid(), os.getgid())):
            assert os.stat(address.path).st_mode & 0o777 == 0o660
        assert os.umask(0o22) == 0o22  # that of the process is as it was
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_unix_socket_gets_its_owner(address: UnixAddress) -> None:
    with open_unix(address, owner=(12345, 54321)):
        found = os.stat(address.path)
    assert (found.st_uid, found.st_gid) == (12345, 54321)


def test_a_stale_unix_socket_is_replaced(address: UnixAddress) -> None:
    open_unix(address).close()
    assert os.path.exists(address.path)
    open_unix(address).close()


def test_a_living_unix_socket_is_refused_with_its_pid(address: UnixAddress) -> None:
    with open_unix(address):
        with pytest.raises(AddressInUseError, match=f"pid {os.getpid()} ") as caught:
            open_unix(address)
        assert caught.value.pid == os.getpid()
        assert os.path.exists(address.path)


def test_a_living_unix_socket_with_a_full_queue_is_refused(
    address: UnixAddress,
) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as one:
        busy.bind(address.path)
        busy.listen(0)
        one.connect(address.path)
        said = f"^{address} is in use by a process whose queue is full$"
        with pytest.raises(AddressInUseError, match=said) as caught:
            open_unix(address)
        assert caught.value.pid == 0


def test_who_listens_is_asked_by_the_file_that_was_looked_at(
    address: UnixAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = UnixAddress(f"{address.path}.none")
    with (
        open_unix(address),
        walked(address.path, follows_last=False) as place,
    ):
        assert _find_unix_holder(elsewhere, place)[1] == os.getpid()
        monkeypatch.setattr(os.path, "exists", lambda _: False)  # there is no /proc
        assert _find_unix_holder(elsewhere, place) == ("", 0)
        assert _find_unix_holder(address, place)[1] == os.getpid()


def test_nobody_is_asked_by_a_link(address: UnixAddress) -> None:
    link = UnixAddress(f"{address.path}.link")
    os.symlink(address.path, link.path)
    with open_unix(address), walked(link.path, follows_last=False) as place:
        assert _find_unix_holder(link, place) == ("", 0)


def test_a_file_that_is_no_socket_is_never_removed(address: UnixAddress) -> None:
    Path(address.path).write_text("precious")
    with pytest.raises(BindError, match="is not a socket"):
        open_unix(address)
    assert Path(address.path).read_text() == "precious"


@pytest.mark.parametrize("path", ["/no/such/folder/s", "/dev/null/s"])
def test_a_path_that_cannot_be_made_is_refused(path: str) -> None:
    with pytest.raises(BindError, match=re.escape(f"cannot bind unix:{path}")):
        open_unix(UnixAddress(path))


def test_a_later_file_of_the_same_name_is_another_one(address: UnixAddress) -> None:
    with open_unix(address):
        first = identify_path(address.path)
        os.rename(address.path, address.path + ".old")
        assert identify_path(address.path) is None
        with open_unix(address):
            assert identify_path(address.path) != first
