"""Who the app's processes run as: chosen by the master, taken on before the import.

The master keeps its own user: it owns the sockets, and must be able to signal
its children. What runs the app's code can never go back.
"""

import grp
import os
import pwd

import msgspec

from blazeio_supervisor.ipc.processes import become_dumpable

_NO_HOME = "/"  # as container engines give a user without an entry
_ID_LIMIT = 2**32 - 1  # this one means "unchanged" to the kernel


class Identity(msgspec.Struct, frozen=True):
    """A user and group.

    Attributes:
        name: In the system's list of users; "" for one that has no entry there.
        home: The user's home directory.
    """

    uid: int
    gid: int
    name: str = ""
    home: str = _NO_HOME

    def __str__(self) -> str:
        return f"{self.name or 'user'} (uid {self.uid}, gid {self.gid})"


class NoSuchIdentityError(ValueError):
    """A user or group is not there.

    Args:
        of: ``user`` or ``group``.
        reason: What does not exist.
    """

    def __init__(self, of: str, reason: str) -> None:
        super().__init__(reason)
        self.of = of


def find_identity(user: str, group: str) -> Identity:
    """Find a user and a group by names or numbers.

    Args:
        user: Name or number; a number needs no entry in the system's list of users.
        group: "": the user's own.

    Raises:
        NoSuchIdentityError: The operator's fault: it does not exist.
    """
    entry = _find_user(user)
    gid = _find_group(group) if group else None
    if entry is not None:
        own_gid = entry.pw_gid if gid is None else gid
        return Identity(entry.pw_uid, own_gid, entry.pw_name, entry.pw_dir)
    uid = _read_id(user)
    if uid is None:
        raise NoSuchIdentityError("user", "no such user")
    if gid is None:
        reason = "no such user, so its group is not known: give --group"
        raise NoSuchIdentityError("user", reason)
    return Identity(uid, gid)


def _find_user(text: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(text)
    except KeyError:
        pass  # a number, perhaps
    try:
        uid = _read_id(text)
        return None if uid is None else pwd.getpwuid(uid)
    except KeyError:
        return None


def _find_group(text: str) -> int:
    try:
        return grp.getgrnam(text).gr_gid
    except KeyError:
        gid = _read_id(text)
    if gid is None:
        raise NoSuchIdentityError("group", "no such group")
    return gid


def _read_id(text: str) -> int | None:
    is_id = text.isdecimal() and text.isascii() and int(text) < _ID_LIMIT
    return int(text) if is_id else None


def take_on(identity: Identity, *, has_secrets: bool = False) -> None:
    """Become this user, for good: groups, then group, then user.

    The supplementary groups are looked up here, so anew at each reload. The
    environment says so too: a library that finds root's ``HOME`` would fail to
    write there. Clears the parent death signal.

    Args:
        identity: The user to become.
        has_secrets: What only root may read is in memory: then no other process of this
            user may read the memory of this one.

    Raises:
        OSError: The kernel refuses; the process must end, as it may be half
            this user and half the other.
    """
    if identity.name:
        os.initgroups(identity.name, identity.gid)
    else:
        os.setgroups([identity.gid])
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    _check_no_way_back(identity)
    if not has_secrets:
        # Else /proc/self belongs to root, and this process cannot be debugged.
        # It was exec'd afresh: nothing else of root's is in its memory.
        become_dumpable()
    os.environ["HOME"] = identity.home
    for key in ("USER", "LOGNAME"):
        os.environ.pop(key, None)
        if identity.name:
            os.environ[key] = identity.name


def _check_no_way_back(identity: Identity) -> None:
    """Try it: capabilities that outlive a change of user would allow it."""
    if identity.uid == 0:
        return
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise OSError(0, "root's rights are still there afterwards")
