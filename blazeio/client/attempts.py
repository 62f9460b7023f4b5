"""On which connections a request is sent, and how often.

``ConnectionPool`` carries out what the rules of the pool decide. Each attempt to
connect is a task of its own. So a waiting request can be served by whichever connection
is free first, and a caller who is cancelled does not end an attempt that may serve
another request.

``RequestAttempts``: one call of an app can lead to several requests.

* A redirect (RFC 9110 section 15.4) and a Digest challenge (section 11.6.1) are
  followed here, after the final response; ``client.request`` decides, and counts.
* A request whose connection has failed is sent once more, on a new connection (section
  9.2.2), where it is idempotent and its content is at hand. The usual cause is a server
  that closes an idle connection at the moment when we send on it.
* ``resp.events`` and ``resp.save`` ask again when their content breaks off; they count
  and wait by themselves.

``RequestAttempts`` holds no reference to its response, so that a response that is
dropped is collected at once and its connection is released; each method takes it.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from blazeio.client.connect import connect
from blazeio.client.connection import ClientConnection
from blazeio.client.pool import (
    IDEMPOTENT,
    SAFE,
    Abandon,
    Close,
    Fail,
    Open,
    Opening,
    Pool,
    ServeRequest,
    Ticket,
    may_retry,
)
from blazeio.client.request import FOLLOWED, Redirect, RedirectHandler
from blazeio.client.url import Origin
from blazeio.errors import (
    BlazeioError,
    ConnectError,
    PoolTimeout,
    RequestError,
    ServerDisconnected,
    TotalTimeout,
)
from blazeio.protocol.timeouts import NEVER

if TYPE_CHECKING:
    from blazeio.client.context import ClientContext
    from blazeio.client.exchange import Exchange
    from blazeio.client.request import ClientRequest
    from blazeio.client.request_exchange import RequestExchange
    from blazeio.client.url import Url


# The connections of a session


CLOSE_S = 1.0
"""How long a session waits for its connections to close, TLS alerts included."""

_Waiter = asyncio.Future[ClientConnection]


class ConnectionPool:
    """The connections of one session.

    Args:
        context: The context of the session.
    """

    __slots__ = (
        "_abandoned",
        "_attempts",
        "_context",
        "_ended",
        "_open",
        "_waiting",
        "pool",
        "take",
    )

    def __init__(self, context: "ClientContext") -> None:
        self._context = context
        self.pool: Pool[Origin, ClientConnection] = Pool(context.pool_limits)
        self.take = self.pool.take
        self._waiting: dict[Ticket[Origin], tuple[_Waiter, Exchange]] = {}
        self._attempts: dict[Opening[Origin], asyncio.Task[ClientConnection]] = {}
        self._abandoned: set[Opening[Origin]] = set()
        self._open: set[ClientConnection] = set()
        self._ended: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return repr(self.pool)

    @property
    def has_open(self) -> bool:
        """Whether a connection is open, or being opened."""
        return bool(self._open or self._attempts)

    async def wait(
        self, origin: Origin, exchange: "Exchange", *, needs_new: bool = False
    ) -> ClientConnection:
        """Wait for a connection; the caller owns it then.

        The server may close a connection just before it is given to a waiting request.
        Then the request waits again, at its place in the queue.

        Args:
            origin: Who is to be connected to.
            exchange: The request that waits; its timeouts count.
            needs_new: Only a connection that has never been used will do.

        Raises:
            ConnectError: The connection that was opened for it could not be made.
            ConfigurationError: Likewise, because of a setting.
            PoolTimeout: No connection became free in time.
            TotalTimeout: The whole request took too long.
            SessionClosed: The session was closed.
        """
        loop = self._context.loop
        waiter: _Waiter = loop.create_future()
        now = self._context.wheel.now()
        ticket, actions = self.pool.ask(origin, now, needs_new=needs_new)
        self._waiting[ticket] = waiter, exchange
        self._act(actions)
        timeouts = exchange.timeouts
        pool_ends_at = (
            NEVER if timeouts.pool_s is None else loop.time() + timeouts.pool_s
        )
        ends_at = min(exchange.total_at, pool_ends_at)
        try:
            async with asyncio.timeout_at(None if ends_at == NEVER else ends_at):
                connection = await waiter
                # One that has served before may have been closed by its server since;
                # one that was just made is not asked, which saves a system call.
                while connection.was_used and not connection.is_fresh():
                    waiter = loop.create_future()
                    self._wait_again(ticket, waiter, exchange, connection)
                    connection = await waiter
        except TimeoutError as error:
            if isinstance(error, BlazeioError):
                raise
            self._withdraw(ticket, waiter)
            if ends_at == exchange.total_at:
                message = f"the request took longer than {timeouts.total_s} s"
                raise TotalTimeout(message) from None
            message = f"no connection became free for {timeouts.pool_s} s"
            raise PoolTimeout(message) from None
        except asyncio.CancelledError:
            self._withdraw(ticket, waiter)
            raise
        if self._context.is_closed:  # in the turn of the loop in which it was served
            raise self._context.closed_error()
        return connection

    def _wait_again(
        self,
        ticket: Ticket[Origin],
        waiter: _Waiter,
        exchange: "Exchange",
        connection: ClientConnection,
    ) -> None:
        self._waiting[ticket] = waiter, exchange
        now = self._context.wheel.now()
        self._act(self.pool.refuse(ticket, connection, now))
        connection.abort()

    def _withdraw(self, ticket: Ticket[Origin], waiter: _Waiter) -> None:
        if self._waiting.pop(ticket, None) is not None:
            self._act(self.pool.withdraw(ticket))
        elif waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            # It was served in the turn of the loop in which it was cancelled.
            connection = waiter.result()
            self.release(connection, connection.idle_until)

    def release(self, connection: ClientConnection, idle_until: float) -> None:
        """Take back a connection that is free."""
        # Hot: runs once per request.
        actions = self.pool.release(connection, idle_until)
        if actions:
            self._act(actions)

    def made(self, connection: ClientConnection) -> None:
        """Note that a connection has a transport."""
        self._open.add(connection)

    def linger(self, connection: ClientConnection) -> None:
        """Note that a connection is only being drained."""
        self._act(self.pool.linger(connection))

    def lost(self, connection: ClientConnection) -> None:
        """Note that a connection is closed, or about to be."""
        self._act(self.pool.lost(connection))

    def closed(self, connection: ClientConnection) -> None:
        """Note that the transport of a connection is gone."""
        self._open.discard(connection)
        if self._ended is not None and not self._open and not self._ended.done():
            self._ended.set_result(None)

    async def close(self) -> None:
        """Close all connections and wait for it; waiting requests get SessionClosed."""
        error = self._context.closed_error()
        for action in self.pool.close_all():
            if isinstance(action, Close):
                action.connection.close(error)
            else:
                self._act([action])
        self._abort_all(error)
        attempts = list(self._attempts.values())
        if attempts:
            await asyncio.wait(attempts, timeout=CLOSE_S)
            self._abort_all(error)  # those whose TLS handshake has just ended
        if self._open:
            self._ended = self._context.loop.create_future()
            await asyncio.wait([self._ended], timeout=CLOSE_S)

    def _abort_all(self, error: BlazeioError) -> None:
        for connection in list(self._open):
            connection.abort(error)

    # The actions of the pool

    def _act(self, actions: Sequence[object]) -> None:
        for action in actions:
            match action:
                case ServeRequest(ticket, connection):
                    waiter, _ = self._waiting.pop(ticket)
                    if waiter.cancelled():
                        self.release(connection, connection.idle_until)
                    else:
                        waiter.set_result(connection)
                case Open(opening):
                    self._attempt(opening)
                case Close(connection):
                    connection.close()
                case Fail(ticket):
                    self._fail(ticket, self._context.closed_error())
                case Abandon(opening):
                    self._abandoned.add(opening)
                    self._attempts[opening].cancel()

    def _fail(self, ticket: Ticket[Origin], error: BaseException) -> None:
        waiter, _ = self._waiting.pop(ticket)
        if not waiter.done():
            waiter.set_exception(error)

    def _attempt(self, opening: Opening[Origin]) -> None:
        _, exchange = self._waiting[opening.ticket]
        work = connect(self._context, opening.origin, exchange.timeouts.connect_s)
        task = self._attempts[opening] = self._context.loop.create_task(work)
        # As a callback, not within the task: a task that is cancelled before its first
        # step runs none of its own code, and the waiting request must be told all the
        # same.
        task.add_done_callback(lambda task: self._attempt_ended(opening, task))

    def _attempt_ended(
        self, opening: Opening[Origin], task: asyncio.Task[ClientConnection]
    ) -> None:
        del self._attempts[opening]
        is_wanted = opening not in self._abandoned
        self._abandoned.discard(opening)
        if task.cancelled():
            message = f"{opening.origin}: the attempt to connect was cancelled"
            error: BaseException | None = ConnectError(message)
        else:
            error = task.exception()
        connection = None if error is not None else task.result()
        if connection is not None and connection.is_closed:
            message = f"{opening.origin} closed the connection as it was made"
            connection, error = None, ConnectError(message)
        if connection is not None and is_wanted:
            self._act(self.pool.opened(opening, connection, connection.idle_until))
        elif connection is not None:
            connection.abort()
        elif error is not None and is_wanted:
            for action in self.pool.failed(opening):
                if isinstance(action, Fail):
                    self._fail(action.ticket, error)
                else:
                    self._act([action])


# The attempts of one request


class RequestAttempts(Struct):
    """Sends the request of one response, as often as it takes.

    Attributes:
        retries: How often a failed request is sent once more; 0 or 1.
        redirects: Decides what follows a response; None: nothing does.
        first: What the caller has asked for, once a redirect has led elsewhere.
        waits_itself: ``events`` or ``save`` asks again, and waits in between.
        has_retried: The one retry was used.
    """

    retries: int
    redirects: RedirectHandler | None
    first: "ClientRequest | None" = None
    waits_itself: bool = False
    has_retried: bool = False

    def run(self, resp: "RequestExchange") -> Coroutine[Any, Any, None]:
        """Send the request, and follow where its response leads.

        Returns when the head of the last response has come; at once, where the
        caller has announced content and writes it.

        Raises:
            RequestError: It came to nothing; the kind says why.
        """
        # Hot: runs once per request. No coroutine itself: one less for each step of
        # the loop to pass through.
        if resp.timeouts.total_s is not None:
            resp.total_at = resp.context.loop.time() + resp.timeouts.total_s
        if self.redirects is None:
            return self._send(resp)
        return self._send_and_follow(resp, self.redirects)

    async def _send_and_follow(
        self, resp: "RequestExchange", redirects: RedirectHandler
    ) -> None:
        await self._send(resp)
        while (
            redirect := redirects.decide(
                resp.client_request, resp.status_code, resp.headers
            )
        ) is not None:
            await self._follow(resp, redirect)

    async def _follow(self, resp: "RequestExchange", redirect: Redirect) -> None:
        sent = resp.client_request
        if self.first is None and resp.status_code in FOLLOWED:
            credentials = sent.credentials and sent.credentials.copy()
            self.first = replace(sent, credentials=credentials)
        resp.history.append((resp.status_code, sent.url, resp.headers))
        # Before the next request: the connection goes back to the pool, and a redirect
        # to the same origin may use it again.
        await self.forget(resp)
        resp.client_request = redirect.apply(sent)
        await self._send(resp)

    async def forget(self, resp: "RequestExchange") -> None:
        """Leave what has come, so that the request can be sent once more."""
        await resp.reset()
        self.has_retried = False

    def start_over(self, resp: "RequestExchange") -> None:
        """Make the request a new one, after ``forget``, as if none had been sent yet.

        Of the redirects that were followed, only permanent ones are kept: a temporary
        one says nothing about later requests (RFC 9110 section 15.4). The history and
        the interim responses are dropped, so that a subscription of many requests does
        not grow, and does not reach the bounds of one request.
        """
        first = self.first
        is_permanent = {status for status, _, _ in resp.history} <= {301, 308, 401}
        resp.interims, resp.history, self.first = [], [], None
        if first is not None and not is_permanent:
            resp.client_request = first
        if self.redirects is not None:
            self.redirects = self.redirects.renewed(resp.client_request.credentials)

    async def ask_again(
        self, resp: "RequestExchange", fields: tuple[tuple[str, str], ...]
    ) -> None:
        """Send the same request once more, after ``forget``.

        Args:
            resp: The response.
            fields: Each replaces the fields of its name.

        Raises:
            RequestError: It came to nothing; the kind says why.
        """
        self.waits_itself = True
        for name, value in fields:
            resp.client_request = resp.client_request.with_field(name, value)
        await self.run(resp)

    def may_read_again(self, resp: "RequestExchange") -> bool:
        """Tell whether the request may be sent again because content broke off."""
        return (
            self.retries > 0
            and not self.has_retried
            and not resp.is_left
            and resp.method in SAFE
            and resp.can_repeat
            and resp.client_request.upgrade is None
        )

    def copy(self) -> "RequestAttempts":
        """Return attempts of the same request for another response."""
        return replace(self, has_retried=False)

    # On which connection

    async def _send(self, resp: "RequestExchange") -> None:
        """Send the request once; once more, where its connection had been closed."""
        # Hot: runs once per request.
        context = resp.context
        # get_running_loop() would take a system call (getpid); to compare the thread
        # and the loop's flag takes none.
        if get_ident() != context.thread or not context.loop.is_running():
            context.refuse()
        origin = resp.client_request.url.origin
        if context.is_routed:
            origin = context.route(origin)
        now = context.wheel.now()
        connection = context.pool.take(origin, now)
        if (
            connection is None
            or now >= connection.trusted_until
            or not self._may_repeat(resp.client_request)
        ):
            connection = await self._find_fresh(resp, connection, origin, now)
        known = len(resp.interims)  # those of redirects stay
        was_reused = connection.was_used  # becomes true with the response
        try:
            head_arrival = resp.send_on(connection)
            if head_arrival is None:
                return
            await head_arrival
        except ServerDisconnected:
            if not self._may_retry(resp, was_reused):
                raise
        else:
            status = resp.status_code
            if status == 417 and resp.may_expect_less:
                await self._send_unexpecting(resp, known)
                return
            # RFC 9110 section 15.5.9: a server may send 408 on an idle connection,
            # and close it; then it is no response to our request.
            if status != 408 or not self._may_retry(resp, was_reused):
                return
        await self.forget(resp)
        del resp.interims[known:]
        await self.retry(resp)

    async def _send_unexpecting(self, resp: "RequestExchange", known: int) -> None:
        """Send the request without ``Expect: 100-continue``.

        RFC 9110 section 10.1.1: a 417 says no more than that somebody on the way does
        not know the expectation, and a client should repeat the request without it.
        """
        resp.client_request = replace(resp.client_request, expects_continue=False)
        await self.forget(resp)
        del resp.interims[known:]
        await self._send(resp)

    async def retry(self, resp: "RequestExchange") -> None:
        """Send the request once more, after ``forget``, on a new connection.

        A server that has closed one idle connection may have closed all of them. An
        automatic retry that has failed is not retried (RFC 9110 section 9.2.2).

        Raises:
            RequestError: It came to nothing; the kind says why.
        """
        context = resp.context
        self.has_retried = True
        origin = resp.client_request.url.origin
        if context.is_routed:
            origin = context.route(origin)
        connection = await context.pool.wait(origin, resp, needs_new=True)
        if resp.is_left:  # closed by its caller meanwhile
            context.pool.release(connection, connection.idle_until)
            raise closed_error()
        head_arrival = resp.send_on(connection)
        if head_arrival is not None:
            await head_arrival

    async def _find_fresh(
        self,
        resp: "RequestExchange",
        connection: ClientConnection | None,
        origin: Origin,
        now: float,
    ) -> ClientConnection:
        """Return a connection that the server has not closed; wait where none is idle.

        Args:
            resp: Waits for it.
            connection: An idle one that was taken; None: there is none.
            origin: Who is connected to.
            now: Monotonic seconds.
        """
        pool = resp.context.pool
        while connection is not None:
            if connection.is_fresh():
                return connection
            connection.abort()
            connection = pool.take(origin, now)
        return await pool.wait(origin, resp)

    def _may_retry(self, resp: "RequestExchange", was_reused: bool) -> bool:
        """Tell whether the request is sent once more after its connection has failed.

        Args:
            resp: The response.
            was_reused: The connection had served a request before.
        """
        return (
            self.retries > 0
            and not resp.is_left
            and (was_reused or not self.waits_itself)
            and may_retry(
                resp.method,
                resp.status_code,
                was_reused=was_reused,
                can_repeat=resp.can_repeat,
            )
        )

    def _may_repeat(self, request: "ClientRequest") -> bool:
        """Tell whether sending a request twice is possible, and does nothing twice."""
        return self.retries > 0 and (
            request.is_plain or (request.method in IDEMPOTENT and request.can_repeat)
        )


class RequestSpan(Protocol):
    """One request of a session, as a trace knows it.

    Attributes:
        fields: They tell the server which trace the request belongs to.
    """

    fields: Mapping[str, str]

    def end(self, outcome: int | BaseException) -> None:
        """End it: with the status of the response, or with what was raised instead."""


class RequestTracer(Protocol):
    """Makes the spans of a session's requests; ``io.Tracing`` is one."""

    def begin_request(self, method: str, url: "Url") -> RequestSpan:
        """Begin the span of a request."""


class TracedAttempts(RequestAttempts, kw_only=True):
    """The attempts of one request within one span, which redirects do not leave.

    Attributes:
        tracer: Makes the span.
    """

    tracer: RequestTracer

    def run(self, resp: "RequestExchange") -> Coroutine[Any, Any, None]:
        """Send the request, and follow where its response leads; see the base."""
        return self._run_within_span(resp)

    async def _run_within_span(self, resp: "RequestExchange") -> None:
        request = resp.client_request
        span = self.tracer.begin_request(request.method, request.url)
        for name, value in span.fields.items():
            resp.client_request = resp.client_request.with_field(name, value)
        try:
            await RequestAttempts.run(self, resp)
        except BaseException as error:
            span.end(error)
            raise
        span.end(resp.status_code)


def closed_error() -> RequestError:
    """Make the error of a response that its caller has closed."""
    return RequestError("the response was closed")
