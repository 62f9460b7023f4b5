"""We read nothing that a strict peer refuses, and read it as the peer does.

h11 and httptools (llhttp) see the same octets, good and nearly good. What we
take for a whole request, each peer must take for the same one: method, target,
fields, content. That is how requests are smuggled: two readers of one stream
who disagree. The other way round we are free to refuse more, and do.

``KNOWN`` lists where a peer is stricter than the RFC lets us be.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import h11
import httptools
import pytest
from hypothesis import assume, given, settings

from tests.property.wire_octets import nearly_good, requests
from tests.wire.feeding import Message, read_messages

pytestmark = pytest.mark.slow
# The same examples in every run: a new difference is found when this file is
# run with more of them, not by whoever happens to run the tests.
thorough = settings(max_examples=200, deadline=None, derandomize=True)


@dataclass(frozen=True)
class Seen:
    """The first request of a stream, as one reader took it."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    content: bytes
    is_whole: bool


def see_ourselves(message: Message) -> Seen:
    head = message.head
    return Seen(
        head.method.encode(),
        head.target.encode(),
        tuple((n.encode(), v.encode("latin-1")) for n, v in head.headers.pairs),
        message.content,
        message.is_whole,
    )


def see_with_h11(octets: bytes) -> Seen | None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=65_536)
    connection.receive_data(octets)
    try:
        request = connection.next_event()
        if not isinstance(request, h11.Request):
            return None
        content = b""
        while isinstance(event := connection.next_event(), h11.Data):
            content += event.data
    except h11.RemoteProtocolError:
        return None
    fields = tuple((bytes(name), bytes(value)) for name, value in request.headers)
    is_whole = isinstance(event, h11.EndOfMessage)
    return Seen(request.method, request.target, fields, content, is_whole)


class HttptoolsRequest:
    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.content = b""
        self.is_whole = False
        self.has_head = False
        self.method = b""
        self.parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        if not self.has_head:
            self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.has_head:
            self.fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        if not self.has_head:
            self.method = self.parser.get_method()
        self.has_head = True

    def on_body(self, body: bytes) -> None:
        if not self.is_whole:
            self.content += body

    def on_message_complete(self) -> None:
        self.is_whole = True


def see_with_httptools(octets: bytes) -> Seen | None:
    request = HttptoolsRequest()
    try:
        request.parser.feed_data(octets)
    except httptools.HttpParserUpgrade:
        return None
    except httptools.HttpParserError:
        if not request.is_whole:
            return None
    return Seen(
        request.method,
        request.target,
        tuple(request.fields),
        request.content,
        request.is_whole,
    )


KNOWN: dict[str, tuple[re.Pattern[bytes], str]] = {
    "h11: an empty line before the request line": (
        re.compile(rb"\A\r\n"),
        "RFC 9112 section 2.2: at least one SHOULD be ignored",
    ),
    "both: whitespace around the ; or = of a chunk extension": (
        re.compile(rb"\r\n[0-9A-Fa-f]++[^\r]*[ \t]"),
        "RFC 9112 section 7.1.1, RFC 9110 section 5.6.3: BWS MUST be parsed",
    ),
    "httptools: HTAB after chunked": (
        re.compile(rb"(?i)\r\ntransfer-encoding:[^\r]*\t"),
        "RFC 9112 section 5: whitespace around a value is SP or HTAB",
    ),
    "httptools: a method that is not in its list": (
        re.compile(rb"\A(?!(?:\r\n)*+(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) )"),
        "RFC 9110 section 16.1: methods are an open set",
    ),
    "httptools: a minor version above 1": (
        re.compile(rb"\A(?:\r\n)*+[^\r]*+(?<=HTTP/1\.[2-9])\r\n"),
        "RFC 9110 section 2.5: it SHOULD be processed as the highest known one",
    ),
    "httptools: an offer to upgrade, with which it stops": (
        re.compile(rb"(?i)\r\nupgrade:"),
        "RFC 9110 section 7.8: a server MAY ignore it, and then reads the content",
    ),
}
"""What a peer refuses though we may not, and why we may not."""


def compare(octets: bytes, see: Callable[[bytes], Seen | None]) -> None:
    messages = read_messages([octets]).messages
    assume(messages and messages[0].is_whole)
    peer = see(octets)
    if peer is None:
        assume(not any(known.search(octets) for known, _ in KNOWN.values()))
    ours = see_ourselves(messages[0])
    assert ours == (peer and replace(peer, fields=fields_to_compare(peer, ours)))


def fields_to_compare(peer: Seen, ours: Seen) -> tuple[tuple[bytes, bytes], ...]:
    """Ours has the Host of an absolute-form target (RFC 9112 section 3.2.2)."""
    if ours.target.startswith((b"/", b"*")):
        return peer.fields
    ours_host = [field for field in ours.fields if field[0] == b"host"]
    return tuple(ours_host[0] if f[0] == b"host" else f for f in peer.fields)


@thorough
@given(requests() | nearly_good())
def test_h11_reads_what_we_read(octets: bytes) -> None:
    compare(octets, see_with_h11)


@thorough
@given(requests() | nearly_good())
def test_httptools_reads_what_we_read(octets: bytes) -> None:
    compare(octets, see_with_httptools)
