"""``EventStream``: server-sent events as a response (WHATWG HTML, section 9.2)."""

import asyncio
from types import TracebackType
from typing import Any, Self

import msgspec

from blazeio.errors import LocalProtocolError, is_disconnect
from blazeio.protocol.request import BlazeioServerProtocol

KEEP_ALIVE_EVERY_S = 15.0
"""Proxies close silent connections, many after 30 or 60 seconds."""

HEAD = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # else nginx would buffer events
}
_COMMENT = b":\n\n"


def serialize_event(
    data: str, *, event: str | None = None, event_id: str | None = None
) -> bytes:
    """Serialize one event.

    Args:
        data: Its lines, with any kind of line end.
        event: Its type; None: ``message``.
        event_id: The Last-Event-ID that the client sends when it reconnects.

    Raises:
        LocalProtocolError: The type or the id holds a line end, or the id NUL.
    """
    lines = []
    for name, value in (("event", event), ("id", event_id)):
        if value is None:
            continue
        if "\n" in value or "\r" in value or (name == "id" and "\0" in value):
            raise LocalProtocolError(f"{name} {value!r}: it cannot hold line ends")
        lines.append(f"{name}: {value}\n")
    text = data.replace("\r\n", "\n").replace("\r", "\n")
    lines += [f"data: {line}\n" for line in text.split("\n")]
    return "".join([*lines, "\n"]).encode()


class EventStream:
    """A response without an end: events, as they happen.

    ``async with io.EventStream(r) as events: await events.send("hello")``

    While no event is sent, a comment is, so that no proxy closes the connection. When
    the server drains, the handler is cancelled and the stream ends properly: the
    browser reconnects by itself, to whichever process serves then.

    Args:
        r: The request; no response has begun.
        retry_ms: How long the browser waits before it reconnects, milliseconds; None:
            its own choice, a few seconds.
        keep_alive_every_s: A comment is sent after so much silence; None: never.

    Attributes:
        r: The request.
        last_event_id: The last event that the client has seen; "" when it is new.
    """

    def __init__(
        self,
        r: BlazeioServerProtocol,
        *,
        retry_ms: int | None = None,
        keep_alive_every_s: float | None = KEEP_ALIVE_EVERY_S,
    ) -> None:
        self.r = r
        self._retry_ms = retry_ms
        self._keep_alive_every_s = keep_alive_every_s
        self._timer: asyncio.TimerHandle | None = None
        self._sent_bytes = 0

    @property
    def last_event_id(self) -> str:
        """The last event that the client has seen; "" when it is new."""
        return self.r.headers.get("last-event-id", "")

    async def __aenter__(self) -> Self:
        """Send the head.

        Raises:
            LocalProtocolError: A response has begun.
        """
        await self.r.prepare(HEAD)
        self.r.handler_task.stop_deadline()  # a stream without an end has no deadline
        if self._retry_ms is not None:
            await self.r.write(f"retry: {self._retry_ms}\n\n")
        self.r.on_shutdown(_end_well)
        self._set_timer()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """End it; a client that went away is no error."""
        if self._timer is not None:
            self._timer.cancel()
        is_lost = not self.r.is_alive or self.r.transport.is_closing()
        return is_lost and is_disconnect(error)

    async def send(
        self, data: Any, *, event: str | None = None, event_id: str | None = None
    ) -> None:
        """Send one event.

        Args:
            data: Its lines as a str; any other value is sent as JSON.
            event: Its type; None: ``message``.
            event_id: Comes back as ``last_event_id`` when the client reconnects.

        Raises:
            ClientDisconnected: The client is gone.
            LocalProtocolError: The type or the id holds a line end.
            TypeError: A part of the value cannot be encoded by msgspec.
        """
        text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
        await self.r.write(serialize_event(text, event=event, event_id=event_id))

    async def comment(self, text: str = "") -> None:
        """Send a comment, which the client ignores."""
        lines = [f": {line}\n" for line in text.splitlines() or [""]]
        await self.r.write("".join([*lines, "\n"]))

    def _set_timer(self) -> None:
        if self._keep_alive_every_s is not None:
            loop = self.r.context.loop
            self._timer = loop.call_later(self._keep_alive_every_s, self._keep_alive)

    def _keep_alive(self) -> None:
        answer = self.r.response
        if not self.r.is_alive or answer.is_complete:
            return
        gate = self.r.response.gate
        is_free = (
            gate.is_open and not gate.is_taken
        )  # else a large event is being written
        if answer.content_bytes == self._sent_bytes and is_free:
            answer.send(_COMMENT, is_last=False)
        self._sent_bytes = answer.content_bytes
        self._set_timer()


async def _end_well(r: BlazeioServerProtocol) -> None:
    """Let ``r`` send the last chunk, which is all that is missing."""
