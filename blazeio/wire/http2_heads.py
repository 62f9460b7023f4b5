"""Heads of HTTP/2: from header blocks to ``RequestHead``, and from ours to blocks.

What follows from a head of a request is the same as in HTTP/1.1, so it is the same
value; only how it is written differs (RFC 9113 section 8). A head that breaks those
rules is malformed: a stream error. One that they allow but that we do not serve (too
large, no host, an unknown expectation) is refused with a status, as in HTTP/1.1.

Theory of operation: a client mostly sends what it has sent before. As long as
the dynamic table of its connection does not change, the same octets mean the same
head. So whole blocks are kept; and since ``:path`` differs from request to
request while clients do not index it, the pseudo-header fields in front are
read one by one and *the rest* of the block is looked up. Both memos belong to one
connection: what they hold may be secret, and means nothing elsewhere. Something is
kept when it has come twice in a row: many connections ask once and wait.

Responses are composed once, as the status line and field lines of HTTP/1.1; here
they are translated. The status line becomes ``:status``, names are put into lower
case, and fields of the connection are left out (RFC 9113 section 8.2.2). We have no
dynamic table of our own (RFC 7541), so a line becomes the same octets on each
connection, and is looked up in a memo that all of them share. What may be one client's
own (a cookie, a place to go to) is encoded anew each time.
"""

import re
from typing import Final, TypeVar

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire import SharedRecord
from blazeio.wire.chunked import DROPPED_TRAILERS, REFUSED_TRAILERS
from blazeio.wire.framing import parse_content_length
from blazeio.wire.grammar import (
    FIELD_VALUE,
    TCHAR,
    USUAL_METHODS,
    BoundedCache,
    check_method,
    decode_path,
    is_host,
    quote,
)
from blazeio.wire.headers import Headers
from blazeio.wire.hpack import FIELD_OVERHEAD_BYTES, STATIC_TABLE, HeaderDecoder, Pair
from blazeio.wire.http2_frames import ErrorCode, Http2ConnectionError, Http2StreamError
from blazeio.wire.request import RequestHead

_MOST_CACHED: Final = 16
"""How many heads, and how many sections, each connection keeps."""
_LONGEST_CACHED_BYTES: Final = 1024

# RFC 9113 section 8.2.1: names are in lower case.
_NAME: Final = re.compile(rf"[{TCHAR.replace('A-Z', '')}]++")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*+")
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
_cached_names: Final[BoundedCache[str, bool]] = BoundedCache(512)
_LONGEST_NAME_BYTES: Final = 64

_PSEUDO: Final = frozenset((":method", ":scheme", ":authority", ":path", ":protocol"))
# RFC 9113 section 8.2.2.
_OF_CONNECTIONS: Final = frozenset(
    ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade")
)
WEBSOCKET: Final = "websocket"
_HANDSHAKE: Final = (("connection", "Upgrade"), ("upgrade", WEBSOCKET))
"""What a WebSocket's request has in HTTP/1.1; there, it is a GET."""


class _Section(SharedRecord, frozen=True):
    """All of a head but the pseudo-header fields in front.

    Attributes:
        pseudo: Further ones.
        headers: All fields, ``host`` first.
        host: Of ``:authority`` or Host; None where there is neither.
        content_length: As declared.
        expects_continue: The peer waits for a 100.
        size: In octets, as RFC 9113 section 10.5.1 counts.
    """

    pseudo: list[Pair]
    headers: Headers
    host: str | None
    content_length: int | None
    expects_continue: bool
    size: int


def _malformed(message: str) -> Http2StreamError:
    return Http2StreamError(ErrorCode.PROTOCOL_ERROR, f"malformed request: {message}")


