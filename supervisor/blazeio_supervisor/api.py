"""What apps use of the supervisor: ``once`` and ``broadcast``, for those of others.

An ``App`` has its own: ``add_task(once=True)`` and ``broadcast``. What another app
declares is kept here until a worker that serves takes it. Where it is served by
another server, or imported by a test, no task runs, and the process that sends a
message is the only one that gets it.

What a service has by its name, as the app of ``serve FOLDER``, is here as well: it
keeps that name over an upgrade, and the next reload looks there.
"""

import inspect
import os
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, overload

from blazeio.app.app import App
from blazeio.app.service import (
    BroadcastHandler,
    Broadcasts,
    OnceTask,
    Schedule,
    in_thread,
    name_function,
    parse_schedule,
)
from blazeio.errors import ConfigurationError

FunctionT = TypeVar("FunctionT", bound=Callable[[], Any])

_declared: list[OnceTask] = []


@overload
def once(
    function: FunctionT,
    *,
    every: str | float | None = None,
    at: str | None = None,
    name: str | None = None,
) -> FunctionT: ...
@overload
def once(
    function: None = None,
    *,
    every: str | float | None = None,
    at: str | None = None,
    name: str | None = None,
) -> Callable[[FunctionT], FunctionT]: ...
def once(
    function: Any = None,
    *,
    every: str | float | None = None,
    at: str | None = None,
    name: str | None = None,
) -> Any:
    """Run a function in one worker of the service only.

    ``@once`` and ``@once(every="15m")`` are the two ways to write it, at import. See
    docs/how-to/tasks.md.

    Args:
        function: A function without arguments: an ``async def``, or a plain one, which
            runs in a thread.
        every: Run it again so long after the last run began: seconds, or ``"30s"``,
            ``"15m"``, ``"1h30m"``, ``"1d"``; the first time so long after the start.
        at: Run it each day at this time of the machine: ``"03:00"``.
        name: By which it is known over reloads; None: that of the function.

    Returns:
        The function.

    Raises:
        blazeio.errors.ConfigurationError: It cannot be called so, or the schedule
            cannot be read.
    """
    if function is None:
        return partial(once, every=every, at=at, name=name)
    _declared.append(make_task(function, parse_schedule(every, at), name))
    return function


def list_declared() -> list[OnceTask]:
    """Return what was declared in this process."""
    return _declared[:]


def make_task(function: Any, schedule: Schedule, name: str | None = None) -> OnceTask:
    """Return a task that runs a function.

    Raises:
        ConfigurationError: It is none that can be called without arguments.
    """
    if not callable(function):
        raise ConfigurationError(f"once({function!r:.60}): a function is expected")
    name = name or name_function(function)
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        text = f"task {name}: it is called without arguments: {error}"
        raise ConfigurationError(text) from None
    except ValueError:
        pass  # of C code that does not say what it takes
    is_async = inspect.iscoroutinefunction(function)
    return OnceTask(name, function if is_async else in_thread(function), schedule)


# Messages to all workers.


HandlerT = TypeVar("HandlerT", bound=BroadcastHandler)

_own = Broadcasts()


def broadcast(message: Any) -> bool:
    """Send a message to every worker of the service, also to this one.

    It may be called in any thread, and waits for nothing. See
    docs/how-to/broadcast.md.

    Args:
        message: What MessagePack has: text, octets, numbers, lists, dicts; at most
            32 KiB of it.

    Returns:
        False: it was dropped, and only this process gets it. Another thread than the
        loop's, as those of WSGI apps are, is told True before that is known.

    Raises:
        ValueError: It is too long, or no such value.
    """
    return _own.send(message)


def on_broadcast(handler: HandlerT) -> HandlerT:
    """Call a function, async or not, with each message of ``broadcast``, in the loop.

    One message is handled after the other; an exception is logged.

    Raises:
        blazeio.errors.ConfigurationError: It does not take one argument.
    """
    _own.add(handler)
    return handler


def add_to(app: App) -> None:
    """Let what is sent here reach the workers of this app, and its handlers too."""
    app.broadcasts.include(_own)


# The app of ``serve FOLDER``.


FOLDER_VARIABLE = "BLAZEIO_SERVED_FOLDER"
"""The environment names the folder: a worker imports the app by its name."""


def make_folder_app() -> App:
    """Make the App of ``serve FOLDER``: that folder, with listings.

    Raises:
        blazeio.errors.ConfigurationError: There is no such folder.
    """
    app: App = App("127.0.0.1", 8000)
    app.add_static("/", os.environ.get(FOLDER_VARIABLE) or ".", listing=True)
    return app
