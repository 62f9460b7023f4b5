"""Field lines: RFC 9112 section 5, and which of them decide something.

A peer repeats its fields in each message, so a line is validated once and
kept. What is kept must never be one client's secret: only lines of names in
``_SHARED_NAMES`` are, whose values are by their nature the same for many
messages. Authorization, Cookie, Referer, X-Api-Key, Sec-WebSocket-Protocol
(browsers can send a token in nothing else) or any name not listed here is read
anew each time.

May import: blazeio.errors, blazeio.wire.grammar, target, fields.directives,
memo.
"""

from typing import Final, NoReturn

from blazeio.errors import RemoteProtocolError
from blazeio.wire.fields.directives import DECIDING_NAMES
from blazeio.wire.fields.memo import Memo
from blazeio.wire.grammar import FIELD_VALUE, TOKEN, quote
from blazeio.wire.target import is_host

Field = tuple[tuple[str, str], bool]
"""Lower-case name and value of a line, and whether it decides something."""

_SHARED_NAMES: Final = frozenset(
    """
    accept accept-charset accept-encoding accept-language accept-ranges
    access-control-allow-origin access-control-request-headers
    access-control-request-method age alt-svc cache-control connection
    content-encoding content-language content-length content-type date dnt
    expect host keep-alive max-forwards origin pragma priority save-data
    sec-ch-ua sec-ch-ua-arch sec-ch-ua-bitness
    sec-ch-ua-full-version-list sec-ch-ua-mobile sec-ch-ua-model
    sec-ch-ua-platform sec-ch-ua-platform-version sec-fetch-dest
    sec-fetch-mode sec-fetch-site sec-fetch-user sec-gpc
    sec-websocket-extensions sec-websocket-version server
    strict-transport-security te trailer transfer-encoding upgrade
    upgrade-insecure-requests user-agent vary x-content-type-options
    x-forwarded-host x-forwarded-port x-forwarded-proto x-frame-options
    x-powered-by x-requested-with
    """.split()  # noqa: SIM905 - a table reads better as text
)
_LONGEST_KEPT_BYTES: Final = 256

# Two generations of 1,024 lines: at most 2,048 lines of 256 octets a process.
# A line found here costs 0.03 us, one that must be read 0.5.
kept_lines: Final[Memo[bytes, Field]] = Memo(1024)

# Names as sent -> lower-case name. A name is no secret; 64 octets bound it.
_kept_names: Final[Memo[bytes, str]] = Memo(512)
_LONGEST_NAME_BYTES: Final = 64


def read_field_line(line: bytes) -> Field:
    """Read one field line, without its CRLF, and keep it where that is safe.

    Raises:
        RemoteProtocolError: The peer's fault; 400. RFC 9112 sections 5.1
            (space before the colon) and 5.2 (obs-fold), RFC 9110 section 5.5;
            for a Host also RFC 9112 section 3.2.
    """
    known = kept_lines.recall(line)
    if known is not None:
        return known
    pair = parse_field_line(line)
    name, value = pair
    decides = name in DECIDING_NAMES
    if decides and name == "host" and value and not is_host(value):
        raise RemoteProtocolError(f"malformed Host: {quote(value)}")
    field = pair, decides
    if name in _SHARED_NAMES and len(line) <= _LONGEST_KEPT_BYTES:
        kept_lines.keep(line, field)
    return field


def parse_field_line(line: bytes) -> tuple[str, str]:
    """Split one field line, without its CRLF, into lower-case name and value.

    Raises:
        RemoteProtocolError: The peer's fault; 400.
    """
    # Hot: runs for each line that was not kept; see tests/bench/wire_parser.py.
    raw_name, colon, rest = line.partition(b":")
    name = _kept_names.recent.get(raw_name)
    if name is None:
        name = _read_name(raw_name, line)
    value = str(rest, "latin-1").strip(" \t")
    # For ASCII isprintable is 0x20 to 0x7E: 3x faster than the pattern for 12
    # octets, 0.7x for 400. The pattern is left with HTAB and obs-text.
    is_plain = value.isascii() and value.isprintable()
    if not colon or not (is_plain or FIELD_VALUE.fullmatch(value)):
        _refuse_field_line(line)
    return name, value


def _read_name(raw_name: bytes, line: bytes) -> str:
    kept = _kept_names.recall(raw_name)
    if kept is not None:
        return kept
    name = str(raw_name, "latin-1")
    if TOKEN.fullmatch(name) is None:
        _refuse_field_line(line)
    name = name.lower()
    if len(name) <= _LONGEST_NAME_BYTES:
        _kept_names.keep(raw_name, name)
    return name


def _refuse_field_line(line: bytes) -> NoReturn:
    """Say what is wrong. A value is never quoted: it may be a secret."""
    raw_name, colon, _ = line.partition(b":")
    name = str(raw_name, "latin-1")
    if line[:1] in (b" ", b"\t"):
        message = "a line folded or begun by whitespace (obs-fold)"
    elif not colon:
        message = f"field line without a colon: {quote(raw_name, 32)}"
    elif name != name.rstrip(" \t"):
        message = f"whitespace before the colon of field {quote(name)}"
    elif TOKEN.fullmatch(name) is None:
        message = f"malformed field name {quote(name)}"
    else:
        message = f"control octet in the value of field {quote(name)}"
    raise RemoteProtocolError(message)
