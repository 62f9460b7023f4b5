"""From a request's path to an open file, and from an open file to the response.

A file is opened first; whether it may be served is decided afterwards, by what was
opened: so no symbolic link can be exchanged between the check and the use. What lies
outside the folder, is hidden, or is no regular file is treated as if it did not exist.

The response is chosen by RFC 9110 sections 13 and 14 (preconditions, ranges; see
``content.representation``) and sent by sendfile(2) where the transport allows it.
"""

import errno
import os
import secrets
import stat
import time
from functools import lru_cache
from itertools import islice
from typing import Any, BinaryIO

from msgspec import Struct
from msgspec.structs import replace

from blazeio.content.field_values import guess_media_type
from blazeio.content.representation import (
    CONDITIONS,
    Representation,
    Selection,
    Validators,
    make_etag,
    select,
)
from blazeio.errors import Abort, FieldInput, LocalProtocolError
from blazeio.loggers import get_logger
from blazeio.protocol.kernel import WHOLE_BYTES, find_real_path, read_pages, send_file
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.wire.headers import list_field_pairs, serialize_fields

# Opening


log = get_logger("blazeio.files")

Identity = tuple[int, int, int, int]
"""Device, inode, time and size: different when the file or its content has changed."""

_SOURCES = (".py", ".pyc", ".pyi", ".pyo")
_WELL_KNOWN = ".well-known"  # RFC 8615: the one hidden name that is public


class OpenedFile(Struct, frozen=True):
    """A regular file, open for reading; the caller closes it.

    Attributes:
        file: Unbuffered.
        identity: As it was when the file was opened.
        size_bytes: As it was when the file was opened.
    """

    file: BinaryIO
    identity: Identity
    size_bytes: int

    @property
    def modified_ns(self) -> int:
        """When it was last changed, Unix time."""
        return self.identity[2]


def open_file(home: str, path: str) -> OpenedFile | None:
    """Open the file that a path names below a folder; None: there is none to serve.

    None is also returned for what lies outside the folder (by ``..`` or by a symbolic
    link), for hidden files, and for paths with an empty segment, so that no file has
    two names.

    Args:
        home: The folder, absolute and without symbolic links.
        path: Percent-decoded; starts with "/".

    Raises:
        Abort: 503, this process has no descriptor left.
    """
    return _open(home + path, home) if is_public(path) else None


def open_any(path: str) -> OpenedFile | None:
    """Open a regular file, wherever it is; None: there is none.

    Raises:
        Abort: 503, this process has no descriptor left.
    """
    return _open(path, None)


def _open(name: str, home: str | None) -> OpenedFile | None:
    try:
        # O_NONBLOCK: opening a pipe without a writer would block for ever.
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        _raise_if_out_of_descriptors(error)
        return None  # it does not exist, is not readable, or is no name of a file
    try:
        status = os.fstat(descriptor)
        # Asked of the descriptor and not of the name: between the two a link could be
        # exchanged, and the kernel would have opened another file than the one that was
        # judged.
        is_ours = stat.S_ISREG(status.st_mode) and _is_below(home, descriptor)
    except OSError:  # without /proc its real path is unknown
        os.close(descriptor)
        raise
    if not is_ours:
        os.close(descriptor)
        return None
    file = os.fdopen(descriptor, "rb", buffering=0)
    return OpenedFile(file, _identity(status), status.st_size)


def _raise_if_out_of_descriptors(error: Exception) -> None:
    """Raise 503 where no descriptor is left: the file may exist."""
    # Not a 404: caches may keep that for a while (RFC 9110 section 15.1), and the file
    # exists.
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        log.error("no file can be opened: %s", error.strerror)
        raise Abort("Service Unavailable", 503, {"Retry-After": "1"}) from error


MOST_NAMES = 10_000
"""How many names of one folder are listed."""


