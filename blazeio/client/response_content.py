"""``Collecting``: what a response says, and its content, decoded, as text, as JSON.

Keeps what it has decoded; the rest of a response is in ``client.response``.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from copy import copy
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from blazeio.client.attempts import Asking
from blazeio.client.cookies import parse_set_cookie
from blazeio.client.pool import SAFE
from blazeio.content.dates import parse_retry_after
from blazeio.content.decoders import ContentDecoder, can_undo, parse_codings
from blazeio.content.event_stream import EventStreamParser, ServerSentEvent
from blazeio.content.json_text import read_json
from blazeio.content.multipart import find_charset, parse_parameters
from blazeio.errors import (
    ConnectError,
    ContentDecodingError,
    InvalidResponse,
    LocalProtocolError,
    RemoteProtocolError,
    RequestError,
    RequestTimeout,
    ServerDisconnected,
    SessionClosed,
    StatusError,
    TotalTimeout,
)
from blazeio.protocol.flow import join_small, too_large
from blazeio.protocol.response_writer import OFF_LOOP_BYTES
from blazeio.wire.grammar import FIELD_VALUE

if TYPE_CHECKING:
    from blazeio.client.response import ClientResponse
    from blazeio.client.url import Url
    from blazeio.wire.headers import Headers


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
"""For a caller; the rest is for the connection, the session and its own parts."""


class Collecting(Asking):
    """A base of ``ClientResponse``."""

    __slots__ = ("_allows_trailing",)

    _allows_trailing: bool

    if TYPE_CHECKING:
        headers: Headers
        method: str
        reason: str
        url: Url

    def __dir__(self) -> list[str]:
        """Without what is not for a caller: what completion shows."""
        names = super().__dir__()
        return sorted(each for each in names if each in _SHOWN or each[0] == "_")

    @property
    def cookies(self) -> dict[str, str]:
        """What this response sets, by name; not what it deletes.

        The session's ``CookieJar`` has those of all responses, with their domains
        and paths, and sends them back; this is for a look.
        """
        now = time.time()
        found: dict[str, str] = {}
        for field in self.headers.get_all("set-cookie"):
            cookie = parse_set_cookie(field)
            if cookie is None:
                continue
            expiry = cookie.expiry(now)
            if expiry is None or expiry > now:
                found[cookie.name] = cookie.value
            else:
                found.pop(cookie.name, None)
        return found

    def raise_for_status(self) -> Self:
        """Refuse a status of 400 or above; else return the response itself.

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
            if not is_untouched or not self._may_start_over:
                raise
            return await self._read_again(error, limit)
        except RemoteProtocolError as error:
            raise _as_invalid(error) from error

    @property
    def _may_start_over(self) -> bool:
        """It can be asked once more, where the content has broken off."""
        return (
            self._retries > 0
            and not self._has_retried
            and not self._is_left
            and self.method in SAFE
            and self.can_repeat
            and self.upgrade is None
        )

    async def _read_again(self, first: ServerDisconnected, limit: int | None) -> bytes:
        """Collect the content of the same, asked once more.

        Another response does it, and this one becomes that in the end: as long as
        it is not whole, nothing is changed.

        Args:
            first: How the content has broken off.
            limit: See ``read``.

        Raises:
            ServerDisconnected: The first error; its cause is how the second
                attempt has failed.
            SessionClosed: Meanwhile.
            TotalTimeout: All of it took too long.
        """
        self._has_retried = True
        await self._end_sender()
        again = self._again = copy(self)
        again.interims = []
        try:
            await again.forget()
            await again._ask_anew()
            self._check_same(again)
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

    def _check_same(self, again: Self) -> None:
        """Demand a response with the same representation.

        Raises:
            InvalidResponse: It is another one.
        """
        if again.status_code != self.status_code:
            message = f"asked once more, the server said {again.status_code}"
            raise InvalidResponse(f"{self.url}: {message}")
        for name in ("etag", "last-modified"):
            if name in self.headers and self.headers[name] != again.headers.get(name):
                message = f"asked once more, the server had another {name}"
                raise InvalidResponse(f"{self.url}: {message}")

    @property
    def content_coding(self) -> str | None:
        """The codings of the content, in lower case, as Content-Encoding names them.

        None where there is none. Where one of them is not known here (``compress``,
        or what is none at all, like ``utf-8``), ``aread``, ``text``, ``decoded`` and
        ``save`` give the octets as they were sent.
        """
        field = self.headers.get("content-encoding")
        return (field and ", ".join(parse_codings(field))) or None

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

    async def aread(self, limit: int | None = None) -> bytes:
        """Collect the whole content, decoded; asked again, give the same.

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
            if len(octets) <= OFF_LOOP_BYTES // 4:
                octets = decode_whole(octets, decoder, limit)
            else:
                octets = await asyncio.to_thread(decode_whole, octets, decoder, limit)
        self._decoded = octets
        return octets

    async def text(self, limit: int | None = None) -> str:
        """Collect the content as text: by the charset it names, else UTF-8.

        What is not of that charset becomes U+FFFD.

        Args:
            limit: See ``aread``.

        Raises:
            RequestError: See ``aread``.
        """
        octets = await self.aread(limit)
        return octets.decode(self._charset(), errors="replace")

    def _charset(self) -> str:
        try:
            parameters = parse_parameters(self.headers.get("content-type", ""))[1]
        except ValueError:
            return "utf-8"
        return find_charset(parameters.get("charset", "")) or "utf-8"

    async def data(self) -> Any:
        """Collect the content: JSON as a value, by its Content-Type, else text.

        JSON without any content, as of a HEAD, is None.

        Raises:
            RequestError: As of ``json`` and ``text``.
        """
        await self.aread()  # before its headers, which may be those of another then
        media_type = self.headers.get("content-type", "").partition(";")[0].strip()
        media_type = media_type.lower()
        if media_type == "application/json" or media_type.endswith("+json"):
            return await self.json() if await self.aread() else None
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


def decode_whole(octets: bytes, decoder: ContentDecoder, limit: int) -> bytes:
    """Undo the content coding of a whole content.

    Args:
        octets: It.
        decoder: Of its codings; of no use afterwards.
        limit: Most octets that it may stand for.

    Raises:
        InvalidResponse: It is something else, or stands for more.
    """
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in decoder.decode(octets):
            size += len(piece)
            if size > limit:
                raise too_large(limit)
            join_small(pieces, piece)
        decoder.finish()
    except RemoteProtocolError as error:
        raise _as_invalid(error) from error
    return b"".join(pieces)


def _as_invalid(error: RemoteProtocolError) -> RemoteProtocolError:
    return error if isinstance(error, InvalidResponse) else InvalidResponse(str(error))


# Server-sent events, as a client reads them: ``resp.events()``.


EVENT_STREAM = "text/event-stream"
RETRY_S = 3.0
"""Before a client comes back, where the server has not said; as browsers do."""
LEAST_RETRY_S = 1.0
"""Whatever the server says: ``retry: 0`` would be a thousand connections a second."""
LONGEST_RETRY_S = 60.0
"""However often it has failed, unless the server wants more."""
MOST_RETRY_S = 3600.0
"""Whatever the server says, this is waited for at most before the span is drawn: a
subscription that never comes back is none."""
MOST_DOUBLINGS = 10
TRANSIENT = frozenset((408, 425, 429))
"""Statuses that another attempt may not see; and all from 500 on."""


def decide_delay_s(
    retry_s: float, failures: int, chance: float, least_s: float = LEAST_RETRY_S
) -> float:
    """Decide how long to wait before coming back.

    Full jitter: any span from what the server wants to twice that, doubled for
    each failure. Clients that have lost a server at once do not come back at once.

    Args:
        retry_s: As the server wants it.
        failures: Attempts that brought no event, in a row.
        chance: 0 to 1, drawn anew each time.
        least_s: A server that wants less gets this.
    """
    wanted = min(max(retry_s, least_s), max(MOST_RETRY_S, least_s))
    doubled = wanted * 2.0 ** (min(failures, MOST_DOUBLINGS) + 1)
    longest = max(2 * wanted, min(doubled, LONGEST_RETRY_S))
    return wanted + (longest - wanted) * chance


async def iterate_events(
    resp: "ClientResponse", *, reconnect: bool, event_bytes: int, least_retry_s: float
) -> AsyncIterator[ServerSentEvent]:
    """See ``ClientResponse.events``."""
    if reconnect and not resp.can_repeat:
        message = "events: what was a stream cannot be asked for again"
        raise LocalProtocolError(message)
    subscription = _Subscription(resp, event_bytes, least_retry_s)
    while not subscription.is_over:
        try:
            async for event in subscription.listen():
                yield event
        except (ConnectError, RequestTimeout, ServerDisconnected) as error:
            if not reconnect or isinstance(error, TotalTimeout):
                raise
        if not reconnect:
            return
        await subscription.pause()


class _Subscription:
    """The events of one request, over as many responses as it takes.

    Attributes:
        is_over: The server has said that there will be no more.
    """

    def __init__(
        self, resp: "ClientResponse", event_bytes: int, least_retry_s: float
    ) -> None:
        self.is_over = False
        self._resp = resp
        self._event_bytes = event_bytes
        self._least_retry_s = least_retry_s
        self._parser = EventStreamParser(event_bytes=event_bytes)
        self._retry_s = RETRY_S
        self._retry_after_s = 0.0
        self._failures = 0
        self._has_begun = False

    async def listen(self) -> AsyncIterator[ServerSentEvent]:
        """Those of one response."""
        resp = self._resp
        last_event_id = self._parser.last_event_id
        if resp.status_code == 0:
            resp.start_over()
            await resp.ask_again(*_last_event_field(last_event_id))
        if self._has_begun and is_transient(resp.status_code):
            field = resp.headers.get("retry-after", "")
            self._retry_after_s = parse_retry_after(field, time.time()) or 0.0
            return
        self.is_over = not _is_event_stream(resp)
        if self.is_over:
            return
        self._has_begun = True
        self._parser = EventStreamParser(last_event_id, self._event_bytes)
        async for octets in resp.decoded():
            for event in self._parser.feed(octets):
                self._failures = 0
                yield event

    async def pause(self) -> None:
        """Leave the response, and wait before the next is asked for."""
        if self.is_over:
            return
        if self._parser.retry_s is not None:
            self._retry_s = self._parser.retry_s
        wanted_s, self._retry_after_s = max(self._retry_s, self._retry_after_s), 0.0
        await self._resp.forget()
        await self._resp.context.pause(
            decide_delay_s(
                wanted_s, self._failures, random.random(), self._least_retry_s
            )
        )
        self._failures += 1


def is_transient(status: int) -> bool:
    """Whether another attempt may not see it."""
    return status >= 500 or status in TRANSIENT


def _is_event_stream(resp: "ClientResponse") -> bool:
    """False where there will be none any more: 204, as the standard has it.

    Raises:
        InvalidResponse: It is something else.
    """
    if resp.status_code == 204:
        return False
    media_type = resp.headers.get("content-type", "").partition(";")[0].strip(" \t")
    if resp.status_code != 200 or media_type.lower() != EVENT_STREAM:
        what = f"{resp.status_code} {resp.reason:.100}".rstrip()
        kind = f"{media_type:.64}" or "no type"
        message = f"{resp.url}: no event stream, but {what}, {kind}"
        raise InvalidResponse(message)
    coding = resp.content_coding
    if coding is not None and not can_undo(parse_codings(coding)):
        message = (
            f"{resp.url}: an event stream in a coding that is not known: {coding:.64}"
        )
        raise ContentDecodingError(message)
    return True


def _last_event_field(event_id: str) -> tuple[tuple[str, str], ...]:
    """What was seen last, as UTF-8, where a field can hold it."""
    value = event_id.encode().decode("latin-1")
    if not value or FIELD_VALUE.fullmatch(value) is None:
        return ()
    return (("Last-Event-ID", value),)
