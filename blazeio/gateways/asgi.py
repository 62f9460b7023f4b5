"""``AsgiGateway``: an ASGI 3 app as the handler of requests."""

import asyncio
import contextvars
from typing import Any

from blazeio.gateways.connection import DETACHED, GatewayProtocol
from blazeio.gateways.faults import is_disconnect_fault, report_fault
from blazeio.gateways.http import HttpExchange
from blazeio.gateways.lifespan import AsgiApp
from blazeio.gateways.scope import RequestFacts, make_http_scope
from blazeio.loggers import get_logger
from blazeio.protocol.request import BlazeioServerProtocol

log = get_logger("blazeio.app")

_VERSIONS = ("1.0", "1.1")


class AsgiGateway:
    """Serves requests by an ASGI app, on the running loop.

    Args:
        app: Called for each request and WebSocket.
        name: How it is called in the log.
        state: What its lifespan has left; each request gets a copy.
        root_path: What a proxy takes away in front of each path.
        sends_paths: Announce ``http.response.pathsend``: what frameworks send by it
            goes past their middlewares.

    Attributes:
        loop: The running one, once it serves.
    """

    def __init__(
        self,
        app: AsgiApp,
        name: str,
        *,
        state: dict[str, Any] | None = None,
        root_path: str = "",
        sends_paths: bool = False,
    ) -> None:
        self._app = app
        self._name = name
        self._state = {} if state is None else state
        self.root_path = root_path
        self._sends_paths = sends_paths
        self._answered: list[HttpExchange] = []
        self._apart = contextvars.copy_context()
        self.loop: asyncio.AbstractEventLoop

    async def serve(self, r: BlazeioServerProtocol) -> object:
        """Serve one request: the handler of a server whose class of connections
        is ``GatewayProtocol``.
        """
        # Hot: runs once per request.
        assert isinstance(r, GatewayProtocol)
        self.loop = r.context.loop
        exchange = HttpExchange(r, self)
        scope = make_http_scope(
            _find_facts(r), self.root_path, self._state, self._find_extensions(r)
        )
        asked = r.method, r.tail
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            if exchange.end_background is None and r.handling.is_ended_by(error):
                raise
            self._report(asked, error)
            exchange.fail(error)
        else:
            exchange.finish()
        if exchange.end_background is None:
            return None
        exchange.end_background()
        return DETACHED

    def _report(self, asked: tuple[str, str], error: BaseException) -> None:
        if is_disconnect_fault(error):
            log.debug("%s %s: the client went away", *asked)
        else:
            report_fault(f"{asked[0]} {asked[1]}: {self._name}", error)

    def log_unfinished(self, r: GatewayProtocol, *, has_begun: bool) -> None:
        """Log that the app has returned before its response was complete."""
        what = "ended its response" if has_begun else "answered"
        log.error("%s %s: %s has not %s", r.method, r.tail, self._name, what)

    def note_answered(self, exchange: HttpExchange) -> None:
        """The response is complete: an app that runs on is detached next turn.

        Most are over by then. One look a turn of the loop serves all that were
        answered in it.
        """
        # Hot: runs once per request.
        self._answered.append(exchange)
        if len(self._answered) == 1:
            self.loop.call_soon(self._detach_running, context=self._apart)

    def _detach_running(self) -> None:
        answered, self._answered = self._answered, []
        for exchange in answered:
            exchange.detach()

    def takes_trailers(self, r: GatewayProtocol) -> bool:
        """Whether the client wants trailers (RFC 9110 section 10.1.4)."""
        codings = r.headers.get("te", "").split(",")
        return r.answer.minor > 0 and "trailers" in [
            each.partition(";")[0].strip().lower() for each in codings
        ]

    def _find_extensions(self, r: GatewayProtocol) -> dict[str, Any]:
        extensions: dict[str, Any] = {"http.response.zerocopysend": {}}
        if r.answer.minor:
            extensions["http.response.early_hint"] = {}
            if "te" in r.headers and self.takes_trailers(r):
                extensions["http.response.trailers"] = {}
        if self._sends_paths:
            extensions["http.response.pathsend"] = {}
        return extensions


def _find_facts(r: GatewayProtocol) -> RequestFacts:
    origin = r.origin
    peer, scheme = r.peer, r.own_scheme
    if origin is not None:
        client = origin.find_client(r.headers)
        scheme = client.scheme
        peer = (client.host, client.port) if client.host else None
    version = _VERSIONS[r.answer.minor]
    target = r.tail
    return RequestFacts(  # by position: by name it would take 1.6x
        r.method,
        r.path,
        target,
        r.query,
        version,
        scheme,
        r.headers,
        peer,
        r.local,
    )
