"""The responses of an app: ``Deliver``, ``Prepare``, ``EventStream`` and ``Templates``.

Each method of ``Deliver`` is a response in one call; a whole response leaves in one
write, head and content together. A field of the caller, such as Content-Type, wins over
the usual one. ``Prepare`` sends a head whose content the app writes, and
``EventStream`` is a response of server-sent events (WHATWG HTML, section 9.2).
"""

import asyncio
import os
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from inspect import iscoroutine
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import msgspec

from blazeio.errors import (
    ConfigurationError,
    FieldInput,
    LocalProtocolError,
    is_disconnect,
)
from blazeio.files.static_server import Simpleserve
from blazeio.protocol.payload import (
    CONTENT,
    check_pieces,
    closed_at_end,
    iterated,
    name_kind,
)
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.response_writer import TEXT
from blazeio.wire.headers import list_field_pairs

# Server-sent events


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
        # A line end would begin a field of its own: whoever chooses the value could
        # forge events. An id with NUL is ignored by the client (WHATWG HTML, section
        # 9.2.6), which then would ask for the wrong events when it comes back.
        if "\n" in value or "\r" in value or (name == "id" and "\0" in value):
            raise LocalProtocolError(f"{name} {value!r}: it cannot hold line ends")
        lines.append(f"{name}: {value}\n")
    # The three line ends of the format (section 9.2.5), and no others: ``splitlines``
    # would also split at a form feed or U+2028, and change the data.
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
        """End it; a client that went away is not an error."""
        if self._timer is not None:
            self._timer.cancel()
        # Only where the client has really left: a ClientDisconnected of another
        # request, to which this handler passes events on, is the caller's to see.
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
        # The timer looks whether anything was sent since it looked last. To set it anew
        # at each event would cost every event a ``call_later``; so a silence lasts less
        # than twice the span.
        if answer.content_bytes == self._sent_bytes and is_free:
            answer.send(_COMMENT, is_last=False)
        self._sent_bytes = answer.content_bytes
        self._set_timer()


async def _end_well(r: BlazeioServerProtocol) -> None:
    """Let ``r`` send the last chunk, which is all that is missing."""


# Header fields of a caller, and the usual ones beside them


Pairs = list[tuple[Any, Any]]


def list_fields(headers: FieldInput | None) -> Pairs:
    """Return header fields as pairs, in their order.

    Raises:
        LocalProtocolError: They are neither a mapping nor pairs.
    """
    return [] if headers is None else list(list_field_pairs(headers))


def merge_fields(headers: FieldInput | None, usual: Mapping[str, str]) -> Pairs:
    """Return the caller's fields, with the usual ones that they do not name."""
    pairs = list_fields(headers)
    names = {_lower(name) for name, _ in pairs}
    kept = [(name, value) for name, value in usual.items() if name.lower() not in names]
    return kept + pairs


def names_field(pairs: Pairs, name: str) -> bool:
    """Tell whether a field of this name, in lower case, is among them."""
    return any(_lower(each) == name for each, _ in pairs)


def _lower(name: Any) -> str:
    text: str = name if isinstance(name, str) else name.decode("latin-1")
    return text.lower()


R = BlazeioServerProtocol
Octets = bytes
Pieces = AsyncIterable[str | bytes] | Iterable[str | bytes]

JSON = b"Content-Type: application/json\r\n"
HTML = b"Content-Type: text/html; charset=utf-8\r\n"
OCTETS = "application/octet-stream"

REDIRECTS = (301, 302, 303, 307, 308)
# Characters that a URI may hold as they are (RFC 3986 section 2), and "%", since it may
# be escaped already.
_URI_CHARACTERS = "%!#$&'()*+,/:;=?@[]~"

_encode = msgspec.json.Encoder().encode


