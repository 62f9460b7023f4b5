"""``--log-file``: it takes the place of standard error, here and in all children.

Every process of the service, also of another user, gets a descriptor of what is
opened here: no link leads it elsewhere, see ``files/opening.py``.
"""

import os

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.files.opening import open_to_append
from blazeio_supervisor.observe.lines.terms import STDERR
from blazeio_supervisor.process.channel import Descriptor
from blazeio_supervisor.process.spawn import open_again

_MODE = 0o640


class LogFile:
    """The file of the log.

    Args:
        path: Absolute; it is appended to.
        fd: Of the open file, owned by this object.
    """

    def __init__(self, path: str, fd: int) -> None:
        self._path = path
        self._fd = fd

    def open_again(self) -> Descriptor:
        """Give it to a process that shall write there, too.

        Opened anew, so that nothing but the file is shared, unless it cannot be.
        """
        try:
            return Descriptor(open_again(self._fd))
        except OSError:
            return Descriptor(os.dup(self._fd))

    def close(self) -> None:
        """Give it back; what has taken its place stays there."""
        os.close(self._fd)

    def take_place(self) -> None:
        """Have what goes to standard error go there."""
        os.dup2(self._fd, STDERR, inheritable=True)

    def reopen(self) -> str:
        """Write to a new file of the same name, since the old one was renamed.

        Returns:
            Why that cannot be, and the old one is written on; "" when it can.
        """
        try:
            fd = open_to_append(self._path, _MODE)
        except OSError as error:
            return f"{self._path}: {error.strerror}; going on with the old one"
        os.dup2(fd, self._fd, inheritable=False)
        os.close(fd)
        self.take_place()
        return ""


def open_log_file(path: str) -> LogFile:
    """Open it, and have it take the place of standard error.

    Raises:
        UsageError: It cannot be opened.
    """
    try:
        log_file = LogFile(path, open_to_append(path, _MODE))
    except OSError as error:
        text = f"--log-file {path}: cannot open it: {error.strerror}"
        raise UsageError(text) from error
    log_file.take_place()
    return log_file


def resume_log_file(path: str) -> LogFile:
    """Go on with one that has taken that place before, whatever its name is now."""
    return LogFile(path, os.dup(STDERR))
