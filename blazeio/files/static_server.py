"""Files as responses: ``StaticServer`` for a folder, ``Simpleserve`` for one file.

``StaticServer`` is a handler or a fallback for every path below its prefix. It never
leaves its folder (``delivery.open_file``). ``Simpleserve`` sends a file that the app
has chosen, so it opens any path. Both choose a precompressed file beside the one that
was asked for where the client accepts its coding, and both answer conditional and range
requests (``delivery``).
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from functools import partial
from types import TracebackType
from typing import Self, TypedDict
from urllib.parse import quote

from blazeio.content.field_values import guess_media_type, is_compressible
from blazeio.content.representation import Representation, Selection
from blazeio.errors import Abort, ConfigurationError, FieldInput
from blazeio.files.delivery import (
    CHUNK_BYTES,
    NOSNIFF,
    OpenedFile,
    deliver_file,
    list_names,
    open_any,
    open_file,
    read_pairs,
    reply_with_lines,
    require_get_or_head,
    select_file,
)
from blazeio.files.static_cache import (
    SUFFIXES,
    FileCache,
    Variant,
    accepted_codings,
    open_variant,
    send_cached,
)
from blazeio.loggers import escape_line, get_logger
from blazeio.protocol.kernel import WHOLE_BYTES, read_pages
from blazeio.protocol.request import BlazeioServerProtocol

MEMORY_BYTES = 16 * 1024 * 1024

# A folder


def render_listing(path: str, names: Sequence[str]) -> bytes:
    """Render the names in a folder as an HTML page.

    Args:
        path: The path of the request.
        names: What is in the folder; links lead to them.
    """
    from html import escape  # it has a dictionary of 2,000 entities

    title = escape(escape_line(path))
    # With "./" a name such as "javascript:x" is not a scheme.
    items = "".join(
        f'<li><a href="./{quote(os.fsencode(name))}">{escape(escape_line(name))}</a>\n'
        for name in names
    )
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>{title}</title>\n<h1>{title}</h1>\n<ul>\n{items}</ul>\n</html>\n"
    ).encode()


HTML = b"Content-Type: text/html; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"


class StaticOptions(TypedDict, total=False):
    """The options of ``StaticServer``, for type checkers and editors."""

    index: str | None
    listing: bool
    chunk_size: int
    headers: FieldInput | None
    memory_bytes: int


class StaticServer:
    """Serves the files below a folder; a handler, or a fallback.

    Nothing outside the folder is ever served: not by ``..``, not by a symbolic link.
    Hidden files are not served, except those in ``/.well-known``.

    Args:
        prefix: What the paths of its files start with, such as ``/assets``; ``/`` for
            all.
        folder: Where the files are.
        index: The file that is served for a folder; None: none is.
        listing: Serve a list of its files for a folder without index.
        chunk_size: See ``Simpleserve.serve``.
        headers: Further fields, such as Cache-Control.
        memory_bytes: The most octets of a cache for files of up to 64 KiB; 0: none. The
            least recently used file is dropped; a changed file is noticed within 0.1 s.

    Raises:
        ConfigurationError: There is no such folder, or the prefix is no path.
    """

    __slots__ = (
        "_cache",
        "_chunk_size",
        "_headers",
        "_home",
        "_index",
        "_open",
        "_prefix",
        "_shows_listing",
    )

    def __init__(
        self,
        prefix: str,
        folder: str | os.PathLike[str],
        *,
        index: str | None = "index.html",
        listing: bool = False,
        chunk_size: int = CHUNK_BYTES,
        headers: FieldInput | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        if not prefix.startswith("/"):
            raise ConfigurationError(f"prefix {prefix!r}: expected '/' and a path")
        self._home = os.path.realpath(folder)
        if not os.path.isdir(self._home):
            raise ConfigurationError(f"folder {self._home!r} is not a folder")
        self._prefix = prefix.rstrip("/")
        self._index = index or ""
        self._shows_listing = listing
        self._chunk_size = max(chunk_size, 1)
        self._headers = headers
        self._cache = FileCache(self._home, memory_bytes)
        self._open = partial(open_file, self._home)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._prefix}/ {self._home}>"

    async def __call__(self, r: BlazeioServerProtocol) -> None:
        """Answer with the file that the request's path names; see ``serve``."""
        await self.serve(r, self._below_prefix(r.path))

    async def serve(self, r: BlazeioServerProtocol, path: str) -> None:
        """Answer with a file below the folder.

        Args:
            r: The request to answer.
            path: The path of the file below the folder, percent-decoded: ``/a/b.css``.
                A folder ends with "/", or it is redirected there.

        Raises:
            Abort: 404, there is none; 405, the method is not GET or HEAD; 503, this
                process has no descriptor left.
            ClientDisconnected: The peer is gone.
        """
        name = path + self._index if path.endswith("/") else path
        codings: tuple[str, ...] = ()
        if is_compressible(guess_media_type(name)):
            codings = accepted_codings(r.headers.get("accept-encoding"))
        key = f"{name}\0{','.join(codings)}" if codings else name
        known = self._cache.get(key)
        if known is None or known.plain is None:
            await self._serve_opened(r, path, name, key)
            return
        require_get_or_head(r)
        await send_cached(r, known.plain)

    async def _serve_opened(
        self, r: BlazeioServerProtocol, path: str, name: str, key: str
    ) -> None:
        """Answer with a file that is not in the cache; add it where it is small."""
        opened = self._open(name)
        if opened is None:
            await self._answer_folder(r, path)
            return
        likes = r.headers.get("accept-encoding")
        opened, found = open_variant(opened, name, likes, self._open)
        with opened.file:
            require_get_or_head(r)
            size = found.size_bytes
            if size > min(WHOLE_BYTES, self._cache.most_bytes):
                await deliver_file(r, opened, found, self._chunk_size, self._headers)
                return
            content = await read_pages(opened.file.fileno(), 0, size)
            if len(content) != size:  # it has changed just now
                await deliver_file(r, opened, found, self._chunk_size, self._headers)
                return
        variant = Variant(found, content, read_pairs(self._headers))
        suffix = SUFFIXES[found.coding] if found.coding else ""
        self._cache.add(
            name + suffix, opened.identity, variant, key=key, is_alone=key == name
        )
        await send_cached(r, variant)

    def _below_prefix(self, path: str) -> str:
        below = path.removeprefix(self._prefix)
        if (self._prefix and below == path) or (below and not below.startswith("/")):
            raise Abort("Not Found", 404)
        return below

    async def _answer_folder(self, r: BlazeioServerProtocol, path: str) -> None:
        """Answer a path that names no file: it may name a folder."""
        folder = path if path.endswith("/") else path + "/"
        names = None
        if self._shows_listing:
            names = await asyncio.to_thread(list_names, self._home, folder)
        if names is None and (folder == path or not self._has_index(folder)):
            raise Abort("Not Found", 404)
        require_get_or_head(r)
        if names is None or folder != path:
            # The links of a page are relative to its folder only below the "/".
            query = f"?{r.query}" if r.query else ""
            location = quote(r.root_path + r.path + "/") + query
            r.reply(b"", 308, b"", [("Location", location), NOSNIFF])
        else:
            reply_with_lines(r, render_listing(r.path, names), HTML)

    def _has_index(self, folder: str) -> bool:
        opened = self._open(folder + self._index)
        if opened is not None:
            opened.file.close()
        return opened is not None


