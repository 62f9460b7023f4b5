"""Content into a file: ``resp.save(path)``.

It is written beside the file, under a name that tells of which representation it
is a part, and moved into its place when it is whole: nobody ever sees half of it.
A part that was left behind, by a connection that broke or a process that ended,
is gone on with by a range request (RFC 9110 section 14), as long as the server
still has the same: a strong entity tag tells, and only that.

May import: blazeio.content, blazeio.errors.
"""

import asyncio
import fcntl
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blazeio.content.selection.validators import is_etag, is_strongly_equal
from blazeio.errors import (
    ConnectError,
    HeadTimeout,
    InvalidResponse,
    ReadTimeout,
    RequestError,
    ServerDisconnected,
)
from blazeio.protocol.flow import join_small

if TYPE_CHECKING:
    from blazeio.client.response import ClientResponse

Progress = Callable[[int, int | None], None]
"""Told the octets that are there so far, and how many there will be, if known."""

MOST_FAILURES: Final = 4
"""Attempts in a row that bring no octet; then the last one's error is told."""
PAUSE_S: Final = 0.5
"""Before the next attempt; twice as long after each that brought nothing."""
WRITE_BYTES: Final = 1024 * 1024
"""Octets that are collected for one write, which is the work of a thread: a disk
that is busy holds up nobody else."""

_TRANSIENT: Final = (ConnectError, HeadTimeout, ReadTimeout, ServerDisconnected)
"""Errors that another attempt may not see."""
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")


async def save_content(
    resp: "ClientResponse", path: str | os.PathLike[str], progress: Progress | None
) -> int:
    """See ``ClientResponse.save``."""
    if not resp.status_code:
        await resp.prepare()
    if resp.status_code != 200:
        what = f"{resp.status_code} {resp.reason}".rstrip()
        raise RequestError(f"{resp.url}: {what}: nothing was saved")
    download = _Download(resp, Path(path), progress)
    try:
        return await download.run()
    finally:
        download.close()


class _Download:
    """One file on its way.

    Args:
        resp: A response with status 200.
        path: Where it is to be.
        progress: Is told.
    """

    def __init__(
        self, resp: "ClientResponse", path: Path, progress: Progress | None
    ) -> None:
        self._resp = resp
        self._path = path
        self._progress = progress
        self._etag = _strong_etag(resp)
        self._total = None if self._is_encoded else resp.content_length
        self._part = self._name_part()
        self._size = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(self._part, flags, 0o666)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            message = f"{path} is being saved by somebody else"
            raise BlockingIOError(message) from None

    @property
    def _is_encoded(self) -> bool:
        return "content-encoding" in self._resp.headers

    def _name_part(self) -> Path:
        """Beside the file; sixteen digits say what it is a part of."""
        told = f"{self._resp.url}\n{self._etag}\n{self._total}"
        digest = hashlib.sha256(told.encode()).hexdigest()[:16]
        return self._path.with_name(f"{self._path.name}.{digest}.part")

    async def run(self) -> int:
        """All of it; its size."""
        await self._go_on_with_what_is_there()
        failures = 0
        while True:
            before = self._size
            try:
                await self._receive()
                break
            except _TRANSIENT:
                failures = 0 if self._size > before else failures + 1
                if self._etag is None or failures >= MOST_FAILURES:
                    raise
            await self._resp.forget()
            await self._resp.context.pause(PAUSE_S * 2**failures)
            await self._ask_for_the_rest()
        await asyncio.to_thread(self._put_in_place)
        return self._size

    async def _go_on_with_what_is_there(self) -> None:
        """A part of the same that an earlier attempt has left behind."""
        found = os.fstat(self._file).st_size
        total = self._total
        if self._etag is None or total is None or not 0 < found < total:
            os.ftruncate(self._file, 0)
            return
        self._size = os.lseek(self._file, 0, os.SEEK_END)
        await self._resp.forget()
        await self._ask_for_the_rest()

    async def _ask_for_the_rest(self) -> None:
        """Ask for what follows; where the server has changed it, for all of it."""
        resp = self._resp
        assert self._etag is not None  # else it is not asked for again
        try:
            await resp.ask_again(
                ("Range", f"bytes={self._size}-"), ("If-Range", self._etag)
            )
        except _TRANSIENT:
            return  # ``_receive`` finds nothing, and counts it
        if resp.status_code == 206 and self._is_the_rest():
            return
        if resp.status_code != 200:
            what = f"{resp.status_code} {resp.reason}".rstrip()
            raise InvalidResponse(f"{resp.url}: {what} to a request for the rest")
        self._size = 0
        self._total = None if self._is_encoded else resp.content_length
        self._etag = _strong_etag(resp)
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        self._part = self._part.rename(self._name_part())

    def _is_the_rest(self) -> bool:
        """RFC 9110 section 15.3.7.3: of the same, and from where we are."""
        headers = self._resp.headers
        found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        etag = headers.get("etag", self._etag)
        is_ours = (
            found is not None
            and int(found[1]) == self._size
            and found[2] in ("*", str(self._total))
            and etag is not None
            and is_strongly_equal(etag, self._etag or "")
        )
        if not is_ours:
            message = "206 with another part than was asked for"
            raise InvalidResponse(f"{self._resp.url}: {message}")
        return True

    async def _receive(self) -> None:
        """What this response brings; what has arrived is kept if it breaks off."""
        resp = self._resp
        if not resp.status_code:
            raise ServerDisconnected(f"{resp.url} could not be asked again")
        pieces: list[bytes] = []
        held = 0
        try:
            async for piece in resp.decoded():
                join_small(pieces, piece)
                held += len(piece)
                if held >= WRITE_BYTES:
                    writing, pieces, held = pieces, [], 0
                    await self._write(writing)
        finally:
            if pieces:
                self._write_now(pieces)
                self._tell()

    async def _write(self, pieces: list[bytes]) -> None:
        await asyncio.to_thread(self._write_now, pieces)
        self._tell()

    def _write_now(self, pieces: list[bytes]) -> None:
        octets = memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        while octets:
            count = os.write(self._file, octets)
            octets = octets[count:]
            self._size += count

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._size, self._total)

    def _put_in_place(self) -> None:
        os.fsync(self._file)
        self._part.replace(self._path)

    def close(self) -> None:
        """Leave a part only where it can be gone on with."""
        os.close(self._file)
        if self._etag is None or self._total is None or not self._size:
            self._part.unlink(missing_ok=True)


def _strong_etag(resp: "ClientResponse") -> str | None:
    """What tells a part of the same from a part of another; None: nothing does."""
    etag = resp.headers.get("etag", "")
    is_strong = is_etag(etag) and not etag.startswith("W/")
    can_have_part = (
        resp.method == "GET"
        and resp.can_repeat
        and "content-encoding" not in resp.headers
        and resp.headers.get("accept-ranges", "bytes").lower() != "none"
    )
    return etag if is_strong and can_have_part else None
