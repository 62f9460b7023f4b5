"""Interpreters that start as root run nothing that another user may write.

What Python itself imports at its start (``sitecustomize`` from ``PYTHONPATH``,
``usercustomize`` of a home) runs before any line of ours. So an interpreter that
is root, and one that is root until it has taken on the user of the app, starts
with the master's own environment, less what leads into folders of others. What
the settings set for the app (``--env``, ``--env-file``) follows by a descriptor,
and is set once the process is that user, for good.

Imports the standard library only: it decides what else is imported.
"""

import importlib.machinery
import json
import os
import signal
import site
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.trust import why_not_trusted

VARIABLES = frozenset(
    {
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "FDSTORE",
    }
)
"""Variables that are for the master alone: no child of it gets them."""
_PACKAGE = os.path.dirname(os.path.abspath(__file__))
_CODE_PATHS = ("PYTHONPATH", "PYTHONPYCACHEPREFIX")
"""Variables that say where Python finds code; sources or what was compiled of them."""
_AT_START = (
    "LD_",
    "GLIBC_",
    "PYTHONHOME",
    "PYTHONHASHSEED",
    "PYTHONMALLOC",
    "PYTHONOPTIMIZE",
    "PYTHONUTF8",
    "PYTHONDEVMODE",
    "PYTHONTRACEMALLOC",
    "PYTHONFAULTHANDLER",
    "PYTHONNOUSERSITE",
    "PYTHONSAFEPATH",
)
"""What the names of variables begin with that are only read as a program starts."""
_OPTIONS = (
    ("isolated", "-I"),
    ("ignore_environment", "-E"),
    ("no_user_site", "-s"),
    ("safe_path", "-P"),
    ("dont_write_bytecode", "-B"),
)


@dataclass(frozen=True, slots=True)
class Isolation:
    """How an interpreter starts.

    Attributes:
        options: Of the interpreter, beside those of ``list_own_options``.
        environment: All variables.
        hidden: The variables that are another here than in our environment, as
            they are there; to be set once the interpreter runs.
    """

    options: list[str]
    environment: dict[str, str]
    hidden: dict[str, str]


def isolate() -> Isolation:
    """Say how an interpreter starts that has the rights of this process.

    Of another user than root it starts as this one did: what may be written there
    is that user's own.
    """
    environment = dict(os.environ)
    if os.geteuid() != 0:
        return Isolation([], environment, {})
    hidden = {}
    for name in _CODE_PATHS:
        given = environment.get(name)
        kept = given and os.pathsep.join(_list_trusted(given.split(os.pathsep)))
        if given and kept != given:
            hidden[name] = given
            del environment[name]
            if kept:
                environment[name] = kept
    options = ["-P"]  # nothing is imported from the working directory
    if site.ENABLE_USER_SITE and why_not_trusted(site.getusersitepackages()):
        options.append("-s")
    return Isolation(options, environment, hidden)


def find_open_code() -> list[str]:
    """Say what other users may write of what root runs; empty for other users.

    Returns:
        A line for each place: the interpreter, the packages, and the variables
        that root does not go by.
    """
    places = [sys.executable, os.path.realpath(sys.executable), _PACKAGE]
    places += [sysconfig.get_path(key) for key in ("stdlib", "purelib", "platlib")]
    found = [why_not_trusted(each) for each in dict.fromkeys(places) if each]
    found += [f"${name} leads to files of others" for name in isolate().hidden]
    return list(dict.fromkeys(filter(None, found)))


def keep_trusted(entries: Sequence[str], *, needed: Sequence[str]) -> list[str]:
    """Return the folders from which root may import, in their order.

    Args:
        entries: Of ``sys.path``.
        needed: Those without which nothing can be imported; they stay.
    """
    kept = {*_list_trusted(entries), *needed}
    return [each for each in entries if each in kept]


def _list_trusted(entries: Sequence[str]) -> list[str]:
    """List those that are absolute, and in which root alone may write."""
    return [each for each in entries if each[:1] == "/" and not why_not_trusted(each)]


def list_own_options() -> list[str]:
    """List the interpreter options under which this process runs."""
    options = ["-O"] * sys.flags.optimize
    options += [option for flag, option in _OPTIONS if getattr(sys.flags, flag)]
    options += [f"-W{option}" for option in sys.warnoptions]
    for name, value in sys._xoptions.items():
        options.append(f"-X{name}" if value is True else f"-X{name}={value}")
    return options


def list_too_late(names: Sequence[str]) -> list[str]:
    """List the variables that have no effect in a program that runs already."""
    return [name for name in names if name.startswith(_AT_START)]


# What is set for the app


def pack_variables(variables: Mapping[str, str]) -> int:
    """Put variables where a child finds them; return the descriptor."""
    fd = os.memfd_create("blazeio-variables", os.MFD_CLOEXEC)
    octets = json.dumps(dict(variables)).encode()
    with os.fdopen(fd, "wb", closefd=False) as file:
        file.write(octets)
    return fd


def unpack_variables(fd: int) -> dict[str, str]:
    """Read what ``pack_variables`` wrote, and close the descriptor."""
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        variables: dict[str, str] = json.loads(file.read())
    return variables


def set_variables(variables: Mapping[str, str]) -> None:
    """Set variables in this process, as if it had been started with them.

    ``PYTHONPATH`` and ``TZ`` have their effect now, and the ``sitecustomize`` of
    a folder that this adds runs. What ``list_too_late`` lists has none.

    Args:
        variables: A relative path in them starts from the working directory.
    """
    os.environ.update(variables)
    if "TZ" in variables:
        time.tzset()
    if variables.get("PYTHONDONTWRITEBYTECODE"):
        sys.dont_write_bytecode = True
    given = variables.get("PYTHONPATH", "").split(os.pathsep)
    paths = [os.path.abspath(each) for each in given if given != [""]]
    added = [each for each in dict.fromkeys(paths) if each not in sys.path]
    sys.path[:0] = added
    if importlib.machinery.PathFinder.find_spec("sitecustomize", added):
        sys.modules.pop("sitecustomize", None)  # that of the installation, if any
        site.execsitecustomize()


# What the starter of this program has left to it, put in order at its very start.
#
# Init scripts, cron wrappers and shells start programs with standard descriptors
# closed, with signals blocked or with SIGCHLD ignored, and all of that survives an
# exec.


def forget_starter() -> None:
    """Have standard descriptors, hear every signal, be told of ended children.

    Blocked signals would never be heard, and where SIGCHLD is ignored the kernel
    reaps each child before its exit status can be read.
    """
    open_standard_descriptors()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def require_proc() -> None:
    """See that the kernel's view of processes is there.

    Raises:
        UsageError: ``/proc`` is not mounted.
    """
    if not os.path.isdir("/proc/self/fd"):
        raise UsageError(
            "/proc is not mounted, and blazeio-supervisor reads there whom it serves "
            "with: mount it (mount -t proc proc /proc; in a container it is there "
            "unless it was taken away)"
        )


def open_standard_descriptors() -> None:
    """Open ``/dev/null`` in the place of each standard descriptor that is closed.

    Else the next socket or file would get its number, and whatever is printed
    would be written into that.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != fd:  # a lower number is free only before this loop
                os.dup2(opened, fd)
                os.close(opened)
            os.set_inheritable(fd, True)
    # Python has no object for one that was closed when it began. It lives as long
    # as the process.
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
