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
    if not path:
        yield
        return
    own = f"{os.getpid()}\n"
    _write(path, own)
    try:
        yield
    finally:
        if _read(path) == own:
            os.unlink(path)


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
