"""The route table: exact paths by hashing, paths with parameters by segment.

Trailing slashes are significant: ``/api/ip`` and ``/api/ip/`` are two routes. A path
with parameters is searched in a ``PatternTree``.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, Unpack, overload

from blazeio.app.endpoints import Converter, Pattern, describe
from blazeio.app.route import (
    ANY,
    ByMethod,
    Found,
    Methods,
    PatternTree,
    Route,
    Scope,
    make_route,
    make_route_options,
    pick,
)
from blazeio.errors import ConfigurationError, LocalProtocolError, find_near
from blazeio.files.static_server import StaticServer
from blazeio.protocol.context import Handler
from blazeio.protocol.options import DEFAULT_OPTIONS, RouteOptions, RouteOptionValues
from blazeio.protocol.request import BlazeioServerProtocol

Enclose = Callable[[Route], Handler]
"""Puts the middlewares of its sub-apps around a route."""


USUAL_METHODS = {"DELETE", "GET", "PATCH", "POST", "PUT"}
"""Named for a server whose routes serve any method, which cannot be listed."""

Match = tuple[Route, dict[str, Any]]
"""A route, and the values of the path's parameters."""


class RouteTable:
    """Which handler serves which method and path.

    Attributes:
        by_method: For each method that an exact route names: exact path to handler; the
            routes without methods are in each of them.
        any_method: Exact path to handler for all other methods.
        scopes: Where sub-apps are mounted: the scopes that lead to each, the outermost
            first.
    """

    # Two dicts of paths, so that the hot path is two lookups and no branch: see
    # blazeio/app/dispatch.py. Both are changed in place: a dispatch holds them.
    __slots__ = (
        "_enclose",
        "_exact",
        "_has_options",
        "_named",
        "_outer",
        "_routes",
        "_tree",
        "any_method",
        "by_method",
        "scopes",
    )

    def __init__(self) -> None:
        self.by_method: dict[str, dict[str, Handler]] = {}
        self.any_method: dict[str, Handler] = {}
        self.scopes: list[tuple[Scope, ...]] = []
        self._exact: dict[str, ByMethod] = {}
        self._tree = PatternTree()
        self._routes: list[Route] = []
        self._named: dict[str, list[Route]] = {}
        self._has_options = False
        self._outer: list[tuple[RouteTable, Scope]] = []
        self._enclose: Enclose | None = None

    def add(
        self,
        handler: Callable[..., Any],
        path: str | None,
        methods: Methods,
        options: RouteOptions = DEFAULT_OPTIONS,
        name: str | None = None,
    ) -> None:
        """Add a route; the arguments are those of ``make_route``.

        Raises:
            ConfigurationError: It is no handler, has no path, or another route serves a
                method of this path, or has this name.
        """
        self.add_all([make_route(handler, path, methods, options, name)])

    def add_all(self, routes: Iterable[Route]) -> None:
        """Add routes, or none of them.

        Raises:
            ConfigurationError: One of them collides.
        """
        planned = [each for route in routes for each in self._plan(route)]
        _check_planned(planned)
        for table, route in planned:
            table._take(route)

    def mount(self, scope: Scope, inner: "RouteTable") -> None:
        """Add the routes of another table, also those that it gets later.

        Raises:
            ConfigurationError: One of its routes collides with one that is here, or it
                is this table, or has this table in it. Nothing is added then.
        """
        if inner is self or inner in self._tables_around():
            raise ConfigurationError(f"mount {scope.prefix.text!r}: within itself")
        routes = [route.under(scope) for route in inner._routes]
        planned = [each for route in routes for each in self._plan(route)]
        _check_planned(planned)
        # The scopes come first: a route is put into those of its sub-apps.
        self._take_scope((scope,))
        for chain in inner.scopes:
            self._take_scope((scope, *(each.under(scope) for each in chain)))
        for table, route in planned:
            table._take(route)
        inner._outer.append((self, scope))

    def seal(self, enclose: Enclose) -> None:
        """Put the middlewares of sub-apps around their routes, now and from now on."""
        self._enclose = enclose
        for route in self._routes:
            self._install(route)

    def find(self, method: str, path: str) -> Handler | None:
        """Find the handler of a request; None when there is none."""
        found = self.match(method, path)
        return None if found is None else found[0].serve

    def match(self, method: str, path: str) -> Match | None:
        """Find the route of a request, exact ones first; None: there is none."""
        if path in self._exact:
            route = pick(self._exact[path], method)
            if route is not None:
                return route, {}
        if self._tree.is_empty:
            return None
        found = self._tree.first(path, method)
        if found is not None:
            route, values = found
            if not self.scopes or not self._is_mounted_over(route):
                return route, dict(zip(route.pattern.names, values))  # noqa: B905 - 1.2x
        for routes, others in self._search(path):
            other = pick(routes, method)
            if other is not None:
                return other, dict(zip(other.pattern.names, others, strict=True))
        return None

    def _is_mounted_over(self, route: Route) -> bool:
        """Tell whether the prefix of a sub-app may be more specific than a route."""
        ranks = route.pattern.ranks
        for chain in self.scopes:
            prefix = chain[-1].prefix.ranks
            if ranks[: len(prefix)] > prefix:
                return True
        return False

    def find_options(self, method: str, path: str) -> RouteOptions:
        """Find the options of the route of a request."""
        if not self._has_options:
            return DEFAULT_OPTIONS
        found = self.match(method, path)
        return DEFAULT_OPTIONS if found is None else found[0].options

    def name_handler(self, method: str, path: str) -> str:
        """Name the handler of a request, and where it is defined, for the log."""
        found = self.match(method, path)
        return "no route" if found is None else describe(found[0].handler)

    def find_route(self, method: str, path: str) -> str | None:
        """Find the declared path of the route of a request."""
        found = self.match(method, path)
        return None if found is None else found[0].pattern.text

    def find_named(self, name: str) -> Pattern:
        """Find the path of a route by its name, as it is in the outermost app.

        Raises:
            LocalProtocolError: The caller's fault: there is none, or there are several.
        """
        routes = self._named.get(name, [])
        routes = [each for each in routes if each.is_named] or routes
        if not routes:
            near = find_near(name, self._named)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise LocalProtocolError(f"url_for({name!r}): no route has this name{hint}")
        if len({each.pattern.text for each in routes}) > 1:
            paths = " and ".join(repr(each.pattern.text) for each in routes[:2])
            way_out = "give each a name of its own: add_route(..., name='...')"
            message = f"url_for({name!r}): {paths} are called so; {way_out}"
            raise LocalProtocolError(message)
        pattern, table = routes[0].pattern, self
        while table._outer:
            if len(table._outer) > 1:
                message = f"url_for({name!r}): the app is mounted twice; use r.url_for"
                raise LocalProtocolError(message)
            table, scope = table._outer[0]
            pattern = pattern.under(scope.prefix)
        return pattern

    def methods_of(self, path: str) -> list[str]:
        """Return the methods that a path serves, sorted, for the Allow field.

        Empty where no route has the path, or where one serves every method.
        """
        methods = set(self._exact.get(path, ()))
        for routes, _ in self._search(path):
            methods.update(routes)
        return [] if not methods or ANY in methods else _with_own(methods)

    def methods_of_all(self) -> list[str]:
        """Return the methods that some route serves, sorted."""
        served = {method for route in self._routes for method in route.methods}
        if ANY in served:
            served = served - {ANY} | USUAL_METHODS
        return _with_own(served)

    def __repr__(self) -> str:
        return f"<RouteTable {len(self)} paths>"

    def __len__(self) -> int:
        return len({route.pattern.text for route in self._routes})

    def _search(self, path: str) -> Found:
        """Find routes with parameters; a sub-app's prefix wins over a wider route.

        So ``/{rest:path}`` of the outer app takes nothing from a mounted one.
        """
        found = self._tree.search(path)
        if not found or not self.scopes:
            return found
        segments = path.split("/")[1:]
        for chain in self.scopes:
            prefix = chain[-1].prefix
            if prefix.covers(segments):
                found = [each for each in found if not _is_wider(each[0], prefix)]
        return found

    def _plan(self, route: Route) -> Iterator[tuple["RouteTable", Route]]:
        """Iterate over what a new route is, here and where this table is mounted.

        Raises:
            ConfigurationError: See ``Route.under``.
        """
        yield self, route
        for table, scope in self._outer:
            yield from table._plan(route.under(scope))

    def _take(self, route: Route) -> None:
        """Add a route that was checked."""
        routes = self._place_of(route.pattern)
        for method in route.methods:
            routes[method] = route
        self._named.setdefault(route.name, []).append(route)
        self._routes.append(route)
        self._has_options = self._has_options or route.options is not DEFAULT_OPTIONS
        self._install(route)

    def _take_scope(self, chain: tuple[Scope, ...]) -> None:
        self.scopes.append(chain)
        for table, outer in self._outer:
            table._take_scope((outer, *(each.under(outer) for each in chain)))

    def _tables_around(self) -> list["RouteTable"]:
        around = [table for table, _ in self._outer]
        return around + [each for table in around for each in table._tables_around()]

    def _place_of(self, pattern: Pattern) -> ByMethod:
        if pattern.names:
            return self._tree.place_of(pattern)
        return self._exact.setdefault(pattern.text, {})

    def _find_place(self, pattern: Pattern) -> ByMethod:
        if pattern.names:
            return self._tree.find(pattern)
        return self._exact.get(pattern.text, {})

    # The dicts of the hot path

    def _install(self, route: Route) -> None:
        if self._enclose is not None and route.scopes:
            route.serve = self._enclose(route)
        if route.pattern.names:
            return
        for method in route.methods:
            if method == ANY:
                self._install_for_any(route.pattern.text, route.serve)
            else:
                self._install_for(method, route.pattern.text, route.serve)

    def _install_for_any(self, path: str, handler: Handler) -> None:
        self.any_method[path] = handler
        for table in self.by_method.values():
            table[path] = handler

    def _install_for(self, method: str, path: str, handler: Handler) -> None:
        self._table_of(method)[path] = handler
        if method == "GET" and "HEAD" not in self._exact[path]:
            self._table_of("HEAD")[path] = handler  # RFC 9110 section 9.3.2

    def _table_of(self, method: str) -> dict[str, Handler]:
        if method not in self.by_method:
            self.by_method[method] = dict(self.any_method)
        return self.by_method[method]


