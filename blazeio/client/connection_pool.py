"""``ConnectionPool``: carries out what the rules of the pool decide.

Each attempt to connect is a task of its own. So a waiting request can be served by
whichever connection is free first, and a caller who is cancelled does not end an
attempt that may serve another request.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from blazeio.client.connect import connect
from blazeio.client.connection import ClientConnection
from blazeio.client.pool import (
    Abandon,
    Close,
    Fail,
    Open,
    Opening,
    Pool,
    ServeRequest,
    Ticket,
)
from blazeio.client.url import Origin
from blazeio.errors import (
    BlazeioError,
    ConnectError,
    PoolTimeout,
    TotalTimeout,
)
from blazeio.protocol.timeouts import NEVER

if TYPE_CHECKING:
    from blazeio.client.context import ClientContext
    from blazeio.client.exchange import Exchange

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