class Deliver:
    """Send a response. Each method is a coroutine that takes ``r`` first.

    Each of ``json``, ``text``, ``html``, ``bytes``, ``file``, ``redirect``,
    ``no_content``, ``stream``, ``sse`` raises LocalProtocolError, with nothing sent,
    when a response has begun or the status or a field is malformed; ClientDisconnected
    when the client is gone. A Content-Type among ``headers`` wins over the usual one.
    """

    @staticmethod
    async def json(
        r: R,
        data: Any,
        status: int = 200,
        headers: FieldInput | None = None,
        indent: int | None = None,
    ) -> None:
        """Send data as JSON.

        Args:
            r: The request to answer.
            data: What msgspec encodes: the built-in types, dataclasses, attrs, Structs,
                datetimes, UUIDs, enums, decimals.
            status: 200 to 599.
            headers: Further header fields.
            indent: Spaces for each level, for people; None: no white space.

        Raises:
            TypeError: A part of ``data`` cannot be encoded; nothing was sent.
        """
        if r.transport.is_closing():
            await r.give_way()
        body = _encode(data)
        if indent is not None:
            body = msgspec.json.format(body, indent=indent)
        try:
            r.reply(body, status, JSON, headers)
        except LocalProtocolError:
            await r.response.gate.count_call()
            raise
        if not r.response.gate.is_open:
            await r.buffer_overflow_manager()

    @staticmethod
    async def text(
        r: R,
        text: str | Octets,
        status: int = 200,
        headers: FieldInput | None = None,
        content_type: str | None = None,
    ) -> None:
        """Send text; str is UTF-8. The default type is ``text/plain``."""
        if content_type is not None:
            headers = merge_fields(headers, {"Content-Type": content_type})
        body = text.encode() if isinstance(text, str) else _octets(text)
        if r.transport.is_closing():
            await r.give_way()
        try:
            r.reply(body, status, TEXT, headers)
        except LocalProtocolError:
            await r.response.gate.count_call()
            raise
        if not r.response.gate.is_open:
            await r.buffer_overflow_manager()

    @staticmethod
    async def html(
        r: R,
        html: str | Octets,
        status: int = 200,
        headers: FieldInput | None = None,
    ) -> None:
        """Send an HTML page; str is UTF-8."""
        body = html.encode() if isinstance(html, str) else _octets(html)
        if r.transport.is_closing():
            await r.give_way()
        try:
            r.reply(body, status, HTML, headers)
        except LocalProtocolError:
            await r.response.gate.count_call()
            raise
        if not r.response.gate.is_open:
            await r.buffer_overflow_manager()

    @staticmethod
    async def redirect(
        r: R,
        path: str,
        status: int = 302,
        headers: FieldInput | None = None,
    ) -> None:
        """Redirect the client.

        Args:
            r: The request to answer.
            path: A path or a URI; characters that a URI cannot hold are
                percent-encoded.
            status: 301, 302, 303, 307 or 308.
            headers: Further header fields.
        """
        if status not in REDIRECTS:
            message = f"redirect with status {status!r}: expected one of {REDIRECTS}"
            raise LocalProtocolError(message)
        if not isinstance(path, str):
            message = f"redirect to {path!r:.80}: expected a str, a path or a URI"
            raise LocalProtocolError(message)
        location = ("Location", quote(path, safe=_URI_CHARACTERS))
        if r.transport.is_closing():
            await r.give_way()
        try:
            r.reply(b"", status, b"", [location, *list_fields(headers)])
        except LocalProtocolError:
            await r.response.gate.count_call()
            raise

    @staticmethod
    async def file(
        r: R, path: str | os.PathLike[str], headers: FieldInput | None = None
    ) -> None:
        """Send a file, ranges of it, or "not modified"; see ``Simpleserve.serve``.

        Raises:
            Abort: 404, there is no such regular file.
        """
        await Simpleserve.serve(r, path, headers=headers)

    @staticmethod
    async def no_content(r: R, headers: FieldInput | None = None) -> None:
        """Send 204 without content."""
        if r.transport.is_closing():
            await r.give_way()
        try:
            r.reply(b"", 204, b"", headers)
        except LocalProtocolError:
            await r.response.gate.count_call()
            raise

    @staticmethod
    async def stream(
        r: R,
        pieces: Pieces,
        status: int = 200,
        headers: FieldInput | None = None,
        *,
        content_type: str = OCTETS,
        compress: bool = False,
    ) -> None:
        """Send content piece by piece, as it is made.

        A generator is closed at the end, whatever the end is: all of it was sent, the
        client has gone away, the handler was cancelled. For a HEAD request no piece is
        asked for.

        Args:
            r: The request to answer.
            pieces: An async iterable or iterable of bytes or str (UTF-8).
            status: 200 to 599.
            headers: Further header fields; with a Content-Length the content is not
                chunked.
            content_type: The media type of the content.
            compress: As of ``r.prepare``: each piece can be decoded when it arrives.
        """
        async with closed_at_end(pieces, r):
            if not isinstance(pieces, CONTENT):
                check_pieces(pieces)
            fields = merge_fields(headers, {"Content-Type": content_type})
            await r.prepare(fields, status, compress=compress)
            await r.write(pieces)

    @staticmethod
    async def sse(r: R, events: AsyncIterable[Any] | Iterable[Any]) -> None:
        """Send server-sent events, each as it is made; see ``EventStream``.

        A generator is closed as by ``stream``.

        Args:
            r: The request to answer.
            events: The data of each event: a str, or what ``json`` takes.
        """
        async with closed_at_end(events, r):
            check_pieces(events)
            async with EventStream(r) as stream:
                # A response to HEAD has no content, and the events may never end.
                if r.method == "HEAD":
                    return
                if isinstance(events, AsyncIterable):
                    async with iterated(events, r) as iterator:
                        async for data in iterator:
                            await stream.send(data)
                    return
                plain = iter(events)
                async with closed_at_end(plain):
                    for data in plain:
                        await stream.send(data)

    @staticmethod
    async def bytes(
        r: R,
        data: Octets,
        status: int = 200,
        headers: FieldInput | None = None,
        *,
        content_type: str = OCTETS,
    ) -> None:
        """Send octets as they are."""
        fields = merge_fields(headers, {"Content-Type": content_type})
        if r.transport.is_closing():
            await r.give_way()
        try:
            r.reply(_octets(data), status, b"", fields)
        except LocalProtocolError:
            await r.response.gate.count_call()
            raise
        if not r.response.gate.is_open:
            await r.buffer_overflow_manager()


