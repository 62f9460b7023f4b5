"""What servers get wrong, each with the error that a caller sees, and in time.

The table is of whole conversations: exact octets from a real socket. A deadline
of ``TIMEOUTS`` is what ends those that never end by themselves.
"""

import asyncio
import ssl
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import blazeio as io
from blazeio import errors
from tests.support.clock import scaled, wait_until, within
from tests.support.raw_server import RawServer, Script, Visitor
from tests.support.tls_peer import Certificates

DEADLINE_S = 0.1
OK = b"HTTP/1.1 200 OK\r\n"
ANSWER = OK + b"Content-Length: 2\r\n\r\nok"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def answered(*pieces: bytes, then: str = "wait") -> Script:
    """A server that answers with these octets, then waits, closes or resets."""

    async def script(visitor: Visitor) -> None:
        while await visitor.read_request() is not None:
            for piece in pieces:
                await visitor.send(piece)
            if then == "reset":
                await asyncio.sleep(0)
                visitor.reset()
            if then != "wait":
                return

    return script


def dribbled(start: bytes, octets: bytes) -> Script:
    """A server that goes on for ever, a little at a time."""

    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(start)
        while True:
            await visitor.send(octets)
            await asyncio.sleep(scaled(DEADLINE_S) / 5)

    return script


def flooded(octets: bytes) -> Script:
    """A server that goes on for ever, as fast as it can."""

    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        while True:
            await visitor.send(octets * 500)

    return script


INVALID = errors.InvalidResponse
GONE = errors.ServerDisconnected

