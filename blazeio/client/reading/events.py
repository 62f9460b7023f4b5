"""Server-sent events, as a client reads them: ``resp.events()``."""

import random
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from blazeio.content.dates import parse_retry_after
from blazeio.content.decoders import can_undo, parse_codings
from blazeio.content.event_stream import EventStreamParser, ServerSentEvent
from blazeio.errors import (
    ConnectError,
    ContentDecodingError,
    InvalidResponse,
    LocalProtocolError,
    RequestTimeout,
    ServerDisconnected,
    TotalTimeout,
)
from blazeio.wire.grammar import FIELD_VALUE

if TYPE_CHECKING:
    from blazeio.client.response import ClientResponse

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
