"""Forms and uploads: fields that are read at once, and files that still arrive.

A multipart form is read only as far as it is asked for: ``FormReader`` reads the fields
up to the first file; then the file is streamed, and the transport pauses while the
handler is slow. Fields behind a file are read when the next file is asked for. Content
that is no form is itself one file (``WholeContent``). Each request has one source of
files, which is kept with it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Generator
from enum import Enum
from typing import Any, Protocol

from blazeio.content.forms import Params, parse_urlencoded
from blazeio.content.parsers import (
    MULTIPART,
    Event,
    Field,
    FileHead,
    MultipartDecoder,
    parse_boundary,
    parse_parameters,
)
from blazeio.errors import Abort, LocalProtocolError, RemoteProtocolError
from blazeio.protocol.flow import NO_CONTENT, join_small
from blazeio.protocol.request import BlazeioServerProtocol

# Files, as they arrive


class Source(Protocol):
    """What an ``Upload`` reads from."""

    @property
    def most_collected_bytes(self) -> int:
        """The most octets that are collected in memory."""
        ...

    async def open(self, upload: "Upload") -> FileHead:
        """Read on to the head of the file that ``upload`` stands for."""
        ...

    async def next_chunk(self, upload: "Upload") -> bytes:
        """Return its next octets; b"" at its end."""
        ...


class UploadSource(Source, Protocol):
    """What all the files of one request are read from."""

    def take(self) -> "Upload":
        """Return the file that was reached and not taken yet; else the next one."""
        ...

    async def next_upload(self) -> "Upload | None":
        """Read on to the next file; None when there is no other."""
        ...


class Upload(AsyncIterator[bytes]):
    """One file that a client sends: ``async for chunk in upload``.

    The transport pauses, and so the client, while the caller is slow. The name of the
    file is known once its head has arrived: after ``await upload``, and while it is
    iterated over.

    Attributes:
        received_bytes: Octets returned so far.

    Raises:
        RemoteProtocolError: While it is read: the form is malformed (400) or beyond a
            bound (413).
        ClientDisconnected: While it is read: the client went away.
    """

    __slots__ = ("_head", "_source", "received_bytes")

    def __init__(self, source: Source, head: FileHead | None = None) -> None:
        self._source = source
        self._head = head
        self.received_bytes = 0

    def __repr__(self) -> str:
        name = "not begun" if self._head is None else repr(self._head.filename)
        return f"<Upload {name}, {self.received_bytes} octets so far>"

    @property
    def head(self) -> FileHead:
        """What its head says.

        Raises:
            LocalProtocolError: It has not arrived yet.
        """
        if self._head is None:
            raise LocalProtocolError("what a file is called: await the upload first")
        return self._head

    @property
    def name(self) -> str:
        """The name of the form's field; "" where the content is not a form."""
        return self.head.name

    @property
    def filename(self) -> str:
        """The name of the file, as the client sent it; never use it as a path."""
        return self.head.filename

    @property
    def safe_filename(self) -> str:
        """The name of the file as one harmless path component; never empty.

        Another file may have the same name.
        """
        return self.head.safe_filename

    @property
    def content_type(self) -> str:
        """Its media type, as the client says, lower case, without parameters; or ""."""
        return self.head.content_type

    def __await__(self) -> Generator[Any, None, "Upload"]:
        return self._opened().__await__()

    async def _opened(self) -> "Upload":
        if self._head is None:
            self._head = await self._source.open(self)
        return self

    async def __anext__(self) -> bytes:
        if self._head is None:
            await self._opened()
        chunk = await self._source.next_chunk(self)
        if not chunk:
            raise StopAsyncIteration
        self.received_bytes += len(chunk)
        return chunk

    async def read(self, limit: int | None = None) -> bytes:
        """Collect what was not read yet.

        Args:
            limit: Most octets; default ``Limits.collected_bytes``.

        Raises:
            RemoteProtocolError: There is more of it (status_hint 413).
        """
        most = self._source.most_collected_bytes if limit is None else limit
        pieces: list[bytes] = []
        size = 0
        async for chunk in self:
            size += len(chunk)
            if size > most:
                message = f"the file is larger than the {most} octets accepted here"
                raise RemoteProtocolError(message, 413)
            join_small(pieces, chunk)
        return b"".join(pieces)


