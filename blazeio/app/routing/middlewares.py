"""The middlewares of an app, of each kind as many as it likes.

May import: blazeio.app.routing.endpoints, blazeio.errors, blazeio.protocol. Pure.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from blazeio.app.routing.endpoints import check_handler, describe
from blazeio.app.routing.error_handlers import ErrorHandlers
from blazeio.errors import ConfigurationError
from blazeio.protocol.context import Handler
from blazeio.protocol.request import BlazeioServerProtocol

CallNext = Callable[[BlazeioServerProtocol], Coroutine[Any, Any, None]]
"""What a middleware around calls, once, to have the request served."""
Around = Callable[[BlazeioServerProtocol, CallNext], Awaitable[Any]]


class Middlewares:
    """Those that an app has, each kind in the order it was added.

    Attributes:
        before: Run before every route, found or not.
        fallback: Run where no route is, instead of 404, until one has answered.
        after: Run when all is over, also after an error or a disconnect.
        around: Run around the others and the route, the first one outermost.
        errors: Answer what they raise.
    """

    __slots__ = ("_is_sealed", "after", "around", "before", "errors", "fallback")

    def __init__(self) -> None:
        self.before: list[Handler] = []
        self.fallback: list[Handler] = []
        self.after: list[Handler] = []
        self.around: list[Around] = []
        self.errors = ErrorHandlers()
        self._is_sealed = False

    def add(self, name: str, function: Callable[..., Any]) -> None:
        """Add one, by the name of its kind.

        Raises:
            ConfigurationError: It is no handler, or the app is served by now.
        """
        check_handler(function)
        self._check_time(function)
        kind = {
            "before_middleware": self.before,
            "handle_all_middleware": self.fallback,
            "after_middleware": self.after,
        }[name]
        kind.append(function)

    def add_around(self, function: Callable[..., Any]) -> None:
        """Add one that calls what comes after it.

        Raises:
            ConfigurationError: It is none, or the app is served by now.
        """
        check_handler(function, called_with=("r", "call_next"))
        self._check_time(function)
        self.around.append(function)

    def _check_time(self, function: Callable[..., Any]) -> None:
        if self._is_sealed:
            message = f"{describe(function)}: the app is served by now, it is too late"
            raise ConfigurationError(message)

    def seal(self) -> None:
        """No more can be added: they have been composed."""
        self._is_sealed = True
        self.errors.seal()
