"""A file with the master's pid, for tools that cannot ask otherwise.

It locks nothing: that two services do not run on one address is the matter of
that address.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from blazeio_supervisor.errors import UsageError


@contextmanager
def pid_written(path: str) -> Iterator[None]:
    """Have our pid in a file for a while; "": there is none.

    The file appears whole, and takes the place of one that was left behind. At
    the end it is removed, if it still holds our pid.

    Raises:
        UsageError: It cannot be written.
    """
    if path:
        _write(path, _own())
    with pid_removed(path):
        yield


@contextmanager
def pid_removed(path: str) -> Iterator[None]:
    """Remove the file at the end, if it still holds our pid; "": there is none."""
    try:
        yield
    finally:
        if path and _read(path) == _own():
            os.unlink(path)


def _own() -> str:
    return f"{os.getpid()}\n"


def _write(path: str, text: str) -> None:
    draft = f"{path}.{os.getpid()}"
    try:
        with open(draft, "w") as file:
            file.write(text)
        os.rename(draft, path)
    except OSError as error:
        raise UsageError(f"--pid-file {path}: {error.strerror}") from None


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
