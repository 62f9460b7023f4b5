"""Children of the master, each by its pidfd: watched, reaped, and ended.

Never ``waitpid(-1)``: it takes the exit status of any child, also of one that other
code in this process waits for (wait(2)). But the master is the subreaper of everything
below it (PR_SET_CHILD_SUBREAPER, prctl(2)), so what an app has left behind, as the
subprocess of a killed worker, becomes its child, and would stay a zombie for the life
of the service.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from typing import Protocol

from msgspec import Struct, field

from blazeio_supervisor.fleet.facts import Fact
from blazeio_supervisor.ipc.channel import MOST_UNREAD, ChildChannel, FromChildT
from blazeio_supervisor.ipc.processes import (
    NotOurChildError,
    list_children,
    open_child,
    read_command,
    read_parent,
)
from blazeio_supervisor.log.setup import FramesPrinter, note
from blazeio_supervisor.master.output import CapturedOutput
from blazeio_supervisor.master.resources import OomKills, watch_own_group

Exited = Callable[[int], None]

UNKNOWN_STATUS = 255
"""Another process reaped our child, or traces it and does not let it be reaped."""
TRACED_S = 0.5
"""A dead child whose tracer does not wait for it is given up then; the tracer may be
another process of an app, and would keep the child among the living for ever."""
TRACED_TRIES = 5
MOST_ORPHANS_REAPED = 500
"""Orphans that are reaped at once: an app can make them faster than that."""


class _Child(Struct):
    pidfd: int
    on_exit: Exited
    tries: int = 0


def parse_exit(info: "os.waitid_result") -> int:
    """Return the exit code, or minus the number of the signal that has killed."""
    if info.si_code == os.CLD_EXITED:
        return info.si_status
    # By a signal, with a core file or without (CLD_KILLED, CLD_DUMPED). Processes that
    # are stopped or continued are not reported: nobody asks for WSTOPPED (waitid(2)).
    return -info.si_status


class Reaper:
    """Watches children, and reports the end of each once.

    Args:
        loop: The master's loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._children: dict[int, _Child] = {}

    def __len__(self) -> int:
        return len(self._children)

    def watch(self, pid: int, on_exit: Exited, *, uid: int | None = None) -> None:
        """Call ``on_exit`` with the status when this child has been reaped.

        Safe against a child that is dead already: unreaped, it keeps its pid.

        Args:
            pid: Perhaps from a message of foreign code.
            on_exit: Called once.
            uid: The user that it must run as; None: any.

        Raises:
            NotOurChildError: There is no such child, or it is watched already.
        """
        if pid in self._children:
            raise NotOurChildError(pid, "is another child of this process")
        # A pidfd is readable from the end of its process on (pidfd_open(2)). So no
        # handler of SIGCHLD is needed: uvloop refuses one, and of several deaths at
        # once the kernel may send a single signal.
        pidfd = open_child(pid, uid)
        self._children[pid] = _Child(pidfd, on_exit)
        self._loop.add_reader(pidfd, self._reap, pid)

    def send_signal(self, pid: int, number: int) -> None:
        """Send a signal to a watched child; one that is gone gets none."""
        child = self._children.get(pid)
        if child is None:
            return
        try:
            signal.pidfd_send_signal(child.pidfd, number)
        except ProcessLookupError:
            # A zombie whose end was not read yet. A pidfd never leads to another
            # process that was given the same pid later, as kill(2) may.
            pass

    def kill_all(self) -> int:
        """Kill every watched child; return how many there are."""
        for pid in list(self._children):
            self.send_signal(pid, signal.SIGKILL)
        return len(self._children)

    def _reap(self, pid: int) -> None:
        child = self._children.get(pid)
        if child is None:
            return  # reaped earlier in this loop turn
        try:
            info = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED | os.WNOHANG)
            status = None if info is None else parse_exit(info)
        except ChildProcessError:
            status = UNKNOWN_STATUS
        self._loop.remove_reader(child.pidfd)
        if status is None and child.tries < TRACED_TRIES:
            # It is dead, but its tracer has to wait for it first (ptrace(2)). Meanwhile
            # its descriptor would wake the loop at once, again and again.
            child.tries += 1
            self._loop.call_later(TRACED_S / TRACED_TRIES, self._reap, pid)
            return
        del self._children[pid]
        os.close(child.pidfd)
        child.on_exit(UNKNOWN_STATUS if status is None else status)

    def reap_orphans(self, most: int = MOST_ORPHANS_REAPED) -> list[int]:
        """Reap dead children that are not watched, at most so many; return their pids.

        The caller must not have a fork under way whose pid it does not know
        yet: that child would be reaped here.
        """
        reaped: list[int] = []
        while len(reaped) < most:
            try:
                # WNOWAIT (waitid(2)) only looks: the status of one that is watched
                # would be lost if it were reaped here.
                info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return reaped
            if info is None:
                return reaped
            if info.si_pid in self._children:
                self._reap(info.si_pid)
            else:
                # The pid cannot be another process's meanwhile: it is given away only
                # once this call has reaped the zombie.
                os.waitid(os.P_PID, info.si_pid, os.WEXITED | os.WNOHANG)
                reaped.append(info.si_pid)
        return reaped


