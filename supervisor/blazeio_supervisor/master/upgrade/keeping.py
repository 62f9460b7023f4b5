"""The image is made by a child of the master, and the master imports from it.

What the master needs seldom, or for an upgrade only, it does not import at its start:
that would take a third of its memory. A child imports it, packs the image with it, and
ends. From then on each import of the master's looks into the image first: whatever has
become of the files on the disk, it is of the version that runs.

::

    start -> fork -> [child: import LATER, pack] -> descriptors -> import from it
               '--- serves meanwhile; imports from the disk, as at its start
"""

import asyncio
import os
import signal
import socket
import sys
import time
import warnings
from contextlib import suppress
from importlib.machinery import ModuleSpec
from typing import NoReturn
from zipimport import zipimporter

import msgspec
from msgspec import Struct
from setproctitle import setproctitle

from blazeio_supervisor.ipc.processes import set_parent_death_signal, trim_heap
from blazeio_supervisor.log.setup import note
from blazeio_supervisor.master.children import Reaper
from blazeio_supervisor.master.upgrade.image import (
    KeptImage,
    keep_image,
    open_interpreter,
)
from blazeio_supervisor.master.upgrade.stage0 import KeptExtensions

MOST_S = 60
"""A child that takes longer hangs, in a file system perhaps: it ends itself."""
TITLE = "blazeio: keeper"
"""The name of the child, as ``ps`` shows it."""
_MOST_FDS = 253  # SCM_MAX_FD of the kernel
_FD_BYTES = 4
_MESSAGE_BYTES = 65536


class _Made(Struct):
    """What the child has made, or why it could not."""

    archive_fd: int = -1
    extensions: list[str] = []
    home: str = ""
    program: str = ""
    failure: str = ""


class KeptModules:
    """Finds the modules of an image, all but C extensions, in its archive.

    Args:
        archive: The path of the archive.
    """

    def __init__(self, archive: str) -> None:
        self._archive = archive

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        """Find a module; called by Python, as an entry of ``sys.meta_path``."""
        parent = name.rpartition(".")[0].replace(".", "/")
        place = f"{self._archive}/{parent}" if parent else self._archive
        return zipimporter(place).find_spec(name)


def import_from(image: KeptImage) -> None:
    """Have this process import from an image before it looks anywhere else."""
    # An image that was started from its archive imports from there already.
    if any(isinstance(each, KeptExtensions) for each in sys.meta_path):
        return
    sys.meta_path[:0] = [
        KeptModules(f"/proc/self/fd/{image.archive_fd}"),
        KeptExtensions(image.extensions),
    ]


class ImageKeeper:
    """Keeps the running program, once.

    Args:
        reaper: Watches the child.
        uses_it: Whether this process imports from the image afterwards.

    Attributes:
        image: None: it is not kept yet, or could not be.
        settled: Set once it is known whether the image is kept.
    """

    def __init__(self, reaper: Reaper, *, uses_it: bool = True) -> None:
        self._reaper = reaper
        self._uses_it = uses_it
        self.image: KeptImage | None = None
        self.settled = asyncio.Event()
        self.has_begun = False
        self._began_at = time.time()
        self._is_over = False
        self._ours: socket.socket | None = None

    def begin(self) -> None:
        """Start the child, once; what becomes of it is noted."""
        if self.has_begun:
            return
        self.has_begun = True
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            self._fail(error.strerror or str(error))
            return
        try:
            with theirs:
                pid = _fork(theirs, self._began_at)
        except OSError as error:
            ours.close()
            self._fail(error.strerror or str(error))
            return
        self._ours = ours
        self._reaper.watch(pid, lambda status: self._take(ours, status))

    async def wait(self) -> None:
        """Wait until it is known whether the image is kept; begin, if need be."""
        if not self.has_begun:
            self.begin()
        await self.settled.wait()

    def cancel(self) -> None:
        """Keep nothing any more: the service ends, and its processes are ended."""
        self.has_begun = self._is_over = True
        if self._ours is not None:
            self._ours.close()

    def use(self, image: KeptImage) -> None:
        """Go on with an image that was kept before."""
        self.has_begun = True
        self.image = image
        self.settled.set()

    def _take(self, ours: socket.socket, status: int) -> None:
        with ours:
            try:
                ours.setblocking(False)
                made, fds = _receive(ours)
            except (OSError, msgspec.MsgspecError):
                self._fail(f"the process that keeps it ended with status {status}")
                return
        if made.failure:
            self._fail(made.failure)
            return
        if len(fds) != 1 + len(made.extensions):
            # recvmsg(2) drops those for which there is no room below RLIMIT_NOFILE.
            for fd in fds:
                os.close(fd)
            self._fail("too many open files: see `ulimit -n`, LimitNOFILE=")
            return
        try:
            interpreter_fd = open_interpreter()
        except OSError as error:
            for fd in fds:
                os.close(fd)
            self._fail(error.strerror or str(error))
            return
        archive_fd, *opened = fds
        self.image = KeptImage(
            archive_fd=archive_fd,
            interpreter_fd=interpreter_fd,
            extensions=dict(zip(made.extensions, opened, strict=True)),
            home=made.home,
            program=made.program,
        )
        if self._uses_it:
            import_from(self.image)
        self.settled.set()
        trim_heap()

    def _fail(self, reason: str) -> None:
        text = (
            f"cannot keep the running program, so `upgrade` will refuse: {reason}; "
            "what is needed later is imported from the disk"
        )
        if not self._is_over:
            note("no_upgrade", text, "WARNING")
        self.settled.set()


