"""``ClientResponse``: one request of ours, and the response to it.

The mirror image of ``r``: what a server reads by ``r.pull`` a client reads by
``resp.pull``, what it writes by ``r.write`` a client writes by ``resp.write``, by
the same code (``BlazeioPayloadUtils``).
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Generator, Mapping
from os import PathLike
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any

from blazeio.client.arguments import (
    check_argument,
    check_arguments,
    settle_cookies,
)
from blazeio.client.auth import Auth
from blazeio.client.connections.connection import ClientConnection
from blazeio.client.connections.exchange import MOST_INTERIMS
from blazeio.client.following import Start
from blazeio.client.pool import IDEMPOTENT, may_retry
from blazeio.client.reading.collecting import Collecting
from blazeio.client.reading.events import LEAST_RETRY_S, iterate_events
from blazeio.client.reading.saving import Progress, save_content
from blazeio.client.requests.body import (
    NO_BODY,
    Body,
    can_repeat,
    choose_body,
)
from blazeio.client.requests.head import (
    declares_content,
    merge_fields,
    read_method,
    serialize_plain_get,
)
from blazeio.client.requests.multipart import Files
from blazeio.client.requests.url import Origin, Url, join_base, parse_url
from blazeio.client.rules.redirects import FOLLOWED, Redirect
from blazeio.content.event_stream import EVENT_BYTES, ServerSentEvent
from blazeio.content.forms.urlencoded import FormInput, serialize_urlencoded
from blazeio.errors import (
    BlazeioError,
    FieldInput,
    InvalidResponse,
    RequestError,
    ServerDisconnected,
)
from blazeio.protocol.flow import NO_CONTENT, ContentStream, WriteGate
from blazeio.protocol.payload import NO_HEADERS
from blazeio.protocol.stages.handover import Successor
from blazeio.protocol.timing.deadlines import NEVER
from blazeio.wire.headers import Headers
from blazeio.wire.outgoing import GIVEN_OUT
from blazeio.wire.responses.message import ResponseHead
from blazeio.wire.serializer import NO_FIELDS

if TYPE_CHECKING:
    from blazeio.client.context import ClientContext
    from blazeio.client.settings import Timeouts


class ClientResponse(Collecting):
    """A request, and its response once the block is entered.

    Made by ``Session``. ``async with`` sends the request and waits for the head of
    the response; where content was announced (by a Content-Length or
    ``Transfer-Encoding: chunked`` among ``headers``) and not given, the block is
    entered at once, for ``write`` and ``eof``; then ``prepare`` waits for the head.

    Attributes:
        method: Of the request.
        url: Of the request; after redirects, of the last one.
        status_code: 0 until the head has come.
        reason: The reason phrase, as sent.
        headers: Case-insensitive; repeated fields are joined by ", ".
        content_length: As declared, octets; None if it was not.
        transfer_encoding: "chunked", or None.
        interims: Status and headers of the interim responses (1xx), as they came.
        history: Status, URL and headers of each response that led to this one.
        is_sent: The request is whole.
        total_at: When all of it must be over, loop time.
    """

    __slots__ = (
        "_body",
        "_compress",
        "_extra_lines",
        "_fields",
        "_follower",
        "_identity",
        "_is_plain",
        "_start",
        "content",
        "content_length",
        "context",
        "gate",
        "headers",
        "history",
        "interims",
        "method",
        "reason",
        "status_code",
        "timeouts",
        "total_at",
        "transfer_encoding",
        "transport",
        "upgrade",
        "url",
    )

    content: ContentStream
    context: "ClientContext"
    gate: WriteGate
    transport: asyncio.Transport
    transfer_encoding: str | None

    def __init__(
        self,
        context: "ClientContext",
        method: str,
        url: str | Url,
        *,
        headers: FieldInput | Headers | None = None,
        body: Body | None = None,
        json: Any = NO_BODY,
        form: FormInput | None = None,
        files: Files | None = None,
        params: FormInput | None = None,
        compress: bool | None = None,
        allow_trailing_octets: bool | None = None,
        auth: Auth | None = None,
        cookies: Mapping[str, str] | None = None,
        follow_redirects: bool | None = None,
        max_redirects: int | None = None,
        timeouts: "Timeouts | None" = None,
        expect_continue: bool = False,
        upgrade: str | None = None,
        **unknown: Any,
    ) -> None:
        if unknown or max_redirects is not None or upgrade is not None:
            check_arguments(unknown, max_redirects=max_redirects, upgrade=upgrade)
        self.context = context
        if method != "GET":
            check_argument("method", method)
            method = read_method(method)
        self.method = method
        if context.base_url is not None:
            url = join_base(context.base_url, url)
        self.url = parse_url(url)
        if params is not None:
            self.url = self.url.with_query(serialize_urlencoded(params, "params"))
        if timeouts is None:
            self.timeouts = context.timeouts
        else:
            check_argument("timeouts", timeouts)
            self.timeouts = timeouts
        if body is None and json is NO_BODY and form is None and files is None:
            self._body: bytes | AsyncIterable[bytes | str] | None = None
            self._extra_lines = b""
        else:
            self._body, self._extra_lines = choose_body(body, json, form, files)
        if headers is None and context.fields is None:
            self._fields = NO_FIELDS
        else:
            self._fields = merge_fields(context.fields, headers)
        if cookies is not None or "cookie" in self._fields.names:
            self._fields, cookies = settle_cookies(self._fields, cookies)
        self._compress = context.compress if compress is None else compress
        self._allows_trailing = (
            context.allow_trailing_octets
            if allow_trailing_octets is None
            else allow_trailing_octets
        )
        self._identity = context.identify(self.url, auth, cookies)
        self._follower = context.make_follower(
            follow_redirects, max_redirects, self._identity
        )
        self.upgrade = upgrade
        self._continued = asyncio.Event() if expect_continue else None
        self._is_plain = (
            method == "GET"
            and self._fields is NO_FIELDS
            and self._body is None
            and not self._compress
            and upgrade is None
            and not expect_continue
            and self._identity is None
            and not context.is_routed
        )
        self.status_code = 0
        self.reason = ""
        self.headers = NO_HEADERS
        self.content_length: int | None = None
        self.transfer_encoding = None
        self.content = NO_CONTENT
        self.interims: list[tuple[int, Headers]] = []
        self.history: list[tuple[int, Url, Headers]] = []
        self.is_sent = False
        self.total_at = NEVER
        self._connection = None
        self._message = None
        self._sender = None
        self._waiter = None
        self._error = None
        self._decoded = None
        self._start: Start | None = None

    def __repr__(self) -> str:
        status = self.status_code or "no response yet"
        return f"<{type(self).__name__} {self.method} {self.url}: {status}>"

    # The block

    async def __aenter__(self) -> "ClientResponse":
        """Send the request; wait for the head of its response.

        Raises:
            RequestError: It came to nothing; the kind says why.
            LocalProtocolError: The caller's fault: HTTP cannot say this.
        """
        if self._message is None:  # else it was awaited before
            try:
                await self._ask()
            except BaseException:
                await self.close()
                self._message = None
                raise
        return self

    def __await__(self) -> Generator[Any, None, "ClientResponse"]:
        """Ask as the block does, without one; see there.

        The connection is free again when all of the content was read, or after
        ``close``.
        """
        return self.__aenter__().__await__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the rest of the response, if there is any."""
        if self._connection is not None or self._sender is not None:
            await self.close()

    async def close(self) -> None:
        """Want no more of it; may be repeated.

        A little that is still to come is read past, so that the connection can be
        used again; else it is closed.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.leave(self)
            self._fail_readers(RequestError("the response was closed"))
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
        await self.close()
        self._error = self._decoded = None
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
        was_reused = connection.was_used  # it will be, once it has answered
        try:
            arrival = self._send(connection)
            if arrival is None:
                return
            await arrival
        except ServerDisconnected:
            if not self._may_retry_after(connection, was_reused):
                raise
        else:
            if self.status_code != 408 or not self._may_retry_after(
                connection, was_reused
            ):
                return
        await self.forget()
        arrival = self._send(await context.lender.wait(origin, self, needs_new=True))
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

    def _may_retry_after(self, connection: ClientConnection, was_reused: bool) -> bool:
        """Whether the request is sent once more, after its connection has failed.

        A 408 on a kept connection says no more than that it was idle for too long
        (RFC 9110 section 15.5.9).
        """
        return self.status_code in (0, 408) and may_retry(
            self.method,
            was_reused=was_reused,
            has_received=connection.has_received and not self.status_code,
            can_repeat=self.can_repeat,
        )

    @property
    def _may_repeat(self) -> bool:
        """It can be sent once more, and is not done twice by that."""
        return self._is_plain or (self.method in IDEMPOTENT and self.can_repeat)

    @property
    def can_repeat(self) -> bool:
        """The request can be sent again: its content is not a stream."""
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

    # Reading the response

    def resume_content(self) -> None:
        """A reader waits."""
        connection = self._connection
        if connection is not None:
            connection.demand_content()

    def take_over(self, successor: Successor) -> None:
        """After a 101: its octets go to another as they come, not to ``pull``.

        Raises:
            LocalProtocolError: There was no 101.
            ServerDisconnected: The server is gone.
        """
        if self._connection is None:
            raise self._gone()
        self._connection.hand_over(successor)

    def pull(self) -> AsyncIterator[bytes]:
        """Iterate over the content as it arrives, in the coding that it has.

        Raises:
            RequestError: It will not be whole; the kind says why.
        """
        return self._arriving() if self.status_code else self._prepared_pull()

    async def _prepared_pull(self) -> AsyncIterator[bytes]:
        await self.prepare()
        async for piece in self._arriving():
            yield piece

    def events(
        self,
        *,
        reconnect: bool = False,
        event_bytes: int = EVENT_BYTES,
        least_retry_s: float = LEAST_RETRY_S,
    ) -> AsyncIterator[ServerSentEvent]:
        """Iterate over server-sent events (WHATWG HTML, section 9.2).

        Args:
            reconnect: When the stream ends, or breaks off, ask for it again, with
                ``Last-Event-ID``, after as long as the server wants (``retry``,
                Retry-After; at most an hour) and up to twice that, longer each
                time that brings nothing. 408, 425, 429 and statuses from 500 on
                count as such a time, once there was a stream. It ends where the
                server answers 204.
            event_bytes: Largest event, octets of its data.
            least_retry_s: However little the server wants, seconds.

        Raises:
            InvalidResponse: The response is no event stream, or an event is too
                large.
            RequestError: It broke off, and ``reconnect`` is False.
        """
        return iterate_events(
            self,
            reconnect=reconnect,
            event_bytes=event_bytes,
            least_retry_s=least_retry_s,
        )

    async def save(
        self, path: str | PathLike[str], *, progress: Progress | None = None
    ) -> int:
        """Save the content, decoded, as a file; it is there when it is whole.

        Until then it is beside it, as ``NAME.<16 hex digits>.part``. Where the
        server has a strong entity tag, what breaks off is gone on with by range
        requests, also by a later ``save`` to the same path.

        Args:
            path: Of the file; one that is there is replaced, through a link as well.
            progress: Called with the octets so far, and how many there will be;
                None where that is not known.

        Returns:
            Its size, octets.

        Raises:
            RequestError: The status is not 200, or it is of a HEAD; or it broke off,
                and could not be gone on with; the kind says why.
            LocalProtocolError: The caller's fault: some of it was read before.
            OSError: It cannot be written; BlockingIOError: somebody else saves it.
        """
        return await save_content(self, path, progress)
