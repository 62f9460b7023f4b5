"""Who serves an app when it asks to be served.

An app that is run as a script ends in ``web.runner()``. Alone it serves
itself; under a supervisor the worker that runs the script has set ``host``
before, and serves the app from the listener it was given.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blazeio.app.app import App

host: ContextVar["Callable[[App[Any]], None] | None"] = ContextVar("host", default=None)
"""Called by ``App.runner`` instead of serving by itself; returns at the end."""