# One file


log = get_logger("blazeio.files")


class Simpleserve:
    """Serve files of any size from the disk, with ranges and conditional requests.

    ``await Simpleserve.serve(r, path)`` answers with one file.

    To see what is sent, enter a block, and send it yourself::

        async with io.Simpleserve(r, path) as file:
            await r.prepare(file.headers, file.status)
            async for chunk in file.pull():
                await r.write(chunk)

    A request that is not answered when the block ends is answered by the block.

    Args:
        r: The request to answer.
        path: The path of the file.
        chunk_size: Octets per read.
        headers: Further fields.

    Attributes:
        status: 200, 206 or 304, 412 or 416, by the request's conditions.
        headers: The fields of the response, with its Content-Length.
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
        """Open the file, and select what of it answers the request.

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
        """Answer the request, if the block has not; close the file."""
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
                    return  # it has shrunk: the connection is cut
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

        Conditions, ranges and HEAD are answered by RFC 9110; the media type is guessed
        by the file's name. Where the client accepts it, a precompressed file beside it
        (``.br``, ``.zst`` or ``.gz``) is sent that is not older. Methods other than GET
        and HEAD get the whole file.

        Args:
            r: The request to answer.
            path: The path of the file, chosen by the app: never make it of what a
                client sent; for that there is ``StaticServer``.
            chunk_size: Octets per read where sendfile(2) cannot be used: over TLS, and
                for small files.
            headers: Further fields. A Content-Type replaces the guessed one;
                validators, ranges and length are always our own.

        Raises:
            Abort: 404, there is no such regular file, which is logged too, since the
                app has chosen the path.
            ClientDisconnected: The peer is gone.
            LocalProtocolError: A response has begun, or a field is malformed.
        """
        opened, found = _open(r, path)
        with opened.file:
            await deliver_file(r, opened, found, max(chunk_size, 1), headers)


def _open(
    r: BlazeioServerProtocol, path: str | os.PathLike[str]
) -> tuple[OpenedFile, Representation]:
    """Open a file, or the precompressed file that the client prefers.

    Raises:
        Abort: 404, there is no such regular file; it is logged.
    """
    name = os.fsdecode(path)
    opened = open_any(name)
    if opened is None:
        place = os.path.abspath(name.partition("\0")[0])
        log.warning("%s %s: %s %s", r.method, r.tail, place, _describe_missing(name))
        raise Abort("Not Found", 404)
    likes = r.headers.get("accept-encoding")
    return open_variant(opened, name, likes, open_any)


def _describe_missing(name: str) -> str:
    """Say why a file could not be opened."""
    try:
        if os.path.isdir(name):
            return "is a folder, not a file: web.add_static serves one"
        with open(name, "rb", opener=_open_without_waiting):
            return "is not a regular file"
    except ValueError:
        return "is not a name that a file can have"
    except OSError as error:
        return f"cannot be served: {error.strerror}"


def _open_without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY)
