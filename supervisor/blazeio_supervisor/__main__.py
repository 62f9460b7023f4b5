"""The program: ``blazeio-supervisor app:web --workers 8``, or a verb.

As root it imports nothing from folders that another user may write; of ``python
-m``, which looks in the working directory first, nothing before that is settled.
"""

import contextlib
import gc
import io
import os
import signal
import sys
import typing
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from blazeio_supervisor.config.settings import LiveSettings
    from blazeio_supervisor.worker.starting import EarlyForkserver

_PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _leave_untrusted_paths() -> None:
    """Import nothing more from the app's folder (``python -m``, ``PYTHONPATH``).

    What judges the folders is itself imported from the installation alone.
    """
    given = sys.path[:]
    own = (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    prefixes = tuple(f"{each}{os.sep}" for each in own)
    sys.path[:] = [
        each for each in given if each == _PACKAGES or each.startswith(prefixes)
    ]
    from blazeio_supervisor.isolation import keep_trusted

    sys.path[:] = keep_trusted(given, needed=sys.path)


def _refuse_another() -> None:
    """End here where another project called blazeio has overwritten ours, or may have.

    Raises:
        SystemExit: It is installed.
    """
    from blazeio_supervisor.version import explain_another

    if (reason := explain_another()) is not None:
        sys.exit(f"blazeio-supervisor: {reason}")


if __name__ == "__main__" and os.geteuid() == 0:
    _leave_untrusted_paths()

_refuse_another()

from blazeio_supervisor.errors import (  # noqa: E402
    ExitCode,
    OutputError,
    SupervisorError,
)


class _StandardOutput(io.FileIO):
    """Descriptor 1, whose failures are told apart from those of other files."""

    def write(self, octets: Any, /) -> int:
        """Write octets.

        Raises:
            OutputError: They cannot be written.
        """
        try:
            return super().write(octets)
        except OSError as error:
            reason = f"cannot write to standard output: {error.strerror}"
            raise OutputError(reason) from error


def main() -> None:
    """Run the program; every failure of the operator's is one line."""
    plain = sys.stdout
    if plain is sys.__stdout__ and plain is not None:
        raw = _StandardOutput(plain.fileno(), "w", closefd=False)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw),
            plain.encoding,
            plain.errors,
            line_buffering=plain.isatty(),
        )
    sys.exit(run_program(sys.argv[1:], forgets=True))


def run_program(words: list[str], *, forgets: bool = False) -> int:
    """Run the program in this process, with these words; return the exit code.

    Args:
        words: Of the command line.
        forgets: Once it is read, what reads it may be forgotten: nothing else runs in
            this process.
    """
    if sys.platform != "linux" or "--single" in words:
        from blazeio_supervisor.single import run_single

        return run_single(words)
    from blazeio_supervisor.isolation import forget_starter

    forget_starter()
    if os.geteuid() == 0:
        _leave_untrusted_paths()
    from blazeio_supervisor.worker.starting import is_app_path, start_at_once

    first = words[0] if words else ""
    serves = first.startswith("-") or is_app_path(first)
    with _ended_by_signals() if forgets and serves else contextlib.nullcontext():
        return _carry_out(words, start_at_once(words), forgets=forgets)


def _carry_out(
    words: list[str], early: "EarlyForkserver | None", *, forgets: bool
) -> int:
    # It imports its part while we import ours.
    with contextlib.nullcontext() if early is None else early:
        done = _import_program()(words)
        if isinstance(done, int):
            return done
        if forgets:
            _forget_command_line()
            _import_asyncio()
        return _run(done, early)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Have ^C end this process at once, until the master has handlers of its own.

    There is nothing to undo before. An exception would come in the midst of imports, as
    a traceback, or be dropped by the C code that it comes in. The first process of a
    container is not even ended by SIGTERM without a handler (pid_namespaces(7)).
    """
    usual: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler}
    if os.getpid() == 1:
        usual[signal.SIGTERM] = signal.SIG_DFL
    changed = {n: each for n, each in usual.items() if signal.getsignal(n) is each}
    for number in changed:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number, before in changed.items():
            signal.signal(number, before)


def _end(number: int, _: object) -> NoReturn:
    os._exit(128 + number)  # as a shell reports it; SIGINT: ``ExitCode.INTERRUPTED``


def _run(live_settings: "LiveSettings", early: "EarlyForkserver | None") -> int:
    try:
        from blazeio_supervisor.master.start import run_service

        return run_service(live_settings, early)
    except KeyboardInterrupt:  # ^C, before it has begun
        return ExitCode.INTERRUPTED
    except SupervisorError as error:
        from blazeio_supervisor.cli.program import report

        return report(error)


_OF_COMMAND_LINE = (
    *("blazeio_supervisor.cli", "blazeio_supervisor.ipc.control_api"),
    *("click", "gettext"),
)
"""What only the command line needs; the second, the master again for a verb."""


def _forget_command_line() -> None:
    """Free what has read the command line; what the master imports takes its place."""
    below = tuple(f"{name}." for name in _OF_COMMAND_LINE)
    for name in [*sys.modules]:
        if name in _OF_COMMAND_LINE or name.startswith(below):
            del sys.modules[name]
    for name in _OF_COMMAND_LINE:
        package, _, module = name.rpartition(".")
        if package:  # which refers to it as well
            vars(sys.modules[package]).pop(module, None)
    # What keeps click's functions and types alive. The second has no public name.
    typing.clear_overloads()
    for clear in getattr(typing, "_cleanups", ()):
        clear()
    gc.collect()


def _import_asyncio() -> None:
    """Import asyncio as Python has it where it was built without OpenSSL: 1 MiB less.

    The master encrypts nothing. What is imported with the first verb finds ``ssl``.
    """
    if "asyncio" not in sys.modules:
        with _left_out("ssl"):
            import asyncio  # noqa: F401


@contextlib.contextmanager
def _left_out(name: str) -> Iterator[None]:
    """Have a module appear as not installed, unless it is imported already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


def _import_program() -> Callable[[list[str]], "int | LiveSettings"]:
    try:
        # It takes from there what Python has by itself since 3.11; 0.2 MB of a master.
        with _left_out("typing_extensions"):
            import msgspec  # noqa: F401
        from blazeio_supervisor.cli.program import run_words
    except ImportError as error:
        sys.exit(
            f"blazeio-supervisor: its installation is not whole ({error}): install it "
            "with what it depends on; a zip file cannot hold the compiled ones"
        )
    return run_words


if __name__ == "__main__":
    main()