# Dead children that are not watched: what an app has left behind.


REAP_EVERY_S = 1.0
MOST_NAMED = 8
"""Pids that the log names of those reaped at once; the others are only counted."""


class OrphanReaper:
    """Reaps processes now and then that nobody has asked for.

    Args:
        reaper: Knows which children are watched.
        is_forking: Tells whether a child may live whose pid is not known yet.
        oom_kills: Count kills of other processes too; kept fresh on the way.
    """

    fault = "cannot reap orphans"

    def __init__(
        self, reaper: Reaper, is_forking: Callable[[], bool], oom_kills: OomKills
    ) -> None:
        self._reaper = reaper
        self._is_forking = is_forking
        self._oom_kills = oom_kills
        self._next_at = 0.0

    def look(self, now: float) -> None:
        """Reap orphans, if it is time again; ``now`` is monotonic seconds."""
        # A child whose pid is not known yet would be taken for an orphan, and its exit
        # status would be lost (``Reaper.reap_orphans``).
        if now < self._next_at or self._is_forking():
            return
        self._next_at = now + REAP_EVERY_S
        self._oom_kills.refresh(now)
        pids = self._reaper.reap_orphans()
        if len(pids) == MOST_ORPHANS_REAPED:
            self._next_at = now  # there are more
        if pids:
            some = " ".join(map(str, pids[:MOST_NAMED]))
            more = f" and {len(pids) - MOST_NAMED} more" if pids[MOST_NAMED:] else ""
            text = f"no process of ours: pid {some}{more}"
            note("reaped_stranger", text, "DEBUG")


# Which child of the master has to answer for what a process below it does.


OnFault = Callable[[str], None]
"""A function that takes what a child of the master did."""


MOST_ANCESTORS = 16


def iterate_ancestors(pid: int) -> Iterator[int]:
    """Iterate over a process and its ancestors, up to this process or a dead one."""
    for _ in range(MOST_ANCESTORS):
        if pid <= 1 or pid == os.getpid():
            return
        yield pid
        pid = read_parent(pid)


class ChildFaults:
    """Reports faults to the child of the master that a process is, or descends from."""

    def __init__(self) -> None:
        self._on_fault: dict[int, OnFault] = {}

    def add(self, pid: int, on_fault: OnFault) -> None:
        """Report faults of this child to the function from now on."""
        self._on_fault[pid] = on_fault

    def forget(self, pid: int | None) -> None:
        """Forget a child that is gone."""
        if pid is not None:
            self._on_fault.pop(pid, None)

    def report(self, pid: int, reason: str) -> None:
        """Report a fault of a process to the child that it belongs to, if there is one.

        A process that has lost its parent belongs to no child any more: what it can
        do must do no harm.
        """
        # Upwards from the process: the first child of the master on the way is the one
        # that it belongs to.
        for each in iterate_ancestors(pid):
            if each in self._on_fault:
                self._on_fault[each](reason)
                return


# What every child of the master needs, whether forkserver or worker.


CLOSED_S = 10.0
"""A child ends soon after its channel has; one that does not is ended."""
CLOSED_ITS_CHANNEL = f"it lives on {CLOSED_S:g} s after it has closed its channel"
WROTE_TO_OTHER_CHANNEL = (
    "it wrote to a channel that is not its own, or a child of it did"
)

NeedAddress = Callable[[str, int, Callable[[], None]], None]
"""Called with the App's own host and port; calls back once that is bound."""


class NoteScheme(Protocol):
    """A function that takes whether the app of a generation speaks TLS."""

    def __call__(self, generation: int, *, is_tls: bool) -> None:
        """Take what a forkserver or worker has reported."""


