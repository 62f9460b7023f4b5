"""``Simpleserve``: one file of the app's choice as the answer."""

import os
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from blazeio.content.representation import Representation, Selection
from blazeio.errors import Abort, FieldInput
from blazeio.files.containment import OpenedFile, open_any
from blazeio.files.delivery import CHUNK_BYTES, deliver_file, select_file
from blazeio.files.static_cache import open_variant
from blazeio.loggers import get_logger
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.sendfile import read_pages

log = get_logger("blazeio.files")


class Simpleserve:
    """Serve files of any size from where they are.

    ``await Simpleserve.serve(r, path)`` answers with one. Who wants to see what goes
    out enters a block, and sends it::

        async with io.Simpleserve(r, path) as file:
            await r.prepare(file.headers, file.status)
            async for chunk in file.pull():
                await r.write(chunk)

    What is answered by nobody until the block ends, the block answers.

    Args:
        r: The request to answer.
        path: Of the file.
        chunk_size: Octets per read.
        headers: Further fields.

    Attributes:
        status: 200, 206 or 304, 412 or 416, as the request has it.
        headers: Of the response, with its Content-Length.
    """

    def __init__(
        self,
        r: BlazeioServerProtocol,
        path: str | os.PathLike[str],
        chunk_size: int = CHUNK_BYTES,
        headers: FieldInput | None = None,
    ) -> None:
        self._r = r
        self._path = path
        self._chunk_size = max(chunk_size, 1)
        self._given = headers
        self._opened: OpenedFile | None = None
        self._selection: Selection | None = None
        self.status = 0
        self.headers: FieldInput = {}

    async def __aenter__(self) -> Self:
        """Open the file, and decide what of it answers the request.

        Raises:
            Abort: 404, there is no such regular file.
        """
        self._opened, found = _open(self._r, self._path)
        try:
            selected = select_file(self._r, found, self._given)
        except BaseException:
            self._opened.file.close()
            raise
        self._selection, self.status, self.headers = selected
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Answer, if nobody has; close the file."""
        assert self._opened is not None  # it was entered
        try:
            if error is None and not self._r.status:
                await self._r.prepare(self.headers, self.status)
                async for chunk in self.pull():
                    await self._r.write(chunk)
        finally:
            self._opened.file.close()

    async def pull(self) -> AsyncIterator[bytes]:
        """Iterate over the content of the response; none of it for HEAD."""
        opened, selection = self._opened, self._selection
        assert opened is not None  # it was entered
        assert selection is not None
        if self._r.method == "HEAD":
            return
        for before, part in selection.parts:
            if before:
                yield before
            at, end = part.first, part.first + part.size
            while at < end:
                size = min(self._chunk_size, end - at)
                chunk = await read_pages(opened.file.fileno(), at, size)
                if not chunk:
                    return  # it has shrunk: the response ends short and is cut
                at += len(chunk)
                yield chunk
        if selection.ending:
            yield selection.ending

    @staticmethod
    async def serve(
        r: BlazeioServerProtocol,
        path: str | os.PathLike[str],
        chunk_size: int = CHUNK_BYTES,
        headers: FieldInput | None = None,
    ) -> None:
        """Answer with a file: whole, in parts, or "not modified".

        Conditions, ranges and HEAD are answered as RFC 9110 says, the media
        type is by the file's name. Of a file that can be compressed, a sibling
        ``.br``, ``.zst`` or ``.gz`` that is not older is sent to who accepts
        it. Methods other than GET and HEAD get the whole file.

        Args:
            r: The request to answer.
            path: Of the file. The app's own: never made of what a client sent;
                for that there is ``StaticServer``.
            chunk_size: Octets per read where sendfile(2) is not to be had: over
                TLS, and for what is small.
            headers: Further fields. Content-Type stands instead of the guessed
                one; validators, ranges and length stay ours.

        Raises:
            Abort: 404, there is no such regular file, which is logged too: the
                path is the app's.
            ClientDisconnected: The peer is gone.
            LocalProtocolError: A response has begun, or a field is malformed.
        """
        opened, found = _open(r, path)
        with opened.file:
            await deliver_file(r, opened, found, max(chunk_size, 1), headers)


def _open(
    r: BlazeioServerProtocol, path: str | os.PathLike[str]
) -> tuple[OpenedFile, Representation]:
    """Open a file, or a sibling of it that the client likes better.

    Raises:
        Abort: 404, there is no such regular file; it is logged.
    """
    name = os.fsdecode(path)
    opened = open_any(name)
    if opened is None:
        place = os.path.abspath(name.partition("\0")[0])
        log.warning("%s %s: %s %s", r.method, r.tail, place, _say_why(name))
        raise Abort("Not Found", 404)
    likes = r.headers.get("accept-encoding")
    return open_variant(opened, name, likes, open_any)


def _say_why(name: str) -> str:
    """What is wrong with a file that could not be opened."""
    try:
        if os.path.isdir(name):
            return "is a folder, not a file: web.add_static serves one"
        with open(name, "rb", opener=_open_without_waiting):
            return "is no regular file"
    except ValueError:
        return "is no name that a file can have"
    except OSError as error:
        return f"cannot be served: {error.strerror}"


def _open_without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY)
