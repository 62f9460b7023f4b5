"""Encoding content: which content coding a client accepts, and gzip, br and zstd.

RFC 9110 section 8.4. ``gzip`` and ``br`` encode a whole; ``Encoder`` encodes a stream,
and flushes each call, so that an event or a line of a long response can be decoded when
it arrives; that costs about 4 octets a call with gzip. ``content.decoders`` is the
counterpart.

The compressors block while they work; on an event loop large inputs belong in a thread
(they release the interpreter lock).
"""

import importlib
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import brotlicffi
from msgspec.structs import replace

from blazeio.wire.headers import FieldBlock, serialize_field

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


# The head of a response whose content is encoded as it is written


_NO_CONTENT = (204, 205, 304)
"""Responses without content, which cannot be encoded."""

_AS_IT_IS = frozenset(
    ("content-digest", "content-encoding", "content-md5", "content-range", "digest")
)
"""Fields that describe the octets of the content as they are: it is not encoded."""

_STRONG_ETAG = re.compile(rb'(?im)^(etag: )(?=")')
_NO_TRANSFORM = re.compile(rb"(?im)^cache-control:[^\r]*\bno-transform\b")
_VARY = re.compile(rb"(?im)^vary:[^\r]*(?:\baccept-encoding\b|\*)")


def _forbids_transform(block: FieldBlock) -> bool:
    has_it = "cache-control" in block.names
    return has_it and _NO_TRANSFORM.search(block.lines) is not None


def _varies_by_coding(block: FieldBlock) -> bool:
    return "vary" in block.names and _VARY.search(block.lines) is not None


def choose_for(
    block: FieldBlock, status: int, accept_encoding: str | None
) -> tuple[FieldBlock, str | None]:
    """Choose the content coding of a response, and say it in its fields.

    Content is not encoded where it is encoded already, where it is a range or has a
    digest, and where Cache-Control says ``no-transform`` (RFC 9110 section 7.7). An
    ETag becomes weak where a coding was chosen, since not all clients are sent the same
    octets then (section 8.8.3.3). The response to HEAD has the head of the one to GET,
    and a 304 has its ETag; content that is not sent is not encoded.

    Args:
        block: Its own fields.
        status: Of the response.
        accept_encoding: The field of the request; None when it was not sent.

    Returns:
        Its fields; and the coding, None for content as it is.
    """
    coding = None
    if not (status == 206 or block.names & _AS_IT_IS or _forbids_transform(block)):
        coding = choose_coding(accept_encoding, AVAILABLE)
    lines = b"" if _varies_by_coding(block) else b"Vary: Accept-Encoding\r\n"
    if coding is not None:
        weak = _STRONG_ETAG.sub(rb"\1W/", block.lines)
        block = replace(block, lines=weak, content_length=None)
        if status not in _NO_CONTENT:
            lines += serialize_field("Content-Encoding", coding)
    return replace(block, lines=block.lines + lines), coding
