"""``blazeio_supervisor.once``: tasks that run once, of apps that are no ``App``.

What is declared here is kept until a worker that serves takes it; where the app is
served by another server, or imported by a test, nothing runs.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, overload

from blazeio.app.once import OnceTask, in_thread, name_function
from blazeio.app.schedule import Schedule, parse_schedule
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
