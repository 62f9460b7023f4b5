"""Content codings: gzip and br as functions, and which one a client wants.

The compressors block for as long as they work; a caller on an event loop
sends large inputs to a thread (both let go of the interpreter lock).

May import: nothing of blazeio. Pure: no I/O.
"""

import re
import zlib
from collections.abc import Sequence

import brotlicffi

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
        quality: 0 (fast) to 11 (small). The library's own default is 11,
            which is meant for files that are compressed once.
    """
    compressed: bytes = brotlicffi.compress(data, quality=quality)
    return compressed


def choose_coding(accept_encoding: str | None, available: Sequence[str]) -> str | None:
    """Choose the content coding that the client likes best.

    RFC 9110 section 12.5.3. Members that are not of its grammar are ignored.

    Args:
        accept_encoding: The field's value; None when it was not sent.
        available: Codings that we can give, lower case, best first; it decides
            between those the client likes equally.

    Returns:
        One of ``available``; None to send the content as it is.
    """
    if not accept_encoding:
        # A client that says nothing takes anything by the letter of the RFC;
        # in truth it often cannot decode.
        return None
    weights = _parse_weights(accept_encoding)
    fallback = weights.get("*", 0.0)
    best, best_weight = None, weights.get("identity", 0.0)
    for coding in available:
        weight = weights.get(coding, fallback)
        # Equal to a named identity: the shorter one is wanted by both sides.
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
