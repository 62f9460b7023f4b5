"""Content codings: gzip, br, zstd and deflate; which one a client accepts.

RFC 9110 section 8.4. ``gzip`` and ``br`` encode a whole; ``Encoder`` encodes a stream,
and flushes each call, so that an event or a line of a long response can be decoded when
it arrives; that costs about 4 octets a call with gzip.

``ContentDecoder`` decodes a stream. Decoded octets come in pieces of at most
``PIECE_BYTES``, each made when it is asked for: so a few octets that stand for a
gigabyte never become one in memory. A caller that collects the pieces has a bound of
its own. Beyond ``FREE_BYTES`` content that grows more than ``MOST_GROWTH`` times is
refused, even if it is not collected. It is an error when a stream ends before its
coding does, or when anything but zeros follows its end.

Encoders and decoders block while they work; on an event loop large inputs belong in a
thread (they release the interpreter lock).
"""

import importlib
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

import brotlicffi

from blazeio.errors import ContentDecodingError, DecompressionBombError
from blazeio.wire.grammar import quote

# codings with its weight, RFC 9110 section 12.5.3:
#   #( codings [ OWS ";" OWS "q=" qvalue ] )
_MEMBER = re.compile(
    r"[ \t]*(?P<coding>[!#$%&'*+\-.^_`|~0-9A-Za-z]+)"
    r"(?:[ \t]*;[ \t]*[qQ]=(?P<weight>0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?[ \t]*"
)


def gzip(data: bytes, level: int = 6) -> bytes:
    """Compress into one gzip member, RFC 1952.

    Args:
        data: The content.
        level: 1 (fast) to 9 (small).

    Returns:
        The same octets for the same input: the header's time is 0.
    """
    return zlib.compress(data, level, wbits=31)


def br(data: bytes, quality: int = 5) -> bytes:
    """Compress with Brotli, RFC 7932.

    Args:
        data: The content.
        quality: 0 (fast) to 11 (small). The library's own default is 11, which is meant
            for files that are compressed once.
    """
    compressed: bytes = brotlicffi.compress(data, quality=quality)
    return compressed


def choose_coding(accept_encoding: str | None, available: Sequence[str]) -> str | None:
    """Choose the content coding that the client prefers.

    RFC 9110 section 12.5.3. Members that do not match the grammar are ignored.

    Args:
        accept_encoding: The field's value; None when it was not sent.
        available: The codings available here, lower case, best first; their order
            decides between those that the client likes equally.

    Returns:
        One of ``available``; None to send the content as it is.
    """
    if not accept_encoding:
        # By the RFC a client without the field accepts anything; in practice it often
        # cannot decode.
        return None
    weights = _parse_weights(accept_encoding)
    fallback = weights.get("*", 0.0)
    best, best_weight = None, weights.get("identity", 0.0)
    for coding in available:
        weight = weights.get(coding, fallback)
        # Equal to a named identity: the shorter one is better for both sides.
        if weight > best_weight or (weight and weight == best_weight and best is None):
            best, best_weight = coding, weight
    return best


