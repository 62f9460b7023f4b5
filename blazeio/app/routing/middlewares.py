"""The middlewares of an app, of each kind as many as it likes.

May import: blazeio.app.routing.endpoints, blazeio.errors, blazeio.protocol. Pure.
"""

from collections.abc import Callable
from typing import Any

from blazeio.app.routing.endpoints import check_handler, describe
from blazeio.errors import ConfigurationError
from blazeio.protocol.context import Handler


class Middlewares:
    """Those that an app has, each kind in the order it was added.

    Attributes:
        before: Run before every route, found or not.
        fallback: Run where no route is, instead of 404, until one has answered.
        after: Run when all is over, also after an error or a disconnect.
    """

    __slots__ = ("_is_sealed", "after", "before", "fallback")

    def __init__(self) -> None:
        self.before: list[Handler] = []
        self.fallback: list[Handler] = []
        self.after: list[Handler] = []
        self._is_sealed = False

    def add(self, name: str, function: Callable[..., Any]) -> None:
        """Add one, by the name of its kind.

        Raises:
            ConfigurationError: It is no handler, or the app is served by now.
        """
        check_handler(function)
        if self._is_sealed:
            message = f"{describe(function)}: the app is served by now, it is too late"
            raise ConfigurationError(message)
        kind = {
            "before_middleware": self.before,
            "handle_all_middleware": self.fallback,
            "after_middleware": self.after,
        }[name]
        kind.append(function)

    def seal(self) -> None:
        """No more can be added: they have been composed."""
        self._is_sealed = True
