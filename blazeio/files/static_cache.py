"""Small files in memory, and their precompressed forms: ``IN_MEMORY_STATIC_CACHE``.

A cached file is used while it is the file that exists now, which is checked ten times a
second at most. A file is read once, however many requests want it at the same time, and
each of its encoded variants is made once, in a thread. The least recently used file
makes room. A large file is sent from the disk, and never cached.

A file may have precompressed forms beside it, ``page.html.br`` beside ``page.html``:
they are used where the client accepts their coding, and where they are not older than
the file.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import lru_cache, partial
from time import monotonic
from typing import Any, Self, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from blazeio.content.codings import AVAILABLE, choose_coding, encode_once
from blazeio.content.field_values import guess_media_type, is_compressible
from blazeio.content.representation import Representation, Validators, make_etag
from blazeio.errors import Abort, ConfigurationError
from blazeio.files.delivery import (
    Identity,
    OpenedFile,
    deliver_file,
    describe,
    identify,
    merge_fields,
    names_source,
    open_file,
    require_get_or_head,
    select_for,
    send_whole,
    serialize_whole,
    wants_whole,
    with_media_type,
)
from blazeio.loggers import get_logger
from blazeio.protocol.kernel import read_pages
from blazeio.protocol.request import BlazeioServerProtocol

# The cache


ENTRY_BYTES = 512
"""About what one entry takes beside its content and its path."""
LOOK_AGAIN_S = 0.1
"""How long a file that was checked is assumed not to have changed, seconds; saves 1.5
us a request."""


class Variant:
    """A file as it is sent, in one content coding or in none.

    Attributes:
        found: Its representation.
        content: All of its octets.
        lines: Its fields, serialized.
        pairs: Those of them that the caller has given.
    """

    __slots__ = ("content", "found", "lines", "pairs")

    def __init__(
        self,
        found: Representation,
        content: bytes,
        pairs: Sequence[tuple[str, Any]] = (),
    ) -> None:
        self.pairs = list(pairs)
        self.found = with_media_type(found, self.pairs)
        self.content = content
        self.lines = serialize_whole(self.found, self.pairs)


class CachedFile(Struct):
    """A file in the cache.

    Attributes:
        path: Below the folder.
        identity: As it was when the file was read.
        looked_at: When it was last checked, monotonic seconds.
        plain: Without a content coding; None when it is too large to be cached.
        encoded: By content coding; ``plain`` where encoding does not pay.
        cost_bytes: What it takes of the cache.
        is_alone: No precompressed file may replace it; else it is not used for longer
            than ``LOOK_AGAIN_S``.
    """

    path: str
    identity: Identity
    looked_at: float
    plain: Variant | None
    cost_bytes: int
    is_alone: bool = True
    encoded: dict[str, Variant] = field(default_factory=dict)

    @property
    def modified_ns(self) -> int:
        """When the file was last changed, Unix time."""
        return self.identity[2]


class FileCache:
    """Files below a folder, by their path or another key.

    Args:
        home: The folder, absolute and without symbolic links.
        most_bytes: The most octets in the cache.
        now: Returns the time, monotonic seconds.

    Attributes:
        cached_bytes: The octets in the cache now.
    """

    __slots__ = ("_files", "_home", "_now", "cached_bytes", "most_bytes")

    def __init__(
        self, home: str, most_bytes: int, now: Callable[[], float] = monotonic
    ) -> None:
        self._home = home
        self._now = now
        self._files: OrderedDict[str, CachedFile] = OrderedDict()  # oldest first
        self.most_bytes = most_bytes
        self.cached_bytes = 0

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, path: object) -> bool:
        return path in self._files

    def get(self, key: str) -> CachedFile | None:
        """Return a cached file, if it is still the file that exists."""
        # Hot: runs once per request.
        known = self._files.get(key)
        if known is None:
            return None
        now = self._now()
        if now - known.looked_at >= LOOK_AGAIN_S:
            is_same = known.identity == identify(self._home, known.path)
            if not (is_same and known.is_alone):
                self._forget(key)
                return None
            known.looked_at = now
        self._files.move_to_end(key)
        return known

    def add(
        self,
        path: str,
        identity: Identity,
        plain: Variant | None,
        *,
        key: str = "",
        is_alone: bool = True,
    ) -> CachedFile:
        """Add a file, by its path or by another key."""
        key = key or path
        if key in self._files:
            self._forget(key)
        size = len(plain.content) if plain is not None else 0
        cost_bytes = size + 2 * len(key) + ENTRY_BYTES
        known = CachedFile(path, identity, self._now(), plain, cost_bytes, is_alone)
        self._files[key] = known
        self._count(known.cost_bytes)
        return known

    def add_encoded(
        self, path: str, known: CachedFile, coding: str, variant: Variant
    ) -> None:
        """Add an encoded variant of a cached file."""
        known.encoded[coding] = variant
        if variant is known.plain or self._files.get(path) is not known:
            return
        cost_bytes = len(variant.content) + ENTRY_BYTES
        known.cost_bytes += cost_bytes
        self._count(cost_bytes)

    def _count(self, cost_bytes: int) -> None:
        self.cached_bytes += cost_bytes
        while self.cached_bytes > self.most_bytes:
            self._forget(next(iter(self._files)))

    def _forget(self, key: str) -> None:
        self.cached_bytes -= self._files.pop(key).cost_bytes


# Precompressed files


SUFFIXES = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}
"""Where the file of each content coding is looked for, best first."""

LONGEST_CACHED_BYTES = 256


def choose(accept_encoding: str | None, available: tuple[str, ...]) -> str | None:
    """Do the same as ``choose_coding``, with a cache."""
    if accept_encoding is None:
        return None
    if len(accept_encoding) > LONGEST_CACHED_BYTES:
        return choose_coding(accept_encoding, available)
    return _choose(accept_encoding, available)


_choose = lru_cache(maxsize=128)(choose_coding)  # 0.1 us instead of 4


def accepted_codings(accept_encoding: str | None) -> tuple[str, ...]:
    """Return the codings of precompressed files that a client accepts, best first."""
    left = tuple(SUFFIXES)
    order: tuple[str, ...] = ()
    while left and (coding := choose(accept_encoding, left)) is not None:
        order = (*order, coding)
        left = tuple(each for each in left if each != coding)
    return order


def open_variant(
    opened: OpenedFile,
    name: str,
    accept_encoding: str | None,
    open_precompressed: Callable[[str], OpenedFile | None],
) -> tuple[OpenedFile, Representation]:
    """Return the file, or the precompressed file that the client prefers.

    A precompressed file that is older than the file is not used: it was made from
    earlier content.

    Args:
        opened: The file; closed here when a precompressed file replaces it.
        name: Its name.
        accept_encoding: The field of the request.
        open_precompressed: Opens ``name`` with a suffix.
    """
    if not is_compressible(guess_media_type(name)):
        return opened, describe(opened, name)
    for coding in accepted_codings(accept_encoding):
        precompressed = open_precompressed(name + SUFFIXES[coding])
        if precompressed is not None:
            if precompressed.modified_ns >= opened.modified_ns:
                opened.file.close()
                return precompressed, describe(
                    precompressed, name, coding, is_negotiated=True
                )
            precompressed.file.close()
    return opened, describe(opened, name, is_negotiated=True)


log = get_logger("blazeio.files")

MEMORY_BYTES = 64 * 1024 * 1024
LARGEST_KEPT_BYTES = 1024 * 1024
SMALLEST_READ_BYTES = 64 * 1024
"""Smaller chunks cost more than they are worth; see ``CHUNK_BYTES``."""
CODINGS = tuple(coding for coding in SUFFIXES if coding in AVAILABLE)
"""Best first: what is made once may take its time."""
LARGEST_COPIED_BYTES = 64 * 1024
"""A larger response is written in pieces, so that a slow reader does not hold a copy of
all of it."""
SMALLEST_ENCODED_BYTES = 256
"""Smaller files fit one packet without a coding."""

Result = TypeVar("Result")


class IN_MEMORY_STATIC_CACHE:  # noqa: N801 - named by its first users
    """The files below a folder, from memory: ``init`` makes it, ``handler`` answers.

    Args:
        home: The folder, absolute and without symbolic links.
        routes: The path of a request to the path of a file, where they differ.
        chunk_size: See ``init``.
        memory_bytes: See ``init``.
    """

    __slots__ = ("_cache", "_chunk_size", "_flights", "_home", "_routes")

    def __init__(
        self, home: str, routes: dict[str, str], chunk_size: int, memory_bytes: int
    ) -> None:
        self._home = home
        self._routes = routes
        self._chunk_size = max(chunk_size, SMALLEST_READ_BYTES)
        self._cache = FileCache(home, memory_bytes)
        self._flights: dict[tuple[object, ...], asyncio.Task[Any]] = {}

    def __repr__(self) -> str:
        memory = self._cache
        return (
            f"<{type(self).__name__} {self._home} {len(memory)} files, "
            f"{memory.cached_bytes} of {memory.most_bytes} octets>"
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
            home_dir: The folder. Hidden files and Python sources in it are never
                served.
            run_time_cache: A file, by its path below the folder, to ``{"route":
                path}``: another path that it is served at.
            chunk_size: Octets per read of a file that is too large for the cache, where
                sendfile(2) cannot be used; at least 65,536.
            memory_bytes: The most octets of content in the cache, encoded variants
                included.

        Raises:
            ConfigurationError: ``home_dir`` is no folder.
        """
        home = os.path.realpath(home_dir)
        if not os.path.isdir(home):
            raise ConfigurationError(f"home_dir {home!r} is not a folder")
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
            Abort: 404, there is no such file; 405, the method is not GET or HEAD.
        """
        path = r.path
        if path == "/" and override is not None:
            path = override
        else:
            path = self._routes.get(path, path)
        known = self._cache.get(path) or await self._find(path)
        if known is None:
            raise Abort("Not Found", 404)
        require_get_or_head(r)
        if known.plain is None:
            await self._send_large(r, path)
            return
        await send_cached(r, await self._choose(r, path, known, known.plain))

    async def _choose(
        self, r: BlazeioServerProtocol, path: str, known: CachedFile, plain: Variant
    ) -> Variant:
        """Return the variant of a cached file that the client prefers."""
        if not plain.found.is_negotiated:
            return plain
        coding = choose(r.headers.get("accept-encoding"), CODINGS)
        if coding is None:
            return plain
        variant = known.encoded.get(coding)
        if variant is None:
            work = partial(self._encode, path, known, plain, coding)
            variant = await self._once((path, coding, known.identity), work)
        return variant

    async def _find(self, path: str) -> CachedFile | None:
        return await self._once((path,), partial(self._read, path))

    async def _once(
        self,
        flight: tuple[object, ...],
        work: Callable[[], Coroutine[Any, Any, Result]],
    ) -> Result:
        """Do something once for all callers that ask meanwhile."""
        # One task for all who wait: a crowd that asks for a new file would otherwise
        # read and compress it as often as there are requests.
        task = self._flights.get(flight)
        if task is None:
            task = asyncio.get_running_loop().create_task(work())
            self._flights[flight] = task
            task.add_done_callback(lambda _: self._flights.pop(flight))
        # Shielded, since a client that leaves cancels its own handler, and must not end
        # the work that the others wait for.
        result: Result = await asyncio.shield(task)
        return result

    def _open(self, path: str) -> OpenedFile | None:
        return None if names_source(path) else open_file(self._home, path)

    async def _read(self, path: str) -> CachedFile | None:
        opened = self._open(path)
        if opened is None:
            return None
        plain = None
        with opened.file as file:
            if opened.size_bytes <= min(LARGEST_KEPT_BYTES, self._cache.most_bytes):
                # Not to the end: reading a file that grows meanwhile would never end.
                content = await read_pages(file.fileno(), 0, opened.size_bytes)
                plain = Variant(_describe(opened, path, content), content)
        return self._cache.add(path, opened.identity, plain)

    async def _encode(
        self, path: str, known: CachedFile, plain: Variant, coding: str
    ) -> Variant:
        """Return an encoded variant: a precompressed file, or one that is made here."""
        variant = await self._read_sibling(path, known, coding)
        if variant is None:
            # In a thread: zlib and brotli release the GIL, and at their best levels
            # they are slow.
            content = await asyncio.to_thread(encode_once, coding, plain.content)
            variant = Variant(_describe_encoded(plain, known, coding, content), content)
        # Kept as a variant all the same, so that nobody tries again what does not pay.
        if len(variant.content) >= len(plain.content):
            variant = plain
        self._cache.add_encoded(path, known, coding, variant)
        return variant

    async def _read_sibling(
        self, path: str, known: CachedFile, coding: str
    ) -> Variant | None:
        precompressed = self._open(path + SUFFIXES[coding])
        if precompressed is None:
            return None
        with precompressed.file as file:
            is_of_it = precompressed.modified_ns >= known.modified_ns
            if not is_of_it or precompressed.size_bytes > LARGEST_KEPT_BYTES:
                return None
            content = await read_pages(file.fileno(), 0, precompressed.size_bytes)
        found = describe(precompressed, path, coding, is_negotiated=True)
        return Variant(replace(found, size_bytes=len(content)), content)

    async def _send_large(self, r: BlazeioServerProtocol, path: str) -> None:
        opened = self._open(path)
        if opened is None:  # it was removed since we looked
            raise Abort("Not Found", 404)
        likes = r.headers.get("accept-encoding")
        opened, found = open_variant(opened, path, likes, self._open)
        with opened.file:
            await deliver_file(r, opened, found, self._chunk_size)


def _describe(opened: OpenedFile, path: str, content: bytes) -> Representation:
    found = describe(opened, path)
    may_encode = (
        is_compressible(found.media_type) and len(content) >= SMALLEST_ENCODED_BYTES
    )
    return replace(found, size_bytes=len(content), is_negotiated=may_encode)


def _describe_encoded(
    plain: Variant, known: CachedFile, coding: str, content: bytes
) -> Representation:
    etag = make_etag(known.modified_ns, known.identity[3], coding)
    validators = Validators(etag, plain.found.validators.modified_s)
    return replace(
        plain.found, size_bytes=len(content), validators=validators, coding=coding
    )


async def send_cached(r: BlazeioServerProtocol, variant: Variant) -> None:
    """Answer with a cached file, a part of it, or the reason why not.

    Raises:
        ClientDisconnected: The peer is gone.
        LocalProtocolError: A response has begun.
    """
    # Hot: a hit; its fields were serialized when the file was read.
    content = variant.content
    if 0 < len(content) <= LARGEST_COPIED_BYTES and wants_whole(r):
        await send_whole(r, content, variant.lines)
        return
    selection = select_for(r, variant.found)
    await r.prepare(merge_fields(selection, variant.pairs), selection.status)
    if r.method == "HEAD":
        return
    for before, part in selection.parts:
        if before:
            await r.write(before)
        await r.write(content[part.first : part.first + part.size])
    if selection.ending:
        await r.write(selection.ending)
