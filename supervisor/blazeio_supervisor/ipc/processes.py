"""Processes: what they are, whom they run as, how they are ended.

What a process is (its command line, its parent) is read by ``psutil``. To import that
takes 18 ms of CPU and 4 MiB, so it is imported where it is first needed: neither the
start of the master nor that of a worker pays for it. The master then finds it in its
kept image, so that it needs nothing more from the disk.

Three things are read from /proc here:

* The children of a process. ``psutil`` finds them by looking at every process of the
  machine: 1.6 ms among 115 of them, where the kernel's own list takes 0.013 ms; and
  every worker reads its descendants when it starts and when it ends.
* Its processor time. Each ``status`` wants it, and a master that scales its workers
  does once a second: for that alone it would have imported ``psutil``.
* The four user ids of a child: ``psutil`` does not tell the file system uid.

Processes are signalled by pidfd (pidfd_open(2)), so that a pid that was given to
another process meanwhile is never signalled. A few calls that Python's ``os`` does not
offer, such as prctl(2), are made by ``ctypes``.
"""

import ctypes
import errno
import gc
import grp
import os
import pwd
import re
import select
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

import msgspec

_COMMAND_CHARS = 4096
_KILLED_S = 0.25  # for one that is killed to be gone


def list_descendants(pid: int) -> list[int]:
    """List the living processes below a process; none where there is no /proc."""
    found: list[int] = []
    for child in list_children(pid):
        found += (child, *list_descendants(child))
    return found


def list_children(pid: int) -> list[int]:
    """List the living children of a process; none where there is no /proc."""
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(word) for word in file.read().split()]
        except OSError:
            continue  # it has just ended, or the kernel does not tell
    return found


def read_command(pid: int) -> str:
    """Return the command line of a process; "" when it is gone, or hidden."""
    import psutil

    try:
        words = psutil.Process(pid).cmdline()
    except (psutil.Error, OSError):
        return ""
    return " ".join(words)[:_COMMAND_CHARS].strip()


def read_parent(pid: int) -> int:
    """Return the pid of the parent of a process; 0: it is gone, or has none."""
    import psutil

    try:
        return psutil.Process(pid).ppid()
    except (psutil.Error, OSError):
        return 0


def read_cpu_s(pid: int) -> float | None:
    """Return the processor time of a process, user and system, in seconds.

    None: the process is gone, or hidden. Cost: 10 us; ``psutil``: 26.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in brackets, may hold anything. The state behind it is the third
            # field, utime and stime, in ticks, the 14th and 15th (proc_pid_stat(5)).
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def find_process(pid: int, pattern: re.Pattern[str], started_before: float) -> bool:
    """Tell whether a process runs that is known by its command line and its age.

    Args:
        pid: Of the process.
        pattern: Found in its command line.
        started_before: Unix time; a later process was given the pid of an earlier one.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        is_running = process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        is_older = process.create_time() <= started_before
        command = " ".join(process.cmdline())
    except (psutil.Error, OSError):
        return False  # it has ended, or is hidden
    return is_running and is_older and pattern.search(command) is not None


def end_descendants(span_s: float) -> list[int]:
    """End every process below this one: SIGTERM, then SIGKILL.

    The resource tracker of ``multiprocessing`` is left alone: it ends by itself with
    the last process that it serves, and then removes what is left.

    Args:
        span_s: Seconds between the two signals.

    Returns:
        The pids of the processes that were told to end.
    """
    pids = [pid for pid in list_descendants(os.getpid()) if pid != find_tracker()]
    end_processes(pids, span_s)
    return pids


def end_processes(pids: Iterable[int], span_s: float) -> None:
    """End processes: SIGTERM, then SIGKILL.

    Args:
        pids: Descendants of this process.
        span_s: Seconds between the two signals, if a process takes so long to end.
    """
    pidfds = {pid: fd for pid in pids if (fd := _open(pid)) is not None}
    for number, wait_s in ((signal.SIGTERM, span_s), (signal.SIGKILL, _KILLED_S)):
        _send(pidfds.values(), number)
        _wait_for(pidfds, wait_s)
    for fd in pidfds.values():
        os.close(fd)


def _wait_for(pidfds: dict[int, int], span_s: float) -> None:
    """Wait until all have ended; takes out those that have."""
    give_up_at = monotonic() + span_s
    while pidfds and (left_s := give_up_at - monotonic()) > 0:
        poller = select.poll()
        for fd in pidfds.values():
            poller.register(fd, select.POLLIN)
        ended = {fd for fd, _ in poller.poll(left_s * 1000)}
        for pid, fd in list(pidfds.items()):
            if fd in ended:
                os.close(fd)
                del pidfds[pid]


def reap(pids: Iterable[int]) -> None:
    """Reap those of these children that have ended."""
    for pid in pids:
        with suppress(ChildProcessError):  # somebody has reaped it already
            os.waitpid(pid, os.WNOHANG)


