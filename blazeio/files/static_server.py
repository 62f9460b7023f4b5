"""``StaticServer``: a folder at a prefix."""

import asyncio
import os
from collections.abc import Sequence
from functools import partial
from html import escape
from typing import TypedDict
from urllib.parse import quote

from blazeio.errors import Abort, ConfigurationError, FieldInput
from blazeio.files.containment import list_names, open_file
from blazeio.files.delivery import (
    CHUNK_BYTES,
    NOSNIFF,
    deliver_file,
    demand_read,
    reply_with_lines,
)
from blazeio.files.static_cache import open_variant
from blazeio.loggers import escape_line
from blazeio.protocol.request import BlazeioServerProtocol

# A folder as an HTML page.


def render_listing(path: str, names: Sequence[str]) -> bytes:
    """Render the page.

    Args:
        path: As the client asked for it.
        names: What is in the folder; links lead to them.
    """
    title = escape(escape_line(path))
    # "./": a name such as "javascript:x" is no scheme then
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


class StaticServer:
    """Serves the files below a folder; a handler, or a fallback.

    Nothing outside the folder is ever served: not by ``..``, not by a symbolic
    link. Nor are hidden files, but those in ``/.well-known``.

    Args:
        prefix: What the paths of its files start with, such as ``/assets``;
            ``/`` for all.
        folder: Where the files are.
        index: The file that answers for a folder; None: none does.
        listing: Answer with a list of its files for a folder without index.
        chunk_size: See ``Simpleserve.serve``.
        headers: Further fields, such as Cache-Control.

    Raises:
        ConfigurationError: There is no such folder, or the prefix is no path.
    """

    __slots__ = (
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
    ) -> None:
        if not prefix.startswith("/"):
            raise ConfigurationError(f"prefix {prefix!r}: expected '/' and a path")
        self._home = os.path.realpath(folder)
        if not os.path.isdir(self._home):
            raise ConfigurationError(f"folder {self._home!r} is no folder")
        self._prefix = prefix.rstrip("/")
        self._index = index or ""
        self._shows_listing = listing
        self._chunk_size = max(chunk_size, 1)
        self._headers = headers
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
            path: Of the file below the folder, percent-decoded: ``/a/b.css``;
                of a folder, with "/" at its end, or it is redirected there.

        Raises:
            Abort: 404, there is none; 405, it is not asked for by GET or HEAD;
                503, this process has no descriptor left.
            ClientDisconnected: The peer is gone.
        """
        name = path + self._index if path.endswith("/") else path
        opened = self._open(name)
        if opened is None:
            await self._answer_folder(r, path)
            return
        likes = r.headers.get("accept-encoding")
        opened, found = open_variant(opened, name, likes, self._open)
        with opened.file:
            demand_read(r)
            await deliver_file(r, opened, found, self._chunk_size, self._headers)

    def _below_prefix(self, path: str) -> str:
        below = path.removeprefix(self._prefix)
        if (self._prefix and below == path) or (below and not below.startswith("/")):
            raise Abort("Not Found", 404)
        return below

    async def _answer_folder(self, r: BlazeioServerProtocol, path: str) -> None:
        """Of a path that names no file: it may name a folder."""
        folder = path if path.endswith("/") else path + "/"
        names = None
        if self._shows_listing:
            names = await asyncio.to_thread(list_names, self._home, folder)
        if names is None and (folder == path or not self._has_index(folder)):
            raise Abort("Not Found", 404)
        demand_read(r)
        if names is None or folder != path:
            # the links of a page are relative to its folder only below the "/"
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
