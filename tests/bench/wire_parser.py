"""What a head and a chunk cost: ``python -m tests.bench.wire_parser``.

Microseconds of one core, the best of many short rounds, for our parser and its
differential peers. ``kept`` is a client that repeats itself; ``lines`` one with
a field of its own (a Cookie) among lines that were seen; ``unseen`` one whose
every line is new. The peers are given what a server needs of them: lower-case
names, the split target and whether the connection persists.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from timeit import repeat
from urllib.parse import urlsplit

import h11
import httptools

from blazeio.limits import Limits
from blazeio.wire.chunked import ChunkDecoder
from blazeio.wire.grammar import cached_lines
from blazeio.wire.heads import cached_directives, cached_sections
from blazeio.wire.request import parse_head

LIMITS = Limits()
ONE_FIELD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n"
LOAD_TOOL = (
    b"GET /json HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nConnection: Keep-Alive\r\n\r\n"
)
BROWSER = (
    b"GET /app/main.js?v=3 HTTP/1.1\r\n"
    b"Host: www.example.com\r\n"
    b"Connection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="128", "Not;A=Brand";v="24"\r\n'
    b"sec-ch-ua-mobile: ?0\r\n"
    b'sec-ch-ua-platform: "Linux"\r\n'
    b"Upgrade-Insecure-Requests: 1\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 "
    b"(KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,"
    b"image/webp,*/*;q=0.8\r\n"
    b"Sec-Fetch-Site: none\r\n"
    b"Sec-Fetch-Mode: navigate\r\n"
    b"Sec-Fetch-Dest: document\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\n"
    b"Accept-Language: en-US,en;q=0.9\r\n\r\n"
)
COOKIE = BROWSER[:-2] + b"Cookie: session=0123456789abcdef; theme=dark\r\n\r\n"
HEADS = {
    "1 field": ONE_FIELD,
    "2 fields": LOAD_TOOL,
    "13 fields": BROWSER,
    "13 fields and a cookie": COOKIE,
}
CONTENTS = {
    "a message of one 100-octet chunk": b"64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n",
    "a message of one 64 KiB chunk": b"10000\r\n" + b"x" * 65_536 + b"\r\n0\r\n\r\n",
    "1,000 chunks of one octet": b"1\r\nx\r\n" * 1_000 + b"0\r\n\r\n",
}


class HttptoolsPeer:
    """The callbacks that a server cannot do without."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.headers: list[tuple[bytes, bytes]] = []
        self.url = b""

    def on_message_begin(self) -> None:
        self.headers = []

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self.parser
        self.method = parser.get_method()
        self.version = parser.get_http_version()
        self.is_persistent = parser.should_keep_alive()
        url = httptools.parse_url(self.url)
        self.path, self.query = url.path, url.query


def parse_with_h11(octets: bytes) -> None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(octets)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    urlsplit(request.target)


def parse(octets: bytes) -> None:
    parse_head(octets, LIMITS)


def parse_unseen(octets: bytes) -> None:
    cached_lines.clear()
    cached_sections.clear()
    cached_directives.clear()
    parse_head(octets, LIMITS)


def parse_beside_a_stranger(junk: Iterator[int], octets: bytes) -> None:
    """One who sends endless distinct lines, and one who repeats himself."""
    parse_head(b"GET / HTTP/1.1\r\nHost: h%d\r\n\r\n" % next(junk), LIMITS)
    parse_head(octets, LIMITS)


def decode(octets: bytes) -> None:
    decoder = ChunkDecoder(LIMITS)
    decoder.decode(octets, 0, [])
    assert decoder.is_complete


def best_us(
    call: Callable[[bytes], object], octets: bytes, rounds: int, calls: int = 500
) -> float:
    """The best round: what others did to this core meanwhile is left out."""

    def one_round() -> None:
        for _ in range(calls):
            call(octets)

    return min(repeat(one_round, number=1, repeat=rounds)) / calls * 1e6


def measure(rounds: int) -> Iterator[tuple[str, str, float]]:
    """Rows of what is parsed, by whom, and microseconds."""
    peer = HttptoolsPeer()
    junk = count()
    for name, head in HEADS.items():
        parse(head)
        kept = "ours, lines" if head is COOKIE else "ours, kept"
        yield name, kept, best_us(parse, head, rounds)
        yield name, "ours, unseen", best_us(parse_unseen, head, rounds)
        yield name, "httptools", best_us(peer.parser.feed_data, head, rounds)
        yield name, "h11", best_us(parse_with_h11, head, rounds // 5, 100)
        beside = partial(parse_beside_a_stranger, junk)
        yield name, "ours, and a stranger's unseen field", best_us(beside, head, rounds)
    for name, octets in CONTENTS.items():
        yield name, "ours", best_us(decode, octets, rounds, 20)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args(arguments)
    for parsed, by, each_us in measure(options.rounds):
        print(f"{parsed:34} {by:38} {each_us:8.2f} us")


if __name__ == "__main__":
    main()