HEADS: dict[str, tuple[bytes | Script, type[Exception], str]] = {
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", INVALID, "SSH-2.0"),
    "a status line that is none": (b"HELLO\r\n\r\n", INVALID, "HELLO"),
    "binary": (bytes(range(256)) * 4, INVALID, ""),
    "HTTP/0.9": (b"<html>hello</html>", INVALID, "<html>"),
    "TLS": (b"\x15\x03\x01\x00\x02\x02\x46", INVALID, ""),
    "version 2": (b"HTTP/2 200 OK\r\n\r\n", INVALID, "HTTP/2"),
    "version 3.0": (b"HTTP/3.0 200 OK\r\n\r\n", INVALID, "HTTP/3.0"),
    "a version in small letters": (b"http/1.1 200 OK\r\n\r\n", INVALID, ""),
    "a status of two digits": (b"HTTP/1.1 20 OK\r\n\r\n", INVALID, ""),
    "a status of four": (b"HTTP/1.1 2000 OK\r\n\r\n", INVALID, ""),
    "a status that is not a number": (b"HTTP/1.1 abc OK\r\n\r\n", INVALID, ""),
    "a status below 100": (b"HTTP/1.1 099 OK\r\n\r\n", INVALID, ""),
    "a bare CR in the reason": (b"HTTP/1.1 200 O\rK\r\n\r\n", INVALID, ""),
    "bare LF": (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", INVALID, ""),
    "obs-fold before any field": (OK + b" X: a\r\n\r\n", INVALID, "obs-fold"),
    "a folded length": (OK + b"Content-Length: 1\r\n 2\r\n\r\n", INVALID, "decimal"),
    "a space before the colon": (OK + b"X : a\r\n\r\n", INVALID, ""),
    "a field without a name": (OK + b": a\r\n\r\n", INVALID, ""),
    "a field without a colon": (OK + b"X\r\n\r\n", INVALID, ""),
    "a bad name": (OK + b"X(y): a\r\n\r\n", INVALID, ""),
    "NUL in a value": (OK + b"X: a\0b\r\n\r\n", INVALID, ""),
    "a bare CR in a value": (OK + b"X: a\rb\r\n\r\n", INVALID, ""),
    "too many fields": (OK + b"X: a\r\n" * 1000 + b"\r\n", INVALID, ""),
    "a field that is too long": (OK + b"X: " + b"a" * 100_000, INVALID, ""),
    "a head without end": (flooded(b"X: a\r\n"), INVALID, ""),
    "interim responses without end": (
        flooded(b"HTTP/1.1 100 Continue\r\n\r\n"),
        INVALID,
        "interim",
    ),
    "101 unasked": (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
        b"Upgrade: x\r\n\r\n",
        INVALID,
        "101",
    ),
    "silence": (answered(), errors.HeadTimeout, "did not begin to answer"),
    "half a head, then silence": (answered(OK), errors.HeadTimeout, ""),
    "a head that dribbles": (dribbled(OK, b"X: a\r\n"), errors.HeadTimeout, ""),
    "interim responses that dribble": (
        dribbled(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        errors.HeadTimeout,
        "",
    ),
    "a close before the answer": (answered(then="close"), GONE, "no response"),
    "a reset before the answer": (answered(then="reset"), GONE, ""),
    "a close within the head": (answered(OK, then="close"), GONE, "within the head"),
    "a reset within the head": (answered(OK, then="reset"), GONE, ""),
    "a close after an interim response": (
        answered(b"HTTP/1.1 100 Continue\r\n\r\n", then="close"),
        GONE,
        "",
    ),
}
LENGTHS = {
    "two lengths that differ": b"Content-Length: 2\r\nContent-Length: 3\r\n",
    "two lengths in one": b"Content-Length: 2, 3\r\n",
    "a negative length": b"Content-Length: -1\r\n",
    "a length with a sign": b"Content-Length: +2\r\n",
    "a length in hexadecimal": b"Content-Length: 0x2\r\n",
    "a length of 30 digits": b"Content-Length: " + b"9" * 30 + b"\r\n",
    "no length": b"Content-Length: \r\n",
    "a length and chunks": b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
    "another transfer coding": b"Transfer-Encoding: gzip\r\n",
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n",
    "chunked, not last": b"Transfer-Encoding: chunked, gzip\r\n",
}
CONTENTS: dict[str, tuple[bytes | Script, type[Exception], str]] = {
    "a chunk size that is none": (CHUNKED + b"xyz\r\nabc\r\n", INVALID, "xyz"),
    "a negative chunk size": (CHUNKED + b"-1\r\n", INVALID, ""),
    "a chunk size with 0x": (CHUNKED + b"0x2\r\nab\r\n", INVALID, ""),
    "a chunk size that is too large": (CHUNKED + b"f" * 17 + b"\r\n", INVALID, ""),
    "a chunk line of bare LF": (CHUNKED + b"2\nab\n0\n\n", INVALID, ""),
    "a chunk that goes on": (CHUNKED + b"2\r\nabc\r\n", INVALID, ""),
    "a chunk extension without end": (CHUNKED + b"2;" + b"a" * 70_000, INVALID, ""),
    "trailers without end": (CHUNKED + b"0\r\n" + b"X: a\r\n" * 20_000, INVALID, ""),
    "a bad trailer": (CHUNKED + b"0\r\nX : a\r\n\r\n", INVALID, ""),
    "a close within a chunk": (answered(CHUNKED + b"5\r\nab", then="close"), GONE, ""),
    "a reset within a chunk": (answered(CHUNKED + b"5\r\nab", then="reset"), GONE, ""),
    "a close between chunks": (
        answered(CHUNKED + b"2\r\nab\r\n", then="close"),
        GONE,
        "last chunk",
    ),
    "a close before the trailers end": (
        answered(CHUNKED + b"0\r\nX: a\r\n", then="close"),
        GONE,
        "",
    ),
    "a close before the length": (
        answered(OK + b"Content-Length: 5\r\n\r\nab", then="close"),
        GONE,
        "3 octets before the end",
    ),
    "a reset where a close would end it": (
        answered(OK + b"\r\nab", then="reset"),
        GONE,
        "",
    ),
    "content that stops": (
        answered(OK + b"Content-Length: 5\r\n\r\nab"),
        errors.ReadTimeout,
        "sent nothing for",
    ),
    "chunks that stop": (answered(CHUNKED + b"2\r\nab\r\n"), errors.ReadTimeout, ""),
    "content that dribbles": (
        dribbled(OK + b"Content-Length: 999999\r\n\r\n", b"a"),
        errors.TotalTimeout,
        "took longer than",
    ),
}


def encoded(coding: bytes, content: bytes) -> bytes:
    return OK + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        coding,
        len(content),
        content,
    )


def gzip_bomb() -> bytes:
    compressor = zlib.compressobj(9, wbits=31)
    zeros = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(17))
    return zeros + compressor.flush()


GZIPPED = zlib.compress(b"<p>hello</p>" * 100, wbits=31)
CODINGS: dict[str, tuple[bytes, type[Exception], str]] = {
    "what is not gzip": (
        encoded(b"gzip", b"hello"),
        errors.ContentDecodingError,
        "gzip",
    ),
    "what is not br": (encoded(b"br", b"\xff" * 9), errors.ContentDecodingError, "br"),
    "gzip cut short": (
        encoded(b"gzip", GZIPPED[:-9]),
        errors.ContentDecodingError,
        "ends",
    ),
    "gzip with a wrong checksum": (
        encoded(b"gzip", GZIPPED[:-8] + bytes(8)),
        errors.ContentDecodingError,
        "",
    ),
    "octets after gzip": (
        encoded(b"gzip", GZIPPED + b"garbage" * 9),
        errors.ContentDecodingError,
        "",
    ),
    "six codings": (
        encoded(b"gzip," * 6, b"x"),
        errors.ContentDecodingError,
        "5 codings",
    ),
    "a bomb": (
        encoded(b"gzip", gzip_bomb()),
        errors.DecompressionBombError,
        "stand for more",
    ),
}


