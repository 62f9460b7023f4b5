"""What an app does about an exception instead of the usual answer. Pure."""

from collections.abc import Awaitable, Callable
from typing import Any

from blazeio.app.routing.endpoints import check_handler, describe
from blazeio.errors import (
    Abort,
    ClientDisconnected,
    ConfigurationError,
    RemoteProtocolError,
    RequestError,
)
from blazeio.protocol.request import BlazeioServerProtocol

ErrorHandler = Callable[[BlazeioServerProtocol, Any], Awaitable[Any]]

ANY_BUG = (Exception, BaseException)
"""Who handles these handles what nobody has foreseen: it is a bug all the same."""

_OWN = (Abort, RemoteProtocolError, RequestError, *ANY_BUG)
"""The status of an error is more particular than these classes, and less than
those that an app derives from them."""

_ANSWERED = (Abort, RemoteProtocolError)
"""They have an answer, and are no bugs: who handles Exception does not mean them."""


class ErrorHandlers:
    """Those of one app, by the class of the error or by the status of its answer."""

    __slots__ = ("_by_status", "_by_type", "_is_sealed")

    def __init__(self) -> None:
        self._by_type: dict[type[BaseException], ErrorHandler] = {}
        self._by_status: dict[int, ErrorHandler] = {}
        self._is_sealed = False

    def __bool__(self) -> bool:
        return bool(self._by_type or self._by_status)

    def add(self, what: type[BaseException] | int, handler: ErrorHandler) -> None:
        """Add one.

        Raises:
            ConfigurationError: It is no handler, ``what`` is neither an exception
                nor a status of an error, there is one for it, or it is too late.
        """
        check_handler(handler, called_with=("r", "error"))
        if self._is_sealed:
            message = f"{describe(handler)}: the app is served by now, it is too late"
            raise ConfigurationError(message)
        if isinstance(what, type) and issubclass(what, BaseException):
            if issubclass(what, ClientDisconnected):
                reason = "nobody is left to be answered; after_middleware cleans up"
                raise ConfigurationError(f"on_error({what.__name__}): {reason}")
            first = self._by_type.setdefault(what, handler)
            name = what.__name__
        elif isinstance(what, int) and 400 <= what <= 599:
            first = self._by_status.setdefault(what, handler)
            name = str(what)
        else:
            reason = "expected a class of exceptions, or a status, 400 to 599"
            raise ConfigurationError(f"on_error({what!r:.80}): {reason}")
        if first is not handler:
            message = (
                f"on_error({name}): {describe(handler)} collides with {describe(first)}"
            )
            raise ConfigurationError(message)

    def seal(self) -> None:
        """No more can be added: whether there are any has been looked at."""
        self._is_sealed = True

    def find(
        self, error: BaseException, status: int
    ) -> tuple[ErrorHandler, bool] | None:
        """Find who handles an error: the nearest of its classes, or its status.

        Args:
            error: What was raised.
            status: What it would be answered with.

        Returns:
            The handler, and whether it is for this kind of error alone, so that it
            is no bug; None: there is none.
        """
        for kind in type(error).__mro__:
            if kind in ANY_BUG and isinstance(error, _ANSWERED):
                break
            if kind in _OWN and status in self._by_status:
                return self._by_status[status], False
            if kind in self._by_type:
                return self._by_type[kind], kind not in ANY_BUG
        found = self._by_status.get(status)
        return None if found is None else (found, False)