def _fork(theirs: socket.socket, began_at: float) -> int:
    """Fork the child; return its pid."""
    master = os.getpid()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with warnings.catch_warnings():
            # Of threads beside this one. The child takes no lock of theirs: it imports,
            # for which Python makes the locks anew, and writes.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _run_child(master, theirs, began_at)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _run_child(master: int, theirs: socket.socket, began_at: float) -> NoReturn:
    try:
        setproctitle(TITLE)
        # The master's loop is woken by this descriptor, which both have: a signal of
        # the child would be taken for one of the master.
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(MOST_S)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGALRM))
        set_parent_death_signal(signal.SIGKILL)
        _close_all_but(theirs.fileno())
        if os.getppid() == master:
            _send_image(theirs, began_at)
    finally:
        os._exit(1)


def _close_all_but(kept: int) -> None:
    """Close what the master has open: sockets of clients, channels, listeners."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and fd != kept:
            with suppress(OSError):  # that of the folder itself
                os.close(fd)


def find_replaced(began_at: float) -> str:
    """Find a file of ours that has changed, or gone, since then; "": none has.

    What was imported before is of another version than what is imported after. It is
    the time of its inode: an installer may give a file an older one (inode(7)).
    """
    for name, module in [*sys.modules.items()]:
        path: str | None = getattr(module, "__file__", None)
        # What lies in an image is changed by nobody.
        if name.startswith("blazeio") and path and not path.startswith("/proc/"):
            try:
                changed_at = os.stat(path).st_ctime
            except OSError:
                return path
            if changed_at > began_at:
                return path
    return ""


def _send_image(theirs: socket.socket, began_at: float) -> NoReturn:
    fds: list[int] = []
    try:
        image = keep_image()
        made = _Made(
            extensions=[*image.extensions], home=image.home, program=image.program
        )
        fds = [image.archive_fd, *image.extensions.values()]
        if len(fds) > _MOST_FDS:
            made = _Made(failure=f"it has {len(fds)} compiled modules")
        if replaced := find_replaced(began_at):
            made = _Made(failure=f"{replaced} was replaced while it started")
    # BaseException: whatever it is, and else nobody would hear of it.
    except BaseException as error:
        made = _Made(failure=f"{type(error).__name__}: {error}")
    if made.failure:
        fds = []
    socket.send_fds(theirs, [msgspec.json.encode(made)], fds)
    os._exit(0)


def _receive(ours: socket.socket) -> tuple[_Made, list[int]]:
    octets, ancillary, _, _ = ours.recvmsg(
        _MESSAGE_BYTES,
        socket.CMSG_SPACE(_MOST_FDS * _FD_BYTES),
        socket.MSG_CMSG_CLOEXEC,
    )
    fds: list[int] = []
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds += memoryview(content).cast("i").tolist()
    return msgspec.json.decode(octets, type=_Made), fds
