"""The content of requests and responses: octets, JSON, forms, files, events.

``choose_body`` turns the arguments of a request into octets or an async iterable, and
the field line of its type. Files are read in threads while they are sent, so that a
slow disk does not block the loop; their size is sent as Content-Length where it is
known. A body that can be sent again (octets, files) says so by ``can_repeat``; a stream
cannot.

Of a response, what is decoded as a whole, and events: ``resp.events()`` is a
subscription that may outlive many responses. When the stream ends or breaks off, it is
asked for again with ``Last-Event-ID``, after a span that grows with each attempt that
brings nothing.
"""

import asyncio
import contextlib
import errno
import os
import random
import secrets
import stat
import time
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from io import TextIOBase
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, TypeVarTuple, cast

import msgspec

from blazeio.client.request import MeasuredBody
from blazeio.content.codings import ContentDecoder, can_undo, parse_codings
from blazeio.content.field_values import parse_retry_after
from blazeio.content.forms import (
    ComposedForm,
    FilePart,
    FormInput,
    compose_form,
    serialize_urlencoded,
)
from blazeio.content.parsers import EventStreamParser, ServerSentEvent
from blazeio.errors import (
    ConnectError,
    ContentDecodingError,
    InvalidArgument,
    InvalidResponse,
    LocalProtocolError,
    RemoteProtocolError,
    RequestTimeout,
    ServerDisconnected,
    TotalTimeout,
)
from blazeio.protocol.flow import join_small, too_large
from blazeio.protocol.payload import closed_at_end, iterated
from blazeio.protocol.response_writer import OFF_LOOP_BYTES
from blazeio.wire.grammar import FIELD_VALUE
from blazeio.wire.headers import Headers, serialize_field

if TYPE_CHECKING:
    from blazeio.client.response import ClientResponse


# The content of a request


READ_BYTES = 64 * 1024
BOUNDARY_OCTETS = 16
NAMELESS = "upload"

File = bytes | os.PathLike[str] | BinaryIO | AsyncIterable[bytes]
"""Octets, a path, an open file, or pieces as they come."""

FileInput = File | tuple[str, File] | tuple[str, File, str]
"""A file; with the name that the server is told, and its media type."""

Files = Mapping[str, FileInput] | Sequence[tuple[str, FileInput]]
"""Files by the name of their field."""


class FormBody(MeasuredBody):
    """The content of a form, in pieces.

    Args:
        form: The form with its part heads.

    Attributes:
        content_type: With its boundary.
        size_bytes: The size of the whole content; None where that of a file is not
            known.
        can_repeat: It can be iterated over once more.
    """

    def __init__(self, form: ComposedForm[File]) -> None:
        self._form = form
        self.content_type = form.content_type
        self.size_bytes = form.size_bytes
        self.can_repeat = not any(
            isinstance(file.content, AsyncIterable) or file.size_bytes is None
            for _, file in form.files
        )

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Read the files one after the other, in threads."""
        for before, file in self._form.files:
            yield before
            pieces = _read(file.content)
            async with closed_at_end(pieces):
                async for octets in pieces:
                    yield octets
        yield self._form.ending


class FileBody(MeasuredBody):
    """A file as the whole content: from its present position to its end.

    Args:
        file: A path, or a file that is open for octets; it stays open.

    Attributes:
        size_bytes: None where it is not known before, as of a pipe.
        can_repeat: It can be read once more.

    Raises:
        InvalidArgument: The caller's fault: it is no file, or open for text.
        LocalProtocolError: Likewise: its size cannot be read.
    """

    def __init__(self, file: os.PathLike[str] | BinaryIO) -> None:
        if isinstance(file, TextIOBase):
            message = 'body: the file is open for text: open it with mode "rb"'
            raise InvalidArgument(message)
        self._file = file
        try:
            self.size_bytes = _measure(file)
        except (OSError, ValueError) as error:  # ValueError: it is closed
            raise LocalProtocolError(f"body: {error}") from error
        except (TypeError, AttributeError):
            kind = type(file).__name__
            message = f"body: expected a path or an open file, not {kind}"
            raise InvalidArgument(message) from None
        self.can_repeat = self.size_bytes is not None

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Read the file, in threads."""
        return _read(self._file)


def make_form_body(fields: FormInput, files: Files) -> FormBody:
    """Make the content of a form with files.

    Args:
        fields: The text fields.
        files: The files, by the name of their field.

    Raises:
        LocalProtocolError: The caller's fault: something is no file, or its size cannot
            be read.
    """
    pairs = files.items() if isinstance(files, Mapping) else files
    try:
        named = [(name, given) for name, given in pairs]
    except (TypeError, ValueError):
        message = "files: expected a dict or pairs of names and files, not "
        raise InvalidArgument(message + type(files).__name__) from None
    parts = [_make_part(name, given) for name, given in named]
    return FormBody(compose_form(fields, parts, secrets.token_hex(BOUNDARY_OCTETS)))


def _make_part(name: str, given: FileInput) -> FilePart[File]:
    filename: str | None = None
    content_type: str | None = None
    content: Any = given
    if isinstance(given, tuple):
        filename, content, *rest = given
        content_type = rest[0] if rest else None
    if filename is None:
        filename = _guess_name(content)
    try:
        size = _measure(content)
    except OSError as error:
        message = f"file {name!r}: {error.strerror}: {error.filename}"
        raise LocalProtocolError(message) from error
    except ValueError as error:  # it is closed, or its name holds a NUL
        raise LocalProtocolError(f"file {name!r}: {error}") from error
    except TypeError:
        kind = type(content).__name__
        message = f"file {name!r}: expected bytes, a path or an open file, not {kind}"
        if isinstance(content, TextIOBase):
            message = f'file {name!r}: it is open for text: open it with mode "rb"'
        raise InvalidArgument(message) from None
    return FilePart(name, filename, content, size, content_type)


