"""Content codings as streams: what is put in can be read at once.

Each ``encode`` is flushed, so that an event or a line of a long response
reaches its reader without waiting for the next; that costs about 4 octets a
call with gzip. The encoders block while they work, like ``codings``.

May import: blazeio.content.codings. Pure: no I/O.
"""

import importlib
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import brotlicffi

from blazeio.content.codings import br, gzip

GZIP_LEVEL = 6
BR_QUALITY = 5
"""Of a stream: like gzip 6 in time, 10 to 15 % smaller on HTML and JSON."""


class Encoder(Protocol):
    """One response's worth of a content coding."""

    def encode(self, data: bytes) -> bytes:
        """Encode; all of ``data`` can be decoded from what was given out."""
        ...

    def finish(self) -> bytes:
        """End the stream; nothing may follow."""
        ...


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.compressobj(GZIP_LEVEL, wbits=31)

    def encode(self, data: bytes) -> bytes:
        return self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._stream.flush()


class _Brotli:
    def __init__(self) -> None:
        self._stream = brotlicffi.Compressor(quality=BR_QUALITY)

    def encode(self, data: bytes) -> bytes:
        encoded: bytes = self._stream.process(data) + self._stream.flush()
        return encoded

    def finish(self) -> bytes:
        ending: bytes = self._stream.finish()
        return ending


def find_zstd() -> Any | None:
    """PEP 784: of the interpreter since 3.14, else its backport if installed."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


_zstd = find_zstd()


class _Zstandard:
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


_MAKERS: dict[str, Callable[[], Encoder]] = {"br": _Brotli, "gzip": _Gzip}
if _zstd is not None:
    _MAKERS = {"zstd": _Zstandard, **_MAKERS}

AVAILABLE = tuple(_MAKERS)
"""The codings that can be given here, best first, for ``choose_coding``."""


def open_encoder(coding: str) -> Encoder:
    """A fresh encoder.

    Args:
        coding: One of ``AVAILABLE``.
    """
    return _MAKERS[coding]()


BR_QUALITY_ONCE = 9
"""Of what is encoded once and sent often: 1 MiB of HTML in 0.1 s, where 11
takes 1.5 s for 8 % fewer octets."""
GZIP_LEVEL_ONCE = 9


def encode_once(coding: str, data: bytes) -> bytes:
    """Encode the whole of something that will be sent often; blocks.

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
