"""What a client of a unix socket sends along is dropped by nobody's loop."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from blazeio_supervisor.master.status import Naming
from blazeio_supervisor.sockets.address import UnixAddress
from blazeio_supervisor.sockets.bind import open_unix, take_inherited

_SO_PASSRIGHTS = 83


def open_path(folder: Path) -> socket.socket:
    return open_unix(UnixAddress(str(folder / "sock")))


def open_name(folder: Path) -> socket.socket:
    naming = Naming()
    naming.claim(folder.name)
    sock = naming.take_socket().dup()
    naming.close()
    sock.listen()
    return sock


def inherit(folder: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(folder / "inherited"))
    sock.listen()
    (taken,) = take_inherited([(sock.detach(), "web")])
    return taken.sock


@pytest.mark.parametrize("listen", [open_path, open_name, inherit])
def test_the_kernel_refuses_them(
    listen: Callable[[Path], socket.socket], tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)
        except OSError:
            pytest.skip("Linux before 6.16 cannot be told")
    with listen(tmp_path) as listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(listener.getsockname())
        with pytest.raises(PermissionError):
            socket.send_fds(client, [b"x"], [0])
