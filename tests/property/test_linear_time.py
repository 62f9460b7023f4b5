"""What reads a peer's text takes time that grows as the text does, no faster.

The patterns themselves are tried in ``tests/architecture/test_pattern_cost.py``;
here it is the code around them: loops that go on where a pattern ended, lists
that are searched again for each member.
"""

import tempfile
from collections.abc import Callable

import pytest

from blazeio.app.deliver import serialize_event
from blazeio.app.endpoints import parse_pattern
from blazeio.app.route import PatternTree
from blazeio.client.auth import choose_digest
from blazeio.client.cookies import (
    CookieJar,
    parse_cookie_date,
    parse_set_cookie,
)
from blazeio.client.request import resolve_location
from blazeio.client.url import parse_proxy, parse_url
from blazeio.content.codings import ContentDecoder, choose_coding, parse_codings
from blazeio.content.field_values import (
    choose_media_type,
    find_cookie,
    guess_media_type,
    parse_http_date,
    serialize_set_cookie,
)
from blazeio.content.forms import parse_urlencoded
from blazeio.content.forwarded import Client, parse_allow_list, resolve_client
from blazeio.content.parsers import (
    EventStreamParser,
    MultipartDecoder,
    decode_extended,
    find_charset,
    make_safe,
    parse_boundary,
    parse_parameters,
)
from blazeio.content.representation import decide_ranges, parse_etags
from blazeio.files.delivery import open_file
from blazeio.limits import Limits
from blazeio.wire.chunked import ChunkDecoder
from blazeio.wire.headers import Headers, serialize_field
from blazeio.wire.heads import parse_response_head
from blazeio.wire.proxy_protocol import parse_proxy_header
from blazeio.wire.request import parse_head
from tests.support.pumping import find_attack

Work = Callable[[str], object]

WIDE = Limits(
    **dict.fromkeys(
        (
            *("target_bytes", "head_bytes", "field_bytes", "field_count"),
            *("part_field_bytes", "part_field_count", "form_field_count"),
            *("form_file_count", "chunk_extension_bytes", "trailer_bytes"),
        ),
        1_000_000,
    )
)
"""The bounds of Limits hide what grows; here they are out of the way."""
PEER = Client("127.0.0.1", 1, "http", "")
EVERYBODY = parse_allow_list("0.0.0.0/0")
PUNCTUATION = ['"', "\\", ";", ",", "=", " ", "a", "\t", "%", "\r\n"]


def octets(text: str) -> bytes:
    return text.encode("latin-1", "replace")


def forward(name: str) -> Work:
    return lambda text: resolve_client(PEER, Headers([(name, text)]), EVERYBODY)


def read_part(text: str) -> None:
    head = b"--b\r\nContent-Disposition: form-data; name=a; b*=" + octets(text)
    MultipartDecoder("b", WIDE).feed(head + b"\r\n\r\nx\r\n--b--")


def read_parts(text: str) -> None:
    MultipartDecoder("b", WIDE).feed(b"--b\r\n" + octets(text))


def read_head(text: str) -> object:
    return parse_head(octets(text), WIDE)


def read_fields(text: str) -> object:
    return parse_head(b"GET / HTTP/1.1\r\nHost: a\r\n" + octets(text), WIDE)


def read_response(text: str) -> object:
    return parse_response_head(b"HTTP/1.1 200 OK\r\n" + octets(text), WIDE)


def read_chunks(text: str) -> None:
    ChunkDecoder(WIDE).decode(octets(text), 0, [])


def read_chunks_one_by_one(text: str) -> None:
    decoder = ChunkDecoder(WIDE)
    for octet in octets(text):
        decoder.decode(bytes([octet]), 0, [])


def keep_cookie(text: str) -> object:
    jar = CookieJar()
    jar.store("http://a.example/", [text, f"a=b; Domain={text}"], 0.0)
    return jar.field_for("http://a.example/", 0.0)


def route(text: str) -> object:
    return TREE.search(text)


def make_tree() -> PatternTree:
    tree = PatternTree()
    for path in ("/{a}/{b}/x", "/{a}/{rest:path}", "/a/{b}/{c:int}", "/{rest:path}"):
        tree.place_of(parse_pattern(path))
    return tree


TREE = make_tree()
HOME = tempfile.gettempdir()

