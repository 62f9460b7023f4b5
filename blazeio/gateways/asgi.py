"""``AsgiGateway``: an ASGI 3 app as the handler of requests."""

from typing import Any

from blazeio.gateways.connection import GatewayProtocol
from blazeio.gateways.gateway import Gateway, find_facts
from blazeio.gateways.http import HttpExchange, takes_trailers
from blazeio.gateways.lifespan import AsgiApp
from blazeio.gateways.scope import make_http_scope
from blazeio.protocol.request import BlazeioServerProtocol


class AsgiGateway(Gateway):
    """Serves requests by an ASGI app, on the running loop.

    Args:
        app: Called for each request and WebSocket.
        name: How it is called in the log.
        state: What its lifespan has left; each request gets a copy.
        sends_paths: Announce ``http.response.pathsend``: what frameworks send by it
            goes past their middlewares.
    """

    def __init__(
        self,
        app: AsgiApp,
        name: str,
        *,
        state: dict[str, Any] | None = None,
        sends_paths: bool = False,
    ) -> None:
        super().__init__(name)
        self._app = app
        self._state = {} if state is None else state
        self._sends_paths = sends_paths

    async def serve(self, r: BlazeioServerProtocol) -> object:
        """Serve one request: the handler of connections of ``GatewayProtocol``."""
        # Hot: runs once per request.
        assert isinstance(r, GatewayProtocol)
        self.loop = r.context.loop
        exchange = HttpExchange(r, self)
        extensions = self._find_extensions(r)
        scope = make_http_scope(find_facts(r), self.root_path, self._state, extensions)
        method, target = r.method, r.tail
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            if exchange.end_background is None and r.handling.is_ended_by(error):
                raise
            return self.end(exchange, f"{method} {target}", error)
        if exchange.has_ended_well():
            return None
        return self.end(exchange, f"{method} {target}")

    def _find_extensions(self, r: GatewayProtocol) -> dict[str, Any]:
        extensions: dict[str, Any] = {"http.response.zerocopysend": {}}
        if r.answer.minor:
            extensions["http.response.early_hint"] = {}
            if "te" in r.headers and takes_trailers(r):
                extensions["http.response.trailers"] = {}
        if self._sends_paths:
            extensions["http.response.pathsend"] = {}
        return extensions
