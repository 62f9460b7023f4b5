"""Ways of an app that are rare: sections are those of PEP 3333."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from blazeio.gateways.gateway import ClientLost
from tests.gateways.apps import GET, wsgi
from tests.support.clock import wait_until

TEXT = [("Content-Type", "text/plain")]
CONTENT = b"one\ntwo\n\nthree" + b"x" * 100_000


def read_in_turns(file: Any) -> bytes:
    return b"".join(iter(lambda: file.read(7), b""))


def read_lines_in_parts(file: Any) -> bytes:
    return b"".join(iter(lambda: file.readline(3), b""))


def read_mixed(file: Any) -> bytes:
    first = file.readline() + file.read(2) + next(file)
    return bytes(first + b"".join(file.readlines(1)) + file.read())


@pytest.mark.parametrize("is_chunked", [True, False])
@pytest.mark.parametrize(
    "read",
    [
        lambda file: file.read(),
        lambda file: file.read(-1) + file.read(),
        lambda file: b"".join(file),
        lambda file: b"".join(file.readlines()),
        read_in_turns,
        read_lines_in_parts,
        read_mixed,
    ],
)
async def test_a_body_is_read_in_any_of_the_ways(
    read: Callable[[Any], bytes], is_chunked: bool
) -> None:
    """Section "Input and Error Streams"; its end is an end, whatever the framing."""
    after: list[bytes] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        file = environ["wsgi.input"]
        content = read(file)
        after.extend([file.read(), file.readline(), *file])
        start_response("200 OK", TEXT)
        return [content]

    if is_chunked:
        framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(CONTENT), CONTENT)
        field = b"Transfer-Encoding: chunked"
    else:
        framed, field = CONTENT, b"Content-Length: %d" % len(CONTENT)
    async with wsgi(app) as site, await site.connect() as peer:
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % field + framed)
        assert (await peer.read_response()).body == CONTENT
    assert after == [b"", b""]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_an_app_that_does_not_read_sends_no_continue(version: str) -> None:
    """RFC 9110 section 10.1.1."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        return [b"unread"]

    async with wsgi(app) as site, await site.connect() as peer:
        await peer.send(
            f"POST / HTTP/{version}\r\nHost: a\r\nContent-Length: 2\r\n"
            "Expect: 100-continue\r\n\r\n".encode()
        )
        assert (await peer.read_response()).status == 200


async def test_http_1_0_is_never_told_to_continue() -> None:
    """RFC 9110 section 10.1.1."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        content = environ["wsgi.input"].read()
        start_response("200 OK", TEXT)
        return [content]

    async with wsgi(app) as site, await site.connect() as peer:
        await peer.send(
            b"POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nab"
        )
        answer = await peer.read_response()
        assert (answer.status, answer.body) == (200, b"ab")


class Fails:
    """An iterable that fails at one step, and counts its ends."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        if self.at == "iter":
            raise ValueError("at the beginning")
        if self.at == "first":
            raise ValueError("at the first part")
        return self._parts()

    def _parts(self) -> Iterator[bytes]:
        yield b"one"
        if self.at == "second":
            raise ValueError("at the second part")
        yield "text" if self.at == "type" else b"two"  # type: ignore[misc]

    def close(self) -> None:
        self.closed += 1
        if self.at == "close":
            raise ValueError("at the end")


@pytest.mark.parametrize("at", ["iter", "first", "second", "type", "head", "close"])
async def test_close_is_called_once_whatever_fails(at: str) -> None:
    """Section "Specification Details": also if the request ends early by an error."""
    parts = Fails(at)

    def app(environ: Any, start_response: Any) -> Fails:
        if at != "head":
            start_response("200 OK", TEXT)
        return parts

    async with wsgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        octets = await peer.read_some()
        has_begun = at in ("second", "type", "close")
        assert octets.startswith(b"HTTP/1.1 " + (b"200" if has_begun else b"500"))
        await wait_until(lambda: parts.closed)
        await wait_until(lambda: not site.server.in_flight)
    assert parts.closed == 1


async def test_a_client_that_a_proxy_names_and_fields_as_they_may_be() -> None:
    """Section "environ Variables"; a name with an underscore poses as no other."""
    seen: dict[str, Any] = {}

    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", TEXT)
        return []

    trusted = {"forwarded_allow_ips": "127.0.0.1"}
    async with wsgi(app, **trusted) as site, await site.connect() as peer:
        await peer.send(
            b"GET /%C3%A9?q=%C3%A9 HTTP/1.1\r\nHost: a\r\nCookie: a=1\r\n"
            b"Cookie: b=2\r\nX-A: 1\r\nX-A: 2\r\nX_A: 3\r\nX_Forwarded_For: ::2\r\n"
            b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\r\n"
        )
        assert (await peer.read_response()).status == 200
    assert seen["PATH_INFO"] == "/\xc3\xa9"
    assert seen["QUERY_STRING"] == "q=%C3%A9"
    assert (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"]) == ("192.0.2.1", "https")
    assert (seen["HTTP_COOKIE"], seen["HTTP_X_A"]) == ("a=1; b=2", "1,2")
    assert seen["HTTP_X_FORWARDED_FOR"] == "192.0.2.1"


class Mark:
    """Something that is held by whatever holds the environ."""


def answer_whole(file: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)
    return [file.read()]


def answer_in_parts(file: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield from file


def answer_by_write(file: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)(file.read())
    return []


@pytest.mark.parametrize("is_large", [True, False])
@pytest.mark.parametrize("answer", [answer_whole, answer_in_parts, answer_by_write])
async def test_a_request_that_is_over_needs_no_collector(
    answer: Callable[[Any, Any], Any], is_large: bool
) -> None:
    """Its environ, with a body of up to 64 KiB, goes with it."""
    marks: list[weakref.ref[Mark]] = []
    content = CONTENT if is_large else b"small"

    def app(environ: Any, start_response: Any) -> Any:
        environ["test.mark"] = mark = Mark()
        marks.append(weakref.ref(mark))
        return answer(environ["wsgi.input"], start_response)

    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(content)
    gc.disable()
    try:
        async with wsgi(app) as site, await site.connect() as peer:
            await peer.send(post + content)
            await peer.read_response()
            await wait_until(lambda: marks[0]() is None)
    finally:
        gc.enable()


async def test_after_the_end_nothing_is_read_or_written() -> None:
    """What the app has kept of a request is told that it is over."""
    kept: list[Any] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", TEXT)
        kept.extend([environ["wsgi.input"].read, lambda: write(b"late")])
        return [b"hello"]

    size = len(CONTENT)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
    async with wsgi(app) as site, await site.connect() as peer:
        await peer.send(head + CONTENT[:10])
        assert (await peer.read_response()).body == b"hello"
        for late in kept:
            with pytest.raises(ClientLost, match="over"):
                await asyncio.to_thread(late)
