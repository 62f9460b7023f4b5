"""An opened file as the answer to a request."""

import secrets
import time
from functools import lru_cache
from typing import Any

from msgspec.structs import replace

from blazeio.content.media_types import guess_media_type
from blazeio.content.representation import (
    CONDITIONS,
    Representation,
    Selection,
    Validators,
    make_etag,
    select,
)
from blazeio.errors import Abort, FieldInput, LocalProtocolError
from blazeio.files.containment import OpenedFile
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.sendfile import WHOLE_BYTES, read_pages, send_file
from blazeio.wire.serializer import list_field_pairs, serialize_fields

CHUNK_BYTES = 64 * 1024
"""Octets per read, where sendfile(2) is not to be had. 100 MB over TLS, one
core: 4,096 octets at a time are 0.13 GB/s, 65,536 are 0.35, 1 MiB 0.38."""

OURS = frozenset(
    (
        "accept-ranges",
        "content-length",
        "content-range",
        "content-type",
        "etag",
        "last-modified",
    )
)
"""Fields that say what is sent: they have to be true."""

NOSNIFF = ("X-Content-Type-Options", "nosniff")
"""Goes with all that a file is answered with: what somebody has uploaded as text or
image is no page because a browser finds that it looks like one. A caller may say
something else."""

_NOSNIFF_NAME = NOSNIFF[0].lower()


def describe(
    opened: OpenedFile,
    name: str,
    coding: str | None = None,
    *,
    is_negotiated: bool = False,
) -> Representation:
    """What a file is sent as.

    Args:
        opened: The file.
        name: By which its media type is guessed: of a sibling, the name of the
            file that it stands for.
        coding: The content coding that it is in.
        is_negotiated: See ``Representation``.
    """
    etag = make_etag(opened.modified_ns, opened.size_bytes, coding)
    # RFC 9110 section 8.8.2.1: no Last-Modified is later than its Date
    modified_s = min(opened.modified_ns // 1_000_000_000, int(time.time()))
    return Representation(
        guess_media_type(name),
        opened.size_bytes,
        Validators(etag, max(modified_s, 0)),
        coding,
        is_negotiated,
    )


def demand_read(r: BlazeioServerProtocol) -> None:
    """Refuse what neither reads a file nor asks about it.

    Raises:
        Abort: 405.
    """
    if r.method not in ("GET", "HEAD"):
        raise Abort("Method Not Allowed", 405, {"Allow": "GET, HEAD"})


def select_for(r: BlazeioServerProtocol, found: Representation) -> Selection:
    """Decide what answers this request now."""
    asked = r.headers.index()
    return select(r.method, asked, found, time.time(), _make_boundary)


@lru_cache(maxsize=1024)
def serialize_lines(found: Representation) -> bytes:
    """The fields of a representation; of most, they were asked for before."""
    return serialize_fields([*found.fields().items(), NOSNIFF]).lines


def wants_whole(r: BlazeioServerProtocol) -> bool:
    """Whether it is a GET without a condition that could change the answer."""
    return r.method == "GET" and CONDITIONS.isdisjoint(r.headers.index())


async def send_whole(r: BlazeioServerProtocol, content: bytes, lines: bytes) -> None:
    """Answer with all of something small, in one write.

    Args:
        r: The request; it ``wants_whole``.
        content: The content.
        lines: Its fields but the length, serialized.

    Raises:
        ClientDisconnected: The peer is gone.
        LocalProtocolError: A response has begun.
    """
    if r.transport.is_closing():
        await r.give_way()
    try:
        reply_with_lines(r, content, lines)
    except LocalProtocolError:
        await r.count_refusal()
        raise
    if not r.gate.is_open:
        await r.buffer_overflow_manager()


def reply_with_lines(r: BlazeioServerProtocol, content: bytes, lines: bytes) -> None:
    """Reply with serialized fields; where the app has such fields, these count.

    Raises:
        ClientDisconnected: The peer is gone.
        LocalProtocolError: A response has begun.
    """
    if not r.answer.says_more:
        r.reply(content, 200, lines)
        return
    fields = []
    for line in lines.decode("latin-1").split("\r\n")[:-1]:
        name, _, value = line.partition(": ")
        fields.append((name, value))
    r.reply(content, 200, b"", fields)


async def deliver_file(
    r: BlazeioServerProtocol,
    opened: OpenedFile,
    found: Representation,
    chunk_bytes: int,
    headers: FieldInput | None = None,
) -> None:
    """Answer with a file, or a part of it, or why not.

    Args:
        r: The request.
        opened: The file; stays open.
        found: What it is sent as.
        chunk_bytes: Octets per read, where it has to be read.
        headers: Further fields. Content-Type stands instead of the guessed
            one; validators, ranges and length stay ours.

    Raises:
        ClientDisconnected: The peer is gone.
        LocalProtocolError: A response has begun, or a field is malformed.
    """
    if headers is None and 0 < found.size_bytes <= WHOLE_BYTES and wants_whole(r):
        content = await read_pages(opened.file.fileno(), 0, found.size_bytes)
        if len(content) == found.size_bytes:
            await send_whole(r, content, serialize_lines(found))
            return
    selection, status, fields = select_file(r, found, headers)
    await r.prepare(fields, status)
    if r.method == "HEAD":
        return
    file = opened.file.fileno()
    for before, part in selection.parts:
        if before:
            await r.write(before)
        if not await send_file(r, file, part.first, part.size, chunk_bytes):
            return  # it has shrunk: the response ends short and is cut
    if selection.ending:
        await r.write(selection.ending)


def select_file(
    r: BlazeioServerProtocol, found: Representation, headers: FieldInput | None
) -> tuple[Selection, int, FieldInput]:
    """Decide what of a file answers a request, with which status and fields."""
    pairs = read_pairs(headers)
    for name, value in pairs:
        if name == "content-type":
            found = replace(found, media_type=str(value))
    selection = select_for(r, found)
    return selection, selection.status, merge_fields(selection, pairs)


def read_pairs(headers: FieldInput | None) -> list[tuple[str, Any]]:
    """A caller's fields as pairs, their names in lower case."""
    if headers is None:
        return []
    return [
        ((name if isinstance(name, str) else name.decode("latin-1")).lower(), value)
        for name, value in list_field_pairs(headers)
    ]


def merge_fields(selection: Selection, pairs: list[tuple[str, Any]]) -> FieldInput:
    """Fields of the selection, and those of the caller that are not ours.

    None of the caller's goes with an error: no cache may keep that as it may
    keep the file.
    """
    fields: list[tuple[str, Any]] = list(selection.fields.items())
    if selection.status >= 400 or all(name != _NOSNIFF_NAME for name, _ in pairs):
        fields.append(NOSNIFF)
    if selection.status < 400:
        fields += [pair for pair in pairs if pair[0] not in OURS]
    return fields


def _make_boundary() -> str:
    return secrets.token_hex(16)
