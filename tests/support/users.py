"""Other users than root, for tests of what is kept apart from them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


def need_root() -> None:
    """Skip the test of somebody who may not become another user."""
    if os.geteuid() != 0:
        pytest.skip("only root changes its user and gives files away")


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
