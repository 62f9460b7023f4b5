"""One route, as it was declared, and which of a path's serves a method.

May import: blazeio.app.routing, blazeio.errors, blazeio.protocol. Pure.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from blazeio.app.named import make_named
from blazeio.app.routing.arguments import bind_arguments
from blazeio.app.routing.middlewares import Middlewares
from blazeio.app.routing.patterns import Pattern
from blazeio.errors import ConfigurationError
from blazeio.protocol.context import Handler
from blazeio.protocol.options import USUAL, RouteTerms
from blazeio.protocol.request import BlazeioServerProtocol

Methods = Iterable[str] | str | None

ANY = "any method"


class Scope(Struct, frozen=True):
    """A sub-app where it is mounted: what holds for all that is below a prefix.

    Attributes:
        prefix: Without a slash at its end.
        middlewares: Those of the sub-app.
        strict_slashes: As the sub-app has it.
        name: Before the names of its routes, with a dot; "" for nothing.
    """

    prefix: Pattern
    middlewares: Middlewares
    strict_slashes: bool = True
    name: str = ""

    def under(self, outer: "Scope") -> "Scope":
        """The same, where the app it is mounted in is mounted itself."""
        return replace(self, prefix=self.prefix.under(outer.prefix))


class Route(Struct, eq=False):
    """What serves some methods of a path.

    Attributes:
        pattern: The path.
        methods: Those it serves; ``ANY`` alone for all.
        handler: As it was declared.
        serve: The same, called with ``r`` alone.
        terms: What holds for it alone.
        scopes: The sub-apps it comes from, the outermost first.
        name: What ``url_for`` calls it; that of the handler if none was given.
        is_named: One was given.
    """

    pattern: Pattern
    methods: tuple[str, ...]
    handler: Callable[..., Any]
    serve: Handler
    terms: RouteTerms = USUAL
    scopes: tuple[Scope, ...] = ()
    name: str = ""
    is_named: bool = False

    def under(self, scope: Scope) -> "Route":
        """The same route, where the app it is in is mounted.

        Raises:
            ConfigurationError: The handler takes what its path has not.
        """
        pattern = self.pattern.under(scope.prefix)
        return replace(
            self,
            pattern=pattern,
            serve=bind(self.handler, pattern, self.terms),
            scopes=(scope, *(each.under(scope) for each in self.scopes)),
            name=f"{scope.name}.{self.name}" if scope.name else self.name,
        )


def bind(function: Callable[..., Any], pattern: Pattern, terms: RouteTerms) -> Handler:
    """Make of a handler one that is called with ``r`` alone, and held to its terms.

    Raises:
        ConfigurationError: See ``bind_arguments``.
    """
    handler = bind_arguments(function, pattern)
    span_s = terms.handler_timeout_s
    if span_s is None:
        return handler

    async def serve(r: BlazeioServerProtocol) -> Any:
        r.patience.end_handler_in(span_s)
        return await handler(r)

    return serve


ByMethod = dict[str, Route]
"""The routes of one path, by method or ``ANY``."""


def pick(routes: ByMethod, method: str) -> Route | None:
    """Pick the route that serves a method; GET serves HEAD (RFC 9110 9.3.2)."""
    route = routes.get(method)
    if route is None and method == "HEAD":
        route = routes.get("GET")
    return routes.get(ANY) if route is None else route


def check_methods(methods: Methods, path: str) -> tuple[str, ...]:
    """The names of methods, each once, in capitals.

    Raises:
        ConfigurationError: There is none, or one is no name.
    """
    if methods is None:
        return (ANY,)
    if isinstance(methods, str):
        methods = (methods,)
    names = tuple(dict.fromkeys(method.upper() for method in methods))
    if not names or not all(name.isascii() and name.isalpha() for name in names):
        message = f"route {path!r}: {list(names)} are no methods"
        raise ConfigurationError(message)
    return names


def make_terms(given: Mapping[str, object]) -> RouteTerms:
    """The terms of a route, by name.

    Raises:
        ConfigurationError: There is no such term, or it cannot be.
    """
    if not given:
        return USUAL
    return make_named(RouteTerms, given, "a route has no term named")