def list_names(home: str, path: str) -> list[str] | None:
    """List what is served of a folder below another one; blocks while the disk works.

    Args:
        home: The outer folder, absolute and without symbolic links.
        path: The folder; starts and ends with "/".

    Returns:
        Sorted names, those of folders with a "/" at the end; None: no such folder.
    """
    if path != "/" and not is_public(path[:-1]):
        return None
    try:
        descriptor = os.open(home + path, os.O_RDONLY | os.O_DIRECTORY)
    except (OSError, ValueError) as error:
        _raise_if_out_of_descriptors(error)
        return None
    try:
        if not _is_below(home, descriptor, or_it=True):
            return None
        with os.scandir(descriptor) as entries:
            names = [
                each.name + ending
                for each in islice(entries, MOST_NAMES)
                if is_public(path + each.name)
                and each.name.isprintable()
                and (ending := _ending_of(each)) is not None
            ]
    finally:
        os.close(descriptor)
    return sorted(names)


def _ending_of(entry: os.DirEntry[str]) -> str | None:
    """Return what its name ends with in a list; None: it is not served.

    A link may loop, lead nowhere, or lead to where this process may not look.
    """
    try:
        if entry.is_dir():
            return "/"
        return "" if entry.is_file() else None
    except OSError:
        return None


def identify(home: str, path: str) -> Identity | None:
    """Return the identity of what ``open_file`` would open now; None: nothing.

    One system call. It does not prove that the file is below the folder; a file that
    was opened before, and has the same identity, is.
    """
    try:
        return _identity(os.stat(home + path))
    except (OSError, ValueError):
        return None


def names_source(path: str) -> bool:
    """Tell whether a path names Python code, since the folder may be the app's own."""
    return "/__pycache__/" in path or path.lower().endswith(_SOURCES)


def is_public(path: str) -> bool:
    """Tell whether a path can name a file that is served at all."""
    if not path.startswith("/") or "\0" in path:
        return False
    first, *others = path[1:].split("/")
    return (first == _WELL_KNOWN or _is_plain(first)) and all(map(_is_plain, others))


def _is_plain(segment: str) -> bool:
    return bool(segment) and not segment.startswith(".")


def _is_below(home: str | None, descriptor: int, *, or_it: bool = False) -> bool:
    if home is None:
        return True
    # The kernel's own link to the open file (proc_pid_fd(5)), in which no symbolic link
    # is left.
    real_path = find_real_path(descriptor)
    return real_path.startswith(home.rstrip("/") + "/") or (or_it and real_path == home)


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


# The response

CHUNK_BYTES = 64 * 1024
"""Octets per read where sendfile(2) cannot be used. Measured with 100 MB over TLS on
one core: 0.13 GB/s with 4,096 octets a read, 0.35 with 65,536, 0.38 with 1 MiB."""

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
"""Fields that describe what is sent. A caller's own values for them are dropped, since
they could be wrong."""

NOSNIFF = ("X-Content-Type-Options", "nosniff")
"""Sent with every response of a file: a browser must not take an uploaded text or image
for an HTML page because it looks like one. A caller may set another value."""

_NOSNIFF_NAME = NOSNIFF[0].lower()


