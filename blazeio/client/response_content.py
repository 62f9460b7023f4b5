"""What is made of the content of a response: decoded octets, text, JSON, events.

The functions here belong to methods of ``ClientResponse``; they hold what needs no
state of it. ``resp.events()`` is a subscription that may outlive many responses: when
the stream ends or breaks off, it is asked for again with ``Last-Event-ID``, after a
span that grows with each attempt that brings nothing.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from blazeio.content.codings import ContentDecoder, can_undo, parse_codings
from blazeio.content.event_stream import EventStreamParser, ServerSentEvent
from blazeio.content.field_values import parse_retry_after
from blazeio.errors import (
    ConnectError,
    ContentDecodingError,
    InvalidResponse,
    LocalProtocolError,
    RemoteProtocolError,
    RequestTimeout,
    ServerDisconnected,
    TotalTimeout,
)
from blazeio.protocol.flow import join_small, too_large
from blazeio.protocol.response_writer import OFF_LOOP_BYTES
from blazeio.wire.grammar import FIELD_VALUE
from blazeio.wire.headers import Headers

if TYPE_CHECKING:
    from blazeio.client.response import ClientResponse


async def decode_all(octets: bytes, decoder: ContentDecoder, limit: int) -> bytes:
    """Decode a whole content; a large one in a thread, while the loop goes on.

    See ``decode_whole``.
    """
    if len(octets) <= OFF_LOOP_BYTES // 4:
        return decode_whole(octets, decoder, limit)
    return await asyncio.to_thread(decode_whole, octets, decoder, limit)


def decode_whole(octets: bytes, decoder: ContentDecoder, limit: int) -> bytes:
    """Decode a whole content.

    Args:
        octets: The content, as it was sent.
        decoder: Decodes it; of no use afterwards.
        limit: Most octets that may come out.

    Raises:
        InvalidResponse: The server's fault: it is not in its coding, or more comes out.
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
        raise as_invalid(error) from error
    return b"".join(pieces)


def as_invalid(error: RemoteProtocolError) -> RemoteProtocolError:
    """Return the error of a peer as what it is for a client: InvalidResponse."""
    return error if isinstance(error, InvalidResponse) else InvalidResponse(str(error))


# Server-sent events: ``resp.events()``


EVENT_STREAM = "text/event-stream"

RETRY_S = 3.0
"""The delay before the stream is asked for again, where the server names none; browsers
use the same."""
LEAST_RETRY_S = 1.0
"""The shortest delay: with ``retry: 0`` a client would make a thousand connections a
second."""
LONGEST_RETRY_S = 60.0
"""The longest delay after many failures, unless the server wants a longer one."""
MOST_RETRY_S = 3600.0
"""The longest delay that a server can ask for, before the random part is added: a
subscription must come back at some time."""
MOST_DOUBLINGS = 10
TRANSIENT = frozenset((408, 425, 429))
"""Statuses that are worth another attempt, besides those from 500 on."""


def decide_delay_s(
    retry_s: float, failures: int, chance: float, least_s: float = LEAST_RETRY_S
) -> float:
    """Decide how long to wait before the stream is asked for again.

    The delay is random ("full jitter"): at least what the server wants, at most twice
    that, doubled for each failure. Clients that have lost a server at the same moment
    then do not all return at the same moment.

    Args:
        retry_s: The delay that the server wants.
        failures: Attempts that brought no event, in a row.
        chance: A new random number each time, 0 to 1.
        least_s: The shortest delay, whatever the server wants.
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
    """The events of one ``resp.events()``, from all the responses that it takes.

    Attributes:
        is_over: The server has said that there will be no more events.
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
        """Iterate over the events of one response."""
        resp = self._resp
        last_event_id = self._parser.last_event_id
        if resp.status_code == 0:
            resp.start_over()
            await resp.ask_again(*_last_event_field(last_event_id))
        if self._has_begun and is_transient(resp.status_code):
            field = resp.headers.get("retry-after", "")
            self._retry_after_s = parse_retry_after(field, time.time()) or 0.0
            return
        self.is_over = not _may_have_events(resp)
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


def is_event_stream(headers: Headers) -> bool:
    """Tell whether the content is a stream of events, by its Content-Type."""
    media_type = headers.get("content-type", "").partition(";")[0]
    return media_type.strip(" \t").lower() == EVENT_STREAM


def is_transient(status: int) -> bool:
    """Tell whether a status is worth another attempt."""
    return status >= 500 or status in TRANSIENT


def _may_have_events(resp: "ClientResponse") -> bool:
    """Tell whether events may come; False for 204, which ends a subscription.

    WHATWG HTML, section 9.2.3.

    Raises:
        InvalidResponse: The server's fault: it is no event stream.
    """
    if resp.status_code == 204:
        return False
    if resp.status_code != 200 or not is_event_stream(resp.headers):
        media_type = resp.headers.get("content-type", "").partition(";")[0].strip(" \t")
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
    """Return the field with the last event's ID as UTF-8, where a field can hold it."""
    value = event_id.encode().decode("latin-1")
    if not value or FIELD_VALUE.fullmatch(value) is None:
        return ()
    return (("Last-Event-ID", value),)