PARSERS: dict[str, tuple[Work, list[str]]] = {
    "parameters": (parse_parameters, ["form-data; a=", "b*", *PUNCTUATION]),
    "boundary": (parse_boundary, ["multipart/form-data; boundary=", *PUNCTUATION]),
    "part": (read_part, ["filename*=utf-8''", *PUNCTUATION]),
    "parts": (
        read_parts,
        ["\r\n--b\r\n", "A: b\r\n", "\r\n\r\n", "--", "-", *PUNCTUATION],
    ),
    "filename*": (decode_extended, ["utf-8''", "'", "%4", "%41", "%", "a", "-"]),
    "filename": (make_safe, ["/", "\\", ".", " ", "con", "\u0301", "a", "\u2028"]),
    "charset": (find_charset, ["utf", "-", "8", "iso", "a", "_"]),
    "urlencoded": (
        lambda text: parse_urlencoded(text, 1_000_000),
        ["a", "=", "&", "%", "%4", "%41", "+", ";"],
    ),
    "cookie": (lambda text: find_cookie(text, "b"), PUNCTUATION),
    "set_cookie": (lambda text: serialize_set_cookie("a", text), PUNCTUATION),
    "domain": (
        lambda text: serialize_set_cookie("a", "b", domain=text),
        ["a", "-", ".", "a.", "-a", "0"],
    ),
    "x-forwarded-for": (
        forward("x-forwarded-for"),
        ["1.1.1.1", ":", "[", *PUNCTUATION],
    ),
    "forwarded": (forward("forwarded"), ["for=1.1.1.1", '\\"', *PUNCTUATION]),
    "ranges": (
        lambda text: decide_ranges("bytes=" + text, 10_000),
        ["0-0", "0-", "-1", ",", "-", "0", "1", " ", "9-1"],
    ),
    "etags": (parse_etags, ['"a"', 'W/"a"', '"', ",", " ", "W/", "\\"]),
    "accept": (
        lambda text: choose_media_type(text, ("text/plain", "application/json")),
        ["a/b", ";q=0.5", ";q=", "/", "*", *PUNCTUATION],
    ),
    "accept-encoding": (
        lambda text: choose_coding(text, ("br", "gzip")),
        ["gzip", ";q=0.5", ";q=", "*", *PUNCTUATION],
    ),
    "codings": (lambda text: ContentDecoder(parse_codings(text)), ["gzip", ",", " "]),
    "http date": (
        lambda text: parse_http_date(text, 0.0),
        ["Sun", ", ", "06", "Nov", "1994", ":", " ", "GMT", "-"],
    ),
    "media type": (guess_media_type, [".", "/", "a", "txt"]),
    "event stream": (
        lambda text: EventStreamParser().feed(octets(text)),
        ["data:", "id:", "\n", "\r", "\r\n", ":", "a", "event: b"],
    ),
    "event": (serialize_event, ["\n", "\r", "\r\n", "a"]),
    "request line": (
        read_head,
        ["GET ", "/", "a", "?", "%41", "HTTP/1.1", " ", "\r\n"],
    ),
    "absolute form": (
        lambda text: read_head(f"GET http://{text}"),
        ["a", ".", ":", "[", "]", "@", "/", "%41", "::", "1.1.1.1"],
    ),
    "host": (
        lambda text: read_fields(f"Host: {text}\r\n\r\n"),
        ["a", ".", ":", "[", "]", "%41", "%", "::", "0:", "1.1.1.1", "v1."],
    ),
    "fields": (
        read_fields,
        ["A: b\r\n", "a", ":", "\r\n", "\r", "\n", " ", "\t", "Connection: close, "],
    ),
    "lists": (
        lambda text: read_fields(f"Connection: {text}\r\nExpect: {text}\r\n\r\n"),
        ["close", "keep-alive", "100-continue", ",", " ", "a", "upgrade"],
    ),
    "response": (
        read_response,
        ["A: b\r\n", "a", ":", "\r\n", " ", "Keep-Alive: timeout=5, ", "\n", "\r"],
    ),
    "chunks": (
        read_chunks,
        ["1\r\na\r\n", "0\r\n", "A: b\r\n", ";a", '="', "\\", '"', "\r", "1", "\t"],
    ),
    "chunks, octet by octet": (
        read_chunks_one_by_one,
        ["1\r\na\r\n", "0\r\n", "A: b\r\n", ";a", '="', "\\", '"', "\r", "1", "\t"],
    ),
    "proxy header": (
        lambda text: parse_proxy_header(octets(text)),
        ["PROXY TCP4 ", "1.1.1.1 ", "PROXY ", "UNKNOWN", " ", "1", "\r", "\r\n", "::"],
    ),
    "proxy header, version 2": (
        lambda text: parse_proxy_header(
            b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff" + octets(text), 100_000
        ),
        ["\0", "\x01", "\x01\0\0", "\x01\0\x01a", "a"],
    ),
    "field": (lambda text: serialize_field("A", text), [*PUNCTUATION, "\x80"]),
    "url": (
        parse_url,
        ["http://", "a", ".", ":", "@", "/", "?", "#", "[", "]", "%", "é", ".."],
    ),
    "location": (
        lambda text: resolve_location("http://a/b/c", text),
        ["//", "a", "..", "/", "?", "#", "../", "%41", ":", "."],
    ),
    "cookie date": (
        parse_cookie_date,
        ["01:02:03", "1", "Jan", "2020", " ", ":", "-", "x", "99"],
    ),
    "cookie received": (
        parse_set_cookie,
        ["a=b", "; Path=/", "; Domain=a", "; Expires=1", "; Max-Age=1", *PUNCTUATION],
    ),
    "cookie kept": (keep_cookie, ["a", ".", "a.", "example", *PUNCTUATION]),
    "digest": (
        lambda text: choose_digest(["Digest " + text]),
        ["realm=", '"a"', "Digest ", "nonce=", "qop=auth", *PUNCTUATION],
    ),
    "proxy": (parse_proxy, ["http://", "a", "@", ":", "[", "]", "/", "%41", "."]),
    "path": (route, ["/", "a", "//", "/a", "1", "."]),
    "file": (
        lambda text: open_file(HOME, text),
        ["/", "a", "..", ".", "//", "\\", "%2e", "\0"],
    ),
}


@pytest.mark.parametrize("name", PARSERS)
def test_what_reads_a_peers_text_takes_linear_time(name: str) -> None:
    work, tokens = PARSERS[name]
    attack = find_attack(work, tokens, most_attacks=60)
    assert attack is None, f"{name}: slow for {attack!r}"
