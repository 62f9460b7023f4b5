"""Which Python was measured: without profile-guided optimization it is 13 % slower."""

import json
import platform
import sys
import sysconfig
from dataclasses import asdict, dataclass
from pathlib import Path

SYSTEM_PREFIX = "/usr"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """What a figure depends on besides the code.

    Attributes:
        version: As ``3.11.2``.
        path: Of the executable.
        is_profiled: Whether its build used profile-guided optimization; None: the
            build does not say so. Debian's and Ubuntu's do not say, and use it.
        has_lto: Whether it was linked with optimization; None likewise.
        is_shared: Whether most of it is in a shared library.
    """

    version: str
    path: str
    is_profiled: bool | None
    has_lto: bool | None
    is_shared: bool

    def __str__(self) -> str:
        words = [
            f"Python {self.version} ({self.path})",
            f"profile-guided: {_word(self.is_profiled)}",
            f"LTO: {_word(self.has_lto)}",
            "shared library" if self.is_shared else "static",
        ]
        return ", ".join(words)

    def to_json(self) -> str:
        """All of it, for programs."""
        return json.dumps(asdict(self))


def read_interpreter() -> Interpreter:
    """Return the facts of the running interpreter, which also runs the servers."""
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    is_of_system = sys.base_prefix == SYSTEM_PREFIX
    return Interpreter(
        version=platform.python_version(),
        path=str(Path(sys.executable).resolve()),
        is_profiled=_was_asked_for("--enable-optimizations", arguments, is_of_system),
        has_lto=_was_asked_for("--with-lto", arguments, is_of_system),
        is_shared="libpython" in Path("/proc/self/maps").read_text(),
    )


def _was_asked_for(option: str, arguments: str, is_of_system: bool) -> bool | None:
    if option in arguments:
        return True
    return None if is_of_system else False


def _word(is_so: bool | None) -> str:
    return {True: "yes", False: "no", None: "not told by its build"}[is_so]
