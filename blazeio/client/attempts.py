"""``Asking``: how the request of a response is asked, and asked once more.

On which connection, after which redirects and challenges, and what the connection
tells of it (``connections.exchange``). How it is written is in ``client.writing``.
"""

import asyncio
from collections.abc import AsyncIterable
from threading import get_ident
from typing import TYPE_CHECKING

from msgspec import Struct

from blazeio.client.auth import explain_refusal
from blazeio.client.connection import ClientConnection
from blazeio.client.exchange import MOST_INTERIMS
from blazeio.client.pool import IDEMPOTENT, may_retry
from blazeio.client.redirects import FOLLOWED, Redirect, decide_redirect
from blazeio.client.request_body import can_repeat
from blazeio.client.request_head import declares_content, serialize_plain_get
from blazeio.client.request_writer import RequestWriting
from blazeio.client.url import Origin, Url, parse_url
from blazeio.errors import (
    BlazeioError,
    InvalidResponse,
    RedirectError,
    RequestError,
    ServerDisconnected,
    TooManyRedirects,
)
from blazeio.protocol.flow import NO_CONTENT, ContentStream, WriteGate
from blazeio.protocol.timeouts import NEVER
from blazeio.wire.framing import GIVEN_OUT
from blazeio.wire.headers import Headers
from blazeio.wire.response import ResponseHead

if TYPE_CHECKING:
    from blazeio.client.auth import Credentials
    from blazeio.wire.serializer import FieldBlock


# What is asked after a response, for the same caller.
#
# Where it redirects to, and once more where it wants to know who asks: what the
# rules decide, kept count of for one request.


MOST_CHALLENGES = 2
"""Of one request: the first, and one that says that its answer came too late."""


class Start(Struct, frozen=True):
    """What was asked before any redirect; attributes as of the response."""

    method: str
    url: "Url"
    fields: "FieldBlock"
    body: "bytes | AsyncIterable[bytes | str] | None"
    extra_lines: bytes
    identity: "Credentials | None"


class RedirectHandler(Struct):
    """Decides what one request goes on to ask.

    Attributes:
        redirects: How many are followed; 0: none, the response is the answer.
        allows_downgrade: From https to http, too.
        identity: May answer challenges; else they are the answer.
    """

    redirects: int = 0
    allows_downgrade: bool = False
    identity: "Credentials | None" = None
    _followed: int = 0
    _answered: int = 0

    def renewed(self, identity: "Credentials | None") -> "RedirectHandler":
        """Return the same for a request that is made anew, with its full count."""
        return RedirectHandler(self.redirects, self.allows_downgrade, identity)

    def decide(self, resp: "Asking") -> Redirect | None:
        """Decide what is asked after a response; None: it is the answer.

        Raises:
            RedirectError: It redirects to where nobody should follow.
            TooManyRedirects: Each has led to another.
            InvalidResponse: Its Digest challenge cannot be answered.
        """
        if resp.status_code == 401:
            return self._answer_challenge(resp)
        if not self.redirects:
            return None
        locations = set(resp.headers.get_all("location"))
        if len(locations) > 1 and resp.status_code in FOLLOWED:
            raise RedirectError(f"{resp.url}: more than one Location")
        redirect = decide_redirect(
            resp.status_code,
            next(iter(locations), None),
            resp.method,
            resp.url.text,
            can_replay=resp.can_repeat,
            allows_downgrade=self.allows_downgrade,
        )
        if redirect is not None:
            self._followed += 1
            if self._followed > self.redirects:
                message = f"{resp.url}: more than {self.redirects} redirects"
                raise TooManyRedirects(message)
        return redirect

    def _answer_challenge(self, resp: "Asking") -> Redirect | None:
        """Ask the same again, where its challenge can be answered."""
        self._answered += 1
        # Asked each time: it is gone once another origin is asked.
        digest = None if self.identity is None else self.identity.digest
        if digest is None or self._answered > MOST_CHALLENGES:
            return None
        fields = resp.headers.get_all("www-authenticate")
        if not resp.can_repeat:
            return None
        if not digest.learn(resp.url.origin, fields):
            reason = explain_refusal(fields)
            if reason is not None:
                raise InvalidResponse(f"{resp.url}: {reason}")
            return None
        return Redirect(resp.method, resp.url.text, True, frozenset())


