"""Saving content as a file: ``resp.save(path)``.

The content is written beside the file, under a name that identifies the representation
it is a part of, and moved into its place when it is whole (rename(2)): nobody ever sees
half a file. A part that was left behind, by a connection that broke or a process that
ended, is continued by range requests (RFC 9110 section 14), as long as the server still
has the same representation; only a strong entity tag proves that. A server may answer a
range request with less than was asked for (section 15.3.7); then the rest is asked for
again. Without a strong entity tag the download begins anew, once.

One process writes a part at a time, by a lock on it (flock(2)). Others who may write
into the same directory can guess its name, so an existing file is taken only where it
is our own and has this one name.
"""

import asyncio
import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from blazeio.client.content import finish_in_thread, is_transient
from blazeio.content.field_values import (
    ContentRange,
    parse_retry_after,
    read_content_range,
    read_unsatisfied_range,
)
from blazeio.content.representation import is_etag, is_strongly_equal
from blazeio.errors import (
    ConnectError,
    HeadTimeout,
    InvalidResponse,
    LocalProtocolError,
    ReadTimeout,
    RequestError,
    ServerDisconnected,
)
from blazeio.protocol.flow import join_small

if TYPE_CHECKING:
    from blazeio.client.response import ClientResponse


# The part, and how it is moved into place


MOST_LINKS = 40
"""How many symbolic links are followed one after the other; the kernel has the same
bound."""


class Destination(Protocol):
    """What content is written to.

    Attributes:
        mark: Identifies the representation that it is a part of.
        size_bytes: How many octets it has.
        is_kept: When it is closed, its part stays, so that it can be continued.
    """

    mark: str
    size_bytes: int
    is_kept: bool

    def write(self, octets: bytes) -> None:
        """Append octets.

        Raises:
            OSError: Not all of them could be written; ``size_bytes`` says how many
                were.
        """
        ...

    def truncate(self, size_bytes: int) -> None:
        """Cut it to a size."""
        ...

    def place(self) -> None:
        """Move it into its place: it is whole."""
        ...

    def close(self) -> None:
        """Close it; what was not placed is removed, unless ``is_kept``."""
        ...


def resolve_links(path: Path) -> Path:
    """Return the file that a path leads to by links, so that the links stay.

    A link of another user in a directory where everybody may write, such as /tmp, is
    not followed; the kernel does not follow it either (proc(5), protected_symlinks).

    Raises:
        OSError: There are too many links, or one must not be followed.
    """
    for _ in range(MOST_LINKS):
        try:
            link = os.lstat(path)
        except FileNotFoundError:
            return path
        if not stat.S_ISLNK(link.st_mode):
            return path
        folder = os.stat(path.parent)
        is_shared = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
        if is_shared and link.st_uid not in (os.geteuid(), folder.st_uid):
            raise PermissionError(errno.EACCES, "a link of somebody else", str(path))
        path = path.parent / os.readlink(path)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


