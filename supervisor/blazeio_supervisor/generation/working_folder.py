"""The folder that relative paths start from, wherever the app goes by itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def working_in(folder: str) -> Iterator[None]:
    """Be in a folder for a while, where the app may have left it.

    Args:
        folder: The working directory of the service, without symbolic links.

    Raises:
        OSError: It is gone.
    """
    try:
        if os.getcwd() == folder:
            yield
            return
        there = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield  # the app stands in a folder that is gone, and is left there
        return
    try:
        os.chdir(folder)
        yield
    finally:
        os.fchdir(there)
        os.close(there)
