"""``Route``: the handler of some methods of a path, and what holds for it alone.

A handler is called with ``r`` alone at run time: path parameters that it takes by name,
and the options of the route, are bound into a wrapper when the route is added.

Routes with parameters are kept in a ``PatternTree``.
"""

import inspect
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from blazeio.app.endpoints import (
    REST,
    Converter,
    Parameter,
    Pattern,
    check_handler,
    decide_path,
    describe,
)
from blazeio.errors import ConfigurationError, find_near
from blazeio.protocol.context import Handler
from blazeio.protocol.options import DEFAULT_OPTIONS, RouteOptions
from blazeio.protocol.request import BlazeioServerProtocol

if TYPE_CHECKING:
    from blazeio.app.dispatch import Middlewares

# Path parameters as keyword arguments


_BY_KEYWORD = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)
_PLAIN_TYPES = (int, float, str, uuid.UUID)


def bind_arguments(function: Callable[..., Any], pattern: Pattern) -> Handler:
    """Make a handler that is called with ``r`` alone.

    Args:
        function: Those of its parameters after ``r`` that are named like a parameter of
            the path get its value.
        pattern: Its path.

    Returns:
        The function itself, where it takes none of them.

    Raises:
        ConfigurationError: It is no handler, takes a parameter that the path does not
            have, or declares another type than the path does.
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


# Options by name


RecordT = TypeVar("RecordT")


def make_named(kind: type[RecordT], given: Mapping[str, object], whose: str) -> RecordT:
    """Make a record of options that were given by name; the others have their defaults.

    Args:
        kind: A dataclass.
        given: Its fields.
        whose: The beginning of the error, such as ``App(...) has no limit named``.

    Raises:
        ConfigurationError: There is no such field, or its value is not possible.
    """
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            near = find_near(name, known)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise ConfigurationError(f"{whose} {name!r}; {hint}")
    return kind(**given)


_MIDDLEWARE = (
    "@web.middleware above async def NAME(r, call_next), or @web.add_route above "
    "async def before_middleware(r)"
)
_ELSEWHERE = {
    **dict.fromkeys(
        ("delete", "get", "head", "options", "patch", "post", "put"), "web.route.{}"
    ),
    **dict.fromkeys(("websocket", "ws"), "io.WebSocket(r) in a handler"),
    **dict.fromkeys(("add_middleware", "before_request", "use"), _MIDDLEWARE),
    **dict.fromkeys(
        ("add_exception_handler", "errorhandler", "exception_handler", "exception"),
        "@web.on_error(404), or a class of exceptions",
    ),
    **dict.fromkeys(("after_request",), "async def after_middleware(r)"),
    **dict.fromkeys(("include_router", "register_blueprint"), "web.mount(prefix, app)"),
    **dict.fromkeys(("static", "mount_static"), "web.add_static(prefix, folder)"),
    **dict.fromkeys(("listen", "run_app", "serve", "start"), "web.runner()"),
    **dict.fromkeys(("add_api_route", "add_url_rule"), "web.add_route(handler, path)"),
    **dict.fromkeys(("on_event", "on_startup", "startup"), "web.on_start"),
    **dict.fromkeys(("on_cleanup", "on_shutdown", "shutdown"), "web.on_stop"),
}
"""The names of other frameworks, and the names here."""


def describe_missing(kind: str, name: str) -> str:
    """Say that there is no such attribute, and what it is called here.

    Args:
        kind: The class of the object.
        name: The attribute.
    """
    ours = _ELSEWHERE.get(name)
    hint = "" if ours is None else f"; write {ours.format(name)}"
    return f"{kind!r} object has no attribute {name!r}{hint}"


Methods = Iterable[str] | str | None

ANY = "any method"


class Scope(Struct, frozen=True):
    """A sub-app where it is mounted: what holds for everything below a prefix.

    Attributes:
        prefix: Without a slash at its end.
        middlewares: Those of the sub-app.
        strict_slashes: The setting of the sub-app.
        name: Put before the names of its routes, with a dot; "" for nothing.
    """

    prefix: Pattern
    middlewares: "Middlewares"
    strict_slashes: bool = True
    name: str = ""

    def under(self, outer: "Scope") -> "Scope":
        """Return it as it is seen from where the app around it is mounted."""
        return replace(self, prefix=self.prefix.under(outer.prefix))


class Route(Struct, eq=False):
    """What serves some methods of a path.

    Attributes:
        pattern: The path.
        methods: The methods it serves; ``ANY`` alone for all.
        handler: As it was declared.
        serve: The handler, called with ``r`` alone.
        options: What holds for it alone.
        scopes: The sub-apps it comes from, the outermost first.
        name: Its name for ``url_for``; that of the handler if none was given.
        is_named: A name was given.
    """

    pattern: Pattern
    methods: tuple[str, ...]
    handler: Callable[..., Any]
    serve: Handler
    options: RouteOptions = DEFAULT_OPTIONS
    scopes: tuple[Scope, ...] = ()
    name: str = ""
    is_named: bool = False

    def under(self, scope: Scope) -> "Route":
        """Return the route as it is seen from where its app is mounted.

        Raises:
            ConfigurationError: The handler takes a parameter that the path does not
                have.
        """
        pattern = self.pattern.under(scope.prefix)
        return replace(
            self,
            pattern=pattern,
            serve=bind(self.handler, pattern, self.options),
            scopes=(scope, *(each.under(scope) for each in self.scopes)),
            name=f"{scope.name}.{self.name}" if scope.name else self.name,
        )


def make_route(
    handler: Callable[..., Any],
    path: str | None = None,
    methods: Methods = None,
    options: RouteOptions = DEFAULT_OPTIONS,
    name: str | None = None,
) -> Route:
    """Make a route.

    Args:
        handler: An ``async def`` that takes ``r``, and may take the path's parameters
            by their names.
        path: None: the handler gives it (see ``decide_path``).
        methods: The methods it serves; GET serves HEAD too. None: all.
        options: What holds for it alone.
        name: For ``url_for``; None: that of the handler.

    Raises:
        ConfigurationError: It is no handler, or has no path.
    """
    pattern = decide_path(handler, path)
    return Route(
        pattern,
        check_methods(methods, pattern.text),
        handler,
        bind(handler, pattern, options),
        options,
        name=name or getattr(handler, "__name__", None) or type(handler).__name__,
        is_named=name is not None,
    )


def bind(
    function: Callable[..., Any], pattern: Pattern, options: RouteOptions
) -> Handler:
    """Make a handler that is called with ``r`` alone, with the options of its route.

    Raises:
        ConfigurationError: See ``bind_arguments``.
    """
    handler = bind_arguments(function, pattern)
    span_s = options.handler_timeout_s
    if span_s is None:
        return handler

    async def serve(r: BlazeioServerProtocol) -> Any:
        r.handler_task.start_deadline(span_s)
        return await handler(r)

    return serve


ByMethod = dict[str, Route]
"""The routes of one path, by method or ``ANY``."""


def pick(routes: ByMethod, method: str) -> Route | None:
    """Return the route that serves a method; GET serves HEAD too."""
    route = routes.get(method)
    if route is None and method == "HEAD":
        route = routes.get("GET")
    return routes.get(ANY) if route is None else route


def check_methods(methods: Methods, path: str) -> tuple[str, ...]:
    """Return the names of methods, each once, in capitals.

    Raises:
        ConfigurationError: There is none, or one is no name.
    """
    if methods is None:
        return (ANY,)
    if isinstance(methods, str):
        methods = (methods,)
    names = tuple(dict.fromkeys(method.upper() for method in methods))
    if not names or not all(name.isascii() and name.isalpha() for name in names):
        message = f"route {path!r}: {list(names)} are not methods"
        raise ConfigurationError(message)
    return names


def make_route_options(given: Mapping[str, object]) -> RouteOptions:
    """Make the options of a route from what was given by name.

    Raises:
        ConfigurationError: There is no such option, or its value is not possible.
    """
    if not given:
        return DEFAULT_OPTIONS
    return make_named(RouteOptions, given, "a route has no term named")


# Routes with parameters


Found = list[tuple[ByMethod, tuple[Any, ...]]]


class Node:
    """What may follow a part of a path.

    Attributes:
        literals: The node that follows a literal segment.
        parameters: The node that follows a value, by its converter; the narrowest kind
            first.
        kinds: The kinds of the parameters, in order.
        here: The routes that end here.
        rest: The routes that take everything that follows.
    """

    __slots__ = ("here", "kinds", "literals", "parameters", "rest")

    def __init__(self) -> None:
        self.literals: dict[str, Node] = {}
        self.parameters: list[tuple[Callable[[str], Any], Node]] = []
        self.kinds: list[Converter] = []
        self.here: ByMethod = {}
        self.rest: ByMethod = {}


class PatternTree:
    """Routes by the shape of their paths: the names of parameters do not matter.

    At each segment a literal wins over a parameter, and a narrower kind over a wider
    one: int, uuid, float, str, path. So the order in which routes were added does not
    matter. A search visits each node at most once, and no node is deeper than the
    longest route: a client cannot make a search long.
    """

    __slots__ = ("_root", "is_empty")

    def __init__(self) -> None:
        self._root = Node()
        self.is_empty = True

    def place_of(self, pattern: Pattern) -> ByMethod:
        """Return the routes of this shape; routes are added to it."""
        self.is_empty = False
        node = self._root
        for part in pattern.segments:
            if isinstance(part, str):
                node = node.literals.setdefault(part, Node())
            elif part.converter is REST:
                return node.rest
            else:
                node = _step(node, part)
        return node.here

    def find(self, pattern: Pattern) -> ByMethod:
        """Return the routes of this shape; nothing is added to the tree."""
        node: Node | None = self._root
        for part in pattern.segments:
            if node is None:
                return {}
            if isinstance(part, str):
                node = node.literals.get(part)
            elif part.converter is REST:
                return node.rest
            elif part.converter in node.kinds:
                node = node.parameters[node.kinds.index(part.converter)][1]
            else:
                return {}
        return {} if node is None else node.here

    def search(self, path: str) -> Found:
        """Return all routes of a path with their values, the most specific first."""
        found: Found = []
        if not self.is_empty:
            _walk(self._root, path.split("/"), 1, (), found)
        return found

    def first(self, path: str, method: str) -> tuple[Route, list[Any]] | None:
        """Return the most specific route of a path and method, with the values.

        Returns:
            None where the most specific way at each segment leads to no route: then
            ``search`` has to be used. That takes three times as long, since it finds
            all.
        """
        # Hot: runs once per request with parameters.
        node = self._root
        values: list[Any] = []
        segments = path.split("/")
        del segments[0]
        at = 0
        for segment in segments:
            child = node.literals.get(segment)
            if child is None:
                for convert, child in node.parameters:  # noqa: B007 - used below
                    value = convert(segment)
                    if value is not None:
                        values.append(value)
                        break
                else:
                    values.append("/".join(segments[at:]))
                    break
            node = child
            at += 1
        here = node.here if at == len(segments) else node.rest
        route = here.get(method) or pick(here, method)
        return None if route is None else (route, values)


def _step(node: Node, part: Parameter) -> Node:
    if part.converter in node.kinds:
        return node.parameters[node.kinds.index(part.converter)][1]
    place = sum(kind.rank < part.converter.rank for kind in node.kinds)
    child = Node()
    node.kinds.insert(place, part.converter)
    node.parameters.insert(place, (part.converter.convert, child))
    return child


def _walk(
    node: Node, segments: list[str], at: int, values: tuple[Any, ...], found: Found
) -> None:
    # Hot: runs once per segment of a path with parameters. It fills a list, since a
    # generator of generators takes twice as long.
    if at == len(segments):
        if node.here:
            found.append((node.here, values))
        return
    segment = segments[at]
    literal = node.literals.get(segment)
    if literal is not None:
        _walk(literal, segments, at + 1, values, found)
    for convert, child in node.parameters:
        value = convert(segment)
        if value is not None:
            _walk(child, segments, at + 1, (*values, value), found)
    if node.rest:
        found.append((node.rest, (*values, "/".join(segments[at:]))))