def _is_wider(routes: ByMethod, prefix: Pattern) -> bool:
    ranks = next(iter(routes.values())).pattern.ranks  # all of them have the same shape
    return ranks[: len(prefix.ranks)] > prefix.ranks


def _with_own(methods: set[str]) -> list[str]:
    """Return the methods, with those that are answered without a route."""
    own = {"OPTIONS", "HEAD"} if "GET" in methods else {"OPTIONS"}
    return sorted(methods | own)


class _Draft:
    """What a table would have with further routes; the table itself is not changed."""

    def __init__(self, table: RouteTable) -> None:
        self._table = table
        self._places: dict[tuple[str | Converter, ...], ByMethod] = {}
        self._named: dict[str, list[Route]] = {}

    def add(self, route: Route) -> None:
        """Add a route.

        Raises:
            ConfigurationError: It collides, or its name is that of another one.
        """
        table, shape = self._table, route.pattern.shape
        if shape not in self._places:
            self._places[shape] = dict(table._find_place(route.pattern))
        if route.name not in self._named:
            self._named[route.name] = list(table._named.get(route.name, ()))
        routes, namesakes = self._places[shape], self._named[route.name]
        _check_collisions(routes, route)
        _check_name(namesakes, route)
        routes.update(dict.fromkeys(route.methods, route))
        namesakes.append(route)