class ChildContext(Struct, frozen=True, kw_only=True):
    """What every child of the master needs.

    Attributes:
        loop: The event loop of the master.
        reaper: Watches its end.
        put_fact: Takes what happens to a child, as a fact for the planner.
        need_address: Binds the address of the app.
        note_scheme: Takes whether the app speaks TLS.
        frames: Prints what its app raised.
        captured: Reads what it prints; None: that is not captured.
        oom_kills: Knows which deaths were kills for lack of memory.
        child_faults: Finds the child whose process has written to the channel of
            another.
    """

    loop: asyncio.AbstractEventLoop
    reaper: Reaper
    put_fact: Callable[[Fact], None]
    need_address: NeedAddress
    note_scheme: NoteScheme
    frames: FramesPrinter
    captured: CapturedOutput | None = None
    oom_kills: OomKills = field(default_factory=watch_own_group)
    child_faults: ChildFaults = field(default_factory=ChildFaults)

    def listen(
        self,
        channel: ChildChannel[FromChildT],
        parse: Callable[[bytes], FromChildT],
        on_message: Callable[[FromChildT, int], None],
        on_fault: OnFault,
        on_closed: Callable[[], None],
        find_pid: Callable[[], int | None],
        most_unread: int = MOST_UNREAD,
    ) -> None:
        """Read what a child says from now on.

        Args:
            channel: The master's end.
            parse: Reads one message.
            on_message: Called with each message and the pid of its sender.
            on_fault: Called once, with what the child did that none of ours does.
            on_closed: Called ``CLOSED_S`` after it has closed its end.
            find_pid: Returns its pid; None while that is not known.
            most_unread: Orders that may wait for it.
        """

        def is_sender(pid: int) -> bool:
            # Before its pid is known any sender is believed. No harm comes of it: the
            # forkserver names the pid later, and ``Workers.note_forked`` compares the
            # two.
            return find_pid() in (None, pid)

        def note_end() -> None:
            # Usually it has ended: the kernel closes the descriptors of a process
            # before its exit status can be read, so at this moment nobody can tell one
            # that ends from one that has closed its channel and lives on.
            self.loop.call_later(CLOSED_S, on_closed)

        channel.start(
            self.loop,
            parse=parse,
            on_message=on_message,
            on_fault=on_fault,
            on_end=note_end,
            is_sender=is_sender,
            on_foreign=lambda pid: self.child_faults.report(
                pid, WROTE_TO_OTHER_CHANNEL
            ),
            most_unread=most_unread,
        )


# Ending what a killed process of ours has left behind.
#
# A worker that ends by itself joins the processes of its pools. One that is killed
# cannot: they would wait for their next task for ever, with all the memory of the
# app. A process that it has forked and that has run no other program since has a title
# that names its parent; as an orphan it becomes the master's child. Those that
# ``multiprocessing`` has spawned are known by their arguments. A daemon, which has a
# session of its own, is left alone.


KILL_AFTER_S = 1.0
"""Between SIGTERM and SIGKILL."""
_SPAWNED = ("multiprocessing.spawn import ", "multiprocessing.forkserver import ")


def name_children_of(kind: str, number: int, generation: int) -> str:
    """Return what the titles of the children of a process begin with."""
    if kind == "forkserver":
        return f"blazeio: child of forkserver gen {generation}"
    return f"blazeio: child of {kind} {number} gen {generation} "


def end_orphans_of(loop: asyncio.AbstractEventLoop, title: str) -> None:
    """End the orphans whose title begins with ``title``, and what they leave behind.

    Args:
        loop: The event loop of the master.
        title: From ``name_children_of``.
    """
    _send_to_children_of(title, signal.SIGTERM)
    loop.call_later(KILL_AFTER_S, _send_to_children_of, title, signal.SIGKILL)


def _send_to_children_of(title: str, number: signal.Signals) -> None:
    own_group = os.getpgid(0)
    for pid in list_children(os.getpid()):
        try:
            # Before its command is read: the pid may be that of another process by
            # the time of the signal, the pidfd may not (pidfd_open(2)).
            pidfd = os.pidfd_open(pid)
        except OSError:
            continue  # it has just ended
        try:
            command = read_command(pid)
            is_spawned = any(word in command for word in _SPAWNED)
            if (is_spawned or command.startswith(title)) and os.getpgid(
                pid
            ) == own_group:
                signal.pidfd_send_signal(pidfd, number)
        except (ProcessLookupError, PermissionError):
            pass  # it ended in this instant, or is another user by now
        finally:
            os.close(pidfd)
