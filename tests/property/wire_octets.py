"""Octets of requests, for the laws of the wire room: good ones, and nearly good.

A nearly good stream is a good one with a few edits out of ``NASTY``: what
parsers have been seen to disagree about. Purely random octets would be refused
in the first line each time.
"""

import itertools

from hypothesis import strategies as st

TCHAR = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
VCHAR = "".join(map(chr, range(0x21, 0x7F)))
OBS_TEXT = "".join(map(chr, range(0x80, 0x100)))

NASTY = [
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\r\r\n", b"\n\r", b"\0", b"\t"),
    *(b" ", b"  ", b":", b",", b";", b"=", b'"', b"\\", b"/", b"#", b"?", b"@", b"%"),
    *(b"\x0b", b"\x0c", b"\x1f", b"\x7f", b"\x80", b"\x85", b"\xa0", b"\xff", b"("),
    *(b"0", b"5", b"a", b"g", b"+", b"-", b"_", b"x", b"[", b"]", b"::", b"*", b"1.0"),
    *(b"HTTP/1.0", b"HTTP/1.2", b"http://", b"CONNECT ", b"OPTIONS ", b"HEAD "),
    *(b"Host: h\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Connection: close\r\n", b"Expect: 100-continue\r\n", b"Upgrade: x\r\n"),
    *(b"chunked", b", chunked", b"gzip, ", b"0\r\n\r\n", b"5\r\nhello\r\n", b";a=b"),
    *(b" \r\n", b"\r\n ", b"A: b\r\n", b"A:\r\n b\r\n", b"A : b\r\n", b';a="b"'),
]

tokens = st.text(TCHAR, min_size=1, max_size=20)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
paths = st.text(VCHAR.replace("#", "").replace("?", ""), max_size=20).map("/".__add__)
queries = st.text(VCHAR.replace("#", ""), max_size=20).map("?".__add__)
targets = st.builds(str.__add__, paths, st.just("") | queries)
hosts = st.sampled_from(["h", "h.example:80", "[::1]:8080", "10.0.0.1", "h:"])
values = st.text(VCHAR + OBS_TEXT + " \t", max_size=20)
DECIDING = {"host", "content-length", "transfer-encoding", "connection", "expect"}
DECIDING |= {"upgrade"}
names = tokens.filter(lambda name: name.lower() not in DECIDING)
fields = st.tuples(names, values)
contents = st.binary(max_size=40)


def join_head(line: str, head_fields: list[tuple[str, str]]) -> bytes:
    lines = [line, *(f"{name}: {value}" for name, value in head_fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@st.composite
def framed_contents(draw: st.DrawFn) -> tuple[list[tuple[str, str]], bytes]:
    """Framing fields, and the octets of some content framed by them."""
    content = draw(contents)
    kind = draw(st.sampled_from(["none", "length", "chunked"]))
    if kind == "none":
        return [], b""
    if kind == "length":
        return [("Content-Length", str(len(content)))], content
    return [("Transfer-Encoding", "chunked")], draw(chunked(content))


@st.composite
def chunked(draw: st.DrawFn, content: bytes) -> bytes:
    """``content`` in chunks of any size, with extensions and trailers."""
    octets = b""
    extensions = st.sampled_from([b"", b"", b";a", b";a=b", b' ; a="x;\\"y"'])
    while content:
        size = draw(st.integers(1, len(content)))
        line = draw(st.sampled_from([b"%x", b"%X", b"0%x"])) % size
        octets += line + draw(extensions) + b"\r\n" + content[:size] + b"\r\n"
        content = content[size:]
    trailers = draw(st.lists(fields, max_size=2))
    return octets + b"0" + draw(extensions) + join_head("", trailers)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A good request."""
    framing, content = draw(framed_contents())
    rest = draw(st.lists(fields, max_size=3))
    head_fields = [("Host", draw(hosts)), *framing, *rest]
    line = f"{draw(methods)} {draw(targets)} HTTP/1.1"
    return join_head(line, draw(st.permutations(head_fields))) + content


streams = st.lists(requests(), min_size=1, max_size=3).map(b"".join)


@st.composite
def nearly_good(draw: st.DrawFn) -> bytes:
    """A good stream after one to three edits."""
    octets = draw(streams)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(octets)))
        cut = draw(st.sampled_from([0, 0, 1, 2]))
        octets = octets[:at] + draw(st.sampled_from([b"", *NASTY])) + octets[at + cut :]
    return octets


@st.composite
def in_pieces(draw: st.DrawFn, octets: bytes) -> list[bytes]:
    """The same octets, cut anywhere."""
    cuts = draw(st.lists(st.integers(0, len(octets)), max_size=6))
    bounds = [0, *sorted(cuts), len(octets)]
    return [octets[a:b] for a, b in itertools.pairwise(bounds)]