def _check_planned(planned: Iterable[tuple[RouteTable, Route]]) -> None:
    """Check that all of some routes can be added, before any of them is.

    Raises:
        ConfigurationError: One cannot be.
    """
    drafts: dict[RouteTable, _Draft] = {}
    for table, route in planned:
        if table not in drafts:
            drafts[table] = _Draft(table)
        drafts[table].add(route)


def _check_name(namesakes: list[Route], route: Route) -> None:
    for first in namesakes:
        if route.is_named and first.is_named and first.pattern != route.pattern:
            message = (
                f"route {route.pattern.text!r}: {route.name!r} is the name of "
                f"{first.pattern.text!r}, too"
            )
            raise ConfigurationError(message)


def _check_collisions(routes: ByMethod, route: Route) -> None:
    for name in route.methods:
        for other in [name, ANY] if name != ANY else list(routes):
            if other in routes:
                first = routes[other]
                message = (
                    f"route {route.pattern.text!r} ({name}): "
                    f"{describe(route.handler)} collides with "
                    f"{describe(first.handler)} ({other} {first.pattern.text!r})"
                )
                raise ConfigurationError(message)


# The routes of a folder of files


def route_files(
    table: RouteTable, static: StaticServer, prefix: str, name: str | None
) -> None:
    """Add the routes of the files below a prefix.

    Args:
        table: Gets the routes.
        static: Serves the files.
        prefix: With ``/assets`` its file ``a/b.css`` is ``/assets/a/b.css``.
        name: For ``url_for``; None: "static".

    Raises:
        ConfigurationError: A route collides.
    """
    # A prefix of "/" becomes "": the pattern below begins with a slash of its own, and
    # the root needs no route that redirects to it.
    prefix = prefix.rstrip("/")

    async def serve_file(r: BlazeioServerProtocol, path: str) -> None:
        await static.serve(r, f"/{path}")

    async def serve_folder(r: BlazeioServerProtocol) -> None:
        await static.serve(r, "")

    serve_file.__name__ = "static"
    routes = [make_route(serve_file, prefix + "/{path:path}", "GET", name=name)]
    if prefix:
        # ``/assets`` without its slash is redirected to ``/assets/``. Else the browser
        # would resolve the relative links of an index page against the folder above
        # (RFC 3986 section 5.2.3).
        routes.append(make_route(serve_folder, prefix, "GET"))
    table.add_all(routes)


