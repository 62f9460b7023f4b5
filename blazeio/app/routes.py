"""The route table: exact paths, found by hashing however many there are.

Trailing slashes are exact: ``/api/ip`` and ``/api/ip/`` are two routes.

May import: blazeio.app.endpoints, blazeio.errors, blazeio.protocol. Pure.
"""

from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, TypeVar, overload

from blazeio.app.endpoints import check_handler, decide_path, describe
from blazeio.errors import ConfigurationError
from blazeio.protocol.context import Handler
from blazeio.protocol.terms import USUAL, RouteTerms

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])
Methods = Iterable[str] | str | None

ANY = "any method"


class RouteTable:
    """Which handler serves which method and path.

    Attributes:
        by_method: Path to handler for each method that some route names; the
            routes without methods are in each of them.
        any_method: Path to handler for all other methods.
    """

    # Two dicts of paths, so that the hot path is two lookups and no branch: see
    # blazeio/app/dispatch.py. Both are changed in place: a dispatch holds them.
    __slots__ = ("_declared", "_terms", "any_method", "by_method")

    def __init__(self) -> None:
        self.by_method: dict[str, dict[str, Handler]] = {}
        self.any_method: dict[str, Handler] = {}
        self._declared: dict[str, dict[str, Handler]] = {}
        self._terms: dict[str, dict[str, RouteTerms]] = {}

    def add(
        self,
        handler: Callable[..., Any],
        path: str | None,
        methods: Methods,
        terms: RouteTerms = USUAL,
    ) -> None:
        """Add a route.

        Args:
            handler: An ``async def`` that takes ``r``.
            path: None: the handler says it (see ``decide_path``).
            methods: Those it serves; GET serves HEAD too. None: all.
            terms: What holds for it alone.

        Raises:
            ConfigurationError: It is no handler, has no path, or another route
                serves a method of this path.
        """
        check_handler(handler)
        path = decide_path(handler, path)
        names = _checked_methods(methods, path)
        self._check_collisions(path, names, handler)
        for name in names:
            self._declared.setdefault(path, {})[name] = handler
            if terms is not USUAL:
                self._terms.setdefault(path, {})[name] = terms
            if name == ANY:
                self._add_for_any(path, handler)
            else:
                self._add_for(name, path, handler)

    def find(self, method: str, path: str) -> Handler | None:
        """Find the handler of a request; None when there is none."""
        return self.by_method.get(method, self.any_method).get(path)

    def find_terms(self, method: str, path: str) -> RouteTerms:
        """Find what holds for the route of a request alone."""
        terms = self._terms.get(path)
        if terms is None:
            return USUAL
        declared = self._declared[path]
        if method == "HEAD" and "HEAD" not in declared and "GET" in declared:
            method = "GET"
        return terms.get(method if method in declared else ANY, USUAL)

    def methods_of(self, path: str) -> list[str]:
        """The methods that a path serves, sorted, for the Allow field."""
        methods = set(self._declared.get(path, ())) - {ANY}
        if "GET" in methods:
            methods.add("HEAD")
        return sorted(methods)

    def __repr__(self) -> str:
        return f"<RouteTable {len(self._declared)} paths>"

    def __len__(self) -> int:
        return len(self._declared)

    def _add_for_any(self, path: str, handler: Handler) -> None:
        self.any_method[path] = handler
        for table in self.by_method.values():
            table[path] = handler

    def _add_for(self, method: str, path: str, handler: Handler) -> None:
        self._table_of(method)[path] = handler
        if method == "GET" and "HEAD" not in self._declared[path]:
            self._table_of("HEAD")[path] = handler  # RFC 9110 section 9.3.2

    def _table_of(self, method: str) -> dict[str, Handler]:
        if method not in self.by_method:
            self.by_method[method] = dict(self.any_method)
        return self.by_method[method]

    def _check_collisions(
        self, path: str, names: list[str], handler: Callable[..., Any]
    ) -> None:
        declared = self._declared.get(path, {})
        for name in names:
            clashing = [name, ANY] if name != ANY else list(declared)
            for other in clashing:
                if other in declared:
                    message = (
                        f"route {path!r} ({name}): {describe(handler)} collides "
                        f"with {describe(declared[other])} ({other})"
                    )
                    raise ConfigurationError(message)


def _checked_methods(methods: Methods, path: str) -> list[str]:
    if methods is None:
        return [ANY]
    if isinstance(methods, str):
        methods = (methods,)
    names = list(dict.fromkeys(method.upper() for method in methods))
    if not names or not all(name.isascii() and name.isalpha() for name in names):
        message = f"route {path!r}: {names} are no methods"
        raise ConfigurationError(message)
    return names


def make_terms(given: dict[str, Any]) -> RouteTerms:
    """The terms of a route, by name.

    Raises:
        ConfigurationError: There is no such term, or it cannot be.
    """
    if not given:
        return USUAL
    known = [field.name for field in fields(RouteTerms)]
    for name in given:
        if name not in known:
            message = f"a route has no {name!r}; known: {', '.join(known)}"
            raise ConfigurationError(message)
    return RouteTerms(**given)


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
        self, target: str | None = None, **terms: Any
    ) -> Callable[[HandlerT], HandlerT]: ...
    def __call__(self, target: Any = None, **terms: Any) -> Any:
        """Put on a function, or called with the path that it shall serve.

        Args:
            target: The path; None: the function says it.
            terms: The fields of ``RouteTerms``, by name.

        Raises:
            ConfigurationError: See ``RouteTable.add``.
        """
        if callable(target):
            self._table.add(target, None, self._methods)
            return target
        own = make_terms(terms)

        def decorate(handler: HandlerT) -> HandlerT:
            self._table.add(handler, target, self._methods, own)
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
