"""``ClientResponse``: a request of the client, and the response to it, for its caller.

The counterpart of ``r`` on the server: a server reads the request by ``r.pull`` and
writes the response by ``r.write``; a client reads the response by ``resp.pull`` and
writes the request by ``resp.write``, with the same code (``BlazeioPayloadUtils``).

Here is what a caller uses: the block, the content as it arrives or as a whole, decoded
or not, and what is made of it (text, JSON, events, a file). How the request is sent,
and how the head of its response arrives, is in ``client.request_exchange``.
"""

import time
from collections.abc import AsyncIterator, Generator
from copy import copy
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from blazeio.client.content import (
    LEAST_RETRY_S,
    as_invalid,
    decode_all,
    iterate_events,
)
from blazeio.client.cookies import list_cookies
from blazeio.client.download import Progress, save_content
from blazeio.client.request import (
    ClientRequest,
)
from blazeio.client.request_exchange import RequestExchange
from blazeio.content.codings import ContentDecoder, can_undo, parse_codings
from blazeio.content.forms import read_json
from blazeio.content.parsers import (
    EVENT_BYTES,
    ServerSentEvent,
    find_charset,
    parse_parameters,
)
from blazeio.errors import (
    InvalidResponse,
    LocalProtocolError,
    RemoteProtocolError,
    RequestError,
    ServerDisconnected,
    SessionClosed,
    StatusError,
    TotalTimeout,
)
from blazeio.wire.headers import Headers

if TYPE_CHECKING:
    from blazeio.client.attempts import RequestAttempts
    from blazeio.client.context import ClientContext
    from blazeio.client.settings import Timeouts

_Typed = TypeVar("_Typed")

_SHOWN = frozenset(
    """
    aread ayield buffer_overflow_manager close content_coding content_length cookies
    current_length data decoded ensure_reading eof events handle_chunked headers history
    interims is_sent json method prepare pull raise_for_status read reason request
    save status_code take_over text trailers transfer_encoding url write
    write_chunked write_chunked_eof writer
    """.split()  # noqa: SIM905 - a table reads better as text
)
"""The names for callers, which ``dir`` lists and editors complete. The others are for
the connection, the session and the modules beside this one."""


