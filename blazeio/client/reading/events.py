"""Server-sent events, as a client reads them: ``resp.events()``.

May import: blazeio.content, blazeio.errors, blazeio.wire.grammar.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

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
LONGEST_RETRY_S = 60.0
"""However often it has failed."""
MOST_DOUBLINGS = 10


def decide_delay_s(retry_s: float, failures: int, chance: float) -> float:
    """Decide how long to wait before coming back.

    Args:
        retry_s: As the server wants it, at first.
        failures: Attempts that brought no event, in a row; each doubles it.
        chance: 0 to 1: up to half of what was added is left out, so that not all
            clients come back at once.
    """
    doubled = retry_s * 2.0 ** min(failures, MOST_DOUBLINGS)
    longest = max(retry_s, min(doubled, LONGEST_RETRY_S))
    return longest - (longest - retry_s) * chance / 2


async def iterate_events(
    resp: "ClientResponse", *, reconnect: bool, event_bytes: int
) -> AsyncIterator[ServerSentEvent]:
    """See ``ClientResponse.events``."""
    if reconnect and not resp.can_repeat:
        message = "events: what was a stream cannot be asked for again"
        raise LocalProtocolError(message)
    subscription = _Subscription(resp, event_bytes)
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

    def __init__(self, resp: "ClientResponse", event_bytes: int) -> None:
        self.is_over = False
        self._resp = resp
        self._event_bytes = event_bytes
        self._parser = EventStreamParser(event_bytes=event_bytes)
        self._retry_s = RETRY_S
        self._failures = 0

    async def listen(self) -> AsyncIterator[ServerSentEvent]:
        """Those of one response."""
        resp = self._resp
        last_event_id = self._parser.last_event_id
        if resp.status_code == 0:
            await resp.ask_again(*_last_event_field(last_event_id))
        self.is_over = not _is_event_stream(resp)
        if self.is_over:
            return
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
        await self._resp.forget()
        chance = random.random()
        await asyncio.sleep(decide_delay_s(self._retry_s, self._failures, chance))
        self._failures += 1


def _is_event_stream(resp: "ClientResponse") -> bool:
    """False where there will be none any more: 204, as the standard has it.

    Raises:
        InvalidResponse: It is something else.
    """
    if resp.status_code == 204:
        return False
    media_type = resp.headers.get("content-type", "").partition(";")[0].strip(" \t")
    if resp.status_code != 200 or media_type.lower() != EVENT_STREAM:
        what = f"{resp.status_code} {resp.reason}".rstrip()
        message = f"{resp.url}: no event stream, but {what}, {media_type or 'no type'}"
        raise InvalidResponse(message)
    coding = resp.content_coding
    if coding is not None and not can_undo(parse_codings(coding)):
        message = f"{resp.url}: an event stream in a coding that is not known: {coding}"
        raise ContentDecodingError(message)
    return True


def _last_event_field(event_id: str) -> tuple[tuple[str, str], ...]:
    """What was seen last, as UTF-8, where a field can hold it."""
    value = event_id.encode().decode("latin-1")
    if not value or FIELD_VALUE.fullmatch(value) is None:
        return ()
    return (("Last-Event-ID", value),)
