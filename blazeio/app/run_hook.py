"""Which function serves an app when the app itself calls ``web.runner()``.

A script that defines an app usually ends with ``web.runner()``. Run alone, it serves
itself. A supervisor's worker that runs the same script sets ``hook`` before, and serves
the app on the listener that the worker was given.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blazeio.app.app import App

hook: ContextVar["Callable[[App[Any]], None] | None"] = ContextVar("hook", default=None)
"""Called by ``App.runner`` instead of serving by itself; returns when serving ends."""
