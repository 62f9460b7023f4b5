"""From a request's path to an open file below a folder, or to nothing.

The file is opened first and judged then, by what was opened: no symbolic link
can be moved between the check and the use.
"""

import errno
import os
import stat
from itertools import islice
from typing import BinaryIO

from msgspec import Struct

from blazeio.errors import Abort
from blazeio.loggers import get_logger

log = get_logger("blazeio.files")

Identity = tuple[int, int, int, int]
"""Device, inode, time and size: another one when file or content changed."""

_SOURCES = (".py", ".pyc", ".pyi", ".pyo")
_WELL_KNOWN = ".well-known"  # RFC 8615: the one hidden name that is public


class OpenedFile(Struct, frozen=True):
    """A regular file below the folder, open for reading; the caller closes it.

    Attributes:
        file: Unbuffered.
        identity: When it was opened.
        size_bytes: When it was opened.
    """

    file: BinaryIO
    identity: Identity
    size_bytes: int

    @property
    def modified_ns(self) -> int:
        """When it was last changed, Unix time."""
        return self.identity[2]


def open_file(home: str, path: str) -> OpenedFile | None:
    """Open the file that a path names below a folder.

    Nothing is also: what lies outside, by ``..`` or by a symbolic link; hidden
    files; paths with an empty segment, so that no file has two names.

    Args:
        home: The folder, absolute and without symbolic links.
        path: Percent-decoded; starts with "/".

    Raises:
        Abort: 503, this process has no descriptor left.
    """
    return _open(home + path, home) if is_public(path) else None


def open_any(path: str) -> OpenedFile | None:
    """Open a regular file, wherever it is.

    Raises:
        Abort: 503, this process has no descriptor left.
    """
    return _open(path, None)


def _open(name: str, home: str | None) -> OpenedFile | None:
    try:
        # O_NONBLOCK: a pipe without a writer would block the open for ever
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        _demand_descriptors(error)
        return None  # not there, not for us, or no name that a file can have
    try:
        status = os.fstat(descriptor)
        is_ours = stat.S_ISREG(status.st_mode) and _is_below(home, descriptor)
    except OSError:  # without /proc nobody can tell where it is
        os.close(descriptor)
        raise
    if not is_ours:
        os.close(descriptor)
        return None
    file = os.fdopen(descriptor, "rb", buffering=0)
    return OpenedFile(file, _identity(status), status.st_size)


def _demand_descriptors(error: Exception) -> None:
    """Tell a file that cannot be opened now from one that is not there."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        log.error("no file can be opened: %s", error.strerror)
        raise Abort("Service Unavailable", 503, {"Retry-After": "1"}) from error


MOST_NAMES = 10_000
"""Of one folder; a listing ends there."""


def list_names(home: str, path: str) -> list[str] | None:
    """List what is served of a folder below another; blocks for a disk.

    Args:
        home: The outer folder, absolute and without symbolic links.
        path: Of the folder; starts and ends with "/".

    Returns:
        Sorted names, those of folders with a "/" behind; None: no such folder.
    """
    if path != "/" and not is_public(path[:-1]):
        return None
    try:
        descriptor = os.open(home + path, os.O_RDONLY | os.O_DIRECTORY)
    except (OSError, ValueError) as error:
        _demand_descriptors(error)
        return None
    try:
        if not _is_below(home, descriptor, or_it=True):
            return None
        with os.scandir(descriptor) as entries:
            names = [
                each.name + ending
                for each in islice(entries, MOST_NAMES)
                if is_public(path + each.name)
                and each.name.isprintable()
                and (ending := _ending_of(each)) is not None
            ]
    finally:
        os.close(descriptor)
    return sorted(names)


def _ending_of(entry: os.DirEntry[str]) -> str | None:
    """What its name has behind it in a list; None: it is nothing that is served.

    A link may loop, lead nowhere, or to where this process may not look.
    """
    try:
        if entry.is_dir():
            return "/"
        return "" if entry.is_file() else None
    except OSError:
        return None


def identify(home: str, path: str) -> Identity | None:
    """What ``open_file`` would find now, by one system call; None: nothing.

    It says nothing about containment: equal to the identity of a file that was
    opened, it is that file.
    """
    try:
        return _identity(os.stat(home + path))
    except (OSError, ValueError):
        return None


def names_source(path: str) -> bool:
    """Whether a path names Python code: a folder may be the app's own."""
    return "/__pycache__/" in path or path.lower().endswith(_SOURCES)


def is_public(path: str) -> bool:
    """Whether a path can name a file that is served at all."""
    if not path.startswith("/") or "\0" in path:
        return False
    first, *others = path[1:].split("/")
    return (first == _WELL_KNOWN or _is_plain(first)) and all(map(_is_plain, others))


def _is_plain(segment: str) -> bool:
    return bool(segment) and not segment.startswith(".")


def _is_below(home: str | None, descriptor: int, *, or_it: bool = False) -> bool:
    if home is None:
        return True
    real_path = os.readlink(f"/proc/self/fd/{descriptor}")
    return real_path.startswith(home.rstrip("/") + "/") or (or_it and real_path == home)


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
