"""``IN_MEMORY_STATIC_CACHE``: small files, answered from memory.

What is in memory is used while it is of the file that is there, which is looked at
ten times a second at most. A file is read once however many ask for it at the same
time, and so is each of its compressed variants made, in a thread. What was not asked
for the longest makes room. A large file is sent from where it is, never kept.
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
from blazeio.content.media_types import guess_media_type, is_compressible
from blazeio.content.representation import Representation, Validators, make_etag
from blazeio.errors import Abort, ConfigurationError
from blazeio.files.delivery import (
    Identity,
    OpenedFile,
    deliver_file,
    demand_read,
    describe,
    identify,
    merge_fields,
    names_source,
    open_file,
    select_for,
    send_whole,
    serialize_whole,
    wants_whole,
    with_media_type,
)
from blazeio.loggers import get_logger
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.sendfile import read_pages

# Contents of files in a bounded memory; what was not asked for longest leaves.


ENTRY_BYTES = 512
"""About what one entry costs beside its content and its path."""
LOOK_AGAIN_S = 0.1
"""A file that was looked at is taken to be the same for so long: 1.5 us less."""


class Variant:
    """A file as it is sent, in one content coding or in none.

    Attributes:
        found: What it is.
        content: All of it.
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


class KnownFile(Struct):
    """A file that was looked at.

    Attributes:
        path: Below the folder.
        identity: When it was.
        looked_at: When that was, monotonic seconds.
        plain: As it is; None when it is too large to be kept.
        encoded: By content coding; ``plain`` where encoding does not pay.
        cost_bytes: What it counts of the memory.
        is_alone: No other file may stand for it; else it is not used for longer
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


class FileMemory:
    """Files below a folder, by their path, or by another key.

    Args:
        home: The folder, absolute and without symbolic links.
        most_bytes: Most octets kept.
        now: Tells the time, monotonic seconds.

    Attributes:
        kept_bytes: Octets kept now.
    """

    __slots__ = ("_home", "_known", "_now", "kept_bytes", "most_bytes")

    def __init__(
        self, home: str, most_bytes: int, now: Callable[[], float] = monotonic
    ) -> None:
        self._home = home
        self._now = now
        self._known: OrderedDict[str, KnownFile] = OrderedDict()  # latest asked: last
        self.most_bytes = most_bytes
        self.kept_bytes = 0

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, path: object) -> bool:
        return path in self._known

    def recall(self, key: str) -> KnownFile | None:
        """What is known of a file, if it is still that."""
        # Hot: runs once per request.
        known = self._known.get(key)
        if known is None:
            return None
        now = self._now()
        if now - known.looked_at >= LOOK_AGAIN_S:
            is_same = known.identity == identify(self._home, known.path)
            if not (is_same and known.is_alone):
                self._forget(key)
                return None
            known.looked_at = now
        self._known.move_to_end(key)
        return known

    def keep(
        self,
        path: str,
        identity: Identity,
        plain: Variant | None,
        *,
        key: str = "",
        is_alone: bool = True,
    ) -> KnownFile:
        """Remember a file, by its path or by another key."""
        key = key or path
        if key in self._known:
            self._forget(key)
        size = len(plain.content) if plain is not None else 0
        cost_bytes = size + 2 * len(key) + ENTRY_BYTES
        known = KnownFile(path, identity, self._now(), plain, cost_bytes, is_alone)
        self._known[key] = known
        self._count(known.cost_bytes)
        return known

    def keep_encoded(
        self, path: str, known: KnownFile, coding: str, variant: Variant
    ) -> None:
        """Remember what a file is in a content coding."""
        known.encoded[coding] = variant
        if variant is known.plain or self._known.get(path) is not known:
            return
        cost_bytes = len(variant.content) + ENTRY_BYTES
        known.cost_bytes += cost_bytes
        self._count(cost_bytes)

    def _count(self, cost_bytes: int) -> None:
        self.kept_bytes += cost_bytes
        while self.kept_bytes > self.most_bytes:
            self._forget(next(iter(self._known)))

    def _forget(self, key: str) -> None:
        self.kept_bytes -= self._known.pop(key).cost_bytes


# Compressed siblings of a file: ``page.html.br`` beside ``page.html``.


SUFFIXES = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}
"""Where each content coding is looked for, best first."""

LONGEST_KEPT_BYTES = 256


def choose(accept_encoding: str | None, available: tuple[str, ...]) -> str | None:
    """As ``choose_coding``: the same few values come again and again."""
    if accept_encoding is None:
        return None
    if len(accept_encoding) > LONGEST_KEPT_BYTES:
        return choose_coding(accept_encoding, available)
    return _choose(accept_encoding, available)


_choose = lru_cache(maxsize=128)(choose_coding)  # 0.1 us where it takes 4


def order_codings(accept_encoding: str | None) -> tuple[str, ...]:
    """The codings of siblings that a client accepts, best first."""
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
    open_sibling: Callable[[str], OpenedFile | None],
) -> tuple[OpenedFile, Representation]:
    """The file, or its compressed sibling that the client likes best.

    A sibling that is older than the file is none: it was made of what the file
    was before.

    Args:
        opened: The file; closed here when a sibling stands for it.
        name: Its name.
        accept_encoding: Of the request.
        open_sibling: Opens ``name`` with a suffix.
    """
    if not is_compressible(guess_media_type(name)):
        return opened, describe(opened, name)
    for coding in order_codings(accept_encoding):
        sibling = open_sibling(name + SUFFIXES[coding])
        if sibling is not None:
            if sibling.modified_ns >= opened.modified_ns:
                opened.file.close()
                return sibling, describe(sibling, name, coding, is_negotiated=True)
            sibling.file.close()
    return opened, describe(opened, name, is_negotiated=True)


log = get_logger("blazeio.files")

MEMORY_BYTES = 64 * 1024 * 1024
LARGEST_KEPT_BYTES = 1024 * 1024
SMALLEST_READ_BYTES = 64 * 1024
"""Smaller chunks cost more than they are worth; see ``CHUNK_BYTES``."""
CODINGS = tuple(coding for coding in SUFFIXES if coding in AVAILABLE)
"""Best first: what is made once may take its time."""
LARGEST_COPIED_BYTES = 64 * 1024
"""A larger answer is written in pieces, so that a slow reader does not hold a
copy of all of it."""
SMALLEST_ENCODED_BYTES = 256
"""What is smaller fits one packet as it is."""

Result = TypeVar("Result")


class IN_MEMORY_STATIC_CACHE:  # noqa: N801 - named by its first users
    """The files below a folder. Made by ``init``, answers by ``handler``.

    Args:
        home: The folder, absolute and without symbolic links.
        routes: Path of a request to path of a file, where they differ.
        chunk_size: See ``init``.
        memory_bytes: See ``init``.
    """

    __slots__ = ("_chunk_size", "_flights", "_home", "_memory", "_routes")

    def __init__(
        self, home: str, routes: dict[str, str], chunk_size: int, memory_bytes: int
    ) -> None:
        self._home = home
        self._routes = routes
        self._chunk_size = max(chunk_size, SMALLEST_READ_BYTES)
        self._memory = FileMemory(home, memory_bytes)
        self._flights: dict[tuple[object, ...], asyncio.Task[Any]] = {}

    def __repr__(self) -> str:
        memory = self._memory
        return (
            f"<{type(self).__name__} {self._home} {len(memory)} files, "
            f"{memory.kept_bytes} of {memory.most_bytes} octets>"
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
            chunk_size: Octets per read of a file that is too large to be kept,
                where sendfile(2) is not to be had; less than 65,536 counts as
                that.
            memory_bytes: Most octets of content kept, compressed variants
                included.

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
        known = self._memory.recall(path) or await self._find(path)
        if known is None:
            raise Abort("Not Found", 404)
        demand_read(r)
        if known.plain is None:
            await self._send_large(r, path)
            return
        await send_kept(r, await self._choose(r, path, known, known.plain))

    async def _choose(
        self, r: BlazeioServerProtocol, path: str, known: KnownFile, plain: Variant
    ) -> Variant:
        """What the client likes best of a file that is kept."""
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

    async def _find(self, path: str) -> KnownFile | None:
        return await self._once((path,), partial(self._read, path))

    async def _once(
        self,
        flight: tuple[object, ...],
        work: Callable[[], Coroutine[Any, Any, Result]],
    ) -> Result:
        """Do it once for all who ask meanwhile, whoever of them goes away."""
        task = self._flights.get(flight)
        if task is None:
            task = asyncio.get_running_loop().create_task(work())
            self._flights[flight] = task
            task.add_done_callback(lambda _: self._flights.pop(flight))
        result: Result = await asyncio.shield(task)
        return result

    def _open(self, path: str) -> OpenedFile | None:
        return None if names_source(path) else open_file(self._home, path)

    async def _read(self, path: str) -> KnownFile | None:
        opened = self._open(path)
        if opened is None:
            return None
        plain = None
        with opened.file as file:
            if opened.size_bytes <= min(LARGEST_KEPT_BYTES, self._memory.most_bytes):
                # not to the end: a file that grows meanwhile would never end
                content = await read_pages(file.fileno(), 0, opened.size_bytes)
                plain = Variant(_describe(opened, path, content), content)
        return self._memory.keep(path, opened.identity, plain)

    async def _encode(
        self, path: str, known: KnownFile, plain: Variant, coding: str
    ) -> Variant:
        """Of a file that is kept: its compressed sibling, or one that we make."""
        variant = await self._read_sibling(path, known, coding)
        if variant is None:
            content = await asyncio.to_thread(encode_once, coding, plain.content)
            variant = Variant(_describe_encoded(plain, known, coding, content), content)
        if len(variant.content) >= len(plain.content):
            variant = plain
        self._memory.keep_encoded(path, known, coding, variant)
        return variant

    async def _read_sibling(
        self, path: str, known: KnownFile, coding: str
    ) -> Variant | None:
        sibling = self._open(path + SUFFIXES[coding])
        if sibling is None:
            return None
        with sibling.file as file:
            is_of_it = sibling.modified_ns >= known.modified_ns
            if not is_of_it or sibling.size_bytes > LARGEST_KEPT_BYTES:
                return None
            content = await read_pages(file.fileno(), 0, sibling.size_bytes)
        found = describe(sibling, path, coding, is_negotiated=True)
        return Variant(replace(found, size_bytes=len(content)), content)

    async def _send_large(self, r: BlazeioServerProtocol, path: str) -> None:
        opened = self._open(path)
        if opened is None:  # gone since we looked
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
    plain: Variant, known: KnownFile, coding: str, content: bytes
) -> Representation:
    etag = make_etag(known.modified_ns, known.identity[3], coding)
    validators = Validators(etag, plain.found.validators.modified_s)
    return replace(
        plain.found, size_bytes=len(content), validators=validators, coding=coding
    )


async def send_kept(r: BlazeioServerProtocol, variant: Variant) -> None:
    """Answer with a file that is in memory, or a part of it, or why not.

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
