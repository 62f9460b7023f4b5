"""Content codings undone, as streams: gzip, deflate, br and zstd.

RFC 9110 section 8.4. The mirror image of ``encoders``, but of octets that a
peer has made: nothing of them is trusted. What is given out comes in pieces of
at most ``PIECE_BYTES``, made one by one as they are taken, so that a few octets
that stand for a gigabyte never become one in memory; whoever collects them has
a bound of its own. Beyond ``FREE_BYTES`` content that grows more than
``MOST_GROWTH`` times is refused, however it is taken. A stream that ends before
its coding does is an error, as is what follows its end.

The decoders block while they work, like the encoders.

May import: blazeio.content.encoders, blazeio.errors, blazeio.wire.grammar.
Pure: no I/O.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

import brotlicffi

from blazeio.content.encoders import find_zstd
from blazeio.errors import ContentDecodingError, DecompressionBombError
from blazeio.wire.grammar import quote

PIECE_BYTES: Final = 64 * 1024
"""The largest piece that is given out at once."""
MOST_CODINGS: Final = 5
"""Of one message. Each multiplies the work of the others; curl has the same
bound since CVE-2023-23916."""
MOST_GROWTH: Final = 200
"""Decoded octets for each encoded one, as in Apache's mod_deflate: real content
stays far below, and gzip itself ends at 1,032."""
FREE_BYTES: Final = 16 * 1024 * 1024
"""Decoded octets that may grow more: what fits into memory is no attack, be it
all blanks."""
ZSTD_WINDOW_LOG: Final = 23
"""RFC 9659: a content coding's window is at most 8 MiB."""


class _Stage(Protocol):
    """Undoes one coding."""

    def decode(self, octets: bytes) -> Iterator[bytes]:
        """Take octets; pieces come as they are asked for."""
        ...

    @property
    def is_whole(self) -> bool:
        """The coding has ended."""
        ...


