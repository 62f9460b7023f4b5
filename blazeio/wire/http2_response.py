"""Response heads of HTTP/2: our serialized lines in, header blocks out.

Answers are composed once, as the status line and field lines of HTTP/1.1; here
they are translated. The status line becomes ``:status``, names are put into lower
case, and fields of the connection are left out (RFC 9113 section 8.2.2).

We have no dynamic table of our own (RFC 7541), so a line becomes the same octets on
each connection, and is looked up in a memo that all of them share. What may be one
client's own (a cookie, a place to go to) is encoded anew each time.
"""

from typing import Final

from blazeio.wire.grammar import BoundedCache
from blazeio.wire.hpack import STATIC_TABLE

# One field, by RFC 7541


_static_indexes: Final = {pair: at for at, pair in enumerate(STATIC_TABLE, 1)}
_name_indexes: Final[dict[str, int]] = {}
for _index, (_name, _) in enumerate(STATIC_TABLE, 1):
    _name_indexes.setdefault(_name, _index)

NEVER_INDEXED: Final = frozenset(
    ("authorization", "cookie", "proxy-authorization", "set-cookie")
)
"""RFC 7541 section 7.1.3: nor may a proxy between us and the client."""


def serialize_integer(value: int, prefix: int, pattern: int) -> bytes:
    """RFC 7541 section 5.1.

    Args:
        value: What to write.
        prefix: The largest number that fits into the prefix, e.g. 0x7F.
        pattern: The bits before the prefix.
    """
    if value < prefix:
        return bytes((pattern | value,))
    octets = bytearray((pattern | prefix,))
    value -= prefix
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def encode_field(name: str, value: bytes) -> bytes:
    """Encode one field without a dynamic table; its octets are not compressed.

    Args:
        name: In lower case.
        value: Its octets.
    """
    index = _static_indexes.get((name, str(value, "latin-1")), 0)
    if index:
        return serialize_integer(index, 0x7F, 0x80)
    index = _name_indexes.get(name, 0)
    # 0x10, never indexed: an intermediary that encodes again must not put the value
    # into a table, where a guess that is right makes a message shorter (CRIME).
    start = serialize_integer(index, 0x0F, 0x10 if name in NEVER_INDEXED else 0)
    if not index:
        start += serialize_integer(len(name), 0x7F, 0) + name.encode("ascii")
    return start + serialize_integer(len(value), 0x7F, 0) + value


# Heads


_DROPPED: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
    )
)
# A program writes these, not its users; and a new Date comes once a second.
_SHARED_NAMES: Final = frozenset(
    b"""
    accept-ranges access-control-allow-credentials access-control-allow-headers
    access-control-allow-methods access-control-allow-origin
    access-control-expose-headers access-control-max-age allow cache-control
    connection content-encoding content-language content-length
    content-security-policy content-type
    cross-origin-embedder-policy cross-origin-opener-policy
    cross-origin-resource-policy date expires permissions-policy pragma
    referrer-policy server strict-transport-security transfer-encoding vary
    x-accel-buffering x-content-type-options x-frame-options x-powered-by
    x-xss-protection
    """.split()
)
_LONGEST_CACHED_BYTES: Final = 256
_cached_lines: Final[BoundedCache[bytes, bytes]] = BoundedCache(512)
# The usual answer, until its Date is another: 0.1 us, not 1.5.
_cached_heads: Final[BoundedCache[bytes, tuple[int, bytes]]] = BoundedCache(64)
_LONGEST_CACHED_HEAD_BYTES: Final = 512

# Without the last two octets, which are the length of the value and the value itself.
_LENGTH_START: Final = encode_field("content-length", b"0")[:-2]
# A length of up to 126 is one octet: 127 in a prefix of seven bits says that more
# follow (RFC 7541 section 5.1).
_MOST_SHORT_DIGITS: Final = 126

NO_TABLE: Final = b"\x20"
"""A size update to 0: it begins our first block after the peer has made its table
smaller, and says that we use none (RFC 7541 section 4.2)."""


def encode_head(head: bytes) -> tuple[int, bytes]:
    """Translate a whole head.

    Args:
        head: Status line and field lines, each with its CRLF; the empty line may
            follow.

    Returns:
        The status, and the header block.
    """
    # Hot: runs once per response.
    kept = _cached_heads.recent.get(head)
    if kept is not None:
        return kept
    start, *lines = head.rstrip(b"\r\n").split(b"\r\n")
    status = int(start[9:12])
    blocks = [encode_status(status)]
    are_known = True
    for line in lines:
        block = _cached_lines.recent.get(line)
        if block is None:
            block = encode_line(line)
            are_known = are_known and _may_be_kept(line)
        blocks.append(block)
    encoded = status, b"".join(blocks)
    if are_known and len(head) <= _LONGEST_CACHED_HEAD_BYTES:
        _cached_heads.keep(head, encoded)
    return encoded


def encode_status(status: int) -> bytes:
    """Return the pseudo-header field ``:status``."""
    return encode_field(":status", b"%d" % status)


def encode_lines(lines: bytes) -> bytes:
    """Translate field lines, each with its CRLF; of a trailer section, say."""
    return b"".join(encode_line(line) for line in lines.split(b"\r\n") if line)


def encode_line(line: bytes) -> bytes:
    """Translate one field line, without its CRLF; b"" for one of the connection."""
    kept = _cached_lines.recall(line)
    if kept is not None:
        return kept
    raw_name, _, value = line.partition(b":")
    name, value = raw_name.lower(), value.strip(b" \t")
    if name == b"content-length" and len(value) <= _MOST_SHORT_DIGITS:
        return b"%b%c%b" % (_LENGTH_START, len(value), value)
    block = b"" if name in _DROPPED else encode_field(str(name, "ascii"), value)
    if _may_be_kept(line) and len(line) <= _LONGEST_CACHED_BYTES:
        _cached_lines.keep(line, block)
    return block


def _may_be_kept(line: bytes) -> bool:
    return line.partition(b":")[0].lower() in _SHARED_NAMES