class Uploads(AsyncIterator[Upload]):
    """Every file of a request, one after the other.

    The unread rest of a file is skipped when the next file is asked for.
    """

    __slots__ = ("_source",)

    def __init__(self, source: UploadSource) -> None:
        self._source = source

    async def __anext__(self) -> Upload:
        upload = await self._source.next_upload()
        if upload is None:
            raise StopAsyncIteration
        return upload


# Content that is no form: one file


class Pieces:
    """The content of one request, piece by piece.

    Not a generator: one that a handler leaves half-way would have to be closed later,
    by a task of the loop.
    """

    __slots__ = ("_content", "_has_collected", "_r")

    def __init__(self, r: BlazeioServerProtocol) -> None:
        self._r = r
        self._content = r.content
        self._has_collected = r.content.collected is not None

    @property
    def most_collected_bytes(self) -> int:
        """``Limits.collected_bytes``."""
        return self._r.context.limits.collected_bytes

    async def next(self) -> bytes:
        """Return the next piece; b"" at the end.

        Raises:
            ClientDisconnected: The client went away before the end.
            RemoteProtocolError: The content broke its framing, or is too large.
            LocalProtocolError: The request is over, and ``r`` serves another.
        """
        content = self._content
        # ``r`` serves all requests of an HTTP/1.1 connection: an upload that outlives
        # its request, in a task, would read the content of the next request.
        if self._r.content is not content:
            raise LocalProtocolError("the request of this content is over")
        if self._has_collected:
            self._has_collected = False
            return content.collected or b""
        while True:
            piece = content.take()
            if piece:
                return piece
            if piece is None:
                if content.is_whole:
                    return b""
                await self._r.ensure_reading()


class WholeContent:
    """Content that is itself the one file of its request, as ``curl -T`` sends it."""

    __slots__ = ("_is_taken", "_pieces", "_upload")

    def __init__(self, r: BlazeioServerProtocol) -> None:
        self._pieces = Pieces(r)
        self._is_taken = False
        self._upload = Upload(self, FileHead("", "", media_type_of(r)))

    @property
    def most_collected_bytes(self) -> int:
        """The most octets that are collected in memory."""
        return self._pieces.most_collected_bytes

    def pull(self) -> Upload:
        """Return what ``r.pull()`` returns: the file."""
        return self._upload

    def take(self) -> Upload:
        """Return the file."""
        self._is_taken = True
        return self._upload

    async def next_upload(self) -> Upload | None:
        """Return the file, once."""
        return None if self._is_taken else self.take()

    async def open(self, upload: Upload) -> FileHead:
        """Return its head; nothing has to be read for it."""
        return upload.head

    async def next_chunk(self, upload: Upload) -> bytes:
        """Return its next octets; b"" at its end."""
        return await self._pieces.next()


class NoFile:
    """The source of a request that brings no file."""

    most_collected_bytes = 0

    def take(self) -> Upload:
        """Return a file that raises when it is read."""
        return Upload(self)

    async def next_upload(self) -> Upload | None:
        """Return None."""
        return None

    async def open(self, upload: Upload) -> FileHead:
        """Refuse.

        Raises:
            Abort: 400.
        """
        raise no_file()

    async def next_chunk(self, upload: Upload) -> bytes:
        """Return b""."""
        return b""


def no_file() -> Abort:
    """Make the response for a client that should have sent a file, or another one."""
    return Abort("A file was expected, and there is none", 400)


def media_type_of(r: BlazeioServerProtocol) -> str:
    """Return the media type of the content: lower case, without parameters; or ""."""
    value = r.headers.get("content-type", "")
    try:
        return parse_parameters(value)[0]
    except ValueError:  # its parameters are checked by whoever needs them
        return value.partition(";")[0].strip().lower()


