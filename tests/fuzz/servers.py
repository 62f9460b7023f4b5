"""Random octets from servers, to each decoder of our client and to all of it.

    python -m tests.fuzz.servers --seconds 600

Each input is what servers send, cut, spliced and repeated at random by a seed.
Whatever comes: nothing is raised but the documented error, a stream means the same
however it was cut, what we would send back is well-formed and within its bound, and
no input takes much more time than its octets.
"""

import asyncio
import gzip
import json
import random
import re
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import blazeio as io
from blazeio.client.auth import choose_digest, explain_refusal
from blazeio.client.connect import _Answer
from blazeio.client.cookies import MOST_SENT_BYTES, CookieJar
from blazeio.client.request import resolve_location
from blazeio.client.url import (
    Proxy,
    parse_proxy,
    parse_url,
    read_host,
    read_proxy_rules,
)
from blazeio.content.codings import (
    FREE_BYTES,
    MOST_GROWTH,
    PIECE_BYTES,
    ContentDecoder,
    br,
    encode_once,
    parse_codings,
)
from blazeio.content.field_values import parse_retry_after
from blazeio.content.forms import read_json
from blazeio.content.parsers import EventStreamParser, ServerSentEvent
from blazeio.errors import (
    ConfigurationError,
    ContentDecodingError,
    InvalidUrl,
    LocalProtocolError,
    ProxyError,
    RedirectError,
    RemoteProtocolError,
)
from blazeio.limits import Limits
from blazeio.wire.chunked import ChunkDecoder
from blazeio.wire.headers import serialize_field
from blazeio.wire.heads import cached_response_heads, parse_response_head
from tests.fuzz import runner
from tests.support.clock import scaled

LIMITS = Limits()
URL = "https://www.a.example/dir/page?q#part"
LONGEST_BYTES = 40_000
SLOWEST_S = 1.0
"""Of one input; the usual one takes less than a millisecond."""
NOW = 1_700_000_000.0

_PIECES = (
    b"\r\n", b"\n", b"\r", b"\0", b"\xff", b" ", b"\t", b";", b",", b"=", b'"',
    b"\\", b":", b"//", b"@", b"%", b"%00", b"[", b"]", b".", b"..", b"\xc3\x9f",
    b"\xef\xbb\xbf", b"0", b"99999999999999999999", b"-1", b"chunked", b"gzip",
    b"\x1f\x8b\x08", b"\r\n\r\n", b"\r\n ",
)  # fmt: skip


