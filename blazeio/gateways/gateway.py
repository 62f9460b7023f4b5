"""``Gateway``: what those of ASGI and WSGI share, on the loop's side.

The traceback of a fault starts at the app's own frame and goes where those of handlers
go.
"""

import asyncio
import contextvars
from types import TracebackType
from typing import Any, Final

from blazeio.gateways.connection import ClientLost, GatewayProtocol
from blazeio.gateways.http import HttpExchange
from blazeio.gateways.scope import RequestFacts, describe_tls
from blazeio.loggers import get_logger
from blazeio.protocol.handler_task import DETACHED

log = get_logger("blazeio.app")

_OUR_PACKAGE: Final = "blazeio."


class Gateway:
    """Serves requests by an app of another interface.

    Args:
        name: How the app is called in the log.

    Attributes:
        root_path: What a proxy takes away in front of each path.
        apart: The contextvars of what is done at the end of a turn, for all requests.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._answered: list[HttpExchange] = []
        # To detach an app may begin the next request of its connection, whose task
        # would inherit the context variables of whichever request has scheduled the
        # look.
        self.apart = contextvars.copy_context()
        self.root_path = ""

    async def call(
        self, r: GatewayProtocol, exchange: HttpExchange, root_path: str, prefix: str
    ) -> object:
        """Serve one request of an app that is mounted below a path.

        Args:
            r: The request.
            exchange: Its own.
            root_path: What a proxy took away in front of the path.
            prefix: Where the app is mounted; the path begins with it.

        Returns:
            What ``end`` has returned.
        """
        raise NotImplementedError

    def note_answered(self, exchange: HttpExchange) -> None:
        """The response is complete: an app that runs on is detached next turn.

        Most are over by then. One look a turn of the loop serves all that were
        answered in it.
        """
        # Hot: runs once per request.
        answered = self._answered
        if not answered:
            exchange.loop.call_soon(self._detach_running, context=self.apart)
        answered.append(exchange)

    def _detach_running(self) -> None:
        answered, self._answered = self._answered, []
        for exchange in answered:
            if not exchange.has_returned:
                exchange.detach()

    def end(self, exchange: HttpExchange, asked: str, error: Any = None) -> object:
        """The app is over: see to its response.

        Args:
            exchange: Its request.
            asked: Method and target, for the log.
            error: What it has raised; None: nothing.

        Returns:
            What the handler has to return.
        """
        if error is not None:
            self.report(asked, error)
        elif exchange.is_due:
            self.log_unanswered(asked, has_begun=exchange.has_begun)
        exchange.finish()
        if exchange.end_background is None:
            return None
        exchange.end_background()
        return DETACHED

    def log_unanswered(self, asked: str, *, has_begun: bool = False) -> None:
        """Log that the app has returned and its response is not complete."""
        what = "ended its response" if has_begun else "answered"
        log.error("%s: %s has not %s", asked, self._name, what)

    def report(self, asked: str, error: BaseException) -> None:
        """Log what the app has raised, unless it is that the client is gone."""
        if is_disconnect_fault(error):
            log.debug("%s: the client went away", asked)
        else:
            report_fault(f"{asked}: {self._name}", error)


def find_facts(r: GatewayProtocol) -> RequestFacts:
    """Say what a request and its connection are."""
    # Hot: runs once per request.
    carrier = r.carrier
    origin = carrier.origin
    peer, scheme = r.peer, r.own_scheme
    if origin is not None:
        client = origin.find_client(r.headers)
        scheme = client.scheme
        peer = (client.host, client.port) if client.host else None
    return RequestFacts(  # by position: by name it would take 1.6x
        r.method,
        r.path,
        r.tail,
        r.query,
        carrier.http_version,
        scheme,
        r.headers,
        peer,
        r.local,
    )


def find_tls(r: GatewayProtocol) -> dict[str, Any]:
    """Return the extension ``tls`` by its name; nothing where there is no TLS."""
    tls = r.transport.get_extra_info("ssl_object")
    return {} if tls is None else {"tls": describe_tls(tls)}


def is_disconnect_fault(error: BaseException | None) -> bool:
    """Tell whether it says that the client is gone, or follows from that.

    Frameworks catch ``ClientLost`` and raise one of their own; then ours is the
    context of theirs.
    """
    seen: set[int] = set()
    # A chain can be a ring: ``raise first from second``, where the second was raised
    # while the first was handled.
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, BaseExceptionGroup):
            return all(is_disconnect_fault(each) for each in error.exceptions)
        if isinstance(error, ClientLost):
            return True
        error = error.__cause__ or error.__context__
    return False


def report_fault(what: str, error: BaseException) -> None:
    """Log an exception of an app, with its traceback, once.

    Args:
        what: What has failed, on one line.
        error: As the app has let it out.
    """
    log.error(
        "%s: %s%s",
        what,
        type(error).__name__,
        describe(error),
        exc_info=(type(error), error, _from_app_frame(error.__traceback__)),
    )


def describe(error: BaseException) -> str:
    """Return what stands behind the type of an exception, in one line."""
    if isinstance(error, asyncio.CancelledError):
        return ": what it awaited was cancelled, or it cancelled itself"
    try:
        line = str(error).strip().partition("\n")[0]
    except Exception:
        return ": its text cannot be shown"
    return f": {line[:300]}" if line else ""


def _from_app_frame(traceback: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins with the app; all of it where none does."""
    first = traceback
    while first is not None and _is_ours(first):
        first = first.tb_next
    return first or traceback


def _is_ours(traceback: TracebackType) -> bool:
    name: str = traceback.tb_frame.f_globals.get("__name__", "")
    return name.startswith(_OUR_PACKAGE)
