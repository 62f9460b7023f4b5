"""``IN_MEMORY_STATIC_CACHE``: small files, answered from memory.

A hit costs one ``stat``: what is in memory is used while it is of the file
that is there. Files are read in a thread, one at a time; what was not asked
for the longest makes room. A large file is streamed and never kept.

May import: blazeio.content, blazeio.errors, blazeio.files.containment,
blazeio.protocol.
"""

import asyncio
import logging
import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from blazeio.content.media_types import guess_media_type
from blazeio.errors import Abort, ConfigurationError
from blazeio.files.containment import Identity, OpenedFile, identify, open_file
from blazeio.protocol.server import BlazeioServerProtocol

log = logging.getLogger("blazeio.files")

MEMORY_BYTES = 64 * 1024 * 1024
LARGEST_KEPT_BYTES = 1024 * 1024
SMALLEST_READ_BYTES = 64 * 1024
"""A read in a thread costs 28 us whatever its size: 1,024 octets at a time are
36 MB/s, 4,096 are 144, 65,536 are 2,270 (one core, Python 3.11, warm file)."""
ENTRY_BYTES = 512
"""About what one entry costs beside its content and its path."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file that was looked at.

    Attributes:
        identity: When it was.
        media_type: By its name.
        content: All of it; None when it is too large to be kept.
        cost_bytes: What it counts of the memory.
    """

    identity: Identity
    media_type: str
    content: bytes | None
    cost_bytes: int


class IN_MEMORY_STATIC_CACHE:  # noqa: N801 - named by its first users
    """The files below a folder. Made by ``init``, answers by ``handler``.

    Args:
        home: The folder, absolute and without symbolic links.
        routes: Path of a request to path of a file, where they differ.
        chunk_size: See ``init``.
        memory_bytes: See ``init``.
    """

    __slots__ = (
        "_chunk_size",
        "_home",
        "_kept_bytes",
        "_known",
        "_memory_bytes",
        "_reading",
        "_routes",
    )

    def __init__(
        self, home: str, routes: dict[str, str], chunk_size: int, memory_bytes: int
    ) -> None:
        self._home = home
        self._routes = routes
        self._chunk_size = max(chunk_size, SMALLEST_READ_BYTES)
        self._memory_bytes = memory_bytes
        self._known: OrderedDict[str, KnownFile] = OrderedDict()  # latest asked: last
        self._kept_bytes = 0
        self._reading = asyncio.Lock()

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self._home} {len(self._known)} files, "
            f"{self._kept_bytes} of {self._memory_bytes} octets>"
        )

    @classmethod
    async def init(
        cls,
        *,
        home_dir: str | os.PathLike[str],
        run_time_cache: Mapping[str, Mapping[str, Any]] | None = None,
        chunk_size: int = 4096,
        memory_bytes: int = MEMORY_BYTES,
    ) -> Self:
        """Make a cache; read the files that are named.

        Args:
            home_dir: The folder. Hidden files and Python sources in it are
                never served.
            run_time_cache: File, by its path below the folder, to
                ``{"route": path}``: another path that it answers to.
            chunk_size: Octets per read of a file that is too large to be kept;
                less than 65,536 counts as that.
            memory_bytes: Most octets of content kept.

        Raises:
            ConfigurationError: ``home_dir`` is no folder.
        """
        home = os.path.realpath(home_dir)
        if not os.path.isdir(home):
            raise ConfigurationError(f"home_dir {home!r} is no folder")
        routes = {}
        named = run_time_cache or {}
        for path, entry in named.items():
            if "route" in entry:
                routes[str(entry["route"])] = path
        cache = cls(home, routes, chunk_size, memory_bytes)
        for path in named:
            if await cache._find(path) is None:
                log.warning("there is no file %s below %s", path, home)
        return cache

    async def handler(
        self, r: BlazeioServerProtocol, override: str | None = None
    ) -> None:
        """Answer with the file that the request's path names.

        Args:
            r: The request.
            override: The file that answers "/".

        Raises:
            Abort: 404, there is no such file; 405, it is not asked for by GET
                or HEAD.
        """
        path = r.path
        if path == "/" and override is not None:
            path = override
        else:
            path = self._routes.get(path, path)
        known = self._recall(path) or await self._find(path)
        if known is None:
            raise Abort("Not Found", 404)
        if r.method not in ("GET", "HEAD"):
            raise Abort("Method Not Allowed", 405, {"Allow": "GET, HEAD"})
        if known.content is not None:
            await _send(r, known.media_type, known.content)
        else:
            await self._stream(r, path)

    def _recall(self, path: str) -> KnownFile | None:
        # Hot: runs once per request; most of it is the system call.
        known = self._known.get(path)
        if known is None:
            return None
        if known.identity != identify(self._home, path):
            self._forget(path)
            return None
        self._known.move_to_end(path)
        return known

    async def _find(self, path: str) -> KnownFile | None:
        async with self._reading:  # another request may have read it meanwhile
            return self._recall(path) or await self._read(path)

    async def _read(self, path: str) -> KnownFile | None:
        opened = open_file(self._home, path)
        if opened is None:
            return None
        content = None
        with opened.file:
            if opened.size_bytes <= min(LARGEST_KEPT_BYTES, self._memory_bytes):
                content = await asyncio.to_thread(_read_whole, opened)
        cost_bytes = len(content or b"") + 2 * len(path) + ENTRY_BYTES
        media_type = guess_media_type(path)
        known = KnownFile(opened.identity, media_type, content, cost_bytes)
        self._known[path] = known
        self._kept_bytes += cost_bytes
        while self._kept_bytes > self._memory_bytes:
            self._forget(next(iter(self._known)))
        return known

    def _forget(self, path: str) -> None:
        self._kept_bytes -= self._known.pop(path).cost_bytes

    async def _stream(self, r: BlazeioServerProtocol, path: str) -> None:
        opened = open_file(self._home, path)
        if opened is None:  # gone since we looked
            raise Abort("Not Found", 404)
        with opened.file:
            await r.prepare(_head(guess_media_type(path), opened.size_bytes))
            left_bytes = opened.size_bytes if r.method != "HEAD" else 0
            while left_bytes > 0:
                octets = await asyncio.to_thread(
                    opened.file.read, min(self._chunk_size, left_bytes)
                )
                if not octets:
                    break  # it has shrunk: the response ends short and is cut
                left_bytes -= len(octets)
                await r.write(octets)


def _read_whole(opened: OpenedFile) -> bytes:
    # not a loop to the end: a file that grows meanwhile would never end
    octets = opened.file.read(opened.size_bytes)
    return octets or b""


def _head(media_type: str, size_bytes: int) -> dict[str, str | bytes | int | list[Any]]:
    return {"Content-Type": media_type, "Content-Length": size_bytes}


async def _send(r: BlazeioServerProtocol, media_type: str, content: bytes) -> None:
    if len(content) <= SMALLEST_READ_BYTES:
        r.reply(content, 200, b"Content-Type: %b\r\n" % media_type.encode())
        if not r.gate.is_open:
            await r.buffer_overflow_manager()
        return
    # in pieces, so that a slow reader does not hold a copy of all of it
    await r.prepare(_head(media_type, len(content)))
    if r.method != "HEAD":
        await r.write(content)