# Decorators that name a method: ``web.route.get("/path")``


HandlerT = TypeVar("HandlerT", bound=Callable[..., Awaitable[None]])


class MethodRoute:
    """One decorator of ``MethodRoutes``.

    Args:
        table: Gets the routes.
        methods: The methods that its routes serve.
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
        **options: Unpack[RouteOptionValues],
    ) -> Callable[[HandlerT], HandlerT]: ...
    def __call__(
        self,
        target: Any = None,
        *,
        name: str | None = None,
        **options: Unpack[RouteOptionValues],
    ) -> Any:
        """Decorate a function, or return a decorator for a path.

        Args:
            target: The path; None: the function gives it.
            name: For ``url_for``; None: that of the function.
            options: The fields of ``RouteOptions``, by name.

        Raises:
            ConfigurationError: See ``RouteTable.add``.
        """
        if callable(target):
            self._table.add(target, None, self._methods)
            return target
        own = make_route_options(options)

        def decorate(handler: HandlerT) -> HandlerT:
            self._table.add(handler, target, self._methods, own, name)
            return handler

        return decorate


class MethodRoutes:
    """``web.route.get("/path")`` and the other methods.

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

    if not TYPE_CHECKING:  # else a type checker would let it pass

        def __call__(self, *words: object, **options: object) -> NoReturn:
            """Say how it is written: other frameworks call it like this.

            Raises:
                ConfigurationError: Always.
            """
            shown = ", ".join(f"{word!r:.80}" for word in words)
            message = (
                f"web.route({shown}): write @web.route.get('/path'), or "
                "@web.add_route('/path', methods=[...])"
            )
            raise ConfigurationError(message)