def redirected(location: bytes) -> bytes:
    return b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n" % location


REDIRECTS: dict[str, tuple[bytes, type[Exception], str]] = {
    "a redirect to itself": (redirected(b"/"), errors.TooManyRedirects, "10"),
    "to a file": (redirected(b"file:///etc/passwd"), errors.RedirectError, "file:"),
    "to a script": (redirected(b"javascript:alert(1)"), errors.RedirectError, ""),
    "to no host": (redirected(b"//:80/"), errors.RedirectError, ""),
    "to a bad port": (redirected(b"http://a.example:99999/"), errors.RedirectError, ""),
    "with a password": (redirected(b"http://a:b@a.example/"), errors.RedirectError, ""),
}


TIMEOUTS = io.Timeouts(
    connect_s=5, head_s=scaled(DEADLINE_S), read_s=scaled(DEADLINE_S)
)


async def ask(server: RawServer, **options: Any) -> bytes:
    """The whole content of a GET, decoded."""
    async with (
        io.Session(timeouts=options.pop("timeouts", TIMEOUTS)) as session,
        session.get(server.url, **options) as resp,
    ):
        return await resp.aread()


async def check(
    script: Script | bytes, kind: type[Exception], said: str, **options: Any
) -> None:
    """The error is of its kind, says what is wrong, and comes in time."""
    async with RawServer(script) as server:
        with pytest.raises(kind) as caught:
            await within(ask(server, **options))
    assert type(caught.value) is kind
    assert said in str(caught.value)


@pytest.mark.parametrize(("script", "kind", "said"), HEADS.values(), ids=HEADS)
async def test_a_wrong_head(
    script: bytes | Script, kind: type[Exception], said: str
) -> None:
    await check(script, kind, said)


@pytest.mark.parametrize("lines", LENGTHS.values(), ids=LENGTHS)
async def test_a_framing_that_two_could_read_in_two_ways(lines: bytes) -> None:
    await check(OK + lines + b"\r\n0\r\n\r\n", INVALID, "")


@pytest.mark.parametrize(("script", "kind", "said"), CONTENTS.values(), ids=CONTENTS)
async def test_wrong_content(
    script: bytes | Script, kind: type[Exception], said: str
) -> None:
    total_s = scaled(DEADLINE_S * 2) if kind is errors.TotalTimeout else None
    timeouts = io.Timeouts(read_s=TIMEOUTS.read_s, total_s=total_s)
    await check(script, kind, said, timeouts=timeouts)


@pytest.mark.parametrize(("octets", "kind", "said"), CODINGS.values(), ids=CODINGS)
async def test_a_wrong_content_coding(
    octets: bytes, kind: type[Exception], said: str
) -> None:
    await check(octets, kind, said)


async def test_a_bomb_that_streams_is_refused() -> None:
    async with (
        RawServer(encoded(b"gzip", gzip_bomb())) as server,
        io.Session(server.url) as resp,
    ):
        with pytest.raises(errors.DecompressionBombError, match="stand for more"):
            async for _ in resp.decoded():
                pass


@pytest.mark.parametrize(("octets", "kind", "said"), REDIRECTS.values(), ids=REDIRECTS)
async def test_a_wrong_redirect(
    octets: bytes, kind: type[Exception], said: str
) -> None:
    await check(octets, kind, said, follow_redirects=True)


async def test_a_cookie_for_a_foreign_domain_is_not_kept() -> None:
    jar = io.CookieJar()
    octets = OK + b"Set-Cookie: a=1; Domain=b.example\r\nContent-Length: 0\r\n\r\n"
    async with (
        RawServer(octets) as server,
        io.Session(cookie_jar=jar) as session,
        session.get(server.url),
    ):
        assert list(jar) == []


# What is wrong beside a response that is right: it is given, the connection is not
# used again.

STRAY = {
    "octets after its length": ANSWER + b"more",
    "a second response": ANSWER + ANSWER,
    "content after 204": b"HTTP/1.1 204 No Content\r\n\r\nstray",
    "octets after the last chunk": CHUNKED + b"0\r\n\r\nstray",
}


@pytest.mark.parametrize("octets", STRAY.values(), ids=STRAY)
async def test_octets_that_nobody_asked_for_are_given_to_nobody(octets: bytes) -> None:
    async with RawServer(octets) as server, io.Session() as session:
        for _ in range(2):
            async with session.get(server.url) as resp:
                assert await resp.aread() in (b"ok", b"")
        assert server.connections == 2


