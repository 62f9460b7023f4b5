"""A file that is being downloaded: its part beside it, and how it is moved into place.

One process writes a part at a time, by a lock on it (flock(2)). Others who may write
into the same directory can guess its name, so an existing file is taken only where it
is our own and has this one name. A file is moved into its place by rename(2), so that
it appears whole.
"""

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Protocol

MOST_LINKS = 40
"""How many symbolic links are followed one after the other; the kernel has the same
bound."""


class Destination(Protocol):
    """What content is written to.

    Attributes:
        mark: Identifies the representation that it is a part of.
        size_bytes: How many octets it has.
        is_kept: When it is closed, its part stays, so that it can be continued.
    """

    mark: str
    size_bytes: int
    is_kept: bool

    def write(self, octets: bytes) -> None:
        """Append octets.

        Raises:
            OSError: Not all of them could be written; ``size_bytes`` says how many
                were.
        """
        ...

    def truncate(self, size_bytes: int) -> None:
        """Cut it to a size."""
        ...

    def place(self) -> None:
        """Move it into its place: it is whole."""
        ...

    def close(self) -> None:
        """Close it; what was not placed is removed, unless ``is_kept``."""
        ...


def resolve_links(path: Path) -> Path:
    """Return the file that a path leads to by links, so that the links stay.

    A link of another user in a directory where everybody may write, such as /tmp, is
    not followed; the kernel does not follow it either (proc(5), protected_symlinks).

    Raises:
        OSError: There are too many links, or one must not be followed.
    """
    for _ in range(MOST_LINKS):
        try:
            link = os.lstat(path)
        except FileNotFoundError:
            return path
        if not stat.S_ISLNK(link.st_mode):
            return path
        folder = os.stat(path.parent)
        is_shared = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
        if is_shared and link.st_uid not in (os.geteuid(), folder.st_uid):
            raise PermissionError(errno.EACCES, "a link of somebody else", str(path))
        path = path.parent / os.readlink(path)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


class PartFile:
    """The beginning of a file, beside its place.

    Args:
        place: Where the whole file will be.
        mark: Tells parts of different representations apart.

    Raises:
        BlockingIOError: Another process, or another ``save``, writes it.
        OSError: It cannot be written, or is no part of ours.
    """

    def __init__(self, place: Path, mark: str) -> None:
        self._place = place
        self.mark = mark
        self.path = place.with_name(f"{place.name}.{mark}.part")
        self.is_kept = False
        self._is_placed = False
        while (file := self._open()) is None:
            pass  # it was moved or removed between open and lock
        self._file = file
        self.size_bytes = os.lseek(self._file, 0, os.SEEK_END)

    def _open(self) -> int | None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        file = os.open(self.path, flags, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(file)
            is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
            if not is_ours or found.st_nlink > 1:
                what = "not a file of this user, with one name: remove it"
                raise FileExistsError(errno.EEXIST, what, str(self.path))
            if _is_at(self.path, found):
                return file
        except BlockingIOError:
            os.close(file)
            message = f"{self._place} is being saved by somebody else"
            raise BlockingIOError(message) from None
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        return None

    def write(self, octets: bytes) -> None:
        """See ``Destination``."""
        rest = memoryview(octets)
        while rest:
            count = os.write(self._file, rest)
            rest = rest[count:]
            self.size_bytes += count

    def truncate(self, size_bytes: int) -> None:
        """See ``Destination``."""
        os.ftruncate(self._file, size_bytes)
        self.size_bytes = os.lseek(self._file, size_bytes, os.SEEK_SET)

    def place(self) -> None:
        """Move it into its place, with owner and mode of the file that is there."""
        os.fsync(self._file)
        found = os.fstat(self._file)
        if found.st_size != self.size_bytes or not _is_at(self.path, found):
            what = "somebody else has changed it"
            raise OSError(errno.EBUSY, what, str(self.path))
        try:
            before = os.stat(self._place, follow_symlinks=False)
        except FileNotFoundError:
            before = None
        if before is not None and stat.S_ISREG(before.st_mode):
            if (before.st_uid, before.st_gid) != (found.st_uid, found.st_gid):
                try:
                    os.fchown(self._file, before.st_uid, before.st_gid)
                except PermissionError:
                    pass  # it stays ours, as every new file is
            os.fchmod(self._file, stat.S_IMODE(before.st_mode))
        self.path.replace(self._place)
        self._is_placed = True

    def close(self) -> None:
        """See ``Destination``."""
        try:
            if not (self._is_placed or self.is_kept) and _is_at(
                self.path, os.fstat(self._file)
            ):
                self.path.unlink(missing_ok=True)  # before the lock is released
        finally:
            os.close(self._file)


class Device:
    """A pipe, a terminal, /dev/null: content is written to it as it comes.

    Args:
        path: Its path; it is never replaced.

    Raises:
        OSError: It cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.mark = ""
        self._file = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
        self.size_bytes = 0
        self.is_kept = False

    def write(self, octets: bytes) -> None:
        """See ``Destination``."""
        rest = memoryview(octets)
        while rest:
            count = os.write(self._file, rest)
            rest = rest[count:]
            self.size_bytes += count

    def truncate(self, size_bytes: int) -> None:
        """Do nothing, if nothing was written.

        Raises:
            OSError: Something was written, which cannot be undone.
        """
        if size_bytes != self.size_bytes:
            raise OSError(errno.ESPIPE, os.strerror(errno.ESPIPE), str(self._path))

    def place(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """See ``Destination``."""
        os.close(self._file)


def is_device(path: Path) -> bool:
    """Tell whether a path leads to something that exists and is not a regular file.

    Raises:
        IsADirectoryError: It leads to a directory.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return not stat.S_ISREG(mode)


def _is_at(path: Path, found: os.stat_result) -> bool:
    """Tell whether a path still leads to this very file."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino)
