"""The running program, kept so that it can be started again from memory.

The packages on the disk are replaced while the master runs. What it was made of
is therefore kept: every module outside of the standard library, as it was
compiled or else its source, in one sealed archive; each C extension and the
interpreter by an open descriptor. (An extension is mapped by this process:
whoever overwrites one in place, instead of replacing it, breaks every running
process anyway. Nothing maps a source file.)

Every start pays for it (a child of the master, ``ImageKeeper``), so nothing is kept
twice and nothing is compressed: 19 ms of CPU and 3.4 MB for 400 modules, where
sources and code deflated took 95 ms and 2.6 MB. A traceback of the image needs no
source in it: Python reads the lines at the path that was compiled.

The standard library is not kept, since it belongs to the interpreter; but for those
modules of it that only what is imported later needs.
"""

import asyncio
import fcntl
import functools
import io
import json
import os
import signal
import socket
import struct
import sys
import sysconfig
import time
import warnings
from collections.abc import Iterator, Set
from contextlib import suppress
from importlib import import_module
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import MAGIC_NUMBER
from typing import TYPE_CHECKING, NoReturn, Self
from zipimport import zipimporter

import msgspec
from msgspec import Struct
from setproctitle import setproctitle

from blazeio_supervisor.ipc.processes import set_parent_death_signal, trim_heap
from blazeio_supervisor.isolation import isolate, list_own_options
from blazeio_supervisor.log.setup import note
from blazeio_supervisor.master.children import Reaper
from blazeio_supervisor.master.upgrade import stage0
from blazeio_supervisor.master.upgrade.stage0 import NEW, OLD, KeptExtensions
from blazeio_supervisor.version import find_version

if TYPE_CHECKING:
    import zipfile

LATER = (
    stage0.ENTRY,
    "blazeio.app.endpoints",
    "blazeio.app.service",
    "blazeio.content.forwarded",
    "blazeio.protocol.options",
    "blazeio.server.log_format",
    "blazeio.server.tls",
    "blazeio_supervisor.config.settings",
    "blazeio_supervisor.master.control_handlers",
    "psutil",
    "tomllib",
)
"""What the master imports where it is needed. ``resume``, with all that it imports,
belongs to the way back."""

_SEALS = (
    fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
)
_HEADER = struct.Struct("<4sIII")
"""Magic number, flags, and of the source its time (s, the epoch's) and size."""
_BY_TIME, _UNCHECKED = 0, 1
"""Flags: used for the source of that time and size; for any source."""
_WORD = 0xFFFFFFFF


class KeptImage(msgspec.Struct, frozen=True, kw_only=True):
    """The program by descriptors, none of which is inherited.

    Attributes:
        archive_fd: The sources as a zip file, stage 0 among them.
        interpreter_fd: The running interpreter.
        extensions: C extensions by the module's full name.
        home: Where that interpreter's standard library is.
        program: The version of blazeio.
    """

    archive_fd: int
    interpreter_fd: int
    extensions: dict[str, int]
    home: str
    program: str

    def list_fds(self) -> list[int]:
        """List every descriptor."""
        return [self.archive_fd, self.interpreter_fd, *self.extensions.values()]