class ClientResponse(RequestExchange):
    """A request, and its response once the block is entered.

    ``Session`` makes it. ``async with`` sends the request and waits for the head of
    the response. Where ``headers`` announce content (by Content-Length or
    ``Transfer-Encoding: chunked``) and none is given, the block is entered at once, for
    ``write`` and ``eof``; then ``prepare`` waits for the head.

    Attributes:
        status_code: 0 until the head has come.
        reason: The reason phrase, as sent.
        headers: Case-insensitive; repeated fields are joined by ", ".
        content_length: As declared, octets; None if it was not.
        transfer_encoding: "chunked", or None.
        interims: Status and headers of the interim responses (1xx), as they came.
        history: Status, URL and headers of each response that led to this one.
        is_sent: The request is whole.
        is_left: The caller has left the block, or closed the response.
        total_at: When request and response must be over, loop time.
        client_request: What is asked; after redirects, of the last server.
    """

    __slots__ = ("__weakref__", "_again", "_allows_trailing", "_decoded")

    def __init__(
        self,
        context: "ClientContext",
        request: ClientRequest,
        timeouts: "Timeouts",
        attempts: "RequestAttempts",
        allow_trailing_octets: bool,
    ) -> None:
        # 0.1 us less than super()
        RequestExchange.__init__(self, context, request, timeouts, attempts)
        self._allows_trailing = allow_trailing_octets
        self._decoded: bytes | None = None
        self._again: ClientResponse | None = None

    def __dir__(self) -> list[str]:
        """List what is for callers: this is what an editor completes."""
        names = super().__dir__()
        return sorted(each for each in names if each in _SHOWN or each[0] == "_")

    # The block

    async def __aenter__(self) -> "ClientResponse":
        """Send the request; wait for the head of its response.

        Raises:
            RequestError: It came to nothing; the kind says why.
            LocalProtocolError: The caller's fault: HTTP cannot say this.
        """
        if self._message is None:  # else it was awaited before
            try:
                await self._attempts.run(self)
            except BaseException:
                await self.close()
                self._message = None
                self.is_left = False
                raise
        return self

    def __await__(self) -> Generator[Any, None, "ClientResponse"]:
        """Send the request as the block does, without a block.

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
        self.is_left = True
        if (
            self._connection is not None
            or self._sender is not None
            or self._again is not None
        ):
            await self.close()

    async def close(self) -> None:
        """Leave the rest of the response; may be repeated.

        Where little of it is still to come, it is read and dropped, so that the
        connection can be used again; else the connection is closed.
        """
        self.is_left = True
        if self._again is not None:
            await self._again.close()
        await self._leave()

    async def reset(self) -> None:
        """Leave the response, and be as before the request was sent."""
        await super().reset()
        self._decoded = None

    # Reading the response

    def raise_for_status(self) -> Self:
        """Raise an error for a status of 400 or above; else return the response.

        Raises:
            StatusError: It has ``status_code`` and ``response``.
            LocalProtocolError: The caller's fault: there is no response yet.
        """
        status = self.status_code
        if not status:
            raise LocalProtocolError("there is no response yet: `await resp.prepare()`")
        if status < 400:
            return self
        what = f"{status} {self.reason:.100}".rstrip()
        raise StatusError(f"{self.method} {self.url}: {what}", status, self)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that this response sets, by name, without those it deletes.

        The session's ``CookieJar`` has those of all responses, with their domains
        and paths, and sends them back.
        """
        return list_cookies(self.headers.get_all("set-cookie"), time.time())

    @property
    def content_coding(self) -> str | None:
        """The codings of the content, in lower case, as Content-Encoding names them.

        None where there is none. Where one of them is not known here (``compress``, or
        a wrong value such as ``utf-8``), ``aread``, ``text``, ``decoded`` and ``save``
        return the octets as they were sent.
        """
        field = self.headers.get("content-encoding")
        return (field and ", ".join(parse_codings(field))) or None

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

    async def decoded(self) -> AsyncIterator[bytes]:
        """Iterate over the content as it arrives, decoded.

        Raises:
            ContentDecodingError: It is not in the coding that it names, not whole,
                or stands for far too much (DecompressionBombError).
            RequestError: See ``pull``.
        """
        await self.prepare()
        codings = parse_codings(self.headers.get("content-encoding", ""))
        if not can_undo(codings):
            codings = ()  # see ``content_coding``
        decoder = ContentDecoder(codings, ignores_rest=self._allows_trailing)
        async for octets in self.pull():
            for piece in decoder.decode(octets):
                yield piece
        decoder.finish()

    async def read(self, limit: int | None = None) -> bytes:
        """Collect the whole content, in the coding that it has; see ``aread``.

        Args:
            limit: Most octets; default ``Limits.collected_bytes``.

        Raises:
            InvalidResponse: There is more of it.
            RequestError: It will not be whole; the kind says why.
        """
        if not self.status_code:
            await self._end_request()
        content = self.content
        is_untouched = content.received_bytes == content.queued_bytes
        try:
            return await super().read(limit)
        except ServerDisconnected as error:
            if not is_untouched or not self.may_read_again:
                raise
            return await self._read_again(error, limit)
        except RemoteProtocolError as error:
            raise as_invalid(error) from error

    async def _read_again(self, first: ServerDisconnected, limit: int | None) -> bytes:
        """Send the request again, and collect the content of its response.

        A copy of this response does it. This one is changed only when all of the
        content has come, so that a failed attempt leaves the first response as it is.

        Args:
            first: How the content has broken off.
            limit: See ``read``.

        Raises:
            ServerDisconnected: The first error; its cause is how the second
                attempt has failed.
            SessionClosed: Meanwhile.
            TotalTimeout: All of it took too long.
        """
        self._attempts.has_retried = True
        await self._end_sender()
        again = self._again = copy(self)
        again.interims = []
        again._attempts = self._attempts.copy()
        try:
            await again.forget()
            await again._attempts.retry(again)
            check_same(self, again)
            octets = await again.read(limit)
        except (SessionClosed, TotalTimeout) as second:
            raise second from first
        except RequestError as second:
            raise first from second
        finally:
            self._again = None
            await again.close()
        self.reason, self.headers = again.reason, again.headers
        self.content_length = again.content_length
        self.transfer_encoding = again.transfer_encoding
        self.content = again.content
        self.interims += again.interims
        return octets

    async def aread(self, limit: int | None = None) -> bytes:
        """Collect the whole content, decoded; repeated calls return the same octets.

        Args:
            limit: Most octets, encoded and decoded; default
                ``Limits.collected_bytes``.

        Raises:
            InvalidResponse: There is more of it, or its Content-Encoding is not
                what it says.
            RequestError: It will not be whole; the kind says why.
        """
        if self._decoded is not None:
            return self._decoded
        if limit is None:
            limit = self.context.limits.collected_bytes
        octets = self.content.take_whole(limit) if self.status_code else None
        if octets is None:
            octets = await self.read(limit)
        field = self.headers.get("content-encoding")
        if field is not None and octets and can_undo(codings := parse_codings(field)):
            decoder = ContentDecoder(codings, ignores_rest=self._allows_trailing)
            octets = await decode_all(octets, decoder, limit)
        self._decoded = octets
        return octets

    async def text(self, limit: int | None = None) -> str:
        """Collect the content as text: by the charset it names, else UTF-8.

        Octets that are not of that charset become U+FFFD.

        Args:
            limit: See ``aread``.

        Raises:
            RequestError: See ``aread``.
        """
        octets = await self.aread(limit)
        return octets.decode(find_content_charset(self.headers), errors="replace")

    async def data(self) -> Any:
        """Collect the content: JSON as a value, by its Content-Type, else text.

        JSON without any content, as of a HEAD, is None.

        Raises:
            RequestError: As of ``json`` and ``text``.
        """
        # Before the headers are read: those of a second attempt may be different.
        octets = await self.aread()
        if is_json(self.headers):
            return await self.json() if octets else None
        return await self.text()

    @overload
    async def json(self, *, limit: int | None = None) -> Any: ...
    @overload
    async def json(self, type: type[_Typed], *, limit: int | None = None) -> _Typed: ...
    async def json(
        self,
        type: Any = Any,  # noqa: A002 - as msgspec names it
        *,
        limit: int | None = None,
    ) -> Any:
        """Collect the content and read it as JSON; a byte order mark is ignored.

        Args:
            type: What it must be: a ``msgspec.Struct``, a dataclass, ``list[int]``
                ...; default: anything.
            limit: See ``aread``.

        Raises:
            InvalidResponse: It is no JSON, not of that type, or nested deeper
                than can be read.
            RequestError: See ``aread``.
        """
        octets = await self.aread(limit)
        try:
            return read_json(octets, type)
        except ValueError as error:
            raise InvalidResponse(f"{self.url}: {error!s:.300}") from error

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

        Until then it is beside it, as ``NAME.<16 hex digits>.part``. Where the server
        has a strong entity tag, a download that breaks off is continued by range
        requests, also by a later ``save`` to the same path.

        Args:
            path: Where the file will be; an existing one is replaced, through a link
                as well.
            progress: Called with the octets so far, and how many there will be;
                None where that is not known.

        Returns:
            The size of the file, octets.

        Raises:
            RequestError: The status is not 200, or the method was HEAD; or the
                download broke off and could not be continued; the kind says why.
            LocalProtocolError: The caller's fault: some of it was read before.
            OSError: It cannot be written; BlockingIOError: another ``save`` to the
                same path is running.
        """
        return await save_content(self, path, progress)


# What is made of the head


def check_same(resp: "ClientResponse", again: "ClientResponse") -> None:
    """Demand that a second response has the same representation as the first.

    Raises:
        InvalidResponse: The server's fault: it has another one.
    """
    if again.status_code != resp.status_code:
        message = f"asked once more, the server said {again.status_code}"
        raise InvalidResponse(f"{resp.url}: {message}")
    for name in ("etag", "last-modified"):
        if name in resp.headers and resp.headers[name] != again.headers.get(name):
            message = f"asked once more, the server had another {name}"
            raise InvalidResponse(f"{resp.url}: {message}")


def find_content_charset(headers: Headers) -> str:
    """Return the charset that Content-Type names, if it is known; else UTF-8."""
    try:
        parameters = parse_parameters(headers.get("content-type", ""))[1]
    except ValueError:
        return "utf-8"
    return find_charset(parameters.get("charset", "")) or "utf-8"


def is_json(headers: Headers) -> bool:
    """Tell whether the content is JSON, by its Content-Type."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")
