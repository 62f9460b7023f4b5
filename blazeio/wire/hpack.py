"""Header compression, RFC 7541: header blocks in, fields out.

``HeaderDecoder`` holds the dynamic table of one connection. ``version`` counts
the changes of that table: as long as it stays, the same block means the same
fields, so that whoever keeps what blocks meant knows when that is over.

We encode without a dynamic table of our own, so what a field of ours becomes stands in
``http2_heads``.

The Huffman code of its appendix B is decoded octet by octet. It is canonical: within
one length, codes are assigned in the order of their symbols, so the table of lengths is
all that has to be written down. A decoder is a walk through a binary tree. Its position
after each octet is one of 256 inner nodes, and what a node and an octet lead to is
kept: so decoding is one look-up an octet (60 ns), not eight.
"""

from typing import Final

from blazeio.errors import RemoteProtocolError
from blazeio.wire.http2_frames import ErrorCode, Http2ConnectionError

# The Huffman code


_LENGTHS: Final = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c"
    "060a0a0c0d06080b0a0a080b080606060505050606060606060607080f060c0a"
    "0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c"
    "1416141416161617161717171717181718181617181717171715161716171718"
    "1615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b"
    "14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a"
)
"""Bits of the code of each octet."""
_EOS: Final = 256
_EOS_BITS: Final = 30

# A step is what one octet leads to: the next node, and the text that ended.
_Step = tuple[int, str]
_MOST_STEPS: Final = 8192
"""How many of the 65,536 steps are kept. Text takes some hundreds, and no peer can make
us keep more than these (1.5 MB)."""


def _plant() -> list[list[int]]:
    """Build the tree: for each inner node, where 0 and 1 lead.

    Another inner node, or the complement of a symbol.
    """
    lengths = [*_LENGTHS, _EOS_BITS]
    nodes = [[0, 0]]
    code = bits = 0
    for symbol in sorted(range(257), key=lambda each: (lengths[each], each)):
        code <<= lengths[symbol] - bits
        bits = lengths[symbol]
        at = 0
        for shift in range(bits - 1, 0, -1):
            side = code >> shift & 1
            if not nodes[at][side]:
                nodes.append([0, 0])
                nodes[at][side] = len(nodes) - 1
            at = nodes[at][side]
        nodes[at][code & 1] = ~symbol
        code += 1
    return nodes


def _list_endings(nodes: list[list[int]]) -> frozenset[int]:
    """Nodes where a text may end: up to seven bits of the code of EOS after one."""
    endings = [0]
    for _ in range(7):
        endings.append(nodes[endings[-1]][1])
    return frozenset(endings)


_nodes: Final = _plant()
_ENDINGS: Final = _list_endings(_nodes)
_steps: Final[dict[int, _Step]] = {}


def decode_huffman(octets: bytes) -> str:
    """Decode a string literal.

    Raises:
        ValueError: It holds EOS, or its padding is longer than seven bits or is
            not the beginning of EOS (RFC 7541 section 5.2).
    """
    # Hot: runs for each string that no memo knows.
    node = 0
    texts = []
    for octet in octets:
        step = _steps.get(node << 8 | octet)
        if step is None:
            step = _walk(node, octet)
        node, text = step
        texts.append(text)
    # RFC 7541 section 5.2: seven bits of padding at most, all of them ones. Others have
    # to be refused, or one text would have many encodings and no memo would find it.
    if node not in _ENDINGS:
        raise ValueError("padding that is not a prefix of EOS")
    return "".join(texts)


def _walk(start: int, octet: int) -> _Step:
    node, text = start, ""
    for shift in range(7, -1, -1):
        node = _nodes[node][octet >> shift & 1]
        # Section 5.2: the whole of EOS within a string is a decoding error.
        if node == ~_EOS:
            raise ValueError("the symbol EOS")
        if node < 0:
            text += chr(~node)
            node = 0
    step = node, text
    # Emptied and not evicted: what text needs is there again after some strings.
    if len(_steps) >= _MOST_STEPS:
        _steps.clear()
    _steps[start << 8 | octet] = step
    return step


