"""blazeio: an asyncio HTTP framework and client that work at the transport layer.

All public names are in ``import blazeio as io``; they come from the modules below.
Importing starts nothing: ``io.loop`` is made when it is first used.

The first name that is used imports all of them (``blazeio.api``), so that no handler
pays for an import in the middle of a request, and a forkserver imports everything
before it forks. A program that only imports a module below does not pay for the rest:
the supervisor's master needs neither the client nor WebSockets (15 ms of CPU).
"""

import importlib
import importlib.machinery as machinery
import os
import sys
import typing


def _refuse_another(folder: str) -> None:
    """Refuse to run where a project that is also called blazeio has written its files.

    Its metadata then lies beside this package; ``importlib.metadata`` would take 12 ms
    to find it, the names of the folder take 0.1 ms.

    Raises:
        ImportError: It is installed in the same folder; says what to do.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return  # an archive
    for name in names:
        if name[:8].lower() == "blazeio-" and name.endswith(("-info", ".egg")):
            raise ImportError(
                f"another project called blazeio is installed over this one ({name} in "
                f"{folder}): pip uninstall blazeio && pip install --force-reinstall "
                "PATH, where PATH is a clone or a wheel of blazeio-supervisor"
            )


def _prefer_source(folder: str) -> None:
    """Import the modules of a folder from their source, also where they are compiled.

    A wheel may have ``blazeio.wire`` compiled as well. Python then takes that, unless
    its finder for the folder knows of sources only.
    """
    finder = machinery.FileFinder(
        folder, (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES)
    )
    sys.path_importer_cache[folder] = finder


_refuse_another(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if os.environ.get("BLAZEIO_PURE") == "1":
    _prefer_source(os.path.join(__path__[0], "wire"))

if typing.TYPE_CHECKING:
    import asyncio

    from blazeio.api import *  # noqa: F403 - what it lists
    from blazeio.api import __all__ as __all__

    loop: asyncio.AbstractEventLoop
else:

    def __getattr__(name: str) -> object:
        """Return a public name; ``io.loop`` is the loop of this process, made now."""
        if name == "loop":
            return importlib.import_module("blazeio.protocol.process").get_loop()
        if name == "__all__" or not name.startswith("__"):
            _load()
        if name in globals():
            return globals()[name]
        raise AttributeError(f"module 'blazeio' has no attribute {name!r}")

    def __dir__() -> list[str]:
        _load()
        return sorted(globals())

    def _load() -> None:
        front_door = importlib.import_module("blazeio.api")
        for name in ("__all__", *front_door.__all__):
            globals()[name] = getattr(front_door, name)
