"""blazeio-supervisor: the pre-fork runner."""

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blazeio_supervisor.api import broadcast, on_broadcast, once

__all__ = ["broadcast", "on_broadcast", "once", "run"]

_LATER = {"broadcast", "on_broadcast", "once"}
"""What is imported at its first use, since no verb needs it."""


def __getattr__(name: str) -> Any:
    """Import what apps use at its first use."""
    if name in _LATER:
        from blazeio_supervisor import api

        return getattr(api, name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def run(app: str, **options: Any) -> None:
    """Serve an app until the end, as ``blazeio-supervisor APP`` does.

    ::

        if __name__ == "__main__":
            blazeio_supervisor.run("main:app", workers=4, bind="127.0.0.1:8000")

    Args:
        app: What to serve, as on the command line: the workers import it by this name.
        options: Those of the command line, with underscores: a list repeats one, True
            and False are a switch and its ``--no-`` form, None is left out.

    Raises:
        SystemExit: It could not be started, or did not end well; with its exit code.
        TypeError: The app is no text.
        RuntimeError: It is called while a worker imports the app.
    """
    if not isinstance(app, str):
        reason = "write the import path, 'main:app', by which the workers import it"
        raise TypeError(f"run({app!r:.80}): {reason}")
    _refuse_within_import()
    started = getattr(sys.modules["__main__"], "__file__", None)
    if started is not None and "app_dir" not in options and not app.endswith(".py"):
        options["app_dir"] = os.path.dirname(os.path.abspath(started))

    from blazeio_supervisor.__main__ import run_program

    code = run_program([*_write_options(options), app])
    if code:
        raise SystemExit(code)


def _write_options(options: dict[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if value is True:
            words.append(f"--{flag}")
        elif value is False:
            words.append(f"--no-{flag}")
        elif isinstance(value, list | tuple):
            words += [f"--{flag}={each}" for each in value]
        elif value is not None:
            words.append(f"--{flag}={value}")
    return words


def _refuse_within_import() -> None:
    """Refuse a call of ``run`` by a module that a worker imports.

    Raises:
        RuntimeError: The caller's fault.
    """
    runner = sys.modules.get("blazeio.app.runner")  # a worker has imported it
    if runner is not None and runner.run_hook.get() is not None:
        raise RuntimeError(
            "run() was called while the module was imported: put it under "
            "`if __name__ == '__main__':`"
        )
