"""``ClientResponse``: one request of ours, and the response to it.

The mirror image of ``r``: what a server reads by ``r.pull`` a client reads by
``resp.pull``, what it writes by ``r.write`` a client writes by ``resp.write``, by
the same code (``BlazeioPayloadUtils``).
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Generator, Mapping
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any

from blazeio.client.arguments import (
    check_argument,
    check_arguments,
    check_retries,
    settle_cookies,
)
from blazeio.client.auth import Auth
from blazeio.client.download import Progress, save_content
from blazeio.client.request_body import (
    NO_BODY,
    Body,
    Files,
    choose_body,
)
from blazeio.client.request_head import (
    merge_fields,
    read_method,
)
from blazeio.client.response_content import LEAST_RETRY_S, Collecting, iterate_events
from blazeio.client.url import Url, join_base, parse_url
from blazeio.content.event_stream import EVENT_BYTES, ServerSentEvent
from blazeio.content.forms import FormInput, serialize_urlencoded
from blazeio.errors import (
    FieldInput,
)
from blazeio.protocol.flow import NO_CONTENT
from blazeio.protocol.handover import Successor
from blazeio.protocol.payload import NO_HEADERS
from blazeio.protocol.timeouts import NEVER
from blazeio.wire.headers import Headers
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

    __slots__ = ("__weakref__", "_compress", "context", "timeouts", "upgrade")

    context: "ClientContext"

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
        retries: int | None = None,
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
        if retries is None:
            self._retries = context.retries
        else:
            self._retries = check_retries(retries)
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
        self.interims = []
        self.history = []
        self.total_at = NEVER
        self._connection = self._message = self._sender = self._waiter = None
        self._error = self._decoded = self._start = self._again = None
        self.is_sent = self._is_left = False
        self._has_own_attempts = self._has_retried = False

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
                self._is_left = False
                raise
        return self

    def __await__(self) -> Generator[Any, None, "ClientResponse"]:
        """Ask as the block does, without one; see there.

        The connection is free again when all of the content was read, or after
        ``close``.
        """
        return self._wait().__await__()

    async def _wait(self) -> "ClientResponse":
        await self.__aenter__()
        if self.status_code and self._connection is not None:
            self._connection.watch(self, repr(self))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the rest of the response, if there is any."""
        self._is_left = True
        if (
            self._connection is not None
            or self._sender is not None
            or self._again is not None
        ):
            await self.close()

    # Reading the response

    def resume_content(self) -> None:
        """A reader waits."""
        connection = self._connection
        if connection is not None:
            connection.start_content()

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

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the content as ``pull`` does."""
        return self.pull()

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
