"""Other users than root, for tests of what is kept apart from them."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from blazeio_supervisor.sockets.reuseport import attach

NOBODY = 65534


def need_root() -> None:
    """Skip the test of somebody who may not become another user."""
    if os.geteuid() != 0:
        pytest.skip("only root changes its user and gives files away")


def need_filters() -> None:
    """Skip the test where nobody but root may attach a filter to a TCP socket."""
    with socket.socket() as sock:
        try:
            attach(sock, 26, [(0x06, 0, 0, 0xFFFFFFFF)])  # SO_ATTACH_FILTER: keep all
        except PermissionError:
            pytest.skip("this kernel lets only root attach a filter to a TCP socket")


def give(path: Path, uid: int = NOBODY, mode: int | None = None) -> Path:
    """Give a file or folder, or the link itself, to a user."""
    os.chown(path, uid, uid, follow_symlinks=False)
    if mode is not None:
        path.chmod(mode)
    return path


@contextmanager
def acting_as(uid: int = NOBODY) -> Iterator[None]:
    """Have this process be another user for a while, but for what it may go back to."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