class Asking(RequestWriting):
    """A base of ``ClientResponse``.

    Attributes:
        history: Status, URL and headers of each response that led to this one.
        interims: Status and headers of the interim responses (1xx), as they came.
        total_at: When all of it must be over, loop time.
    """

    __slots__ = (
        "_again",
        "_body",
        "_decoded",
        "_extra_lines",
        "_fields",
        "_follower",
        "_has_own_attempts",
        "_has_retried",
        "_identity",
        "_is_left",
        "_is_plain",
        "_retries",
        "_start",
        "content",
        "content_length",
        "gate",
        "headers",
        "history",
        "interims",
        "method",
        "reason",
        "status_code",
        "total_at",
        "transfer_encoding",
        "transport",
        "url",
    )

    _again: "Asking | None"
    """Asks the same once more, since the content of this one has broken off."""
    _body: bytes | AsyncIterable[bytes | str] | None
    _decoded: bytes | None
    _extra_lines: bytes
    _fields: "FieldBlock"
    _follower: "RedirectHandler | None"
    _has_own_attempts: bool
    """``events`` or ``save`` asks again: they count, and wait in between."""
    _has_retried: bool
    _identity: "Credentials | None"
    _is_left: bool
    """Its caller wants no more of it."""
    _is_plain: bool
    _retries: int
    _start: Start | None
    content: ContentStream
    content_length: int | None
    gate: WriteGate
    headers: Headers
    history: list[tuple[int, Url, Headers]]
    interims: list[tuple[int, Headers]]
    method: str
    reason: str
    status_code: int
    total_at: float
    transfer_encoding: str | None
    transport: asyncio.Transport
    url: Url

    async def close(self) -> None:
        """Want no more of it; may be repeated.

        A little that is still to come is read past, so that the connection can be
        used again; else it is closed.
        """
        self._is_left = True
        if self._again is not None:
            await self._again.close()
        await self._leave()

    async def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.leave(self)
            self._fail_readers(_closed_error())
        if self._sender is not None:
            await self._end_sender()

    async def _ask(self) -> None:
        # Hot: runs once per request.
        if self.timeouts.total_s is not None:
            self.total_at = self.context.loop.time() + self.timeouts.total_s
        await self._ask_once()
        follower = self._follower
        if follower is not None:
            while (redirect := follower.decide(self)) is not None:
                await self._follow(redirect)

    async def _follow(self, redirect: Redirect) -> None:
        """Leave the response, and ask on."""
        if self._start is None and self.status_code in FOLLOWED:
            self._start = Start(
                self.method,
                self.url,
                self._fields,
                self._body,
                self._extra_lines,
                self._identity and self._identity.copy(),
            )
        self.history.append((self.status_code, self.url, self.headers))
        await self.forget()
        self.method = redirect.method
        self._fields = self._fields.without(redirect.dropped)
        if not redirect.keeps_content:
            self._body, self._extra_lines = None, b""
        if self._identity is not None:
            self._identity.forget(redirect.dropped)
        self.url = parse_url(redirect.url)
        await self._ask_once()

    async def forget(self) -> None:
        """Leave the response, so that the request can be asked once more."""
        await self._leave()
        self._error = self._decoded = None
        self._has_retried = False
        self.status_code = 0
        self.is_sent = False
        self.content = NO_CONTENT
        self.transfer_encoding = None
        if self._continued is not None:
            self._continued = asyncio.Event()

    def start_over(self) -> None:
        """Make a new request of it, after ``forget``, as if nothing had come yet.

        Of who was asked after redirects only permanent ones are kept: what a server
        says once does not decide for ever whom we ask. What has come before is
        dropped, so that it does not grow, nor count against the bounds of one
        request.
        """
        start = self._start
        permanent = {status for status, _, _ in self.history} <= {301, 308, 401}
        self.interims, self.history, self._start = [], [], None
        if start is not None and not permanent:
            self.method, self.url = start.method, start.url
            self._fields = start.fields
            self._body, self._extra_lines = start.body, start.extra_lines
            self._identity = start.identity
        if self._follower is not None:
            self._follower = self._follower.renewed(self._identity)

    async def ask_again(self, *fields: tuple[str, str]) -> None:
        """Ask the same once more, after ``forget``.

        Args:
            fields: Each instead of the one of its name.

        Raises:
            RequestError: See ``__aenter__``.
        """
        self._has_own_attempts = True
        for name, value in fields:
            self._fields = self._fields.replaced(name, value)
            self._is_plain = False
        await self._ask()

    async def _ask_once(self) -> None:
        # Hot: runs once per request.
        context = self.context
        # To ask which loop is running takes a system call; of a thread it is only one.
        if get_ident() != context.thread or not context.loop.is_running():
            context.refuse()
        origin = self.url.origin
        if context.is_routed:
            origin = context.route(origin)
        now = context.wheel.now()
        connection = context.lender.take(origin, now)
        if (
            connection is None
            or now >= connection.trusted_until
            or not self._may_repeat
        ):
            connection = await self._find_fresh(connection, origin, now)
        known = len(self.interims)  # of redirects
        was_reused = connection.was_used  # it will be, once it has answered
        try:
            arrival = self._send(connection)
            if arrival is None:
                return
            await arrival
        except ServerDisconnected:
            if not self._may_retry(was_reused):
                raise
        else:
            if self.status_code != 408 or not self._may_retry(was_reused):
                return
        await self.forget()
        del self.interims[known:]
        await self._ask_anew()

    async def _ask_anew(self) -> None:
        """Ask once more, after ``forget``, on a connection that was never used.

        A server that has closed one may have closed all that were idle. What this
        one comes to is the end of it: an automatic retry that has failed is not
        retried (RFC 9110 section 9.2.2).
        """
        context = self.context
        self._has_retried = True
        origin = self.url.origin
        if context.is_routed:
            origin = context.route(origin)
        connection = await context.lender.wait(origin, self, needs_new=True)
        if self._is_left:  # by ``close``, meanwhile
            context.lender.give_back(connection, connection.idle_until)
            raise _closed_error()
        arrival = self._send(connection)
        if arrival is not None:
            await arrival

    async def _find_fresh(
        self, connection: ClientConnection | None, origin: Origin, now: float
    ) -> ClientConnection:
        """Return one that the server has not closed; wait for one where none is idle.

        Args:
            connection: An idle one, taken; None: there is none.
            origin: Who is to be connected to.
            now: Monotonic seconds.
        """
        lender = self.context.lender
        while connection is not None:
            if connection.is_fresh():
                return connection
            connection.abort()
            connection = lender.take(origin, now)
        return await lender.wait(origin, self)

    def _may_retry(self, was_reused: bool) -> bool:
        """Whether the request is sent once more, after its connection has failed.

        Args:
            was_reused: The connection had served a request before.
        """
        return (
            self._retries > 0
            and not self._is_left
            and (was_reused or not self._has_own_attempts)
            and may_retry(
                self.method,
                self.status_code,
                was_reused=was_reused,
                can_repeat=self.can_repeat,
            )
        )

    @property
    def _may_repeat(self) -> bool:
        """It can be sent once more, and is not done twice by that."""
        return self._retries > 0 and (
            self._is_plain or (self.method in IDEMPOTENT and self.can_repeat)
        )

    @property
    def can_repeat(self) -> bool:
        """The request can be sent again: its content is not a stream.

        Neither is it written by hand.
        """
        if self._body is None:
            return not declares_content(self._fields)
        return can_repeat(self._body)

    def _send(self, connection: ClientConnection) -> asyncio.Future[None] | None:
        """Send the request on this connection.

        Returns:
            What is to be awaited: the head has come. None: the caller has announced
            content, and writes it.
        """
        # Hot: runs once per request.
        self._connection = connection
        self.transport = connection.transport
        self.gate = connection.gate
        connection.begin(self)
        if self._is_plain:
            self._message = GIVEN_OUT
            self.is_sent = True
            connection.transport.write(serialize_plain_get(self.url.request_start))
            connection.await_head()
            return self._head_arrival()
        self._message = message = self._make_message(connection)
        body = self._body
        connection.has_content = body is not None
        if body is None and declares_content(self._fields):
            connection.has_content = True
            if self.total_at != NEVER:
                connection.hold_to_total()
            return None
        octets = b"" if body is None else body
        if (
            isinstance(octets, bytes)
            and len(octets) <= self.context.limits.high_water_bytes
            and self._continued is None
        ):
            connection.transport.write(message.end(octets))
            self.is_sent = True
            connection.await_head()
        else:
            if self.total_at != NEVER:
                connection.hold_to_total()
            self._sender = self.context.loop.create_task(self._send_body(body))
        return self._head_arrival()

    # For the connection

    @property
    def wants_upgrade(self) -> bool:
        """A 101 may come."""
        return self.upgrade is not None

    def answered_for_now(self, head: ResponseHead) -> None:
        """An interim response has come."""
        if head.status == 100 and self._continued is not None:
            self._continued.set()
        self.interims.append((head.status, head.headers))
        if len(self.interims) > MOST_INTERIMS and self._connection is not None:
            message = f"more than {MOST_INTERIMS} interim responses"
            self._connection.abort(InvalidResponse(message))

    def answered(self, head: ResponseHead, content: ContentStream) -> None:
        """The final response has begun."""
        # Hot: runs once per request.
        self.status_code = head.status
        self.reason = head.reason
        self.headers = head.headers
        self.content_length = head.content_length
        if head.is_chunked:
            self.transfer_encoding = "chunked"
        self.content = content
        if self._identity is not None:
            self._identity.learn_cookies(self.url, head.headers.get_all("set-cookie"))
        if self._continued is not None:
            self._continued.set()
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if self._sender is not None and self.gate.error is not None:
            self._stop_sending()  # it is answered early

    def completed(self) -> None:
        """The response is whole; the connection is another's."""
        self._connection = None
        if self._sender is not None:
            self._stop_sending()

    def failed(self, error: BlazeioError) -> None:
        """The response will not be whole."""
        self._connection = None
        self._stop_sending()
        self._fail_readers(error)


def _closed_error() -> RequestError:
    return RequestError("the response was closed")
