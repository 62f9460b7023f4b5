"""``Collecting``: what a response says, and its content, decoded, as text, as JSON.

Keeps what it has decoded; the rest of a response is in ``client.response``.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from blazeio.client.rules.set_cookie import parse_set_cookie
from blazeio.client.writing import RequestWriting
from blazeio.content.decoders import ContentDecoder, can_undo, parse_codings
from blazeio.content.forms.charsets import find_charset
from blazeio.content.forms.parameters import parse_parameters
from blazeio.content.json_text import read_json
from blazeio.errors import (
    InvalidResponse,
    LocalProtocolError,
    RemoteProtocolError,
    StatusError,
)
from blazeio.protocol.answer import OFF_LOOP_BYTES
from blazeio.protocol.flow import join_small, too_large

if TYPE_CHECKING:
    from blazeio.client.requests.url import Url
    from blazeio.wire.headers import Headers

_Typed = TypeVar("_Typed")


_SHOWN = frozenset(
    """
    aread ayield buffer_overflow_manager close content_coding content_length cookies
    current_length decoded ensure_reading eof events handle_chunked headers history
    interims is_sent json method prepare pull raise_for_status read reason request
    save status_code take_over text trailers transfer_encoding url write
    write_chunked writer
    """.split()  # noqa: SIM905 - a table reads better as text
)
"""For a caller; the rest is for the connection, the session and its own parts."""


class Collecting(RequestWriting):
    """A base of ``ClientResponse``."""

    __slots__ = ("_allows_trailing", "_decoded")

    _allows_trailing: bool
    _decoded: bytes | None

    if TYPE_CHECKING:
        headers: Headers
        method: str
        reason: str
        url: Url

    def __dir__(self) -> list[str]:
        """Without what is not for a caller: what completion shows."""
        names = super().__dir__()
        return sorted(each for each in names if each in _SHOWN or each[0] == "_")

    @property
    def cookies(self) -> dict[str, str]:
        """What this response sets, by name; not what it deletes.

        The session's ``CookieJar`` has those of all responses, with their domains
        and paths, and sends them back; this is for a look.
        """
        now = time.time()
        found: dict[str, str] = {}
        for field in self.headers.get_all("set-cookie"):
            cookie = parse_set_cookie(field)
            if cookie is None:
                continue
            expiry = cookie.expiry(now)
            if expiry is None or expiry > now:
                found[cookie.name] = cookie.value
            else:
                found.pop(cookie.name, None)
        return found

    def raise_for_status(self) -> Self:
        """Refuse a status of 400 or above; else return the response itself.

        Raises:
            StatusError: It has ``status_code`` and ``response``.
            LocalProtocolError: The caller's fault: there is no response yet.
        """
        status = self.status_code
        if not status:
            raise LocalProtocolError("there is no response yet: `await resp.prepare()`")
        if status < 400:
            return self
        what = f"{status} {self.reason:.100}".rstrip()
        raise StatusError(f"{self.method} {self.url}: {what}", status, self)

    async def read(self, limit: int | None = None) -> bytes:
        """Collect the whole content, in the coding that it has; see ``aread``.

        Args:
            limit: Most octets; default ``Limits.collected_bytes``.

        Raises:
            InvalidResponse: There is more of it.
            RequestError: It will not be whole; the kind says why.
        """
        if not self.status_code:
            await self._end_request()
        try:
            return await super().read(limit)
        except RemoteProtocolError as error:
            raise _as_invalid(error) from error

    @property
    def content_coding(self) -> str | None:
        """The codings of the content, in lower case, as Content-Encoding names them.

        None where there is none. Where one of them is not known here (``compress``,
        or what is none at all, like ``utf-8``), ``aread``, ``text``, ``decoded`` and
        ``save`` give the octets as they were sent.
        """
        field = self.headers.get("content-encoding")
        return (field and ", ".join(parse_codings(field))) or None

    async def decoded(self) -> AsyncIterator[bytes]:
        """Iterate over the content as it arrives, decoded.

        Raises:
            ContentDecodingError: It is not in the coding that it names, not whole,
                or stands for far too much (DecompressionBombError).
            RequestError: See ``pull``.
        """
        await self.prepare()
        codings = parse_codings(self.headers.get("content-encoding", ""))
        if not can_undo(codings):
            codings = ()  # see ``content_coding``
        decoder = ContentDecoder(codings, ignores_rest=self._allows_trailing)
        async for octets in self.pull():
            for piece in decoder.decode(octets):
                yield piece
        decoder.finish()

    async def aread(self, limit: int | None = None) -> bytes:
        """Collect the whole content, decoded; asked again, give the same.

        Args:
            limit: Most octets, encoded and decoded; default
                ``Limits.collected_bytes``.

        Raises:
            InvalidResponse: There is more of it, or its Content-Encoding is not
                what it says.
            RequestError: It will not be whole; the kind says why.
        """
        if self._decoded is not None:
            return self._decoded
        if limit is None:
            limit = self.context.limits.collected_bytes
        octets = self.content.take_whole(limit) if self.status_code else None
        if octets is None:
            octets = await self.read(limit)
        field = self.headers.get("content-encoding")
        if field is not None and octets and can_undo(codings := parse_codings(field)):
            decoder = ContentDecoder(codings, ignores_rest=self._allows_trailing)
            if len(octets) <= OFF_LOOP_BYTES // 4:
                octets = decode_whole(octets, decoder, limit)
            else:
                octets = await asyncio.to_thread(decode_whole, octets, decoder, limit)
        self._decoded = octets
        return octets

    async def text(self, limit: int | None = None) -> str:
        """Collect the content as text: by the charset it names, else UTF-8.

        What is not of that charset becomes U+FFFD.

        Args:
            limit: See ``aread``.

        Raises:
            RequestError: See ``aread``.
        """
        octets = await self.aread(limit)
        return octets.decode(self._charset(), errors="replace")

    def _charset(self) -> str:
        try:
            parameters = parse_parameters(self.headers.get("content-type", ""))[1]
        except ValueError:
            return "utf-8"
        return find_charset(parameters.get("charset", "")) or "utf-8"

    @overload
    async def json(self, *, limit: int | None = None) -> Any: ...
    @overload
    async def json(self, type: type[_Typed], *, limit: int | None = None) -> _Typed: ...
    async def json(
        self,
        type: Any = Any,  # noqa: A002 - as msgspec names it
        *,
        limit: int | None = None,
    ) -> Any:
        """Collect the content and read it as JSON; a byte order mark is ignored.

        Args:
            type: What it must be: a ``msgspec.Struct``, a dataclass, ``list[int]``
                ...; default: anything.
            limit: See ``aread``.

        Raises:
            InvalidResponse: It is no JSON, not of that type, or nested deeper
                than can be read.
            RequestError: See ``aread``.
        """
        octets = await self.aread(limit)
        try:
            return read_json(octets, type)
        except ValueError as error:
            raise InvalidResponse(f"{self.url}: {error!s:.300}") from error


def decode_whole(octets: bytes, decoder: ContentDecoder, limit: int) -> bytes:
    """Undo the content coding of a whole content.

    Args:
        octets: It.
        decoder: Of its codings; of no use afterwards.
        limit: Most octets that it may stand for.

    Raises:
        InvalidResponse: It is something else, or stands for more.
    """
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in decoder.decode(octets):
            size += len(piece)
            if size > limit:
                raise too_large(limit)
            join_small(pieces, piece)
        decoder.finish()
    except RemoteProtocolError as error:
        raise _as_invalid(error) from error
    return b"".join(pieces)


def _as_invalid(error: RemoteProtocolError) -> RemoteProtocolError:
    return error if isinstance(error, InvalidResponse) else InvalidResponse(str(error))