def keep_image() -> KeptImage:
    """Keep what this process has imported by now, and what it imports later.

    Raises:
        ImportError: It cannot be imported.
        OSError: A file is gone already, or the system has no room.
    """
    before = {*sys.modules}
    for name in LATER:
        import_module(name)
    later = sys.modules.keys() - before
    import zipfile  # here, since only the child that keeps the image needs it

    archive = io.BytesIO()
    extensions: dict[str, int] = {}
    with zipfile.ZipFile(archive, "w") as z:
        _write(z, "__main__.py", stage0.__file__)
        for name, spec in _list_specs(later):
            place, path = name.replace(".", "/"), spec.origin
            if path is None:
                z.mkdir(place)  # a namespace: a package without a file of its own
            elif isinstance(spec.loader, ExtensionFileLoader):
                # dlopen(3) wants a file, so a C extension cannot lie in the archive.
                # pip replaces files instead of writing into them; the open descriptor
                # is still the old one.
                extensions[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            else:
                is_package = spec.submodule_search_locations is not None
                place = f"{place}/__init__.py" if is_package else f"{place}.py"
                _write_module(z, place, path, spec.cached)
    return KeptImage(
        archive_fd=seal("blazeio-image", archive.getbuffer()),
        interpreter_fd=open_interpreter(),
        extensions=extensions,
        home=f"{sys.base_prefix}:{sys.base_exec_prefix}",
        program=find_version(),
    )


def open_interpreter() -> int:
    """Open the very file that runs, also when its path is another one by now."""
    return os.open("/proc/self/exe", os.O_RDONLY | os.O_CLOEXEC)  # proc_pid_exe(5)


def _write_module(
    archive: "zipfile.ZipFile", place: str, path: str, cached: str | None
) -> None:
    if cached is not None and is_compiled(path, cached):
        _write(archive, f"{place}c", cached)
    else:
        _write(archive, place, path)


def is_compiled(path: str, cached: str) -> bool:
    """Whether Python would run ``cached`` in place of the source at ``path``.

    ``importlib`` judges anew at each import and keeps no word of it. Files that
    ask for a comparison of hashes are rare and are not taken here.

    Raises:
        OSError: There is no such source.
    """
    try:
        with open(cached, "rb") as file:
            # The header of a .pyc file: PEP 552.
            head = file.read(_HEADER.size)
    except OSError:
        return False
    if len(head) < _HEADER.size:
        return False
    magic, flags, modified_at, size = _HEADER.unpack(head)
    now = os.stat(path)
    is_same = (modified_at, size) == (int(now.st_mtime) & _WORD, now.st_size & _WORD)
    is_fitting = flags == _UNCHECKED or (flags == _BY_TIME and is_same)
    return magic == MAGIC_NUMBER and is_fitting


def _write(archive: "zipfile.ZipFile", place: str, path: str) -> None:
    """Put a file into the archive; when it was written is of no use there."""
    from zipfile import ZipInfo

    with open(path, "rb") as file:
        archive.writestr(ZipInfo(place), file.read())


def seal(name: str, octets: bytes | memoryview) -> int:
    """Put octets into a sealed memfd; return its descriptor."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(fd, "wb", closefd=False) as file:
        file.write(octets)
    # Sealed, so that what was rehearsed is what is run: nobody who gets hold of the
    # descriptor can change it (fcntl(2), F_SEAL_WRITE).
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _list_specs(later: Set[str]) -> Iterator[tuple[str, ModuleSpec]]:
    """List every module that is kept, by its full name.

    Those of the interpreter are not, unless they are imported later.
    """
    for name, module in sorted(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        is_program = name == "__main__"  # of which nothing is needed again
        if spec is None or is_program:
            continue
        if not _is_of_interpreter(spec) or (name in later and spec.has_location):
            yield name, spec


def _is_of_interpreter(spec: ModuleSpec) -> bool:
    # Built-in and frozen modules have no file, and neither has a namespace package,
    # which is ours to keep.
    if not spec.has_location:
        return spec.submodule_search_locations is None
    place = str(spec.origin)
    return place.startswith(_find_folders("stdlib", "platstdlib")) and (
        not place.startswith(_find_folders("purelib", "platlib"))
    )


@functools.cache  # in the child that keeps the image: its table takes 0.2 MiB
def _find_folders(*keys: str) -> tuple[str, ...]:
    return tuple(sysconfig.get_path(key) + os.sep for key in keys)


# How an image of the master is started: interpreter, arguments, environment.


_BACK_FACTOR = 3.0
"""The kept image may have to compile its sources: a second or so."""


class Launch(Struct, frozen=True):
    """One start of stage 0, for an exec or a child.

    Attributes:
        interpreter: A path: of the installed interpreter, or of the kept one.
        timeout_s: Until it must have begun.
    """

    interpreter: str
    words: list[str]
    environment: dict[str, str]
    timeout_s: float

    @classmethod
    def of_new(
        cls,
        image: KeptImage,
        state_fd: int,
        timeout_s: float,
        result_fd: int | None = None,
    ) -> Self:
        """Return the start of the image on the disk; ``image`` is the way back.

        Args:
            image: The running image.
            state_fd: The descriptor of an ``UpgradeState``.
            timeout_s: Until it has begun.
            result_fd: Only rehearse, and write the result there.
        """
        orders, environment = _compose(NEW, image, state_fd, timeout_s, result_fd)
        return cls(sys.executable, orders, environment, timeout_s)

    @classmethod
    def of_old(
        cls, image: KeptImage, state_fd: int, timeout_s: float, result_fd: int
    ) -> Self:
        """Return the start of a rehearsal of the way back."""
        timeout_s *= _BACK_FACTOR
        orders, environment = _compose(OLD, image, state_fd, timeout_s, result_fd)
        # An interpreter that is started through /proc/self/fd cannot find its standard
        # library from its own path (``getpath``), so it is told.
        environment["PYTHONHOME"] = image.home
        interpreter = f"/proc/self/fd/{image.interpreter_fd}"
        return cls(interpreter, orders, environment, timeout_s)


def _compose(
    which: str,
    image: KeptImage,
    state_fd: int,
    timeout_s: float,
    result_fd: int | None,
) -> tuple[list[str], dict[str, str]]:
    """Return words and environment, which runs no code of other users."""
    isolation = isolate()
    archive = f"/proc/self/fd/{image.archive_fd}"
    # -S: what `site` would run belongs to the image, so stage 0 runs it.
    command = [sys.executable, *list_own_options(), *isolation.options, "-S", archive]
    orders = {
        "image": which,
        "command": command,
        "state_fd": state_fd,
        "result_fd": result_fd,
        "timeout_s": timeout_s,
        "failure": "",
        "interpreter_fd": image.interpreter_fd,
        "extensions": image.extensions,
        "old_home": image.home,
        "python_home": os.environ.get("PYTHONHOME"),
        "hidden": isolation.hidden,
    }
    return [*command, json.dumps(orders)], isolation.environment


# The image is made by a child of the master, and the master imports from it.
#
# What the master needs seldom, or for an upgrade only, it does not import at its
# start: that would take a third of its memory. A child imports it, packs the image
# with it, and ends. From then on each import of the master's looks into the image
# first: whatever has become of the files on the disk, it is of the version that runs.
#
# ::
#
#     start -> fork -> [child: import LATER, pack] -> descriptors -> import from it
#                '--- serves meanwhile; imports from the disk, as at its start


MOST_KEEPING_S = 60
"""A child that takes longer hangs, in a file system perhaps: it ends itself."""
KEEPER_TITLE = "blazeio: keeper"
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
        setproctitle(KEEPER_TITLE)
        # The master's loop is woken by this descriptor, which both have: a signal of
        # the child would be taken for one of the master.
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(MOST_KEEPING_S)
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
