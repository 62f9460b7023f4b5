"""Content that is no form: as it arrives, and as the one file that it is.

May import: blazeio.app.reading.upload, blazeio.content, blazeio.errors,
blazeio.protocol.
"""

from blazeio.app.reading.upload import Upload
from blazeio.content.forms.multipart import FileHead
from blazeio.content.forms.parameters import parse_parameters
from blazeio.errors import Abort, LocalProtocolError
from blazeio.protocol.request import BlazeioServerProtocol


class Pieces:
    """The content of one request, piece by piece.

    Not a generator: one that a handler leaves half-way has to be closed later,
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
        """The next piece; b"" at the end.

        Raises:
            ClientDisconnected: The client went away before the end.
            RemoteProtocolError: The content broke its framing, or is too large.
            LocalProtocolError: The request is over, and ``r`` serves another.
        """
        content = self._content
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
        """Most octets that are collected in memory."""
        return self._pieces.most_collected_bytes

    def pull(self) -> Upload:
        """What ``r.pull()`` gives."""
        return self._upload

    def take(self) -> Upload:
        """The one file."""
        self._is_taken = True
        return self._upload

    async def next_upload(self) -> Upload | None:
        """The one file, once."""
        return None if self._is_taken else self.take()

    async def open(self, upload: Upload) -> FileHead:
        """Nothing has to be read for it."""
        return upload.head

    async def next_chunk(self, upload: Upload) -> bytes:
        """Its next octets; b"" at its end."""
        return await self._pieces.next()


class NoFile:
    """Of a request that brings no file."""

    most_collected_bytes = 0

    def take(self) -> Upload:
        """One that cannot be read."""
        return Upload(self)

    async def next_upload(self) -> Upload | None:
        """None."""
        return None

    async def open(self, upload: Upload) -> FileHead:
        """Refuse.

        Raises:
            Abort: 400.
        """
        raise no_file()

    async def next_chunk(self, upload: Upload) -> bytes:
        """Nothing."""
        return b""


def no_file() -> Abort:
    """What a client is answered that should have sent a file, or another one."""
    return Abort("A file was expected, and there is none", 400)


def media_type_of(r: BlazeioServerProtocol) -> str:
    """The media type of the content: lower case, without parameters; or ""."""
    value = r.headers.get("content-type", "")
    try:
        return parse_parameters(value)[0]
    except ValueError:  # its parameters are looked at by who needs one
        return value.partition(";")[0].strip().lower()
