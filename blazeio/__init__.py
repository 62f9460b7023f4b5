"""blazeio: an asyncio HTTP framework and client that work at the transport layer.

``import blazeio as io`` is the front door; all of it is imported from below.
Importing starts nothing: ``io.loop`` is made when it is first used.

The first name that is used brings all of them (``blazeio.api``), so that
no handler pays for an import in the middle of a request, and what a forkserver
shares with its workers is imported before the fork. Who uses no name of it, and
only a module below, does not pay for the rest: the supervisor's master needs
neither the client nor WebSockets (15 ms of CPU).
"""

import importlib
import typing

if typing.TYPE_CHECKING:
    import asyncio

    from blazeio.api import *  # noqa: F403 - what it lists
    from blazeio.api import __all__ as __all__

    loop: asyncio.AbstractEventLoop
else:

    def __getattr__(name: str) -> object:
        """Give what is offered; make ``io.loop``, the loop of this process."""
        if name == "loop":
            return importlib.import_module("blazeio.server.loop").get_loop()
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
