import os
import socket
from pathlib import Path

import pytest

from blazeio_supervisor.ipc import socket_paths
from blazeio_supervisor.ipc.socket_paths import Listening, list_listening


def test_names_are_listed_with_their_owner() -> None:
    name = f"blazeio-test/\x1b {os.getpid()}"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"\0{name}")
        assert f"@{name}" not in [each.name for each in list_listening()]
        sock.listen()
        assert Listening(f"@{name}", os.geteuid()) in list_listening()


def test_where_the_kernel_may_not_be_asked_its_table_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> list[Listening]:
        raise PermissionError

    monkeypatch.setattr(socket_paths, "_ask_kernel", refuse)
    name = f"blazeio-test/{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"\0{name}")
        assert Listening(f"@{name}") not in list_listening()
        sock.listen()
        assert Listening(f"@{name}") in list_listening()


def test_paths_are_no_names(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "@blazeio"))
        sock.listen()
        assert not [each for each in list_listening() if "tmp" in each.name]
