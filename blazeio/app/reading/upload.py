"""``Upload``: one file that a client sends, as it arrives.

May import: blazeio.content, blazeio.errors.
"""

from collections.abc import AsyncIterator, Generator
from typing import Any, Protocol

from blazeio.content.forms.multipart import FileHead
from blazeio.errors import LocalProtocolError, RemoteProtocolError
from blazeio.protocol.flow import join_small


class Source(Protocol):
    """Where a file comes from."""

    @property
    def most_collected_bytes(self) -> int:
        """Most octets that are collected in memory."""
        ...

    async def open(self, upload: "Upload") -> FileHead:
        """Read on to the file that ``upload`` is to be."""
        ...

    async def next_chunk(self, upload: "Upload") -> bytes:
        """Its next octets; b"" at its end."""
        ...


class UploadSource(Source, Protocol):
    """Where all the files of one request come from."""

    def take(self) -> "Upload":
        """The file that was met and not taken yet; else the one that comes."""
        ...

    async def next_upload(self) -> "Upload | None":
        """The same, read on to; None when there is no other."""
        ...


class Upload(AsyncIterator[bytes]):
    """One file that a client sends: ``async for chunk in upload``.

    The transport pauses, and so the client, while the caller is slow. What
    the file is called is known once its head has arrived: after
    ``await upload``, and while it is iterated over.

    Attributes:
        received_bytes: Octets given so far.

    Raises:
        RemoteProtocolError: While it is read: the form is malformed (400) or
            beyond a bound (413).
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
        """All that is known of it.

        Raises:
            LocalProtocolError: Nothing yet.
        """
        if self._head is None:
            raise LocalProtocolError("what a file is called: await the upload first")
        return self._head

    @property
    def name(self) -> str:
        """Of the form's field; "" where the content is no form."""
        return self.head.name

    @property
    def filename(self) -> str:
        """As the client sent it, never to be used as a path."""
        return self.head.filename

    @property
    def safe_filename(self) -> str:
        """The name as one harmless path component; never empty.

        Another file may have it already.
        """
        return self.head.safe_filename

    @property
    def content_type(self) -> str:
        """As the client says, lower case, without parameters; or ""."""
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
        """Collect what of it was not read yet.

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

    What of a file was not read is read past when the next one is asked for.
    """

    __slots__ = ("_source",)

    def __init__(self, source: UploadSource) -> None:
        self._source = source

    async def __anext__(self) -> Upload:
        upload = await self._source.next_upload()
        if upload is None:
            raise StopAsyncIteration
        return upload
