import os
import socket
import sys

import pytest

from blazeio_supervisor.sockets.address import TcpEndpoint
from blazeio_supervisor.sockets.bind import describe_holder, find_holders
from tests.support.clock import block_until


def listen(family: socket.AddressFamily, host: str) -> socket.socket:
    sock = socket.socket(family)
    sock.bind((host, 0))
    sock.listen()
    return sock


@pytest.mark.parametrize(
    ("family", "bound", "wanted"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "127.0.0.1", "0.0.0.0"),
        (socket.AF_INET, "0.0.0.0", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET6, "::", "127.0.0.1"),
    ],
)
def test_who_listens_there_is_found(
    family: socket.AddressFamily, bound: str, wanted: str
) -> None:
    with listen(family, bound) as sock:
        (holder,) = find_holders(TcpEndpoint(family, wanted, sock.getsockname()[1]))
    assert holder.pid == os.getpid()


def test_another_address_of_the_same_port_is_not_in_the_way() -> None:
    with listen(socket.AF_INET, "127.0.0.1") as sock:
        port = sock.getsockname()[1]
        assert not find_holders(TcpEndpoint(socket.AF_INET, "127.0.0.2", port))


def test_a_bound_socket_that_does_not_listen_is_no_holder() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert not find_holders(TcpEndpoint(socket.AF_INET, "127.0.0.1", port))


def test_of_a_family_that_shares_the_socket_the_head_is_named() -> None:
    with listen(socket.AF_INET, "127.0.0.1") as sock:
        sock.set_inheritable(True)
        endpoint = TcpEndpoint(socket.AF_INET, "127.0.0.1", sock.getsockname()[1])
        child = os.posix_spawn("/bin/sleep", ["sleep", "60"], os.environ)
        (holder,) = find_holders(endpoint)
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert holder.pid == os.getpid()


def test_who_is_hidden_hides_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    own = str(os.getpid())

    def list_some(path: str) -> list[str]:
        if path == "/proc/1/fd":
            raise PermissionError(path)
        return ["1", "self", own] if path == "/proc" else list_all(path)

    list_all = os.listdir
    with listen(socket.AF_INET, "127.0.0.1") as sock:
        monkeypatch.setattr(os, "listdir", list_some)
        endpoint = TcpEndpoint(socket.AF_INET, "127.0.0.1", sock.getsockname()[1])
        assert [each.pid for each in find_holders(endpoint)] == [os.getpid()]


def test_a_process_is_named_by_its_command_line() -> None:
    child = os.posix_spawn("/bin/sleep", ["sleep", "60"], os.environ)
    block_until(lambda: str(describe_holder(child)) == f"pid {child} (sleep 60)")
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert str(describe_holder(child)) == f"pid {child} (unnamed)"


def test_its_name_is_one_line_whatever_it_holds() -> None:
    code = "import time; time.sleep(60)\n# \x1b[31m"
    child = os.posix_spawn(sys.executable, ["python", "-Sc", code], os.environ)
    said = f"pid {child} (python -Sc import time; time.sleep(60) # ?[31m)"
    block_until(lambda: str(describe_holder(child)) == said)
    os.kill(child, 9)
    os.waitpid(child, 0)