class HeadReader:
    """Reads the header blocks of one connection, in their order.

    Args:
        limits: ``head_bytes``, ``field_count``, ``field_bytes``, ``target_bytes``,
            ``trailer_bytes``, ``header_table_bytes``.

    Attributes:
        decoder: With the dynamic table.
    """

    __slots__ = ("_heads", "_last", "_limits", "_sections", "decoder")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.decoder = HeaderDecoder(limits.head_bytes, limits.header_table_bytes)
        self._heads: dict[bytes, RequestHead] = {}
        self._sections: dict[tuple[str | None, bytes], _Section] = {}
        self._last = b""

    def accept_settings(self) -> None:
        """Our SETTINGS were acknowledged."""
        self.decoder.accept_settings()
        self.forget()

    def forget(self) -> None:
        """Forget what blocks meant: they mean something else, or memory is short."""
        self._heads.clear()
        self._sections.clear()

    def read(self, block: bytes) -> RequestHead:
        """Read the head of a request.

        Raises:
            Http2ConnectionError: Its compression is broken.
            Http2StreamError: It is malformed.
            RemoteProtocolError: It is refused with a status.
        """
        # Hot: runs once per request.
        # A block that changes the table is never kept, so that one which is found here
        # has changed nothing; the memo is emptied whenever the table changes.
        kept = self._heads.get(block)
        if kept is not None:
            return kept
        version = self.decoder.version
        front, at = self.decoder.decode_front(block)
        pseudo = dict(front)
        rest = block[at:]
        authority = pseudo.get(":authority")
        section = self._sections.get((authority, rest))
        if section is None:
            section = self._read_section(block, at, authority)
        head = self._make_head(front, pseudo, section)
        if len(block) <= _LONGEST_CACHED_BYTES and self.decoder.version == version:
            if block == self._last:
                _cache(self._heads, block, head)
            self._last = block
        return head

    def read_trailers(self, block: bytes) -> Headers | None:
        """Read a trailer section; None where nothing of it is of use.

        Raises:
            Http2ConnectionError: Its compression is broken.
            Http2StreamError: It is malformed, or larger than ``trailer_bytes``.
        """
        limits = self._limits
        try:
            pairs = self._decode(block, 0)
        # It is a RemoteProtocolError, too, but no fault of this stream alone.
        except Http2ConnectionError:
            raise
        except RemoteProtocolError as error:
            raise Http2StreamError(ErrorCode.ENHANCE_YOUR_CALM, str(error)) from None
        if _size_of(pairs) > limits.trailer_bytes or len(pairs) > limits.field_count:
            message = f"trailers larger than {limits.trailer_bytes} octets"
            raise Http2StreamError(ErrorCode.ENHANCE_YOUR_CALM, message)
        for name, value in pairs:
            _check_field(name, value)
            # RFC 9110 section 6.5.1: what frames a message must not be among its
            # trailers.
            if name in REFUSED_TRAILERS:
                raise _malformed(f"field {quote(name)} in the trailer section")
        kept = [pair for pair in pairs if pair[0] not in DROPPED_TRAILERS]
        return Headers(kept) if kept else None

    def _decode(self, block: bytes, at: int) -> list[Pair]:
        """Decode the rest of a block; forget what others meant if the table changes."""
        version = self.decoder.version
        try:
            return self.decoder.decode(block, at)
        finally:
            if self.decoder.version != version:
                self.forget()

    def _read_section(self, block: bytes, at: int, authority: str | None) -> _Section:
        version = self.decoder.version
        pairs = self._decode(block, at)
        section = read_section(pairs, authority, self._limits)
        is_again = self._last.endswith(block[at:])
        if (
            is_again
            and self.decoder.version == version
            and len(block) <= _LONGEST_CACHED_BYTES
        ):
            _cache(self._sections, (authority, block[at:]), section)
        return section

    def _make_head(
        self, front: list[Pair], pseudo: dict[str, str], section: _Section
    ) -> RequestHead:
        count = len(front)
        if section.pseudo:
            count += len(section.pseudo)
            # RFC 9113 section 8.3: the same pseudo-header field twice is malformed. In
            # a dict the second would replace the first: which of two paths did a proxy
            # check?
            pseudo.update(section.pseudo)
        if len(pseudo) != count:
            raise _malformed("a pseudo-header field is there twice")
        # Counted as SETTINGS_MAX_HEADER_LIST_SIZE, which we have announced, counts:
        # names, values and 32 octets for each field, after decompression (section
        # 10.5.1).
        if section.size + _size_of(front) > self._limits.head_bytes:
            message = f"head larger than {self._limits.head_bytes} octets"
            raise RemoteProtocolError(message, 431)
        method = pseudo.get(":method", "")
        headers, upgrade = section.headers, None
        if method == "CONNECT":
            if ":protocol" not in pseudo:
                return _make_connect(pseudo, section, self._limits)
            method, upgrade = "GET", _read_protocol(pseudo)
            headers = Headers((*headers.pairs, *_HANDSHAKE))
        elif ":protocol" in pseudo:
            raise _malformed(":protocol without CONNECT")
        target = pseudo.get(":path", "")
        _check_request(method, pseudo.get(":scheme", ""), target, self._limits)
        # Section 8.3.1 allows neither; then nobody could say which site is meant, as
        # for HTTP/1.1 without Host.
        if not section.host:
            raise RemoteProtocolError("neither :authority nor Host")
        path, _, query = target.partition("?")
        return RequestHead(  # by position, as in ``parser``
            method,
            target,
            decode_path(path) if "%" in path else path,
            query,
            1,
            headers,
            section.host,
            section.content_length,
            False,
            method != "HEAD",
            True,
            section.expects_continue,
            upgrade,
            0,
            self._limits,
        )


