"""Who could have put something else in the place of a file.

A name is believed as far as nobody but this process's user and root can change
what it leads to. So a path is walked from the root, component by component, by
descriptors (``O_PATH | O_NOFOLLOW``): each folder is examined once it is held, and
each symbolic link is followed here, by hand, or refused. What others could have
exchanged meanwhile is found out by that, since the file is then opened in the
folder that was examined (``openat``).

Root trusts root alone, its group, and folders with the sticky bit (``/tmp``), in
which nobody may rename the files of another. Any other user trusts itself, root
and its own groups, and its folders are not judged: whoever may write a folder
above a file of another owner cannot make that file belong to this user.

A user who has no number in this user namespace (the kernel shows the overflow uid
for all of them) is outside of it, as root of the machine is: it counts as root.
"""

import errno
import grp
import os
import pwd
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_PATH_FLAGS = getattr(os, "O_PATH", 0) | os.O_NOFOLLOW | os.O_CLOEXEC
_LINK_COUNT = 40
"""More symbolic links in one path are a loop: as the kernel has it (MAXSYMLINKS)."""
_OWN_FD = re.compile(r"/(?:dev|proc/(?:self|thread-self|(?P<pid>\d+)))/fd/(?P<fd>\d+)")
_STANDARD_FDS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_ACL = "system.posix_acl_access"
_OVERFLOW_UID = 65534
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class UntrustedError(OSError):
    """What a name leads to could have been exchanged by somebody else.

    Args:
        place: The path that is at fault: of the file, a link or a folder above.
        fault: Whose it is, or who may write it; completes a sentence about it.

    Attributes:
        place: As given.
    """

    def __init__(self, place: str, fault: str) -> None:
        self.place = place
        who = "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"
        super().__init__(
            errno.EPERM,
            f"{place} {fault}: {who} must not trust it; keep such a file where only "
            f"{'root' if who == 'root' else f'{who} or root'} may write, as in /etc",
        )


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where a file is, or would be made.

    Attributes:
        path: From the root on, without symbolic links.
        folder_fd: The folder that holds it; ``O_PATH``.
        name: In that folder.
        folder: What the folder is.
        found: What the name is by now; None: there is nothing. A symbolic link
            only where the walk was told not to follow the last one.
        weakness: Why others could exchange a folder on the way; None: they cannot.
        own_fd: The path is a name of this descriptor of ours; nothing else counts
            then. None: it is none.
    """

    path: str
    folder_fd: int
    name: str
    folder: os.stat_result
    found: os.stat_result | None
    weakness: UntrustedError | None
    own_fd: int | None = None

    @property
    def is_shared(self) -> bool:
        """Whether others may make files in the folder."""
        return may_others_write(self.folder, os.path.dirname(self.path))


def find_own_fd(path: str) -> int | None:
    """Return N where a path is a name of our own descriptor N; else None.

    Works without ``/proc`` too, for ``/dev/stdout`` and the like.
    """
    if path in _STANDARD_FDS:
        return _STANDARD_FDS[path]
    match = _OWN_FD.fullmatch(path)
    if match is None or match["pid"] not in (None, str(os.getpid())):
        return None
    return int(match["fd"])


@contextmanager
def walked(path: str, *, follows_last: bool = True) -> Iterator[FilePlace]:
    """Walk to a file, and hold the folder it is in for a while.

    Args:
        path: A relative one starts from the working directory.
        follows_last: A symbolic link at the end of the path is followed too.

    Raises:
        UntrustedError: A symbolic link on the way is not to be followed.
        OSError: A folder on the way does not exist, or may not be entered.
    """
    whole = path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
    walk = _Walk(whole, follows_last=follows_last)
    try:
        yield walk.go()
    finally:
        walk.close()


class _Walk:
    """One walk; ``close`` it, however it ends."""

    def __init__(self, path: str, *, follows_last: bool) -> None:
        self._uid = os.geteuid()
        self._given = path
        self._parts = _split(path)
        self._follows_last = follows_last
        self._links_left = _LINK_COUNT
        self._weakness: UntrustedError | None = None
        self._fd = -1
        self._path = "/"
        self._enter("/")

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def go(self) -> FilePlace:
        own_fd = find_own_fd(self._given)
        if own_fd is not None:
            return self._arrive(".", self._folder, own_fd)
        while self._parts:
            part = self._parts.pop()
            found = self._look_at(part)
            is_last = not self._parts
            if found is not None and stat.S_ISLNK(found.st_mode):
                own_fd = find_own_fd(os.path.join(self._path, part))
                if is_last and own_fd is not None:
                    return self._arrive(part, found, own_fd)
                if self._follows_last or not is_last:
                    self._follow(part, found)
                    continue
            if is_last and (found is None or not stat.S_ISDIR(found.st_mode)):
                return self._arrive(part, found)
            if found is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            self._enter(part)
        return self._arrive(".", self._folder)  # the path is that of a folder

    def _arrive(
        self, name: str, found: os.stat_result | None, own_fd: int | None = None
    ) -> FilePlace:
        path = os.path.normpath(os.path.join(self._path, name))
        weakness = self._weakness
        return FilePlace(path, self._fd, name, self._folder, found, weakness, own_fd)

    def _look_at(self, part: str) -> os.stat_result | None:
        try:
            return os.stat(part, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _enter(self, part: str) -> None:
        at = None if self._fd < 0 else self._fd
        fd = os.open(part, _PATH_FLAGS | os.O_DIRECTORY, dir_fd=at)
        self.close()
        self._fd = fd
        self._path = "/" if at is None else os.path.join(self._path, part)
        self._path = os.path.normpath(self._path)
        self._folder = os.fstat(fd)
        if self._uid == 0 and self._weakness is None:
            self._weakness = _judge_folder(self._folder, self._path)

    def _follow(self, part: str, link: os.stat_result) -> None:
        path = os.path.join(self._path, part)
        self._links_left -= 1
        if self._links_left < 0:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if not self._may_follow(link):
            owner = name_user(link.st_uid)
            raise UntrustedError(path, f"is a symbolic link that {owner} made")
        target = os.readlink(part, dir_fd=self._fd)
        self._parts += _split(target)
        if target.startswith("/"):
            self.close()
            self._enter("/")

    def _may_follow(self, link: os.stat_result) -> bool:
        """Tell as the kernel does (fs.protected_symlinks); root is stricter."""
        is_shared = may_others_write(self._folder, self._path)
        if self._uid == 0 and self._weakness is not None:
            return False
        if is_shared and link.st_nlink > 1:
            return False
        if is_trusted(link.st_uid):
            return True
        is_of_folder = link.st_uid == self._folder.st_uid
        return self._uid != 0 and is_of_folder and not is_shared


def _split(path: str) -> list[str]:
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _judge_folder(found: os.stat_result, path: str) -> UntrustedError | None:
    if not is_trusted(found.st_uid):
        return UntrustedError(path, f"belongs to {name_user(found.st_uid)}")
    if may_others_write(found, path) and not found.st_mode & stat.S_ISVTX:
        return UntrustedError(path, describe_writers(found))
    return None


def judge_file(place: FilePlace) -> UntrustedError | None:
    """Say why what a file holds must not be believed; None: it may be.

    Args:
        place: Of a file that is there.
    """
    found = place.found
    assert found is not None
    if place.weakness is not None:
        return place.weakness
    if not is_trusted(found.st_uid):
        return UntrustedError(place.path, f"belongs to {name_user(found.st_uid)}")
    if may_others_write(found, place.path):
        return UntrustedError(place.path, describe_writers(found))
    return judge_names(place)


def judge_names(place: FilePlace) -> UntrustedError | None:
    """Say why a file may be another one, under a name that others gave it."""
    found = place.found
    assert found is not None
    is_open = place.weakness is not None or place.is_shared
    if is_open and found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
        fault = f"has {found.st_nlink} names (hard links), in a folder of others"
        return UntrustedError(place.path, fault)
    return None


def why_not_trusted(path: str) -> str:
    """Say why a file or folder is not to be believed; "": it is.

    Of one that is not there, the folder is judged in which it would be made. Of
    another user than root, nothing is said.
    """
    if os.geteuid() != 0:
        return ""
    try:
        with walked(path) as place:
            fault = _judge_what_is_there(place)
    except (FileNotFoundError, NotADirectoryError):
        return why_not_trusted(os.path.dirname(path))
    except OSError as error:
        return str(error.strerror)
    return "" if fault is None else str(fault.strerror)


def _judge_what_is_there(place: FilePlace) -> UntrustedError | None:
    if place.own_fd is not None:
        return None
    if place.found is not None:
        return judge_file(place)
    if place.weakness is None and place.is_shared:
        return UntrustedError(place.path, "could be made by anybody")
    return place.weakness


def is_trusted(uid: int) -> bool:
    """Whether this user cannot harm us: root, ourselves, somebody from outside."""
    return uid in (0, os.geteuid()) or (uid == _OVERFLOW_UID and _is_unmapped(uid))


def may_others_write(found: os.stat_result, path: str) -> bool:
    """Whether somebody else may write a file or folder, by its mode or an ACL.

    Nobody may where it is mounted read-only, as Kubernetes has the folders of its
    ConfigMaps, whose mode is 0777.
    """
    if not found.st_mode & (stat.S_IWOTH | stat.S_IWGRP) or _is_read_only(path):
        return False
    if found.st_mode & stat.S_IWOTH:
        return True
    groups = {0}
    if os.geteuid() != 0:
        groups |= {os.getegid(), *os.getgroups()}
    # Where there is an ACL these bits are its mask, and hold for anybody it names.
    return found.st_gid not in groups or _has_acl(path)


def _is_read_only(path: str) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _has_acl(path: str) -> bool:
    try:
        return bool(os.getxattr(path, _ACL, follow_symlinks=False))
    except OSError:
        return False  # none, or a file system that knows none


def _is_unmapped(uid: int) -> bool:
    try:
        with open("/proc/self/uid_map") as file:
            ranges = [tuple(map(int, line.split())) for line in file]
    except OSError:
        return False
    return bool(ranges) and not any(
        first <= uid < first + count for first, _, count in ranges
    )


def describe_writers(found: os.stat_result) -> str:
    """Say who may write a file that only its owner should be able to write."""
    mode = f"(mode {stat.S_IMODE(found.st_mode):04o})"
    if found.st_mode & stat.S_IWOTH:
        return f"may be written by everybody {mode}"
    return f"may be written by group {_name_group(found.st_gid)} {mode}"


def describe_kind(found: os.stat_result) -> str:
    """Say what something is that is not a regular file."""
    return f"is {_KINDS.get(stat.S_IFMT(found.st_mode), 'no file')}"


def name_user(uid: int) -> str:
    """Name a user, with the number."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def _name_group(gid: int) -> str:
    try:
        return f"{grp.getgrgid(gid).gr_name} (gid {gid})"
    except KeyError:
        return f"{gid}"