def list_orphans(known: Iterable[int]) -> list[int]:
    """List the children of this process in its own process group.

    A daemon, which has a session of its own, is not among them.

    Args:
        known: Children that were there before; they are left out.
    """
    before, group = set(known), os.getpgid(0)
    return [
        pid
        for pid in list_children(os.getpid())
        if pid not in before and _find_group(pid) == group
    ]


def _find_group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return -1  # it has just ended


def find_tracker() -> int | None:
    """Return the pid of the tracker of multiprocessing's resources, if it runs."""
    module = sys.modules.get("multiprocessing.resource_tracker")
    return getattr(getattr(module, "_resource_tracker", None), "_pid", None)


def _open(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None  # it has just ended


def _send(pidfds: Iterable[int], number: int) -> None:
    for fd in pidfds:
        # It may end in this instant, or have become another user.
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(fd, number)


# System calls that Python's ``os`` does not offer


_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36

_UNCHANGED = -1
_SO_PASSRIGHTS = 83

_libc = ctypes.CDLL(None, use_errno=True)


def trim_heap() -> None:
    """Give the kernel back what this process has allocated and freed, after a start.

    glibc keeps it (malloc_trim(3)): 2.2 MiB of a master. Other libraries have no such
    call.
    """
    gc.collect()
    with suppress(AttributeError):
        _libc.malloc_trim(ctypes.c_size_t(0))


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def become_subreaper(is_wanted: bool = True) -> None:
    """Make orphans below this process its own children."""
    _prctl(_PR_SET_CHILD_SUBREAPER, int(is_wanted))


def become_dumpable() -> None:
    """Let the own user look into this process again, after a change of user."""
    _prctl(_PR_SET_DUMPABLE, 1)


def set_parent_death_signal(signal_number: int) -> None:
    """Ask for a signal when the parent dies; 0 asks for none.

    The kernel means the parent of this moment: set it after any re-parenting,
    then look whether that parent still lives.
    """
    _prctl(_PR_SET_PDEATHSIG, signal_number)


@contextmanager
def files_made_as(uid: int, gid: int) -> Iterator[None]:
    """Access files as another user in this thread, for a while.

    Root's own rights to files (to read, write and own any) are gone meanwhile, and
    what is made belongs to that user. Only for root. Clears the parent death signal.

    Args:
        uid: The user.
        gid: Its group; the supplementary groups do not change.

    Raises:
        PermissionError: The kernel does not let us.
    """
    before = _libc.setfsuid(_UNCHANGED), _libc.setfsgid(_UNCHANGED)
    try:
        _libc.setfsgid(gid)
        _libc.setfsuid(uid)
        # Neither call tells that it has failed.
        if (_libc.setfsuid(_UNCHANGED), _libc.setfsgid(_UNCHANGED)) != (uid, gid):
            raise PermissionError(0, f"cannot make files as uid {uid}, gid {gid}")
        yield
    finally:
        _libc.setfsuid(before[0])
        _libc.setfsgid(before[1])
        become_dumpable()  # a change of user takes that away


def refuse_descriptors(sock: socket.socket) -> None:
    """Set a socket to refuse descriptors (SO_PASSRIGHTS, Linux 6.16).

    For what others read; ``receive_octets`` refuses them itself.
    """
    with suppress(OSError):  # an older kernel: who reads drops them
        sock.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)


# Whether a process is a child of ours, and as which user it runs


class NotOurChildError(ProcessLookupError):
    """A pid in a message is not that of a child that may be watched."""

    def __init__(self, pid: int, why: str) -> None:
        super().__init__(errno.ESRCH, f"pid {pid} {why}")


def open_child(pid: int, uid: int | None = None) -> int:
    """Open a child of this process by its pid; return its pidfd.

    The pid comes in a message of a process that runs the app's code, perhaps as another
    user. A master that runs as root must not believe it: it would send signals to any
    process that a message names. A child that has not been reaped keeps its pid, so
    what is found here stays true.

    Args:
        pid: As the message has it.
        uid: The user that the child must run as, by all four user ids; None: any.

    Raises:
        NotOurChildError: There is no such child.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except (OSError, OverflowError):
        raise NotOurChildError(pid, "is no process") from None
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if uid is not None and _read_uids(pid) != {uid}:
            raise NotOurChildError(pid, f"does not run as uid {uid}")
    except ChildProcessError:
        os.close(pidfd)
        raise NotOurChildError(pid, "is no child of this process") from None
    except NotOurChildError:
        os.close(pidfd)
        raise
    return pidfd


def _read_uids(pid: int) -> set[int]:
    """Read the real, effective, saved and file system uid."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return set()
    found = [line.split()[1:] for line in lines if line.startswith(b"Uid:")]
    return {int(each) for each in found[0]} if found else set()


# Who the app's processes run as: chosen by the master, taken on before the import.
#
# The master keeps its own user: it owns the sockets, and must be able to signal its
# children. What runs the app's code can never go back.


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
    gid = _find_gid(group) if group else None
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


def _find_gid(text: str) -> int:
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
