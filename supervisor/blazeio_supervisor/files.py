"""Files opened by name, so that no other user decides which file that is.

Every process of the supervisor that may be root opens its files here: the
settings, what is set in the environment of the app, the log, the pid file, the
paths of unix sockets. See ``trust`` for who is believed.

=================  ==========================================================
read               what it holds decides something: it and all folders above it
                   must be ours or root's, and nobody else may write them
append             nothing is believed: the file must be ours or root's and have
                   one name; the folder may be another user's, unless somebody
                   else's code is to open it (``examine_to_append``)
replace, remove    an entry of the folder alone is made or taken away; what it
                   led to before is not touched
=================  ==========================================================

No link that another user made is followed, and nothing that is no regular file is
waited for: a pipe of this name is refused.
"""

import dataclasses
import errno
import os
import stat

from blazeio_supervisor.trust import (
    FilePlace,
    UntrustedError,
    describe_kind,
    is_trusted,
    judge_file,
    judge_names,
    name_user,
    walked,
)

READ_BYTES = 1024 * 1024
"""A longer file is none that we read: settings, variables, a pid."""
_READ = os.O_RDONLY
_APPEND = os.O_WRONLY | os.O_APPEND
_MAKE = os.O_CREAT | os.O_EXCL
_ALWAYS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_TRIES = 10
"""A file that is made and removed again by others meanwhile is given up then."""

FileIdentity = tuple[int, int]
"""Device and inode: a later file of the same name has others."""


def read(path: str, *, is_judged: bool = True) -> bytes:
    """Read a file that decides what we do.

    A name of an own descriptor (``/dev/stdin``, ``/dev/fd/63`` of a shell's
    ``<(command)``) is read to its end: whoever started us gave it.

    Args:
        path: A relative one starts from the working directory.
        is_judged: False: whoever may write it decides nothing by it.

    Raises:
        UntrustedError: Others may write it, or exchange it; says who.
        OSError: It is not there, cannot be read, is no regular file, or longer
            than ``READ_BYTES``.
    """
    with walked(path) as place:
        if place.own_fd is not None:
            return _read_all(os.dup(place.own_fd))
        fd = _open(place, _READ)
        try:
            opened = _note_opened(place, fd)
            _check_kind(opened)
            fault = judge_file(opened) if is_judged else None
            if fault is not None:
                raise fault
        except BaseException:
            os.close(fd)
            raise
    return _read_all(fd)


def examine(path: str) -> None:
    """Refuse a file that is to be read by somebody else's code, by its name.

    Its name is good then as long as nobody who is trusted changes it.

    Raises:
        UntrustedError: Others may write it, or exchange it; says who.
        OSError: It is not there, or no regular file.
    """
    with walked(path) as place:
        _check_kind(place)
        fault = judge_file(place)
        if fault is not None:
            raise fault


def open_to_append(path: str, mode: int, *, may_be_pipe: bool = False) -> int:
    """Open a log, making it if there is none; return its descriptor.

    A name of an own descriptor (``/dev/stderr``) is that descriptor, once more. A
    device (``/dev/null``, a terminal) is one, where others cannot exchange it.

    Args:
        path: A relative one starts from the working directory.
        mode: Of a file that is made, less the umask.
        may_be_pipe: So may a pipe be; the descriptor does not wait then.

    Raises:
        UntrustedError: It is another's file, or may be one of ours under a name
            that another user gave it.
        OSError: It cannot be opened.
    """
    for _ in range(_TRIES):
        with walked(path) as place:
            if place.own_fd is not None:
                return os.dup(place.own_fd)
            try:
                fd = _open(place, _APPEND, mode, may_be_pipe=may_be_pipe)
            except (FileExistsError, FileNotFoundError):
                continue  # it was made, or removed, since we looked
            try:
                opened = _note_opened(place, fd)
                _check_kind(opened, _APPEND, may_be_pipe=may_be_pipe)
                _judge_log(opened)
                if not may_be_pipe:
                    os.set_blocking(fd, True)
            except BaseException:
                os.close(fd)
                raise
            return fd
    raise OSError(errno.EAGAIN, "others make and remove it all the time")


def examine_to_append(path: str) -> None:
    """Refuse a log that somebody else's code is to open, by its name.

    Whose the file is does not matter, since nothing in it is believed. But nobody
    else may put another one in its place, be it a link.

    Raises:
        UntrustedError: Somebody may; says who.
        OSError: It is no regular file, or its folder is not there.
    """
    with walked(path) as place:
        if place.own_fd is not None:
            return
        if place.weakness is not None:
            raise place.weakness
        if place.found is None:
            if place.is_shared:
                raise UntrustedError(place.path, "could be made by anybody")
            return
        _check_kind(place, _APPEND)
        if place.is_shared:
            _judge_log(place)


