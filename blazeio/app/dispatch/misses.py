"""What serves a request that no exact route has: parameters, 405, 404 and others.

May import: blazeio.app.routing, blazeio.errors, blazeio.protocol.
"""

from collections.abc import Callable, Sequence
from urllib.parse import quote

from blazeio.app.routing.route import Scope
from blazeio.app.routing.routes import RouteTable
from blazeio.errors import Abort
from blazeio.protocol.context import Handler
from blazeio.protocol.request import BlazeioServerProtocol

Enclose = Callable[[Sequence[Scope], Handler], Handler]

_SAFE = "/:@!$&'()*+,;=~"
"""What a path may hold as it is; a browser takes a backslash for a slash."""


def compose_misses(
    routes: RouteTable,
    fallbacks: Sequence[Handler],
    strict_slashes: bool,
    enclose: Enclose,
) -> Callable[[BlazeioServerProtocol], Handler]:
    """Compose what chooses a handler where no exact route was found.

    Args:
        routes: Looked into for each request.
        fallbacks: Those of the app itself.
        strict_slashes: Of the app itself.
        enclose: Puts what the sub-apps of a path want around a handler.
    """
    miss = Miss(routes, fallbacks, strict_slashes)
    below = [
        (chain[-1], _compose_below(chain, routes, fallbacks, enclose))
        for chain in routes.scopes
    ]
    # a sub-app within another one is asked first
    below.sort(key=lambda each: len(each[0].prefix.segments), reverse=True)

    def choose(r: BlazeioServerProtocol) -> Handler:
        found = routes.match(r.method, r.path)
        if found is not None:
            route, r.path_params = found
            return route.serve
        if below:
            segments = r.path.split("/")[1:]
            for scope, serve in below:
                if scope.prefix.covers(segments):
                    return serve
        return miss

    return choose


def _compose_below(
    chain: Sequence[Scope],
    routes: RouteTable,
    fallbacks: Sequence[Handler],
    enclose: Enclose,
) -> Handler:
    """The innermost app that has fallbacks runs them."""
    for scope in chain:
        fallbacks = scope.middlewares.fallback or fallbacks
    return enclose(chain, Miss(routes, fallbacks, chain[-1].strict_slashes))


class Miss:
    """A handler: answers where there is no route.

    Args:
        routes: Asked for other methods, and other slashes.
        fallbacks: Run in turn until one has answered.
        strict_slashes: False: redirect to the path with the other slash.
    """

    __slots__ = ("_fallbacks", "_redirects", "_routes")

    def __init__(
        self, routes: RouteTable, fallbacks: Sequence[Handler], strict_slashes: bool
    ) -> None:
        self._routes = routes
        self._fallbacks = tuple(fallbacks)
        self._redirects = not strict_slashes

    async def __call__(self, r: BlazeioServerProtocol) -> None:
        """Say which methods there are, redirect, fall back; else 404."""
        if r.path == "*":  # OPTIONS of the server itself, RFC 9110 section 9.3.7
            self._tell_methods(r, self._routes.methods_of_all())
        elif methods := self._routes.methods_of(r.path):
            self._answer_other_method(r, methods)
        elif self._redirects and (path := self._other_slash(r)):
            place = _with_query(quote(r.root_path + path, _SAFE), r)
            r.reply(b"", 308, b"", {"Location": place})
        elif self._fallbacks:
            await self._fall_back(r)
        else:
            raise Abort("Not Found", 404)

    def _answer_other_method(
        self, r: BlazeioServerProtocol, methods: list[str]
    ) -> None:
        if r.method == "OPTIONS":
            self._tell_methods(r, methods)
        else:
            raise Abort("Method Not Allowed", 405, {"Allow": ", ".join(methods)})

    def _tell_methods(self, r: BlazeioServerProtocol, methods: list[str]) -> None:
        r.reply(b"", 204, b"", {"Allow": ", ".join(methods)})

    def _other_slash(self, r: BlazeioServerProtocol) -> str | None:
        path = r.path[:-1] if r.path.endswith("/") else f"{r.path}/"
        # "//host" would lead to another site; CONNECT has no path
        if (
            path.startswith("//")
            or not r.path
            or self._routes.match(r.method, path) is None
        ):
            return None
        return path

    async def _fall_back(self, r: BlazeioServerProtocol) -> None:
        for each in self._fallbacks:
            await each(r)
            if r.status:
                return


def _with_query(path: str, r: BlazeioServerProtocol) -> str:
    return f"{path}?{r.query}" if r.query else path