# Header blocks


Pair = tuple[str, str]

_NAMES_AND_VALUES: Final = """
    :authority | :method GET | :method POST | :path / | :path /index.html
    | :scheme http | :scheme https | :status 200 | :status 204 | :status 206
    | :status 304 | :status 400 | :status 404 | :status 500 | accept-charset
    | accept-encoding gzip, deflate | accept-language | accept-ranges | accept
    | access-control-allow-origin | age | allow | authorization | cache-control
    | content-disposition | content-encoding | content-language | content-length
    | content-location | content-range | content-type | cookie | date | etag | expect
    | expires | from | host | if-match | if-modified-since | if-none-match | if-range
    | if-unmodified-since | last-modified | link | location | max-forwards
    | proxy-authenticate | proxy-authorization | range | referer | refresh
    | retry-after | server | set-cookie | strict-transport-security
    | transfer-encoding | user-agent | vary | via | www-authenticate
"""


def _read_static_table() -> list[Pair]:
    fields = " ".join(_NAMES_AND_VALUES.split()).split(" | ")
    parts = [field.partition(" ") for field in fields]
    return [(name, value) for name, _, value in parts]


STATIC_TABLE: Final = _read_static_table()
"""RFC 7541 appendix A; its first entry has the index 1."""
_STATIC_COUNT: Final = len(STATIC_TABLE)
_INDEXED: Final[list[Pair]] = [("", ""), *STATIC_TABLE]

FIELD_OVERHEAD_BYTES: Final = 32
"""What a field counts for beside its octets (RFC 7541 section 4.1)."""
MOST_DECODED: Final = 4
"""A head that is too large is decoded up to this many times what is allowed, so
that the table stays right and the request alone is refused."""
DEFAULT_TABLE_BYTES: Final = 4096
_MOST_SHIFT: Final = 21
"""Integers have at most four octets after the prefix: 2**28. Nothing is larger."""


def _refuse(message: str) -> Http2ConnectionError:
    return Http2ConnectionError(ErrorCode.COMPRESSION_ERROR, message)


def read_integer(block: bytes, at: int, value: int) -> tuple[int, int]:
    """Read the octets after a prefix of ones (RFC 7541 section 5.1).

    Args:
        block: A header block.
        at: Where they begin.
        value: Of the prefix.

    Returns:
        The integer, and where it ends.

    Raises:
        Http2ConnectionError: It has more octets than any number that we could use.
        IndexError: The block ends within it.
    """
    shift = 0
    while True:
        # Leading zeros (0x80 0x80 ...) would be valid for ever, so the octets are
        # counted and not the value: section 5.1 asks for limits of both.
        octet = block[at]
        at += 1
        value += (octet & 0x7F) << shift
        # The high bit says that another octet follows (RFC 7541 section 5.1).
        if octet < 0x80:
            return value, at
        shift += 7
        if shift > _MOST_SHIFT:
            raise _refuse("an integer of more than 28 bits")


def read_string(block: bytes, at: int) -> tuple[str, int]:
    """Read a string literal (RFC 7541 section 5.2); and tell where it ends.

    Raises:
        Http2ConnectionError: It is cut, or its Huffman code is broken.
        IndexError: The block ends within its length.
    """
    first = block[at]
    at += 1
    length = first & 0x7F
    # RFC 7541 section 5.1: a prefix of ones alone says that more octets follow.
    if length == 0x7F:
        length, at = read_integer(block, at, length)
    end = at + length
    # Said by the length before any octet of it was looked at: a slice would be silently
    # shorter, and the next field would be read out of this string.
    if end > len(block):
        raise _refuse("the header block ends within a string")
    octets = block[at:end]
    if first < 0x80:
        return str(octets, "latin-1"), end
    try:
        return decode_huffman(octets), end
    except ValueError as error:
        raise _refuse(f"a Huffman-encoded string holds {error}") from None