URLENCODED = "application/x-www-form-urlencoded"


PARTS_STEP_BYTES = 8 * 1024
"""How much of a form is decoded before the loop serves others: 2 ms of work, where it
is small fields with many lines."""
FILE_STEP_BYTES = 64 * 1024
"""How much of a file is decoded before the loop serves others: less work for more
octets."""
OFF_LOOP_BYTES = 64 * 1024
"""A larger urlencoded form is decoded in a thread."""


class _Over(Enum):
    OVER = 0


OVER = _Over.OVER


class Form(Params):
    """The fields of a form, by name, as far as they have arrived.

    A form without files is whole. A form with files has the fields before the file that
    is read; later fields are added when the next file is asked for.

    Attributes:
        upload: The first file; None where there is none.
    """

    __slots__ = ("upload",)

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        super().__init__(pairs)
        self.upload: Upload | None = None


class FormReader:
    """Reads a multipart form, as far as it is asked for.

    Attributes:
        form: What was read so far.
    """

    __slots__ = (
        "_decoder",
        "_events",
        "_has_begun",
        "_is_over",
        "_is_taken",
        "_is_whole",
        "_pieces",
        "_step_bytes",
        "_unread",
        "_upload",
        "form",
    )

    def __init__(self, r: BlazeioServerProtocol) -> None:
        boundary = parse_boundary(r.headers.get("content-type", ""))
        self._decoder = MultipartDecoder(boundary, r.context.limits)
        self._pieces = Pieces(r)
        self._events: deque[Event] = deque()
        self._unread = b""
        self._step_bytes = PARTS_STEP_BYTES
        self._upload: Upload | None = None
        self._has_begun = self._is_over = self._is_whole = False
        self._is_taken = True
        self.form = Form([])

    @property
    def most_collected_bytes(self) -> int:
        """The most octets that are collected in memory."""
        return self._pieces.most_collected_bytes

    async def begin(self) -> Form:
        """Read the fields up to the first file; once."""
        if not self._has_begun:
            head = await self._next_head()
            if head is not None:
                self._offer(Upload(self, head))
                self._is_taken = False
        return self.form

    def pull(self) -> AsyncIterator[bytes]:
        """Return what ``r.pull()`` returns: the octets of the present file."""
        return Upload(NoFile(), NAMELESS) if self._upload is None else self._upload

    def take(self) -> Upload:
        """Return the file that was reached and not taken yet; else the next one."""
        if self._upload is not None and not self._is_taken:
            self._is_taken = True
            return self._upload
        return Upload(self)

    async def next_upload(self) -> Upload | None:
        """Read on to the next file; None when there is no other."""
        if self._upload is not None and not self._is_taken:
            return self.take()
        head = await self._next_head()
        if head is None:
            return None
        upload = Upload(self, head)
        self._offer(upload)
        return upload

    async def open(self, upload: Upload) -> FileHead:
        """Read on to the next file, which ``upload`` stands for from then on.

        Raises:
            Abort: 400, there is none.
        """
        head = await self._next_head()
        if head is None:
            raise no_file()
        self._offer(upload)
        return head

    async def next_chunk(self, upload: Upload) -> bytes:
        """Return its next octets; b"" at its end.

        Raises:
            LocalProtocolError: The next file was asked for already.
        """
        if upload is not self._upload:
            # There is one stream for all files: to return octets here would give the
            # caller those of another file.
            raise LocalProtocolError("this file was left: the next one has begun")
        self._is_taken = True
        if self._is_whole:
            return b""
        event = await self._next_event()
        if isinstance(event, bytes):
            return event
        self._is_whole = True
        return b""

    def _offer(self, upload: Upload) -> None:
        self._upload = upload
        self._is_taken = True
        self._is_whole = False
        if self.form.upload is None:
            self.form.upload = upload

    async def _next_head(self) -> FileHead | None:
        """Skip the rest of a file, and keep the fields that follow; None at the end."""
        self._has_begun = True
        while True:
            event = await self._next_event()
            if isinstance(event, FileHead):
                return event
            if isinstance(event, Field):
                self.form.add(event.name, event.value)
            elif event is OVER:
                return None

    async def _next_event(self) -> Event | _Over:
        events = self._events
        while not events:
            if self._is_over:
                return OVER
            if self._unread:
                # Between two steps only: a small form is decoded in the turn in which
                # it arrives.
                await asyncio.sleep(0)
            else:
                self._unread = await self._pieces.next()
            if self._unread:
                self._decode_step()
            else:
                self._decoder.end()
                self._is_over = True
        return events.popleft()

    def _decode_step(self) -> None:
        unread, step = self._unread, self._step_bytes
        if len(unread) > step:
            unread, self._unread = unread[:step], unread[step:]
        else:
            self._unread = b""
        found = self._decoder.feed(unread)
        has_parts = len(found) > 8  # else it is within a file
        self._step_bytes = PARTS_STEP_BYTES if has_parts else FILE_STEP_BYTES
        self._events.extend(found)


