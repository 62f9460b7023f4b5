"""``AsgiGateway``: an ASGI 3 app as the handler of requests; and its lifespan.

``Lifespan`` (ASGI Lifespan 2.0) is one task that starts before the first request and
ends after the last one. The app waits in it for ``lifespan.startup``, says that it is
complete, and waits for ``lifespan.shutdown``. An app that knows nothing of it raises;
it is served all the same, unless the operator wants a lifespan. One that raises after
it has taken ``lifespan.startup`` does know of it: it is served as well, since the
specification wants that, but what it raised is logged as an error.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from enum import StrEnum
from typing import Any, NoReturn

from blazeio.errors import BlazeioError, LocalProtocolError
from blazeio.gateways.gateway import (
    Gateway,
    GatewayProtocol,
    describe,
    find_facts,
    find_head,
    find_tls,
    report_fault,
)
from blazeio.gateways.http import HttpExchange
from blazeio.gateways.messages import check_order
from blazeio.gateways.scope import (
    Scope,
    make_http_scope,
    make_lifespan_scope,
    make_websocket_scope,
)
from blazeio.gateways.websocket import USUAL_BOUNDS, WebSocketExchange
from blazeio.loggers import get_logger
from blazeio.wire.request import RequestHead

log = get_logger("blazeio.gateways")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


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
        if not head.path:  # CONNECT alone has none
            self.refuse_tunnel(r)
            return None
        exchange = HttpExchange(r, self, r.content, r.response.gate)
        facts = r.facts
        if head.minor and facts.scheme == "http" and not self.sends_paths:
            # The usual case of ``_find_extensions``.
            extensions: dict[str, Any] = {
                "http.response.zerocopysend": {},
                "http.response.early_hint": {},
                "http.response.trailers": {},
            }
        else:
            extensions = self._find_extensions(r)
        if r.carrier.origin is not None or not head.minor:
            facts = find_facts(r)
        scope = make_http_scope(head, facts, self.root_path, self._state, extensions)
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
        head, facts = find_head(r), find_facts(r)
        scope = make_http_scope(head, facts, root_path, self._state, extensions)
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
        head, state = find_head(r), self._state
        scope = make_websocket_scope(head, facts, root_path, state, extensions)
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
        if r.facts.scheme == "https":
            extensions.update(find_tls(r))
        return extensions


LIFESPAN_MESSAGES = (
    "lifespan.startup.complete",
    "lifespan.startup.failed",
    "lifespan.shutdown.complete",
    "lifespan.shutdown.failed",
)
STARTING, STARTED, STOPPING, STOPPED = range(4)
LIFESPAN_EXPECTED = {
    STARTING: LIFESPAN_MESSAGES[:2],
    STARTED: (),
    STOPPING: LIFESPAN_MESSAGES[2:],
    STOPPED: (),
}


class LifespanMode(StrEnum):
    """Tell whether an app has to have a lifespan.

    Attributes:
        AUTO: It may.
        ON: It must: an exception ends the start.
        OFF: It is not asked.
    """

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class LifespanFailed(BlazeioError):  # noqa: N818 - a fact, as the message is named
    """The app could not start, or could not stop, and has said why.

    Attributes:
        message: As the app has put it, often a traceback.
    """

    def __init__(self, step: str, message: str) -> None:
        last = message.strip().splitlines()[-1:] or ["it gave no reason"]
        super().__init__(f"the app's {step} has failed: {last[0]}")
        self.message = message


class Lifespan:
    """One app's lifespan in one process, on the running loop.

    Args:
        app: Called once with the scope of the lifespan.
        mode: Whether it has to have one.

    Attributes:
        mode: The same; it counts until ``start``.
        state: What the app has left for its requests.
        is_supported: The app takes part.
    """

    def __init__(self, app: AsgiApp, mode: LifespanMode) -> None:
        self._app = app
        self.mode = mode
        self._step = STARTING
        self._task: asyncio.Task[None] | None = None
        self._received: asyncio.Queue[Message] = asyncio.Queue()
        self._told = asyncio.Event()
        self._failure: LifespanFailed | None = None
        self._error: BaseException | None = None
        self._has_taken = False
        self.state: dict[str, Any] = {}
        self.is_supported = False

    async def start(self) -> None:
        """Ask the app to start; return when it has, or takes no part.

        Raises:
            LifespanFailed: It said that it could not; its cause is what it raised.
            BaseException: What it raised instead, where the lifespan is ``on``.
        """
        if self.mode is LifespanMode.OFF:
            return
        self._received.put_nowait({"type": "lifespan.startup"})
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(), name="lifespan")
        try:
            await self._wait_for_word()
        except asyncio.CancelledError:  # the service ends before the app has started
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=FAILURE_END_S)
            raise
        if self._failure is not None:
            # Starlette says "failed" first and raises afterwards: the exception is
            # worth waiting for, since it becomes the cause of ours.
            await asyncio.wait((self._task,), timeout=FAILURE_END_S)
            raise self._failure from self._error
        if self._step == STARTED:
            self.is_supported = True
            return
        if self.mode is LifespanMode.ON:
            raise self._error or LifespanFailed(
                "startup", "its lifespan ended without startup.complete"
            )
        if self._error is not None and self._has_taken:
            report_fault("the app has not started, and is served", self._error)
        elif self._error is not None:
            what = f"{type(self._error).__name__}{describe(self._error)}"
            log.info("the app takes no part in the lifespan: %s", what)

    async def stop(self) -> None:
        """Ask the app to stop; return when it has.

        Raises:
            LifespanFailed: It said that it could not.
            BaseException: What it raised.
        """
        task = self._task
        if task is None or task.done() or self._step != STARTED:
            return
        self._step = STOPPING
        self._told.clear()
        self._received.put_nowait({"type": "lifespan.shutdown"})
        try:
            await self._wait_for_word()
            await asyncio.wait((task,), timeout=FAILURE_END_S)
        finally:
            task.cancel()
        self._step = STOPPED
        if self._failure is not None:
            raise self._failure from self._error
        if self._error is not None:
            raise self._error

    async def _wait_for_word(self) -> None:
        """Return when the app has said how it went, or its task is over."""
        assert self._task is not None  # start has made it
        word = asyncio.ensure_future(self._told.wait())
        try:
            # Both, since an app that knows nothing of a lifespan says nothing: it
            # raises, or returns.
            await asyncio.wait((word, self._task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            word.cancel()

    async def _run(self) -> None:
        scope = make_lifespan_scope(self.state)
        try:
            await self._app(scope, self._receive, self._send)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            # Cancelled by us, at a stop. Else the app has let out a cancellation of its
            # own, which is its failure and must not pass for ours.
            if task is not None and task.cancelling():
                raise
            self._note_error(error)
        except BaseException as error:
            self._note_error(error)

    def _note_error(self, error: BaseException) -> None:
        self._error = error
        if self._step == STARTED:
            report_fault("the lifespan of the app has ended", error)

    async def _receive(self) -> Message:
        message = await self._received.get()
        self._has_taken = True
        return message

    async def _send(self, message: Message) -> None:
        kind = check_order(message, LIFESPAN_EXPECTED[self._step], LIFESPAN_MESSAGES)
        if kind.endswith("failed"):
            step = kind.split(".")[1]
            text = message.get("message", "")
            if not isinstance(text, str):
                _refuse_text(kind, text)
            self._failure = LifespanFailed(step, text)
        self._step = STARTED if self._step == STARTING else STOPPED
        self._told.set()


FAILURE_END_S = 1.0
"""An app that has said its last word may take this long to end its task."""


def _refuse_text(kind: str, text: object) -> NoReturn:
    raise LocalProtocolError(f"{kind}: the message is {text!r:.80}, no str")
