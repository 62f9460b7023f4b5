"""Where in the app's code something was made while it was imported.

An audit hook is told when a file is opened, a process or a thread is started. It
cannot be taken away again, so it is switched off instead: from then on it costs
60 ns for each audited call, of which a request has none.
"""

import os
import sys
import sysconfig
from collections.abc import Callable
from types import FrameType
from typing import Any

_STANDARD = tuple(
    os.path.realpath(sysconfig.get_path(name)) + os.sep
    for name in ("stdlib", "platstdlib")
)
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_FRAMEWORK = f"{os.sep}blazeio{os.sep}"

PROCESS, SOCKET, MAP = "process", "socket", "map"
_KINDS = {
    "subprocess.Popen": PROCESS,
    "os.fork": PROCESS,
    "os.forkpty": PROCESS,
    "os.posix_spawn": PROCESS,
    "socket.__new__": SOCKET,
    "mmap.__new__": MAP,
}
_THREADS = ("_thread.start_new_thread", "_thread.start_joinable_thread")


class Births:
    """Notes where things are made, from ``begin`` to ``end``.

    Attributes:
        files: By path, the place where each was opened last.
        threads: Likewise, by the identity of the ``Thread``.
        places: By kind, the places in the order of what was made there.
    """

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.threads: dict[int, str] = {}
        self.places: dict[str, list[str]] = {}
        self._is_on = False

    def begin(self) -> None:
        """Note from now on."""
        self._is_on = True
        sys.addaudithook(self._hear)

    def end(self) -> None:
        """Note no more."""
        self._is_on = False

    def forget(self) -> None:
        """Forget all: a hook lives as long as its process."""
        self.files.clear()
        self.threads.clear()
        self.places.clear()

    def find_file(self, path: str) -> str:
        """Return where a file was opened; "" when that is not known."""
        return self.files.get(path, "")

    def find_all(self, kind: str) -> str:
        """Return all places where such were made, in words; "" when there is none."""
        return ", ".join(dict.fromkeys(self.places.get(kind, ())))

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._is_on:
            return
        if event == "open":
            self._note_file(arguments[0])
        elif event in _KINDS:
            self._note(lambda at: self.places.setdefault(_KINDS[event], []).append(at))
        elif event in _THREADS:
            thread = getattr(arguments[0], "__self__", None)
            self._note(lambda at: self.threads.__setitem__(id(thread), at))

    def _note_file(self, path: object) -> None:
        if isinstance(path, str | bytes):
            text = os.path.abspath(os.fsdecode(path))
            self._note(lambda at: self.files.__setitem__(text, at))

    def _note(self, take: Callable[[str], None]) -> None:
        place = _locate(sys._getframe(2))
        if place:
            take(place)


def _locate(frame: FrameType | None) -> str:
    """Return the line of the app that led here; "" when none of its code did.

    It is the innermost one, if there is one that is not of an installed package.
    """
    found = ""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib") and not found:
            return ""  # the module itself is read
        if not is_machinery(name):
            place = f"{name.removeprefix(os.getcwd() + os.sep)}:{frame.f_lineno}"
            if not any(folder in name for folder in _INSTALLED):
                return place
            found = found or place
        frame = frame.f_back
    return found


def is_machinery(name: str) -> bool:
    """Whether a file of code is of the standard library, or of ours."""
    if name.startswith((*_STANDARD, _OURS, "<frozen ")):
        return not any(folder in name for folder in _INSTALLED)
    return _FRAMEWORK in name