def _guess_name(content: Any) -> str:
    path = content if isinstance(content, os.PathLike) else getattr(content, "name", "")
    return (isinstance(path, str | os.PathLike) and Path(path).name) or NAMELESS


def _measure(content: Any) -> int | None:
    """Return the size of a file; None where it is not known before.

    Raises:
        TypeError: It is no file.
    """
    if isinstance(content, bytes):
        return len(content)
    if isinstance(content, os.PathLike):
        return _measure_path(content)
    if isinstance(content, AsyncIterable):
        return None
    if not hasattr(content, "read") or isinstance(content, TextIOBase):
        raise TypeError
    if not content.seekable():
        return None
    start = content.tell()
    end = content.seek(0, os.SEEK_END)
    content.seek(start)
    return int(end) - int(start)


def _measure_path(path: os.PathLike[str]) -> int | None:
    """Return the size of a file; None for a pipe or a device."""
    told = os.stat(path)
    if stat.S_ISDIR(told.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    return told.st_size if stat.S_ISREG(told.st_mode) else None


async def _read(content: File) -> AsyncIterator[bytes]:
    if isinstance(content, bytes):
        yield content
    elif isinstance(content, AsyncIterable):
        async with iterated(content) as pieces:
            async for octets in pieces:
                yield octets
    elif isinstance(content, os.PathLike):
        async with iterated(_read_path(Path(content))) as pieces:
            async for octets in pieces:
                yield octets
    else:
        start = content.tell() if content.seekable() else None
        try:
            async with iterated(_read_file(content)) as pieces:
                async for octets in pieces:
                    yield octets
        finally:
            # From the same position, so that it can be sent again after a part was
            # sent.
            if start is not None and not getattr(content, "closed", False):
                content.seek(start)


async def _read_path(path: Path) -> AsyncIterator[bytes]:
    with contextlib.ExitStack() as stack:
        # Opened into the stack within the thread: a caller that is cancelled does not
        # get what the thread returns.
        file = await finish_in_thread(lambda: stack.enter_context(path.open("rb")))
        async with iterated(_read_file(file)) as pieces:
            async for octets in pieces:
                yield octets


async def _read_file(file: BinaryIO) -> AsyncIterator[bytes]:
    while octets := await finish_in_thread(file.read, READ_BYTES):
        if not isinstance(octets, bytes):
            raise LocalProtocolError(f"file {file!r}: it is open for text, not octets")
        yield octets


# Blocking calls in threads
#
# ``asyncio.to_thread`` leaves the thread running when its caller is cancelled: it would
# go on reading from a file that is meanwhile sent once more, or writing to a descriptor
# whose number belongs to another file by then.


_Result = TypeVar("_Result")
_Args = TypeVarTuple("_Args")


async def finish_in_thread(
    function: Callable[[*_Args], _Result], *args: *_Args
) -> _Result:
    """Call a function in a thread; return what it returns, raise what it raises.

    A caller that is cancelled is cancelled when the call is over, and only then.
    """
    work = asyncio.get_running_loop().run_in_executor(None, function, *args)
    is_cancelled = False
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        work.exception()  # the error of a cancelled call is of no interest
        raise asyncio.CancelledError
    return work.result()


# Choosing the content


Body = (
    bytes
    | bytearray
    | memoryview
    | str
    | AsyncIterable[bytes]
    | AsyncIterable[str]
    | AsyncIterable[bytes | str]
    | Iterator[bytes]
    | Iterator[str]
    | Iterator[bytes | str]
    | PathLike[str]
    | BinaryIO
)
"""Octets, text (UTF-8), pieces of both as they come, a path or an open file. A
generator is closed when no more of it is wanted."""

JSON = b"Content-Type: application/json\r\n"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"

NO_BODY: Any = object()
"""The default of ``json``, since ``json=None`` is the JSON null."""


def choose_body(
    body: Body | None, json: Any, form: FormInput | None, files: Files | None = None
) -> tuple[bytes | AsyncIterable[bytes | str] | None, bytes]:
    """Return the content, and the field line of its type.

    Raises:
        LocalProtocolError: The caller's fault: more than one was given, or one of a
            wrong type.
    """
    has_form = form is not None or files is not None
    if sum([body is not None, json is not NO_BODY, has_form]) > 1:
        raise LocalProtocolError("body, json and form: only one of them can be sent")
    if files is not None:
        composed = make_form_body(form or {}, files)
        return composed, serialize_field("Content-Type", composed.content_type)
    if json is not NO_BODY:
        return _encode_json(json), JSON
    if form is not None:
        return serialize_urlencoded(form).encode("ascii"), FORM
    if isinstance(body, str):
        return body.encode(), TEXT
    if body is None or isinstance(body, bytes | AsyncIterable):
        return body, b""
    if isinstance(body, bytearray | memoryview):
        return bytes(body), b""
    if isinstance(body, PathLike) or hasattr(body, "read"):
        return FileBody(cast("PathLike[str] | BinaryIO", body)), b""
    if isinstance(body, Iterator):
        return PiecesBody(body), b""
    kind = type(body).__name__
    message = f"body: expected bytes, str, a file or an async iterable, not {kind}"
    raise InvalidArgument(message)


class PiecesBody(AsyncIterable[bytes | str]):
    """Content from a plain generator, or another iterator; it can be sent once."""

    def __init__(self, pieces: Iterator[bytes | str]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes | str]:
        """Iterate on the loop; the generator is closed at the end."""
        async with closed_at_end(self._pieces):
            for piece in self._pieces:
                yield piece


def _encode_json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"json: {error}") from error


# The content of a response, decoded as a whole


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