class PartFile:
    """The beginning of a file, beside its place.

    Args:
        place: Where the whole file will be.
        mark: Tells parts of different representations apart.

    Raises:
        BlockingIOError: Another process, or another ``save``, writes it.
        OSError: It cannot be written, or is no part of ours.
    """

    def __init__(self, place: Path, mark: str) -> None:
        self._place = place
        self.mark = mark
        self.path = place.with_name(f"{place.name}.{mark}.part")
        self.is_kept = False
        self._is_placed = False
        while (file := self._open()) is None:
            pass  # it was moved or removed between open and lock
        self._file = file
        self.size_bytes = os.lseek(self._file, 0, os.SEEK_END)

    def _open(self) -> int | None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        file = os.open(self.path, flags, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(file)
            is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
            if not is_ours or found.st_nlink > 1:
                what = "not a file of this user, with one name: remove it"
                raise FileExistsError(errno.EEXIST, what, str(self.path))
            if _is_at(self.path, found):
                return file
        except BlockingIOError:
            os.close(file)
            message = f"{self._place} is being saved by somebody else"
            raise BlockingIOError(message) from None
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        return None

    def write(self, octets: bytes) -> None:
        """See ``Destination``."""
        rest = memoryview(octets)
        while rest:
            count = os.write(self._file, rest)
            rest = rest[count:]
            self.size_bytes += count

    def truncate(self, size_bytes: int) -> None:
        """See ``Destination``."""
        os.ftruncate(self._file, size_bytes)
        self.size_bytes = os.lseek(self._file, size_bytes, os.SEEK_SET)

    def place(self) -> None:
        """Move it into its place, with owner and mode of the file that is there."""
        os.fsync(self._file)
        found = os.fstat(self._file)
        if found.st_size != self.size_bytes or not _is_at(self.path, found):
            what = "somebody else has changed it"
            raise OSError(errno.EBUSY, what, str(self.path))
        try:
            before = os.stat(self._place, follow_symlinks=False)
        except FileNotFoundError:
            before = None
        if before is not None and stat.S_ISREG(before.st_mode):
            if (before.st_uid, before.st_gid) != (found.st_uid, found.st_gid):
                try:
                    os.fchown(self._file, before.st_uid, before.st_gid)
                except PermissionError:
                    pass  # it stays ours, as every new file is
            os.fchmod(self._file, stat.S_IMODE(before.st_mode))
        self.path.replace(self._place)
        self._is_placed = True

    def close(self) -> None:
        """See ``Destination``."""
        try:
            if not (self._is_placed or self.is_kept) and _is_at(
                self.path, os.fstat(self._file)
            ):
                self.path.unlink(missing_ok=True)  # before the lock is released
        finally:
            os.close(self._file)


class Device:
    """A pipe, a terminal, /dev/null: content is written to it as it comes.

    Args:
        path: Its path; it is never replaced.

    Raises:
        OSError: It cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.mark = ""
        self._file = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
        self.size_bytes = 0
        self.is_kept = False

    def write(self, octets: bytes) -> None:
        """See ``Destination``."""
        rest = memoryview(octets)
        while rest:
            count = os.write(self._file, rest)
            rest = rest[count:]
            self.size_bytes += count

    def truncate(self, size_bytes: int) -> None:
        """Do nothing, if nothing was written.

        Raises:
            OSError: Something was written, which cannot be undone.
        """
        if size_bytes != self.size_bytes:
            raise OSError(errno.ESPIPE, os.strerror(errno.ESPIPE), str(self._path))

    def place(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """See ``Destination``."""
        os.close(self._file)


def is_device(path: Path) -> bool:
    """Tell whether a path leads to something that exists and is not a regular file.

    Raises:
        IsADirectoryError: It leads to a directory.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return not stat.S_ISREG(mode)


def _is_at(path: Path, found: os.stat_result) -> bool:
    """Tell whether a path still leads to this very file."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino)


# The download


Progress = Callable[[int, int | None], None]
"""Called with the octets so far, and how many there will be, if that is known."""

MOST_FAILURES: Final = 4
"""How many attempts in a row may bring no new octet; then the last error is raised."""
PAUSE_S: Final = 0.5
"""Seconds before the next attempt; doubled after each attempt that brought nothing."""
MOST_RETRY_AFTER_S: Final = 60.0
"""The longest Retry-After that is waited for, seconds. Where the server wants more, the
part stays for a later ``save``."""
WRITE_BYTES: Final = 1024 * 1024
"""Octets that are collected for one write, which is done in a thread, so that a busy
disk does not block the loop."""

_TRANSIENT: Final = (ConnectError, HeadTimeout, ReadTimeout, ServerDisconnected)
"""Errors that are worth another attempt."""


async def save_content(
    resp: "ClientResponse", path: str | os.PathLike[str], progress: Progress | None
) -> int:
    """See ``ClientResponse.save``."""
    if not resp.status_code:
        await resp.prepare()
    if resp.status_code != 200:
        what = f"{resp.status_code} {resp.reason}".rstrip()
        raise RequestError(f"{resp.url}: {what}: nothing was saved")
    if resp.method == "HEAD":
        message = "a response to HEAD has no content: nothing was saved"
        raise RequestError(f"{resp.url}: {message}")
    content = resp.content
    if content.collected is None and content.received_bytes > content.queued_bytes:
        message = "save: the content, or some of it, was read before"
        raise LocalProtocolError(message)
    place = Path(path)
    if is_device(place):
        download = _Download(resp, await asyncio.to_thread(Device, place), progress)
    else:
        place = resolve_links(place)
        mark = _mark(resp)
        download = _Download(resp, PartFile(place, mark), progress, place)
    try:
        return await download.run()
    finally:
        download.close()


class _Download:
    """One download.

    Args:
        resp: A response with status 200.
        file: What its content is written to.
        progress: Called with the octets so far.
        place: Where the whole file will be; None: it goes to a device.
    """

    def __init__(
        self,
        resp: "ClientResponse",
        file: Destination,
        progress: Progress | None,
        place: Path | None = None,
    ) -> None:
        self._resp = resp
        self._file = file
        self._place = place
        self._progress = progress
        self._range: ContentRange | None = None
        self._refusal: InvalidResponse | None = None
        self._retry_after_s = 0.0
        self._is_whole = False
        self._has_restarted = False
        self._learn()

    def _learn(self) -> None:
        """Read size and entity tag of the representation from a 200."""
        self._range = None
        self._total = None if _is_encoded(self._resp) else self._resp.content_length
        self._etag = None if self._place is None else _strong_etag(self._resp)

    async def run(self) -> int:
        """Download the whole file; return its size."""
        await self._resume_part()
        most = self._file.size_bytes
        failures = 0
        while not self._is_whole:
            error: RequestError | None = None
            try:
                await self._receive()
            except _TRANSIENT as raised:
                error = raised
            except InvalidResponse as raised:
                if raised is not self._refusal:
                    raise
                error = raised
            if self._is_whole:
                break
            if self._file.size_bytes > most:
                most, failures = self._file.size_bytes, 0
            else:
                failures += 1
            if error is not None and (
                failures >= MOST_FAILURES or not self._may_ask_again()
            ):
                raise error
            if failures >= MOST_FAILURES:
                raise InvalidResponse(f"{self._resp.url}: the rest does not come")
            await self._resp.forget()
            if error is not None:
                pause_s = max(PAUSE_S * 2**failures, self._retry_after_s)
                await self._resp.context.pause(pause_s)
            await self._request_rest()
        await finish_in_thread(self._file.place)
        return self._file.size_bytes

    def _may_ask_again(self) -> bool:
        """Tell whether the rest may be asked for; all of it only once."""
        if self._etag is not None:
            return True
        can_restart = self._place is not None and self._resp.may_read_again
        if self._has_restarted or not can_restart:
            return False
        self._has_restarted = True
        return True

    async def _resume_part(self) -> None:
        """Continue a part of the same representation, left by an earlier attempt."""
        found, total = self._file.size_bytes, self._total
        if not found:
            return
        if self._etag is None or (total is not None and found > total):
            self._file.truncate(0)
            return
        await self._resp.forget()
        if found == total:
            self._is_whole = True
            self._tell()
        else:
            await self._request_rest()

    async def _request_rest(self) -> None:
        """Ask for what is missing; without an entity tag, for all of it."""
        resp = self._resp
        self._refusal, self._retry_after_s = None, 0.0
        fields: tuple[tuple[str, str], ...] = ()
        if self._etag is not None:
            fields = (
                ("Range", f"bytes={self._file.size_bytes}-"),
                # RFC 9110 section 13.1.5: the rest, or all of it where it has changed;
                # never a part of another representation.
                ("If-Range", self._etag),
                # A range counts octets of the encoded form (RFC 9110 section 14.1.2):
                # in another coding the parts would not fit together.
                ("Accept-Encoding", "identity"),
            )
        try:
            await resp.ask_again(*fields)
        except _TRANSIENT:
            return  # ``_receive`` finds no response, and the attempt counts as failed
        if resp.status_code == 206 and self._etag is not None:
            self._range = self._check_part()
            self._total = self._range.total if self._total is None else self._total
        elif resp.status_code == 416 and self._is_all_there():
            self._is_whole = True
        elif resp.status_code == 200:
            self._begin_anew()
        else:
            self._note_refusal()

    def _note_refusal(self) -> None:
        """Note a status that is worth another attempt, and how long to wait before it.

        Raises:
            InvalidResponse: The server's fault: it is not, or not soon enough.
        """
        resp = self._resp
        what = f"{resp.status_code} {resp.reason:.100}".rstrip()
        refusal = InvalidResponse(f"{resp.url}: {what} to a request for the rest")
        field = resp.headers.get("retry-after", "")
        self._retry_after_s = parse_retry_after(field, time.time()) or 0.0
        if (
            not is_transient(resp.status_code)
            or self._retry_after_s > MOST_RETRY_AFTER_S
        ):
            raise refusal
        self._refusal = refusal

    def _is_all_there(self) -> bool:
        """Tell whether a 416 says that nothing is missing (section 15.5.17)."""
        field = self._resp.headers.get("content-range", "")
        size = self._file.size_bytes
        return read_unsatisfied_range(field) == size and self._total in (None, size)

    def _check_part(self) -> ContentRange:
        """Return the range of a 206: of the same representation, from where we are.

        RFC 9110 section 15.3.7.3.

        Raises:
            InvalidResponse: The server's fault: it is another part.
        """
        resp = self._resp
        etag = resp.headers.get("etag", self._etag)
        part = read_content_range(resp.headers.get("content-range", ""))
        if (
            part is None
            or part.first != self._file.size_bytes
            or (self._total is not None and part.total not in (None, self._total))
            or (self._total is not None and part.last >= self._total)
            or resp.content_length not in (None, part.size_bytes)
            or _is_encoded(resp)
            or not is_strongly_equal(etag or "", self._etag or "")
        ):
            message = "206 with another part than was asked for"
            raise InvalidResponse(f"{resp.url}: {message}")
        return part

    def _begin_anew(self) -> None:
        """Begin with the first octet: the server sends the whole representation."""
        self._learn()
        assert self._place is not None  # a device is never asked for again
        mark = _mark(self._resp)
        if mark != self._file.mark:
            other = PartFile(self._place, mark)
            self._file.is_kept = False
            self._file.close()
            self._file = other
        self._file.truncate(0)

    async def _receive(self) -> None:
        """Write what this response brings; what has arrived is kept if it breaks off.

        Raises:
            InvalidResponse: The server's fault: it is another number of octets than its
                head says, or a refusal; the file is as it was before.
        """
        resp, part = self._resp, self._range
        if self._refusal is not None:
            raise self._refusal
        if not resp.status_code:
            raise ServerDisconnected(f"{resp.url} could not be asked again")
        before = self._file.size_bytes
        due = self._total if part is None else before + part.size_bytes
        pieces: list[bytes] = []
        held = 0
        try:
            async for piece in self._pieces():
                join_small(pieces, piece)
                held += len(piece)
                if due is not None and self._file.size_bytes + held > due:
                    pieces.clear()
                    self._disagree(before)
                if held >= WRITE_BYTES:
                    writing, pieces, held = b"".join(pieces), [], 0
                    await finish_in_thread(self._file.write, writing)
                    self._tell()
        except BaseException:
            if pieces and self._place is not None:
                self._file.write(b"".join(pieces))
                self._tell()
            raise
        if pieces:
            await finish_in_thread(self._file.write, b"".join(pieces))
            self._tell()
        if due is not None and self._file.size_bytes != due:
            self._disagree(before)
        self._is_whole = part is None or self._file.size_bytes == self._total

    def _disagree(self, size_bytes: int) -> None:
        self._file.truncate(size_bytes)
        message = "its content is not as long as its head says"
        raise InvalidResponse(f"{self._resp.url}: {message}")

    async def _pieces(self) -> AsyncIterator[bytes]:
        resp = self._resp
        if resp.content.collected is not None:  # by ``aread``
            yield await resp.aread()
            return
        async for piece in resp.decoded():
            yield piece

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._file.size_bytes, self._total)

    def close(self) -> None:
        """Close the file; a part stays only where it can be continued."""
        self._file.is_kept = self._etag is not None and self._file.size_bytes > 0
        self._file.close()


def _is_encoded(resp: "ClientResponse") -> bool:
    coding = resp.headers.get("content-encoding", "")
    return coding.strip(" \t").lower() not in ("", "identity")


def _mark(resp: "ClientResponse") -> str:
    """Return sixteen digits that identify the representation."""
    total = None if _is_encoded(resp) else resp.content_length
    told = f"{resp.url}\n{_strong_etag(resp)}\n{total}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _strong_etag(resp: "ClientResponse") -> str | None:
    """Return the entity tag that identifies the representation; None: it has none."""
    etag = resp.headers.get("etag", "")
    is_strong = is_etag(etag) and not etag.startswith("W/")
    can_have_part = (
        resp.method == "GET"
        and resp.can_repeat
        and not _is_encoded(resp)
        and resp.headers.get("accept-ranges", "bytes").lower() != "none"
    )
    return etag if is_strong and can_have_part else None