NAMELESS = FileHead("", "", "")


async def read_form(r: BlazeioServerProtocol) -> Form:
    """Read a form, up to its first file; see ``Request.form_data``."""
    if not has_content(r):
        return Form([])
    refuse_coded(r)
    media_type = media_type_of(r)
    if media_type == MULTIPART:
        return await reader_of(r).begin()
    if media_type == URLENCODED:
        return await read_urlencoded(r)
    message = f"A form was expected: {MULTIPART} or {URLENCODED}"
    raise Abort(message, 415, {"Accept": f"{MULTIPART}, {URLENCODED}"})


def refuse_coded(r: BlazeioServerProtocol) -> None:
    """Refuse content that the client has compressed: nothing here decodes it.

    Raises:
        Abort: 415, with the codings that are accepted (RFC 9110 section 12.5.3).
    """
    coding = r.headers.get("content-encoding", "")
    if coding.strip().lower() not in ("", "identity"):
        message = f"The content is coded, which is not undone here: {coding}"
        raise Abort(message, 415, {"Accept-Encoding": "identity"})


async def read_urlencoded(r: BlazeioServerProtocol) -> Form:
    """Collect a urlencoded form.

    Raises:
        Abort: 413, it has more fields than ``Limits.form_field_count``; 415, it is
            compressed.
    """
    refuse_coded(r)
    content = await r.read()
    most = r.context.limits.form_field_count
    try:
        if len(content) <= OFF_LOOP_BYTES:
            return Form(_decode_urlencoded(content, most))
        return Form(await asyncio.to_thread(_decode_urlencoded, content, most))
    except ValueError as error:
        raise Abort(f"The form has more than {most} fields", 413) from error


def _decode_urlencoded(content: bytes, most: int) -> list[tuple[str, str]]:
    # Octets that are no UTF-8 become U+FFFD, as the WHATWG URL standard has it (section
    # 5.1): they are no error.
    return parse_urlencoded(content.decode(errors="replace"), most).pairs


def find_uploads(r: BlazeioServerProtocol) -> UploadSource:
    """Return the source of the files of a request; nothing is read yet."""
    media_type = media_type_of(r)
    if media_type == MULTIPART and has_content(r):
        return reader_of(r)
    if media_type == URLENCODED or not has_content(r):
        return NoFile()
    reader = r.content.reader
    if not isinstance(reader, WholeContent):
        reader = WholeContent(r)
        # NO_CONTENT is one object that all requests without content share, so nothing
        # can be kept with it.
        if has_content(r):
            r.content.reader = reader
    return reader


def reader_of(r: BlazeioServerProtocol) -> FormReader:
    """Return the reader of a multipart form: one for each request."""
    reader = r.content.reader
    if not isinstance(reader, FormReader):
        reader = r.content.reader = FormReader(r)
    return reader


def has_content(r: BlazeioServerProtocol) -> bool:
    """Tell whether the request has content, or may still have."""
    return r.content is not NO_CONTENT