def mutate(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Change one of the seeds."""
    return runner.change(chance.choice(seeds), chance, seeds, _PIECES, LONGEST_BYTES)


# The decoders


def read_head(octets: bytes, chance: random.Random) -> None:
    """Heads of responses, interim ones too."""
    cached_response_heads.clear()
    try:
        whole = parse_response_head(octets, LIMITS)
    except RemoteProtocolError:
        return
    if whole is None:
        return
    assert 100 <= whole.status <= 999
    assert not re.search(r"[\r\n\0]", f"{whole.headers.pairs}{whole.reason}")
    cached_response_heads.clear()
    have, scanned = b"", 0
    for piece in runner.cut(octets[: whole.size], chance):
        have += piece
        head = parse_response_head(have, LIMITS, scanned) if have else None
        if head is not None:
            assert head.headers.pairs == whole.headers.pairs
            return
        scanned = max(len(have) - 3, 0)
    raise AssertionError("whole it is a head, and in pieces it is none")


def read_chunks(octets: bytes, chance: random.Random) -> None:
    """Chunked content, with trailers."""

    def decode(pieces: list[bytes]) -> object:
        decoder, content = ChunkDecoder(LIMITS, unfolds=True), list[bytes]()
        try:
            for piece in pieces:
                decoder.decode(piece, 0, content)
        except RemoteProtocolError:
            return None  # what came before depends on the cut
        trailers = decoder.trailers and decoder.trailers.pairs
        return b"".join(content), decoder.is_complete, trailers

    assert decode([octets]) == decode(runner.cut(octets, chance))


def undo_codings(octets: bytes, chance: random.Random) -> None:
    """Content codings, one or two of them."""
    names = chance.choice(("gzip", "deflate", "br", "zstd", "gzip, br", "zstd, gzip"))
    decoder = ContentDecoder(parse_codings(names), ignores_rest=chance.random() < 0.5)
    given = 0
    try:
        for piece in runner.cut(octets, chance):
            for decoded in decoder.decode(piece):
                assert len(decoded) <= PIECE_BYTES
                given += len(decoded)
        decoder.finish()
    except ContentDecodingError:
        pass
    assert given <= max(FREE_BYTES, len(octets) * MOST_GROWTH)


def keep_cookies(octets: bytes, chance: random.Random) -> None:
    """Set-Cookie fields, and what is sent back."""
    jar = CookieJar()
    fields = [str(each, "latin-1") for each in octets.split(b"\n")]
    jar.store(URL, fields, NOW)
    field = jar.field_for(chance.choice((URL, "http://a.example/")), NOW) or ""
    assert len(field) <= MOST_SENT_BYTES
    serialize_field("Cookie", field)
    host = "www.a.example"
    for cookie in jar:
        assert cookie.domain == host or host.endswith(f".{cookie.domain}")
        assert "." in cookie.domain


def follow(octets: bytes, chance: random.Random) -> None:
    """Location fields, URLs, hosts and proxies."""
    text = str(octets, "latin-1")
    try:
        assert parse_url(resolve_location(URL, text)).text.isascii()
    except RedirectError:
        pass
    for reading in (text, octets.decode(errors="replace")):
        try:
            asked = parse_url(reading)
        except (InvalidUrl, LocalProtocolError):
            continue
        assert asked.request_start.count(b"\r\n") == 2
        assert re.fullmatch(
            rb" /[!-~]* HTTP/1\.1\r\nHost: [!-~]+\r\n", asked.request_start
        )
        assert parse_url(asked.text).text == asked.text
    try:
        host = read_host(text)
    except ValueError:
        pass
    else:
        assert read_host(host) == host
    try:
        parse_proxy(text)
        read_proxy_rules({"http_proxy": text, "no_proxy": text})
    except (ConfigurationError, LocalProtocolError):
        pass


def read_events(octets: bytes, chance: random.Random) -> None:
    """Streams of events."""

    def read(pieces: list[bytes]) -> list[ServerSentEvent] | None:
        parser = EventStreamParser(event_bytes=5000)
        try:
            events = [event for piece in pieces for event in parser.feed(piece)]
        except RemoteProtocolError:
            return None
        assert parser.retry_s is None or 0 <= parser.retry_s < 1_000_000
        return events

    whole, parts = read([octets]), read(runner.cut(octets, chance))
    assert whole == parts


def answer_challenge(octets: bytes, chance: random.Random) -> None:
    """Digest challenges, Retry-After, and what proxies answer to CONNECT."""
    text = re.sub(r"[\r\n\0]", "", str(octets, "latin-1"))
    challenge = choose_digest([text])
    explain_refusal([text])
    if challenge is not None:
        told = challenge.answer("\xfc", 'p"', "GET", "/x", cnonce="c")
        if re.fullmatch(r"[\t -~\x80-\xff]*", told):
            serialize_field("Authorization", told)
        assert len(told) < 30_000
    seconds = parse_retry_after(text, NOW)
    assert seconds is None or seconds >= 0
    answer = _Answer(Proxy("http", "a", 1), "b:443", LIMITS)
    try:
        for piece in runner.cut(octets, chance):
            if answer.feed(piece):
                break
    except ProxyError:
        pass


def read_text(octets: bytes, chance: random.Random) -> None:
    """JSON."""
    try:
        read_json(octets)
    except ValueError:
        pass


class Target(NamedTuple):
    """A decoder, and what it is to be given."""

    decode: Callable[[bytes, random.Random], None]
    seeds: list[bytes]


_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nSet-Cookie: a=1; Path=/\r\n"
    b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n"
)
_TEXT = json.dumps({"a": [1, 2.5, None, "\xfc"], "b": {"c": True}}).encode() * 3
_CHUNKS = b'5;x=y\r\nhello\r\n1;q="a\\"b"\r\n!\r\n0\r\nX-Sum: 1\r\n 2\r\n\r\n'
_EVENTS = b"retry: 10\nid: 7\nevent: e\ndata: a\ndata: b\n\n: note\r\ndata\r\n\r\n"
_GZIPPED = gzip.compress(_TEXT, mtime=0)
_LENGTH = b"Content-Length: %d\r\n\r\n%b"

TARGETS = {
    "heads": Target(
        read_head,
        [
            _HEAD + b"Content-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + _HEAD + b"\r\n",
            b"HTTP/1.0 999\r\nX: a\r\n b\r\n\tc\r\n\r\n",
        ],
    ),
    "chunks": Target(read_chunks, [_CHUNKS, b"0\r\n\r\n", b"a" * 3 + b"\r\n"]),
    "codings": Target(
        undo_codings,
        [
            _GZIPPED,
            gzip.compress(b"", mtime=0),
            zlib.compress(_TEXT),
            br(_TEXT),
            encode_once("zstd", _TEXT),
            gzip.compress(br(bytes(10_000)), mtime=0),
            gzip.compress(bytes(300_000), mtime=0),
        ],
    ),
    "cookies": Target(
        keep_cookies,
        [
            b"a=1; Domain=a.example; Path=/; Secure; HttpOnly; SameSite=Lax",
            b"__Host-b=2; Secure; Path=/\nc=3; Domain=.example\nd=4; Domain=example.",
            b"e=5; Max-Age=99999999999; Expires=Wed, 21 Oct 2065 07:28:00 GMT",
        ],
    ),
    "locations": Target(
        follow,
        [
            b"http://user:secret@b.example:80/x?y#z",
            b"//b.example/../x",
            b"https://[fe80::1%25eth0]:8443/",
            "https://stra\xdfe.de./\xfc".encode(),
            b"//127.1/",
            b"//0x7f.0.0.1/",
            b"?q",
        ],
    ),
    "events": Target(read_events, [_EVENTS, b"\xef\xbb\xbfdata: x\r\rdata: y\r\n\r\n"]),
    "challenges": Target(
        answer_challenge,
        [
            b'Digest realm="a, \\"b\\"", nonce="n", qop="auth,auth-int", algorithm=MD5',
            b'Basic realm="x", Digest realm=r, nonce=n, opaque="o", userhash=true',
            b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 407 No\r\n\r\n",
            b"Fri, 31 Dec 1999 23:59:59 GMT",
        ],
    ),
    "texts": Target(read_text, [_TEXT, b"[[[{}]]]", b"\xef\xbb\xbf[1]", b'"\\u00fc"']),
}


def fuzz(name: str, seconds: float, seed: int) -> int:
    """Give random inputs to one decoder: see ``runner.try_inputs``."""
    decode, seeds = TARGETS[name]
    return runner.try_inputs(
        name,
        decode,
        lambda chance: mutate(seeds, chance),
        seconds=seconds,
        seed=seed,
        slowest_s=SLOWEST_S,
    )


# All of the client


_RESPONSES = [
    _HEAD + _LENGTH % (5, b"hello"),
    _HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + _CHUNKS,
    _HEAD + b"Content-Encoding: gzip\r\n" + _LENGTH % (len(_GZIPPED), _GZIPPED),
    b"HTTP/1.1 302 Found\r\nLocation: http://b.example/x\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 401 Who\r\nContent-Length: 0\r\n"
    b'WWW-Authenticate: Digest realm="r", nonce="n"\r\n\r\n',
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + _EVENTS,
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/9\r\n"
    + _LENGTH % (5, b"hello"),
]


async def converse(seconds: float, seed: int) -> int:
    """Ask a server that answers with random octets, and read what comes.

    Everything goes to a unix socket, whatever host a Location names.

    Returns:
        How many requests there were.
    """
    chance = random.Random(seed)
    sent = b""

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal sent
        try:
            await reader.readuntil(b"\r\n\r\n")
            seeds = _RESPONSES
            sent = mutate(seeds, chance)
            for piece in runner.cut(sent, chance):
                writer.write(piece)
                await asyncio.sleep(0)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "socket")
        server = await asyncio.start_unix_server(answer, path)
        count = 0
        async with (
            server,
            io.Session(
                unix=path,
                compress=True,
                cookie_jar=io.CookieJar(),
                follow_redirects=True,
                max_redirects=3,
                timeouts=io.Timeouts(total_s=scaled(5)),
                auth=io.DigestAuth("me", "x"),
            ) as session,
        ):
            ends_at = time.monotonic() + seconds
            while time.monotonic() < ends_at or not count:
                count += 1
                try:
                    await _read(session, chance, Path(folder) / "file")
                except io.RequestTimeout as error:
                    message = f"seed {seed}, request {count}: {sent!r}"
                    raise AssertionError(message) from error
                except io.RequestError:
                    pass
                except Exception as error:
                    message = f"seed {seed}, request {count}: {sent!r}"
                    raise AssertionError(message) from error
    return count


async def _read(
    session: "io.Session[io.Session[object]]", chance: random.Random, path: Path
) -> None:
    async with session.get("http://a.example/x") as resp:
        assert 200 <= resp.status_code <= 999
        _ = resp.cookies, resp.content_coding, resp.trailers
        match chance.randrange(5):
            case 0:
                await resp.aread()
            case 1:
                await resp.json()
            case 2:
                async for _ in resp.events():
                    pass
            case 3:
                async for _ in resp.decoded():
                    pass
            case _:
                await resp.text()


def main() -> None:
    """Fuzz each for its share of the time; the first finding ends it."""
    runner.run("tests.fuzz.servers", TARGETS, fuzz, converse)


if __name__ == "__main__":
    main()
