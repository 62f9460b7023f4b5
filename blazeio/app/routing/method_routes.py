"""``web.route.get("/path")`` and its siblings: decorators that name a method.

May import: blazeio.app.routing, blazeio.protocol. Pure.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, Unpack, overload

from blazeio.app.routing.route import Methods, make_terms
from blazeio.app.routing.routes import RouteTable
from blazeio.errors import ConfigurationError
from blazeio.protocol.options import TermOptions

HandlerT = TypeVar("HandlerT", bound=Callable[..., Awaitable[None]])


class MethodRoute:
    """One decorator of ``MethodRoutes``.

    Args:
        table: Gets the routes.
        methods: Those that its routes serve.
    """

    __slots__ = ("_methods", "_table")

    def __init__(self, table: RouteTable, methods: Methods) -> None:
        self._table = table
        self._methods = methods

    @overload
    def __call__(self, target: HandlerT) -> HandlerT: ...
    @overload
    def __call__(
        self,
        target: str | None = None,
        *,
        name: str | None = None,
        **terms: Unpack[TermOptions],
    ) -> Callable[[HandlerT], HandlerT]: ...
    def __call__(
        self,
        target: Any = None,
        *,
        name: str | None = None,
        **terms: Unpack[TermOptions],
    ) -> Any:
        """Put on a function, or called with the path that it shall serve.

        Args:
            target: The path; None: the function says it.
            name: For ``url_for``; None: that of the function.
            terms: The fields of ``RouteTerms``, by name.

        Raises:
            ConfigurationError: See ``RouteTable.add``.
        """
        if callable(target):
            self._table.add(target, None, self._methods)
            return target
        own = make_terms(terms)

        def decorate(handler: HandlerT) -> HandlerT:
            self._table.add(handler, target, self._methods, own, name)
            return handler

        return decorate


class MethodRoutes:
    """``web.route.get("/path")`` and its siblings.

    Args:
        table: Gets the routes.

    Attributes:
        get: Serves HEAD too.
        post: See ``MethodRoute``; so the others.
    """

    __slots__ = ("delete", "get", "head", "options", "patch", "post", "put")

    def __init__(self, table: RouteTable) -> None:
        self.get = MethodRoute(table, "GET")
        self.head = MethodRoute(table, "HEAD")
        self.post = MethodRoute(table, "POST")
        self.put = MethodRoute(table, "PUT")
        self.patch = MethodRoute(table, "PATCH")
        self.delete = MethodRoute(table, "DELETE")
        self.options = MethodRoute(table, "OPTIONS")

    if not TYPE_CHECKING:  # or a type checker would let it pass

        def __call__(self, *words: object, **options: object) -> NoReturn:
            """Say how it is written: in other frameworks it is called like this.

            Raises:
                ConfigurationError: Always.
            """
            shown = ", ".join(f"{word!r:.80}" for word in words)
            message = (
                f"web.route({shown}): write @web.route.get('/path'), or "
                "@web.add_route('/path', methods=[...])"
            )
            raise ConfigurationError(message)