async def test_an_answer_before_its_question_is_given_to_nobody() -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(ANSWER)
        await visitor.send(ANSWER.replace(b"ok", b"no"))
        await visitor.read_until_end()

    async with RawServer(script) as server, io.Session() as session:
        async with session.get(server.url) as resp:
            assert await resp.text() == "ok"
        await wait_until(lambda: "idle" not in repr(session))
        async with session.get(server.url) as resp:
            assert await resp.text() == "ok"


# A connection that ends while it is idle, or with the next request on its way


def closing_after(answers: int, *, resets: bool = False) -> Script:
    async def script(visitor: Visitor) -> None:
        for _ in range(answers):
            await visitor.read_request()
            await visitor.send(ANSWER)
        if visitor.number == 0:
            await visitor.read_request()
            if resets:
                visitor.reset()
            return
        await visitor.read_until_end()

    return script


@pytest.mark.parametrize("resets", [False, True])
async def test_a_get_is_asked_again_where_a_used_connection_ends(resets: bool) -> None:
    async with (
        RawServer(closing_after(1, resets=resets)) as server,
        io.Session() as session,
    ):
        for _ in range(2):
            async with session.get(server.url) as resp:
                assert await resp.text() == "ok"
    assert (len(server.requests), server.connections) == (3, 2)


@pytest.mark.parametrize("resets", [False, True])
async def test_a_post_is_not_asked_again(resets: bool) -> None:
    async with (
        RawServer(closing_after(1, resets=resets)) as server,
        io.Session() as session,
    ):
        async with session.get(server.url) as resp:
            await resp.aread()
        with pytest.raises(GONE):
            await session.post(server.url, body=b"x").__aenter__()
    assert len(server.requests) == 2


# TLS

HOST = "localhost"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def expired(certificates: Certificates) -> ssl.SSLContext:
    cert = certificates.authority.issue_cert(
        HOST, not_after=datetime(2020, 1, 1, tzinfo=UTC)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    return context


def stranger(folder: Path) -> ssl.SSLContext:
    folder.mkdir()
    return Certificates(folder).server_context(HOST)


async def ask_by_tls(certificates: Certificates, url: str, **spans: float) -> bytes:
    tls = io.ClientTls(ca_file=certificates.ca_file)
    timeouts = io.Timeouts(**spans) if spans else TIMEOUTS
    async with io.Session(url, tls=tls, timeouts=timeouts) as resp:
        return await resp.aread()


async def check_tls(
    certificates: Certificates, context: ssl.SSLContext, said: str
) -> None:
    async with RawServer(ANSWER, context, HOST) as server:
        with pytest.raises(errors.TlsError) as caught:
            await within(ask_by_tls(certificates, server.url), 5)
    assert said in str(caught.value)


async def test_a_certificate_for_another_host(certificates: Certificates) -> None:
    context = certificates.server_context("other.example")
    await check_tls(certificates, context, "Hostname mismatch")


async def test_a_certificate_by_a_stranger(
    certificates: Certificates, tmp_path: Path
) -> None:
    await check_tls(certificates, stranger(tmp_path / "ca"), "not to be trusted")


async def test_a_certificate_that_has_expired(certificates: Certificates) -> None:
    await check_tls(certificates, expired(certificates), "expired")


async def test_a_server_that_speaks_no_tls(certificates: Certificates) -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await visitor.read_until_end()

    async with RawServer(script) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(errors.TlsError):
            await within(ask_by_tls(certificates, url), 5)


async def test_a_handshake_that_never_ends(certificates: Certificates) -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_until_end()

    async with RawServer(script) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(errors.ConnectTimeout):
            await within(ask_by_tls(certificates, url, connect_s=scaled(DEADLINE_S)), 5)


async def test_a_response_that_is_cut_without_a_closure_alert(
    certificates: Certificates,
) -> None:
    """What ends with the connection might have been cut by whoever is between."""

    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(OK + b"Content-Length: 9\r\n\r\ncut")
        visitor.reset()

    context = certificates.server_context(HOST)
    async with RawServer(script, context, HOST) as server:
        with pytest.raises(GONE):
            await within(ask_by_tls(certificates, server.url), 5)


async def test_nobody_there() -> None:
    async with RawServer(ANSWER) as server:
        pass
    with pytest.raises(errors.ConnectError, match=r"127\.0\.0\.1"):
        await ask(server)


async def test_a_name_that_is_none() -> None:
    with pytest.raises(errors.ResolveError):
        await io.Session("http://nobody.invalid/").__aenter__()