class Prepare:
    """Send the head of a response; ``r.write`` its content. See ``r.prepare``."""

    @staticmethod
    async def text(
        r: R,
        headers: FieldInput | None = None,
        status: int = 200,
        content_type: str = "text/plain; charset=utf-8",
    ) -> None:
        """Prepare a response of plain text."""
        await r.prepare(merge_fields(headers, {"Content-Type": content_type}), status)

    @staticmethod
    async def json(
        r: R,
        headers: FieldInput | None = None,
        status: int = 200,
        content_type: str = "application/json",
    ) -> None:
        """Prepare a response of JSON."""
        await r.prepare(merge_fields(headers, {"Content-Type": content_type}), status)


def _octets(content: object) -> Octets:
    """Return content as octets; str is UTF-8.

    Raises:
        LocalProtocolError: The caller's fault: it is neither.
    """
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, bytearray | memoryview):
        return bytes(content)
    if iscoroutine(content):
        content.close()  # else Python would warn, too
    raise LocalProtocolError(f"the content is {name_kind(content)}")


# Pages by Jinja2, which the extra ``jinja`` brings


HTML_TYPE = HTML.decode().partition(": ")[2].strip()


class Templates:
    """The templates of Jinja2 below a folder (extra ``jinja``); autoescape is on.

    Args:
        folder: Where they are; or several, where the first that has a name wins.
        auto_reload: Check a file each time it is used: for development.
        names: Values that every template has, by name.

    Attributes:
        environment: Jinja2's own, for filters, tests and extensions.

    Raises:
        ConfigurationError: There is no such folder, or Jinja2 is not installed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        auto_reload: bool = False,
        **names: Any,
    ) -> None:
        try:
            import jinja2
        except ImportError:
            message = "Templates needs Jinja2: pip install jinja2"
            raise ConfigurationError(message) from None
        if isinstance(folder, str | os.PathLike):
            folder = [folder]
        places = [os.path.abspath(each) for each in folder]
        for place in places:
            if not os.path.isdir(place):
                message = f"Templates({place!r}): there is no such folder"
                raise ConfigurationError(message)
        self.environment: jinja2.Environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(places),
            # For every template: ``select_autoescape`` of Jinja2 goes by the ending of
            # its name, and would leave ``page.j2`` open to scripts.
            autoescape=True,
            enable_async=True,
            auto_reload=auto_reload,
        )
        self.environment.globals.update(names)
        self._known: dict[str, jinja2.Template] = {}

    async def render(
        self,
        r: BlazeioServerProtocol,
        name: str,
        /,
        *,
        status: int = 200,
        headers: FieldInput | None = None,
        content_type: str = HTML_TYPE,
        **values: Any,
    ) -> None:
        """Answer with a template.

        Args:
            r: The request; the template has it as ``r``, and its ``url_for``.
            name: The file, below the folder.
            status: 200 to 599.
            headers: Further header fields.
            content_type: The Content-Type of the response.
            values: The values of the template, by name.

        Raises:
            jinja2.TemplateError: The caller's fault: there is no such template, or it
            fails; nothing was sent.
            ClientDisconnected: The client is gone.
        """
        text = await self.text(name, r, **values)
        if content_type == HTML_TYPE:
            await Deliver.html(r, text, status, headers)
        else:
            octets = text.encode()
            await Deliver.bytes(r, octets, status, headers, content_type=content_type)

    async def text(
        self, name: str, r: BlazeioServerProtocol | None = None, /, **values: Any
    ) -> str:
        """Render a template; see ``render``, also for what it raises."""
        # Jinja2 has a cache too, but it can only be asked by ``get_template``, which
        # may read a file and so runs in a thread.
        template = self._known.get(name)
        if template is None:  # reading and compiling takes 1 to 50 ms
            template = await asyncio.to_thread(self.environment.get_template, name)
            if not self.environment.auto_reload:
                self._known[name] = template
        if r is not None:
            values = {"r": r, "url_for": r.url_for, **values}
        return await template.render_async(values)