def describe(
    opened: OpenedFile,
    name: str,
    coding: str | None = None,
    *,
    is_negotiated: bool = False,
) -> Representation:
    """Describe the representation that a file is sent as.

    Args:
        opened: The file.
        name: The media type is guessed by it. For a precompressed file, the name of
            the file that it stands for.
        coding: The content coding that it is in.
        is_negotiated: See ``Representation``.
    """
    # With its coding: RFC 9110 section 8.8.3.3 wants another entity tag for each coding
    # of the same file, or a cache would join parts of both.
    etag = make_etag(opened.modified_ns, opened.size_bytes, coding)
    # RFC 9110 section 8.8.2.1: no Last-Modified is later than its Date.
    modified_s = min(opened.modified_ns // 1_000_000_000, int(time.time()))
    return Representation(
        guess_media_type(name),
        opened.size_bytes,
        Validators(etag, max(modified_s, 0)),
        coding,
        is_negotiated,
    )


def require_get_or_head(r: BlazeioServerProtocol) -> None:
    """Refuse methods other than GET and HEAD.

    Raises:
        Abort: 405.
    """
    if r.method not in ("GET", "HEAD"):
        raise Abort("Method Not Allowed", 405, {"Allow": "GET, HEAD"})


def select_for(r: BlazeioServerProtocol, found: Representation) -> Selection:
    """Select what answers this request now: preconditions and ranges."""
    asked = r.headers.index()
    return select(r.method, asked, found, time.time(), _make_boundary)


@lru_cache(maxsize=1024)
def serialize_lines(found: Representation) -> bytes:
    """Serialize the fields of a representation; cached."""
    return serialize_fields([*found.fields().items(), NOSNIFF]).lines


def serialize_whole(found: Representation, pairs: list[tuple[str, Any]]) -> bytes:
    """Serialize the fields of a whole representation, with those of the caller.

    Raises:
        LocalProtocolError: A field of the caller is malformed.
    """
    if not pairs:
        return serialize_lines(found)
    fields: list[tuple[str, Any]] = list(found.fields().items())
    return serialize_fields(_add_pairs(fields, pairs)).lines


def wants_whole(r: BlazeioServerProtocol) -> bool:
    """Tell whether it is a GET without a condition or range."""
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
        await r.response.gate.count_call()
        raise
    if not r.response.gate.is_open:
        await r.buffer_overflow_manager()


def reply_with_lines(r: BlazeioServerProtocol, content: bytes, lines: bytes) -> None:
    """Answer with serialized fields; fields of the app of the same names win.

    Raises:
        ClientDisconnected: The peer is gone.
        LocalProtocolError: A response has begun.
    """
    if not r.response.says_more:
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
    """Answer with a file, a part of it, or the reason why not.

    Args:
        r: The request.
        opened: The file; stays open.
        found: The representation that it is sent as.
        chunk_bytes: Octets per read, where sendfile(2) cannot be used.
        headers: Further fields. A Content-Type replaces the guessed one; validators,
            ranges and length are always our own.

    Raises:
        ClientDisconnected: The peer is gone.
        LocalProtocolError: A response has begun, or a field is malformed.
    """
    if headers is None and 0 < found.size_bytes <= WHOLE_BYTES and wants_whole(r):
        content = await read_pages(opened.file.fileno(), 0, found.size_bytes)
        # A file that was cut since ``fstat`` has less than the length that would be
        # announced.
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
            return  # it has shrunk: the connection is cut
    if selection.ending:
        await r.write(selection.ending)


def select_file(
    r: BlazeioServerProtocol, found: Representation, headers: FieldInput | None
) -> tuple[Selection, int, FieldInput]:
    """Select what of a file answers a request, with its status and fields."""
    pairs = read_pairs(headers)
    selection = select_for(r, with_media_type(found, pairs))
    return selection, selection.status, merge_fields(selection, pairs)


def with_media_type(
    found: Representation, pairs: list[tuple[str, Any]]
) -> Representation:
    """Return the representation with the caller's Content-Type, if there is one."""
    for name, value in pairs:
        if name == "content-type":
            found = replace(found, media_type=str(value))
    return found


def read_pairs(headers: FieldInput | None) -> list[tuple[str, Any]]:
    """Return a caller's fields as pairs, their names in lower case."""
    if headers is None:
        return []
    return [
        ((name if isinstance(name, str) else name.decode("latin-1")).lower(), value)
        for name, value in list_field_pairs(headers)
    ]


def merge_fields(selection: Selection, pairs: list[tuple[str, Any]]) -> FieldInput:
    """Merge the fields of a selection with those of the caller that are not our own.

    An error has no fields of the caller: no cache may keep it as it may keep the file.
    """
    fields: list[tuple[str, Any]] = list(selection.fields.items())
    if selection.status >= 400:
        return [*fields, NOSNIFF]
    return _add_pairs(fields, pairs)


def _add_pairs(
    fields: list[tuple[str, Any]], pairs: list[tuple[str, Any]]
) -> list[tuple[str, Any]]:
    if all(name != _NOSNIFF_NAME for name, _ in pairs):
        fields.append(NOSNIFF)
    return fields + [pair for pair in pairs if pair[0] not in OURS]


def _make_boundary() -> str:
    return secrets.token_hex(16)