class _Deflate:
    """What zlib reads: gzip (RFC 1952) and, by its subclass, deflate."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)

    @property
    def is_whole(self) -> bool:
        return self._stream.eof

    def decode(self, octets: bytes) -> Iterator[bytes]:
        while octets:
            if self._stream.eof:
                self._begin_member()
            yield self._stream.decompress(octets, PIECE_BYTES)
            octets = self._stream.unconsumed_tail or self._stream.unused_data
        # What fits no piece may also be held without octets that belong to it.
        while not self._stream.eof and (piece := self._drain()):
            yield piece

    def _drain(self) -> bytes:
        return self._stream.decompress(b"", PIECE_BYTES)

    def _begin_member(self) -> None:
        """RFC 1952 section 2.2: a file is members, one after the other."""
        self._stream = zlib.decompressobj(wbits=31)


class _ZlibOrRaw(_Deflate):
    """The coding ``deflate``: zlib's format, or what some send under its name.

    RFC 9110 section 8.4.1.2 notes that some leave zlib's header out. Two octets
    tell: a header's are a multiple of 31 and name the method 8 (RFC 1950
    section 2.2).
    """

    def __init__(self) -> None:
        self._start: bytes | None = b""

    @property
    def is_whole(self) -> bool:
        return self._start is None and self._stream.eof

    def decode(self, octets: bytes) -> Iterator[bytes]:
        if self._start is not None:
            octets = self._start + octets
            if len(octets) < 2:
                self._start = octets
                return
            self._start = None
            has_header = octets[0] & 15 == 8 and (octets[0] << 8 | octets[1]) % 31 == 0
            wbits = zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
            self._stream = zlib.decompressobj(wbits)
        yield from super().decode(octets)

    def _begin_member(self) -> None:
        raise _TrailingOctetsError


class _TrailingOctetsError(Exception):
    """Octets follow the end of the coding."""

    def __str__(self) -> str:
        return "octets follow its end"


class _Brotli:
    """RFC 7932."""

    def __init__(self) -> None:
        self._stream = brotlicffi.Decompressor()

    @property
    def is_whole(self) -> bool:
        return bool(self._stream.is_finished())

    def decode(self, octets: bytes) -> Iterator[bytes]:
        if self._stream.is_finished():
            raise _TrailingOctetsError
        yield self._stream.process(octets, output_buffer_limit=PIECE_BYTES)
        while not self._stream.can_accept_more_data():
            yield self._stream.process(b"", output_buffer_limit=PIECE_BYTES)


_zstd = find_zstd()


class _Zstandard:
    """RFC 8878: frames, one after the other."""

    def __init__(self) -> None:
        self._begin_frame()

    @property
    def is_whole(self) -> bool:
        return bool(self._stream.eof)

    def decode(self, octets: bytes) -> Iterator[bytes]:
        while octets or not (self._stream.eof or self._stream.needs_input):
            if self._stream.eof:
                self._begin_frame()
            yield self._stream.decompress(octets, PIECE_BYTES)
            octets = self._stream.unused_data if self._stream.eof else b""

    def _begin_frame(self) -> None:
        assert _zstd is not None  # else it is not available
        window = {_zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
        self._stream: Any = _zstd.ZstdDecompressor(options=window)


_STAGES: Final[dict[str, Callable[[], _Stage]]] = {
    "gzip": _Deflate,
    "x-gzip": _Deflate,  # RFC 9110 section 8.4.1.3
    "deflate": _ZlibOrRaw,
    "br": _Brotli,
}
_FAULTS: tuple[type[Exception], ...] = (
    zlib.error,
    brotlicffi.error,
    _TrailingOctetsError,
)
if _zstd is not None:
    _STAGES["zstd"] = _Zstandard
    _FAULTS = (*_FAULTS, _zstd.ZstdError)

ACCEPTED: Final = tuple(name for name in _STAGES if name != "x-gzip")
"""The codings that can be undone here, for Accept-Encoding."""


def parse_codings(content_encoding: str) -> tuple[str, ...]:
    """Read a Content-Encoding field: the codings in the order they were applied.

    ``identity`` is no coding, though some send it (RFC 9110 section 12.5.3).
    """
    names = (each.strip(" \t").lower() for each in content_encoding.split(","))
    return tuple(name for name in names if name not in ("", "identity"))


class ContentDecoder:
    """From content as it was sent to the content that was meant.

    Args:
        codings: As ``parse_codings`` gives them; none: octets stay as they are.

    Raises:
        ContentDecodingError: A coding is unknown, or there are too many. The
            peer's fault; nothing of the content can be understood.
    """

    __slots__ = ("_decoded_bytes", "_encoded_bytes", "_name", "_stages")

    def __init__(self, codings: Sequence[str]) -> None:
        self._name = ", ".join(codings)
        if len(codings) > MOST_CODINGS:
            message = f"content in more than {MOST_CODINGS} codings"
            raise ContentDecodingError(message)
        unknown = [each for each in codings if each not in _STAGES]
        if unknown:
            message = f"content coding {quote(unknown[0])} is not known"
            raise ContentDecodingError(message)
        self._stages = [_STAGES[each]() for each in reversed(codings)]
        self._encoded_bytes = self._decoded_bytes = 0

    def decode(self, octets: bytes) -> Iterator[bytes]:
        """Take the next octets and give what they mean, piece by piece.

        Each piece is made when it is asked for; take all of them before the
        next octets are given.

        Raises:
            DecompressionBombError: They stand for too many.
            ContentDecodingError: They are not of the coding. Both the peer's
                fault; the decoder is of no use any more.
        """
        try:
            # In slices, since a decoder copies what it has not yet consumed.
            for start in range(0, len(octets), PIECE_BYTES):
                encoded = octets[start : start + PIECE_BYTES]
                self._encoded_bytes += len(encoded)
                yield from self._pass(encoded, 0)
        except _FAULTS as fault:
            message = f"the content is not {self._name}: {fault}"
            raise ContentDecodingError(message) from fault

    def finish(self) -> None:
        """The octets are over. No octets at all are empty content.

        Raises:
            ContentDecodingError: The coding has not ended. The peer's fault.
        """
        if self._encoded_bytes and not all(each.is_whole for each in self._stages):
            raise ContentDecodingError(f"the content ends before its {self._name} does")

    def _pass(self, octets: bytes, index: int) -> Iterator[bytes]:
        """Through the stages from ``index`` on; empty pieces are left out."""
        if index == len(self._stages):
            if octets:
                yield octets
            return
        for piece in self._stages[index].decode(octets):
            if piece:
                self._count(len(piece))
                yield from self._pass(piece, index + 1)

    def _count(self, decoded_bytes: int) -> None:
        """Of every stage: what one makes of little, the next can make nothing of."""
        self._decoded_bytes += decoded_bytes
        bound = max(FREE_BYTES, self._encoded_bytes * MOST_GROWTH)
        if self._decoded_bytes > bound:
            message = (
                f"{self._encoded_bytes} octets of {self._name} stand for more than "
                f"{bound}"
            )
            raise DecompressionBombError(message)