def replace(path: str, octets: bytes, mode: int) -> FileIdentity:
    """Put a new file in the place of what is there, whole or not at all.

    Args:
        path: A link there is not followed: it is what is replaced.
        octets: What the file holds.
        mode: Of the file, less the umask.

    Raises:
        OSError: It cannot be made; what was there is still there.
    """
    with walked(path, follows_last=False) as place:
        if place.found is not None and stat.S_ISDIR(place.found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        draft = f".{place.name}.{os.urandom(4).hex()}"
        flags = os.O_WRONLY | _MAKE | _ALWAYS
        fd = os.open(draft, flags, mode, dir_fd=place.folder_fd)
        try:
            with open(fd, "wb") as file:
                file.write(octets)
                identity = _identify(os.fstat(fd))
            at = place.folder_fd
            os.rename(draft, place.name, src_dir_fd=at, dst_dir_fd=at)
        except BaseException:
            os.unlink(draft, dir_fd=place.folder_fd)
            raise
    return identity


def look(path: str) -> os.stat_result | None:
    """Return what a name is itself, be it a link; None: there is nothing.

    Raises:
        OSError: Its folder is not there, or is not to be entered.
    """
    with walked(path, follows_last=False) as place:
        return place.found


def remove(path: str, identity: FileIdentity | None) -> bool:
    """Remove a file, if it is still this one; tell whether it was.

    Only the entry of its folder goes; a link there is not followed.

    Args:
        path: A relative one starts from the working directory.
        identity: Of ``identify``; None: nothing is removed.

    Raises:
        OSError: It may not be removed.
    """
    if identity is None:
        return False
    try:
        with walked(path, follows_last=False) as place:
            if place.found is None or _identify(place.found) != identity:
                return False
            os.unlink(place.name, dir_fd=place.folder_fd)
    except FileNotFoundError:
        return False
    return True


def identify(path: str) -> FileIdentity | None:
    """Tell one file from a later one of the same name; None: there is none.

    A symbolic link is identified itself, not what it leads to.
    """
    try:
        with walked(path, follows_last=False) as place:
            return None if place.found is None else _identify(place.found)
    except OSError:
        return None


def _identify(found: os.stat_result) -> FileIdentity:
    return found.st_dev, found.st_ino


def _open(
    place: FilePlace, flags: int, mode: int = 0, *, may_be_pipe: bool = False
) -> int:
    """Open what was walked to; a file to be written is made if there is none.

    What is no regular file is refused before it is opened: to open a device has
    effects. The descriptor is then looked at again.
    """
    if place.found is None:
        if not flags & _APPEND:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        flags |= _MAKE
    else:
        _check_kind(place, flags, may_be_pipe=may_be_pipe)
    return os.open(place.name, flags | _ALWAYS, mode, dir_fd=place.folder_fd)


def _note_opened(place: FilePlace, fd: int) -> FilePlace:
    """Return the place with what was opened there, whatever was there before."""
    return dataclasses.replace(place, found=os.fstat(fd))


def _check_kind(
    place: FilePlace, flags: int = _READ, *, may_be_pipe: bool = False
) -> None:
    found = place.found
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    mode = found.st_mode
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    is_fitting = stat.S_ISCHR(mode) or (may_be_pipe and stat.S_ISFIFO(mode))
    if flags & _APPEND and is_fitting and place.weakness is None:
        return
    reason = f"{place.path} {describe_kind(found)}, and no regular file"
    raise OSError(errno.EINVAL, reason)


def _judge_log(place: FilePlace) -> None:
    found = place.found
    assert found is not None
    if stat.S_ISCHR(found.st_mode):
        return  # nobody but root makes devices, and no other user's folder is it in
    is_strict = os.geteuid() == 0 or place.is_shared
    if is_strict and not is_trusted(found.st_uid):
        raise UntrustedError(place.path, f"belongs to {name_user(found.st_uid)}")
    fault = judge_names(place)
    if fault is not None:
        raise fault


def _read_all(fd: int) -> bytes:
    with open(fd, "rb") as file:
        octets = file.read(READ_BYTES + 1)
    if len(octets) > READ_BYTES:
        reason = f"it is longer than {READ_BYTES} octets"
        raise OSError(errno.EFBIG, reason)
    return octets
