"""Path parameters as keyword arguments of the handlers that take them.

May import: blazeio.app.routing, blazeio.errors, blazeio.protocol. Pure.
"""

import inspect
import uuid
from collections.abc import Callable
from typing import Any

from blazeio.app.routing.endpoints import check_handler, describe
from blazeio.app.routing.patterns import Parameter, Pattern
from blazeio.errors import ConfigurationError
from blazeio.protocol.context import Handler
from blazeio.protocol.request import BlazeioServerProtocol

_BY_KEYWORD = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)
_PLAIN_TYPES = (int, float, str, uuid.UUID)


def bind_arguments(function: Callable[..., Any], pattern: Pattern) -> Handler:
    """Make of a handler one that is called with ``r`` alone.

    Args:
        function: Those of its parameters behind ``r`` that are named like one
            of the path get its value.
        pattern: Its path.

    Returns:
        The handler itself, where it takes none.

    Raises:
        ConfigurationError: It is no handler, takes what its path has not, or
            says another type than the path does.
    """
    check_handler(function, pattern.names)
    if not pattern.names:
        return function
    taken = _names_taken(function, pattern)
    if not taken:
        return function
    if len(taken) == len(pattern.names):

        def call_with_all(r: BlazeioServerProtocol) -> Any:
            return function(r, **r.path_params)

        return call_with_all

    def call_with_some(r: BlazeioServerProtocol) -> Any:
        values = r.path_params
        return function(r, **{name: values[name] for name in taken})

    return call_with_some


def _names_taken(function: Callable[..., Any], pattern: Pattern) -> list[str]:
    after_r = list(inspect.signature(function).parameters.values())[1:]
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in after_r):
        return list(pattern.names)
    taken = {each.name: each for each in after_r if each.kind in _BY_KEYWORD}
    for part in pattern.segments:
        if isinstance(part, Parameter) and part.name in taken:
            _check_type(taken[part.name], part, function, pattern)
    return [name for name in pattern.names if name in taken]


def _check_type(
    declared: inspect.Parameter,
    part: Parameter,
    function: Callable[..., Any],
    pattern: Pattern,
) -> None:
    # Annotations may be text: from __future__ import annotations.
    said = declared.annotation
    for each in _PLAIN_TYPES:
        if said in (each, each.__name__) and each is not part.converter.python_type:
            kind = each.__name__.lower()
            message = (
                f"route {pattern.text!r}: {describe(function)} takes "
                f"{part.name}: {each.__name__}, write {{{part.name}:{kind}}}"
            )
            raise ConfigurationError(message)