_PSEUDO_COUNT: Final = 5
"""How many a request may have: method, scheme, authority, path; and protocol (RFC
8441)."""


class HeaderDecoder:
    """The peer's encoder, followed.

    Args:
        most_bytes: Of decoded fields in one head, each with 32 octets added.
        table_bytes: What SETTINGS_HEADER_TABLE_SIZE offers.

    Attributes:
        version: Counts the changes of the dynamic table.
        must_resize: A size update has to begin the next block.
    """

    __slots__ = (
        "_entries",
        "_limit_bytes",
        "_most_bytes",
        "_offered_bytes",
        "_size_bytes",
        "_table_bytes",
        "must_resize",
        "version",
    )

    def __init__(self, most_bytes: int, table_bytes: int = DEFAULT_TABLE_BYTES) -> None:
        self._most_bytes = most_bytes
        self._offered_bytes = table_bytes
        # Until our SETTINGS are acknowledged the peer may still use the default: RFC
        # 9113 section 6.5.2 has 4,096 octets as what a connection begins with.
        self._limit_bytes = max(table_bytes, DEFAULT_TABLE_BYTES)
        self._table_bytes = DEFAULT_TABLE_BYTES
        self._entries: list[Pair] = []  # the newest is the last
        self._size_bytes = 0
        self.must_resize = False
        self.version = 0

    def accept_settings(self) -> None:
        """Our SETTINGS were acknowledged: the peer keeps to the table we offer.

        RFC 7541 section 4.2: where its table is larger, it has to say so.
        """
        self._limit_bytes = self._offered_bytes
        self.must_resize = self._table_bytes > self._limit_bytes

    def decode_front(self, block: bytes) -> tuple[list[Pair], int]:
        """Decode the pseudo-header fields in front that do not change the table.

        Returns:
            Them, and where the first other field begins.

        Raises:
            Http2ConnectionError: The block is broken.
        """
        # Hot: runs for each head that is not kept whole.
        pairs: list[Pair] = []
        at, end = 0, len(block)
        # The block has to begin with a size update (RFC 7541 section 4.2), or it is
        # broken: ``decode`` sees to both.
        if self.must_resize:
            return pairs, at
        try:
            while at < end and len(pairs) < _PSEUDO_COUNT:
                first = block[at]
                # 0x80: indexed. 0x00 and 0x10: a literal without or never indexed. What
                # has 0x40 (a literal that goes into the table) or 0x20 (a size update)
                # changes the table, so it may not be read here, where the rest may come
                # from a memo.
                index = first & 0x7F if first >= 0x80 else first & 0x0F
                if 0x20 <= first < 0x80 or not index or index in (0x0F, 0x7F):
                    break
                pair = _INDEXED[index] if index <= _STATIC_COUNT else self._find(index)
                if pair[0][:1] != ":":
                    break
                at += 1
                if first < 0x20:
                    value, at = read_string(block, at)
                    pair = pair[0], value
                pairs.append(pair)
        except IndexError:
            raise _refuse("the header block ends within a field") from None
        return pairs, at

    def decode(self, block: bytes, at: int = 0) -> list[Pair]:
        """Decode a header block, from an offset on.

        Raises:
            Http2ConnectionError: The block is broken, or stands for far more than a
                head may hold. The connection cannot go on.
            RemoteProtocolError: It holds more than a head may; 431. The table is as
                it should be.
        """
        if self.must_resize and (not block or block[0] & 0xE0 != 0x20):
            raise _refuse("the dynamic table was not reduced as SETTINGS asked")
        pairs: list[Pair] = []
        size, end = 0, len(block)
        try:
            if not at:
                at = self._resize(block)
            # What is too large is decoded all the same, without being kept, as far as
            # ``MOST_DECODED``: a field that is left out would leave the table of this
            # connection other than the peer's, and every later head would be misread.
            # Beyond that it is a bomb: one octet that stands for 4 KB (RFC 9113 section
            # 10.5.1), and the connection ends.
            while at < end:
                pair, at = self._read_field(block, at)
                size += len(pair[0]) + len(pair[1]) + FIELD_OVERHEAD_BYTES
                if size <= self._most_bytes:
                    pairs.append(pair)
                elif size > MOST_DECODED * self._most_bytes:
                    message = f"a head of more than {size} octets"
                    raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, message)
        except IndexError:
            raise _refuse("the header block ends within a field") from None
        if size > self._most_bytes:
            message = f"head larger than {self._most_bytes} octets"
            raise RemoteProtocolError(message, 431)
        return pairs

    def _read_field(self, block: bytes, at: int) -> tuple[Pair, int]:
        """RFC 7541 section 6.1: an indexed field; else a literal."""
        first = block[at]
        if first < 0x80:
            return self._read_literal(block, at)
        # Section 6.1: a 1 and an index of seven bits, the form that most fields of a
        # client have.
        index = first & 0x7F
        at += 1
        if index == 0x7F:
            index, at = read_integer(block, at, index)
        return self._find(index), at

    def _find(self, index: int) -> Pair:
        if 0 < index <= _STATIC_COUNT:
            return _INDEXED[index]
        # Section 2.3.3: one address space; the newest entry follows the static ones.
        # Index 0 and what is behind the oldest must be a decoding error, or an index
        # below 0 would count from the other end of the list.
        back = index - _STATIC_COUNT
        if not 0 < back <= len(self._entries):
            raise _refuse(f"index {index} is in no table")
        return self._entries[-back]

    def _read_literal(self, block: bytes, at: int) -> tuple[Pair, int]:
        """RFC 7541 section 6.2: with incremental indexing, without, or never."""
        first = block[at]
        # Section 4.2: size updates are allowed at the beginning of a block only.
        if first & 0xE0 == 0x20:
            raise _refuse("a size update after a field")
        at += 1
        # Section 6.2.1: 01 and six bits go into the table; 0000 and 0001 (sections
        # 6.2.2 and 6.2.3), with four bits, do not.
        prefix = 0x3F if first >= 0x40 else 0x0F
        index = first & prefix
        if index == prefix:
            index, at = read_integer(block, at, index)
        if index:
            name = self._find(index)[0]
        else:
            name, at = read_string(block, at)
        value, at = read_string(block, at)
        pair = name, value
        if first >= 0x40:
            self._insert(pair)
        return pair, at

    def _insert(self, pair: Pair) -> None:
        """RFC 7541 section 4.4: one larger than the table empties it."""
        self.version += 1
        self._size_bytes += len(pair[0]) + len(pair[1]) + FIELD_OVERHEAD_BYTES
        # Evicting comes second, so a pair that is larger than the whole table is
        # removed with all the others: section 4.4, no error. The version counts it even
        # so, since what later indexes mean has changed.
        self._entries.append(pair)
        if self._size_bytes > self._table_bytes:
            self._evict()

    def _evict(self) -> None:
        count = 0
        while self._size_bytes > self._table_bytes:
            name, value = self._entries[count]
            self._size_bytes -= len(name) + len(value) + FIELD_OVERHEAD_BYTES
            count += 1
        del self._entries[:count]

    def _resize(self, block: bytes) -> int:
        """RFC 7541 section 6.3: size updates, where the block begins with some.

        Returns:
            Where its fields begin.
        """
        at = 0
        while block[at : at + 1] and block[at] & 0xE0 == 0x20:
            size = block[at] & 0x1F
            at += 1
            if size == 0x1F:
                size, at = read_integer(block, at, size)
            # A peer must not make us hold a larger table than we have offered: section
            # 4.2.
            if size > self._limit_bytes:
                message = f"a table of {size} octets, {self._limit_bytes} are offered"
                raise _refuse(message)
            self.must_resize = False
            self.version += 1
            self._table_bytes = size
            self._evict()
        return at
