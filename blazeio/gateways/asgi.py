"""``AsgiGateway``: an ASGI 3 app as the handler of requests."""

import asyncio
from typing import Any

from blazeio.gateways.gateway import Gateway, GatewayProtocol, find_facts, find_tls
from blazeio.gateways.http import HttpExchange
from blazeio.gateways.lifespan import AsgiApp
from blazeio.gateways.scope import Scope, make_http_scope, make_websocket_scope
from blazeio.gateways.websocket import USUAL_BOUNDS, WebSocketExchange
from blazeio.wire.request import RequestHead


def _asks_for_websocket(upgrade: str) -> bool:
    """Tell whether it is among the protocols that a client would rather speak."""
    return "websocket" in [each.strip().lower() for each in upgrade.split(",")]


class AsgiGateway(Gateway):
    """Serves requests by an ASGI app, on the running loop.

    Args:
        app: Called for each request and WebSocket.
        name: How it is called in the log.
        state: What its lifespan has left; each request gets a copy.

    Attributes:
        compresses_websockets: Agree to permessage-deflate (RFC 7692) with clients that
            offer it: about 64 KiB of memory each.
        sends_paths: Announce ``http.response.pathsend``: what frameworks send by it
            goes past their middlewares.
        socket_bounds: What bounds its WebSockets.
    """

    def __init__(
        self,
        app: AsgiApp,
        name: str,
        *,
        state: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(name)
        self._app = app
        self._state = {} if state is None else state
        self.sends_paths = False
        self.compresses_websockets = True
        self.socket_bounds = USUAL_BOUNDS
        self.websockets: set[WebSocketExchange] = set()

    async def serve(self, r: GatewayProtocol) -> object:
        """Serve one request: the handler of connections of ``GatewayProtocol``."""
        # Hot: runs once per request; ``call`` and ``_call`` by hand, since a coroutine
        # more takes 0.2 us.
        head = r.response.head
        if head.upgrade is not None and _asks_for_websocket(head.upgrade):
            await self._serve_websocket(r, self.root_path, "")
            return None
        exchange = HttpExchange(r, self)
        extensions = self._find_extensions(r)
        scope = make_http_scope(find_facts(r), self.root_path, self._state, extensions)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            return self._end_by_error(r, exchange, head, error)
        exchange.has_returned = True
        if exchange.is_over and exchange.end_background is None:
            return None
        return self.end(exchange, f"{head.method} {head.target}")

    async def call(
        self, r: GatewayProtocol, exchange: HttpExchange, root_path: str, prefix: str
    ) -> object:
        """Serve one request of an app that is mounted; see ``Gateway.call``."""
        if r.response.upgrade is not None and _asks_for_websocket(r.response.upgrade):
            await self._serve_websocket(r, root_path, prefix)
            return None
        extensions = self._find_extensions(r)
        scope = make_http_scope(find_facts(r), root_path, self._state, extensions)
        scope["root_path"] += prefix
        return await self._call(r, exchange, scope)

    async def _call(
        self, r: GatewayProtocol, exchange: HttpExchange, scope: Scope
    ) -> object:
        head = r.response.head
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            return self._end_by_error(r, exchange, head, error)
        if exchange.has_ended_well():
            return None
        return self.end(exchange, f"{head.method} {head.target}")

    def _end_by_error(
        self,
        r: GatewayProtocol,
        exchange: HttpExchange,
        head: RequestHead,
        error: BaseException,
    ) -> object:
        """The app has raised; return what the handler has to return.

        Raises:
            BaseException: The same, where it is meant to end the task.
        """
        # An app that runs on after its response is no handler of this connection any
        # more: what ``handler_task`` knows is of the next request by then.
        if exchange.end_background is None and r.handler_task.is_ended_by(error):
            raise error
        return self.end(exchange, f"{head.method} {head.target}", error)

    async def _serve_websocket(
        self, r: GatewayProtocol, root_path: str, prefix: str
    ) -> None:
        exchange = WebSocketExchange(r, self)
        if not await exchange.check_handshake():
            return
        extensions = {"websocket.http.response": {}, **find_tls(r)}
        facts = find_facts(r)
        scope = make_websocket_scope(facts, root_path, self._state, extensions)
        scope["root_path"] += prefix
        asked = f"{r.method} {r.tail}"
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            if r.handler_task.is_ended_by(error):
                exchange.cut()
                raise
            self.report(asked, error)
            await exchange.finish(error)
            return
        if exchange.is_due:
            self.log_unanswered(asked)
        await exchange.finish()

    async def drain(self) -> None:
        """Close the WebSockets, one after the other, so that not all come back at once.

        Their apps are told, and go on until they end by themselves.
        """
        open_ones = list(self.websockets)
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        for place, exchange in enumerate(open_ones):
            due_s = exchange.delay_farewell(place, len(open_ones))
            # Counted from the beginning, so that what each farewell costs does not add
            # up to more than the span that the drain has.
            await asyncio.sleep(began_at + due_s - loop.time())
            exchange.restart()

    def _find_extensions(self, r: GatewayProtocol) -> dict[str, Any]:
        extensions: dict[str, Any]
        # HTTP/1.0 has no interim responses (RFC 9110 section 15.2) and no chunks that
        # trailers could follow: what is not announced, a framework does not send.
        if r.response.head.minor:
            extensions = {
                "http.response.zerocopysend": {},
                "http.response.early_hint": {},
                "http.response.trailers": {},
            }
        else:
            extensions = {"http.response.zerocopysend": {}}
        if self.sends_paths:
            extensions["http.response.pathsend"] = {}
        if r.own_scheme == "https":
            extensions.update(find_tls(r))
        return extensions