def _parse_weights(accept_encoding: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for member in accept_encoding.split(","):
        match = _MEMBER.fullmatch(member)
        if match is not None:
            coding = match["coding"].lower().removeprefix("x-")  # x-gzip is gzip
            weights[coding] = float(match["weight"] or 1)
    return weights


# Encoders of streams


GZIP_LEVEL = 6
BR_QUALITY = 5
"""The quality for streams: as fast as gzip 6, and 10 to 15 % smaller on HTML and
JSON."""


class Encoder(Protocol):
    """Encodes the content of one response."""

    def encode(self, data: bytes) -> bytes:
        """Encode octets; all of them can be decoded from what was returned so far."""
        ...

    def finish(self) -> bytes:
        """End the stream; nothing may follow."""
        ...


class _GzipEncoder:
    def __init__(self) -> None:
        self._stream = zlib.compressobj(GZIP_LEVEL, wbits=31)

    def encode(self, data: bytes) -> bytes:
        return self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._stream.flush()


class _BrotliEncoder:
    def __init__(self) -> None:
        self._stream = brotlicffi.Compressor(quality=BR_QUALITY)

    def encode(self, data: bytes) -> bytes:
        encoded: bytes = self._stream.process(data) + self._stream.flush()
        return encoded

    def finish(self) -> bytes:
        ending: bytes = self._stream.finish()
        return ending


def find_zstd() -> Any | None:
    """Import zstd: PEP 784 since Python 3.14, else its backport if it is installed."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


_zstd = find_zstd()


class _ZstandardEncoder:
    def __init__(self) -> None:
        assert _zstd is not None  # else it is not available
        self._stream = _zstd.ZstdCompressor()

    def encode(self, data: bytes) -> bytes:
        mode = self._stream.FLUSH_BLOCK
        encoded: bytes = self._stream.compress(data, mode=mode)
        return encoded

    def finish(self) -> bytes:
        ending: bytes = self._stream.flush()
        return ending


_MAKERS: dict[str, Callable[[], Encoder]] = {"br": _BrotliEncoder, "gzip": _GzipEncoder}
if _zstd is not None:
    _MAKERS = {"zstd": _ZstandardEncoder, **_MAKERS}

AVAILABLE = tuple(_MAKERS)
"""The content codings available here, best first, for ``choose_coding``."""


def open_encoder(coding: str) -> Encoder:
    """Make an encoder.

    Args:
        coding: One of ``AVAILABLE``.
    """
    return _MAKERS[coding]()


BR_QUALITY_ONCE = 9
"""The quality for what is encoded once and sent often: 1 MiB of HTML takes 0.1 s, where
11 takes 1.5 s for 8 % fewer octets."""
GZIP_LEVEL_ONCE = 9


def encode_once(coding: str, data: bytes) -> bytes:
    """Encode a whole that will be sent often; blocks.

    Args:
        coding: One of ``AVAILABLE``.
        data: The content.
    """
    if coding == "br":
        return br(data, BR_QUALITY_ONCE)
    if coding == "gzip":
        return gzip(data, GZIP_LEVEL_ONCE)
    encoder = open_encoder(coding)
    return encoder.encode(data) + encoder.finish()


# Decoding a stream, for octets of a peer that is not trusted


PIECE_BYTES: Final = 64 * 1024
"""The largest piece that is returned at once."""
MOST_CODINGS: Final = 5
"""How many codings a message may have. Each multiplies the work of the others; curl has
the same bound since CVE-2023-23916."""
MOST_GROWTH: Final = 200
"""The most decoded octets for each encoded one, as in Apache's mod_deflate: real
content stays far below, and gzip itself cannot exceed 1,032."""
FREE_BYTES: Final = 16 * 1024 * 1024
"""Up to this many decoded octets any growth is allowed: what fits into memory is no
attack, even if it is all blanks."""
FREE_MEMBERS: Final = 1000
BYTES_OF_MEMBER: Final = 1024
"""Beyond ``FREE_MEMBERS``, members of gzip and frames of zstd need this many encoded
octets each: to begin one of zstd takes 25 us, and an empty one has 9 octets."""
ZSTD_WINDOW_LOG: Final = 23
"""RFC 9659: the window of the content coding is at most 8 MiB."""


class _Stage(Protocol):
    """Decodes one coding."""

    def decode(self, octets: bytes) -> Iterator[bytes]:
        """Decode octets; iterate over the pieces."""
        ...

    @property
    def is_whole(self) -> bool:
        """Whether the coding has ended."""
        ...


class _TrailingOctetsError(Exception):
    """Octets follow the end of the coding."""

    def __str__(self) -> str:
        return "octets follow its end"


class _TooManyMembersError(Exception):
    """Too many tiny members or frames: each costs as much as some KiB."""

    def __str__(self) -> str:
        return "far too many members"


class _Members(ABC):
    """A coding of members that follow one another, each with its own end.

    RFC 1952 section 2.2, RFC 8878 section 3. Zeros after a member are padding (tapes,
    blocks of disks). Anything else that is no member is an error, unless
    ``ignores_rest``.

    Args:
        ignores_rest: Octets after a member that are no member are dropped.
    """

    starts: tuple[bytes, ...] = ()
    """The octets that a member begins with, all of one length; none: there is only one
    member."""

    def __init__(self, ignores_rest: bool) -> None:
        self._ignores_rest = ignores_rest
        self._held = b""  # after a member: maybe the start of another one
        self._is_over = False
        self._members = 0
        self._taken_bytes = 0
        self._begin()

    @property
    def is_whole(self) -> bool:
        return self._has_ended() and not self._held

    def decode(self, octets: bytes) -> Iterator[bytes]:
        self._taken_bytes += len(octets)
        while octets and not self._is_over:
            if self._has_ended():
                octets = self._find_next(octets)
                continue
            yield from self._decompress(octets)
            octets = self._left() if self._has_ended() else b""

    def _find_next(self, octets: bytes) -> bytes:
        """Begin the next member, where one follows."""
        octets = self._held + octets
        self._held = b""
        # gzip(1) itself skips padding of zeros; tar archives and tapes end with it.
        octets = octets.lstrip(b"\0")
        if not octets:
            return b""
        longest = len(self.starts[0]) if self.starts else 0
        if octets[:longest] in self.starts:
            self._members += 1
            if self._members > FREE_MEMBERS + self._taken_bytes // BYTES_OF_MEMBER:
                raise _TooManyMembersError
            self._begin()
            return octets
        if any(each.startswith(octets) for each in self.starts):
            self._held = octets
        elif self._ignores_rest:
            self._is_over = True
        else:
            raise _TrailingOctetsError
        return b""

    @abstractmethod
    def _begin(self) -> None:
        """Prepare for a member."""

    @abstractmethod
    def _has_ended(self) -> bool:
        """Tell whether the member is whole."""

    @abstractmethod
    def _decompress(self, octets: bytes) -> Iterator[bytes]:
        """Decode the octets that belong to the member."""

    @abstractmethod
    def _left(self) -> bytes:
        """Return the octets that follow the member."""


class _GzipDecoder(_Members):
    """RFC 1952."""

    starts: tuple[bytes, ...] = (b"\x1f\x8b\x08",)

    def _begin(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)

    def _has_ended(self) -> bool:
        return self._stream.eof

    def _decompress(self, octets: bytes) -> Iterator[bytes]:
        stream = self._stream
        while octets and not stream.eof:  # at its end the tail has no meaning
            # With a bound, so that a bomb is never in memory: what is left stays
            # encoded.
            yield stream.decompress(octets, PIECE_BYTES)
            octets = stream.unconsumed_tail
        # zlib may also hold decoded octets without any encoded ones left.
        while not stream.eof and (piece := stream.decompress(b"", PIECE_BYTES)):
            yield piece

    def _left(self) -> bytes:
        return self._stream.unused_data


class _ZlibOrRaw(_GzipDecoder):
    """The coding ``deflate``: zlib's format, or raw deflate, which some send.

    RFC 9110 section 8.4.1.2 notes that some leave zlib's header out. Two octets tell:
    those of a header are a multiple of 31 and name the method 8 (RFC 1950 section 2.2).
    """

    starts = ()

    def _begin(self) -> None:
        self._start: bytes | None = b""

    def _has_ended(self) -> bool:
        return self._start is None and self._stream.eof

    def _decompress(self, octets: bytes) -> Iterator[bytes]:
        if self._start is not None:
            octets = self._start + octets
            if len(octets) < 2:
                self._start = octets
                return
            self._start = None
            # Raw deflate would begin so only with a stored block whose padding is
            # not 0, which no encoder writes.
            has_header = octets[0] & 15 == 8 and (octets[0] << 8 | octets[1]) % 31 == 0
            wbits = zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
            self._stream = zlib.decompressobj(wbits)
        yield from super()._decompress(octets)


class _BrotliDecoder:
    """RFC 7932: one stream. Its library cannot tell what follows it."""

    def __init__(self, ignores_rest: bool) -> None:
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


class _ZstandardDecoder(_Members):
    """RFC 8878: frames, and skippable frames."""

    starts = (
        b"\x28\xb5\x2f\xfd",
        *(bytes((0x50 + number, 0x2A, 0x4D, 0x18)) for number in range(16)),
    )

    def _begin(self) -> None:
        assert _zstd is not None  # else it is not available
        # A frame names the window that its decoder has to allocate: up to 2 GiB, by a
        # header of some octets.
        window = {_zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
        self._stream: Any = _zstd.ZstdDecompressor(options=window)

    def _has_ended(self) -> bool:
        return bool(self._stream.eof)

    def _decompress(self, octets: bytes) -> Iterator[bytes]:
        stream = self._stream
        while octets or not (stream.eof or stream.needs_input):
            yield stream.decompress(octets, PIECE_BYTES)
            octets = b""

    def _left(self) -> bytes:
        left: bytes = self._stream.unused_data
        return left


_STAGES: Final[dict[str, Callable[[bool], _Stage]]] = {
    "gzip": _GzipDecoder,
    "x-gzip": _GzipDecoder,  # RFC 9110 section 8.4.1.3
    "deflate": _ZlibOrRaw,
    "br": _BrotliDecoder,
}
_FAULTS: tuple[type[Exception], ...] = (
    zlib.error,
    brotlicffi.error,
    _TrailingOctetsError,
    _TooManyMembersError,
)
if _zstd is not None:
    _STAGES["zstd"] = _ZstandardDecoder
    _FAULTS = (*_FAULTS, _zstd.ZstdError)

ACCEPTED: Final = tuple(name for name in _STAGES if name != "x-gzip")
"""The codings that can be decoded here, for Accept-Encoding."""


def parse_codings(content_encoding: str) -> tuple[str, ...]:
    """Read a Content-Encoding field: the codings in the order they were applied.

    ``identity`` is no coding, though some send it (RFC 9110 section 12.5.3).
    """
    names = (each.strip(" \t").lower() for each in content_encoding.split(","))
    return tuple(name for name in names if name not in ("", "identity"))


def can_undo(codings: Sequence[str]) -> bool:
    """Tell whether each of the codings can be decoded here."""
    return all(each in _STAGES for each in codings)


class ContentDecoder:
    """Decodes the content of one message.

    Args:
        codings: As ``parse_codings`` returns them; none: octets stay as they are.
        ignores_rest: What follows the end of a coding is dropped; except for br, where
            it is always an error.

    Raises:
        ContentDecodingError: The peer's fault: a coding is unknown, or there are too
            many. Nothing of the content can be decoded.
    """

    __slots__ = ("_decoded_bytes", "_encoded_bytes", "_name", "_stages")

    def __init__(self, codings: Sequence[str], *, ignores_rest: bool = False) -> None:
        self._name = ", ".join(codings)
        # Before any stage is made: each of them has a window of its own.
        if len(codings) > MOST_CODINGS:
            message = f"content in more than {MOST_CODINGS} codings"
            raise ContentDecodingError(message)
        unknown = [each for each in codings if each not in _STAGES]
        if unknown:
            message = f"content coding {quote(unknown[0])} is not known"
            raise ContentDecodingError(message)
        self._stages = [_STAGES[each](ignores_rest) for each in reversed(codings)]
        self._encoded_bytes = self._decoded_bytes = 0

    def decode(self, octets: bytes) -> Iterator[bytes]:
        """Decode the next octets, piece by piece.

        Each piece is made when it is asked for; take all of them before the next call.

        Raises:
            DecompressionBombError: The peer's fault: they stand for too many octets.
            ContentDecodingError: Likewise: they are not in the coding. The decoder is
                of no use any more.
        """
        try:
            # In slices, since a decoder copies what it has not yet consumed.
            for start in range(0, len(octets), PIECE_BYTES):
                encoded = octets[start : start + PIECE_BYTES]
                self._encoded_bytes += len(encoded)
                yield from self._run_stages(encoded, 0)
        except _FAULTS as fault:
            message = f"the content is not {self._name}: {fault}"
            raise ContentDecodingError(message) from fault

    def finish(self) -> None:
        """Check that the coding has ended. No octets at all are empty content.

        Raises:
            ContentDecodingError: The peer's fault: it has not ended.
        """
        if self._encoded_bytes and not all(each.is_whole for each in self._stages):
            raise ContentDecodingError(f"the content ends before its {self._name} does")

    def _run_stages(self, octets: bytes, index: int) -> Iterator[bytes]:
        """Decode by the stages from ``index`` on; empty pieces are left out."""
        if index == len(self._stages):
            if octets:
                yield octets
            return
        for piece in self._stages[index].decode(octets):
            if piece:
                self._count(len(piece))
                yield from self._run_stages(piece, index + 1)

    def _count(self, decoded_bytes: int) -> None:
        """Count the output of every stage: each bounds the input of the next one."""
        self._decoded_bytes += decoded_bytes
        # Of all stages together: gzip within gzip grows a million times, while each
        # stage for itself keeps to its thousand.
        bound = max(FREE_BYTES, self._encoded_bytes * MOST_GROWTH)
        if self._decoded_bytes > bound:
            message = (
                f"{self._encoded_bytes} octets of {self._name} stand for more than "
                f"{bound}"
            )
            raise DecompressionBombError(message)
