"""From functions and methods to handlers: their paths, and what a handler must be.

A method whose name starts with ``_`` (not ``__``) is an endpoint, and every ``_`` of
its name becomes ``/``. A parameter ``route="/path"`` overrides the name; a path that
the caller passes overrides both. The original package had these rules.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from types import CodeType
from typing import Any

from blazeio.app.patterns import Pattern, parse_pattern
from blazeio.errors import ConfigurationError
from blazeio.protocol.context import Handler

MIDDLEWARE_NAMES = ("before_middleware", "handle_all_middleware", "after_middleware")


def describe(function: Callable[..., Any]) -> str:
    """Name a function and where it is defined, for error messages."""
    target = inspect.unwrap(getattr(function, "func", function))
    name = getattr(target, "__qualname__", None) or repr(target)
    code = getattr(target, "__code__", None)
    if not isinstance(code, CodeType):
        return f"{getattr(target, '__module__', '?')}.{name}"
    return f"{target.__module__}.{name} ({code.co_filename}:{code.co_firstlineno})"


def check_handler(
    function: Callable[..., Any],
    names: Sequence[str] = (),
    *,
    called_with: Sequence[str] = ("r",),
) -> None:
    """Demand an ``async def`` that can be called with ``r``.

    Args:
        function: The handler.
        names: The parameters of its path, which it may take too.
        called_with: The arguments that it is called with, by position.

    Raises:
        ConfigurationError: It cannot be called so; names it and where it is defined.
    """
    if inspect.isasyncgenfunction(function):
        message = (
            f"{describe(function)} yields: write to r instead, or send what a "
            "generator beside it yields by `await io.Deliver.stream(r, pieces())`"
        )
        raise ConfigurationError(message)
    if not _is_coroutine_function(function):
        if inspect.isclass(function):
            way_out = "a class: web.attach(it) adds its methods as routes"
        elif not callable(function):
            way_out = f"a {type(function).__name__}, expected a function"
        else:
            way_out = "must be defined with `async def`"
        raise ConfigurationError(f"{describe(function)} {way_out}")
    _check_parameters(function, names, called_with)


def _check_parameters(
    function: Callable[..., Any], names: Sequence[str], called_with: Sequence[str]
) -> None:
    signature = inspect.signature(function)
    behind_r = [*signature.parameters][len(called_with) :]
    given = ", ".join(called_with)
    taken = {name: None for name in names if name in behind_r}
    try:
        # Binding says what a call would say, in Python's own words, and calls nothing.
        signature.bind(*[None] * len(called_with), **taken)
    except TypeError as error:
        name = describe(function)
        if not signature.parameters:
            own = getattr(function, "__name__", "handler")
            message = f"{name} is called with {given}: write `async def {own}({given})`"
        else:
            known = f" and by name {', '.join(names)}" if names else ""
            message = f"{name} is called with {given}{known}: {error}"
            missing = [each for each in behind_r if each not in names]
            if next(iter(signature.parameters)) == "self" and missing == ["r"]:
                message += "; it is a method: give that of an object"
            elif len(called_with) == 1 and missing and "missing" in str(error):
                message += f"; a parameter of the path is written {{{missing[0]}}}"
        raise ConfigurationError(message) from error


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    # An object with `async def __call__` is a handler too.
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - looked at, not called
    )


def decide_path(handler: Callable[..., Any], path: str | None = None) -> Pattern:
    """Decide the path of a handler.

    Args:
        handler: The function, method or callable object.
        path: As the caller passed it; None: the handler's ``route`` parameter, or else
            its name, gives it.

    Raises:
        ConfigurationError: There is no usable path.
    """
    if path is None:
        path = _path_from_parameter(handler)
    if path is None:
        name = getattr(handler, "__name__", None)
        if name is None:
            message = f"{describe(handler)} has no name: give it a path"
            raise ConfigurationError(message)
        path = path_from_name(name)
    try:
        return parse_pattern(path)
    except ConfigurationError as error:
        raise ConfigurationError(f"{describe(handler)}: {error}") from None


def _path_from_parameter(handler: Callable[..., Any]) -> str | None:
    parameter = inspect.signature(handler).parameters.get("route")
    if parameter is None or parameter.default is inspect.Parameter.empty:
        return None
    return str(parameter.default)


def path_from_name(name: str) -> str:
    """Make a path of a name: ``_api_ip`` is ``/api/ip``, ``_`` is ``/``.

    Raises:
        ConfigurationError: The name would give an empty segment.
    """
    path = "/" + name.removeprefix("_").replace("_", "/")
    if "//" in path or (path.endswith("/") and path != "/"):
        message = f"the name {name!r} makes no path: give it one, or route='/path'"
        raise ConfigurationError(message)
    return path


def find_endpoints(instance: object) -> Iterator[tuple[str, Handler]]:
    """Iterate over the names and bound methods of endpoints and middlewares.

    Args:
        instance: The methods of its class are searched, inherited ones too, in the
            order of their names.

    Raises:
        ConfigurationError: A method is named like an endpoint and cannot be one.
    """
    owner = type(instance)
    for name in dir(owner):
        if not _names_endpoint(name, owner):
            continue
        # The class is searched, and its attribute is looked at statically: ``getattr``
        # of the instance would run the app's properties while the app is put together.
        attribute = inspect.getattr_static(owner, name)
        if isinstance(attribute, staticmethod | classmethod):
            attribute = attribute.__func__
        if not inspect.isroutine(attribute):
            continue  # a class attribute, a property
        method = getattr(instance, name)
        _check_endpoint(name, method)
        yield name, method


def _names_endpoint(name: str, owner: type) -> bool:
    if name in MIDDLEWARE_NAMES:
        return True
    if not name.startswith("_") or name.startswith("__"):
        return False
    # self.__load is stored as _Owner__load: private, no endpoint.
    return not any(
        name.startswith(f"_{each.__name__.lstrip('_')}__") for each in owner.__mro__
    )


def _check_endpoint(name: str, method: Callable[..., Any]) -> None:
    try:
        names = () if name in MIDDLEWARE_NAMES else decide_path(method).names
        check_handler(method, names)
    except ConfigurationError as error:
        if name in MIDDLEWARE_NAMES:
            raise
        message = (
            f"{error}; a method whose name starts with one underscore is an endpoint: "
            f"call it {name.lstrip('_')} or _{name} if it is none"
        )
        raise ConfigurationError(message) from error