def _cache(memo: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    """Keep it; a memo that is full begins anew."""
    if len(memo) >= _MOST_CACHED:
        # Emptied, and not evicted one by one: a client whose heads all differ gains
        # nothing from this memo, and one whose heads are few fills it again with the
        # next requests.
        memo.clear()
    memo[key] = value


def read_section(pairs: list[Pair], authority: str | None, limits: Limits) -> _Section:
    """Validate the fields of a head, and decide what follows from them.

    Args:
        pairs: All but the pseudo-header fields in front.
        authority: Where ``:authority`` was in front.
        limits: ``field_count``, ``field_bytes``.

    Raises:
        Http2StreamError: They are malformed.
        RemoteProtocolError: They are refused with a status.
    """
    pseudo, fields, host = _sort_fields(pairs, limits)
    for name, value in pseudo:
        if name == ":authority":
            authority = value
    if authority is not None:
        # It becomes ``r.host``, and part of links: the same grammar as Host in
        # HTTP/1.1.
        if not is_host(authority):  # userinfo neither: section 8.3.1
            raise _malformed(f":authority is {quote(authority)}")
        # Section 8.3.1: they must not differ, else a cache in front keys by one of them
        # and we answer for the other.
        if host is not None and host != authority:
            message = f"Host {quote(host)} beside :authority {quote(authority)}"
            raise RemoteProtocolError(message)
        host = authority
    elif host and not is_host(host):
        raise RemoteProtocolError(f"malformed Host: {quote(host)}")
    if host is not None:
        # Section 8.3.1: who turns a request into HTTP/1.1 makes Host from
        # ``:authority``; a handler finds it in the headers whatever was spoken.
        fields.insert(0, ("host", host))
    return _Section(
        pseudo=pseudo,
        headers=Headers(fields),
        host=host,
        content_length=parse_content_length(
            [value for name, value in fields if name == "content-length"]
        ),
        expects_continue=_asks_to_continue(fields),
        size=_size_of(pairs),
    )


def _sort_fields(
    pairs: list[Pair], limits: Limits
) -> tuple[list[Pair], list[Pair], str | None]:
    """Pseudo-header fields; the others, Cookie joined; and the value of Host."""
    count = 0
    # Section 8.3: pseudo-header fields come first; a later one is found by its name,
    # which is no token.
    while count < len(pairs) and pairs[count][0][:1] == ":":
        if pairs[count][0] not in _PSEUDO:
            raise _malformed(f"pseudo-header field {quote(pairs[count][0])}")
        count += 1
    fields: list[Pair] = []
    cookies: list[str] = []
    hosts: list[str] = []
    for pair in pairs[count:]:
        name, value = pair
        _check_field(name, value)
        if len(name) + len(value) > limits.field_bytes:
            message = f"field line of {len(name) + len(value)} octets"
            raise RemoteProtocolError(message, 431)
        if name == "cookie":
            # RFC 9113 section 8.2.3: a client may split Cookie into several fields, so
            # that each pair can be indexed; to everybody else it is one field again.
            cookies.append(value)
        elif name == "host":
            hosts.append(value)
        else:
            fields.append(pair)
    if len(fields) > limits.field_count:
        message = f"{len(fields)} fields, at most {limits.field_count} are read"
        raise RemoteProtocolError(message, 431)
    if cookies:  # RFC 9113 section 8.2.3
        fields.append(("cookie", "; ".join(cookies)))
    if len(hosts) > 1:
        raise _malformed("more than one Host")
    return pairs[:count], fields, hosts[0] if hosts else None


def _check_field(name: str, value: str) -> None:
    """RFC 9113 section 8.2: names, values, and fields of a connection."""
    if not (_cached_names.recent.get(name) or _cached_names.recall(name)):
        _check_name(name)
    # As in ``fields.line``: the pattern is left with HTAB and obs-text.
    is_plain = value.isascii() and value.isprintable()
    if not (is_plain or FIELD_VALUE.fullmatch(value)):
        raise _malformed(f"control octet in the value of field {quote(name)}")
    # Section 8.2.1: a value must not begin or end with blanks. HTTP/1.1 strips them, so
    # behind a proxy that passes them on the value would be another one.
    if value != value.strip(" \t"):
        raise _malformed(f"whitespace around the value of field {quote(name)}")
    # Section 8.2.2: te is the one field of a connection that may be there, so.
    if name == "te" and value.lower() != "trailers":
        raise _malformed(f"te is {quote(value)}")


def _check_name(name: str) -> None:
    # A colon within a name would let a field be smuggled into HTTP/1.1 (section 10.3).
    if name[:1] == ":":
        raise _malformed(f"pseudo-header field {quote(name)} after a field")
    if _NAME.fullmatch(name) is None:
        raise _malformed(f"field name {quote(name)}")
    if name in _OF_CONNECTIONS:
        raise _malformed(f"connection-specific field {name}")
    if len(name) <= _LONGEST_NAME_BYTES:
        _cached_names.keep(name, True)


def _asks_to_continue(fields: list[Pair]) -> bool:
    """RFC 9110 section 10.1.1: 417 for what is not 100-continue."""
    values = [value.lower() for name, value in fields if name == "expect"]
    for value in values:
        if value != "100-continue":
            raise RemoteProtocolError(f"unknown expectation {quote(value)}", 417)
    return bool(values)


def _check_request(method: str, scheme: str, target: str, limits: Limits) -> None:
    """RFC 9113 section 8.3.1: what each request has, and how it looks."""
    if not (method and scheme and target):
        raise _malformed("it needs :method, :scheme and :path, and none of them empty")
    if method not in USUAL_METHODS:
        check_method(method)
    if scheme not in ("https", "http") and _SCHEME.fullmatch(scheme) is None:
        raise _malformed(f":scheme is {quote(scheme)}")
    if len(target) > limits.target_bytes:
        message = f"target longer than {limits.target_bytes} octets"
        raise RemoteProtocolError(message, 414)
    # Section 8.3.1: path-absolute, or an asterisk for OPTIONS. A space or a CR in it
    # would end the request line of a message that is forwarded as HTTP/1.1.
    if not (target[0] == "/" or (target == "*" and method == "OPTIONS")) or not (
        target.isascii() and target.isprintable() and " " not in target
    ):
        raise _malformed(f":path is {quote(target)}")
    if "#" in target:
        raise _malformed(f"a fragment in :path {quote(target)}")


def _read_protocol(pseudo: dict[str, str]) -> str:
    """RFC 8441: which protocol an extended CONNECT asks for."""
    protocol = pseudo[":protocol"].lower()
    if protocol != WEBSOCKET:
        raise RemoteProtocolError(f"unknown protocol {quote(protocol)}", 501)
    return protocol


def _make_connect(
    pseudo: dict[str, str], section: _Section, limits: Limits
) -> RequestHead:
    """RFC 9113 section 8.5: CONNECT has nothing but an authority."""
    authority = pseudo.get(":authority", "")
    # That it is a host, with or without a port, is checked by now.
    has_port = ":" in authority and authority[-1].isdigit()
    if len(pseudo) != 2 or not has_port:
        raise _malformed("CONNECT has :authority with a port, no :scheme and no :path")
    return RequestHead(
        *("CONNECT", authority, "", "", 1, section.headers, section.host),
        *(section.content_length, False, True, True, section.expects_continue),
        *(None, 0, limits),
    )


def _size_of(pairs: list[Pair]) -> int:
    return sum(len(name) + len(value) + FIELD_OVERHEAD_BYTES for name, value in pairs)


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
_LONGEST_CACHED_LINE_BYTES: Final = 256
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
    if _may_be_kept(line) and len(line) <= _LONGEST_CACHED_LINE_BYTES:
        _cached_lines.keep(line, block)
    return block


def _may_be_kept(line: bytes) -> bool:
    return line.partition(b":")[0].lower() in _SHARED_NAMES
