"""Sections are those of PEP 3333."""

import asyncio
import io
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateways.apps import GET, wsgi
from tests.support.clock import wait_until
from tests.support.peer import UnexpectedEndError

TEXT = [("Content-Type", "text/plain")]


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)
    return [b"hello"]


def echo(environ: Any, start_response: Any) -> list[bytes]:
    content = environ["wsgi.input"].read()
    start_response("200 OK", TEXT)
    return [content]


class Closable:
    """An iterable that counts its ends."""

    def __init__(self, *parts: Any) -> None:
        self.parts = iter(parts)
        self.given = 0
        self.closed = 0

    def __iter__(self) -> "Closable":
        return self

    def __next__(self) -> Any:
        part = next(self.parts)
        self.given += 1
        if isinstance(part, BaseException):
            raise part
        return part

    def close(self) -> None:
        self.closed += 1


async def test_an_app_answers_and_the_connection_goes_on() -> None:
    async with wsgi(hello) as site, await site.connect() as peer:
        for _ in range(2):
            await peer.send(GET)
            answer = await peer.read_response()
            assert (answer.status, answer.body) == (200, b"hello")
            assert answer.field("content-length") == "5"


async def test_the_server_says_what_it_is() -> None:
    """Section "environ Variables"."""
    seen: dict[str, Any] = {}

    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen.update(environ)
        return hello(environ, start_response)

    async with wsgi(app, threads=2) as site:
        await site.get("/x?y")
    assert seen["wsgi.version"] == (1, 0)
    assert seen["wsgi.url_scheme"] == "http"
    assert seen["wsgi.multithread"] is True
    assert seen["wsgi.multiprocess"] is False
    assert seen["wsgi.run_once"] is False
    assert seen["wsgi.input_terminated"] is True
    assert seen["wsgi.errors"] is sys.stderr
    assert (seen["PATH_INFO"], seen["QUERY_STRING"]) == ("/x", "y")


async def test_one_thread_is_no_multithread() -> None:
    seen: list[bool] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(environ["wsgi.multithread"])
        return hello(environ, start_response)

    async with wsgi(app, threads=1) as site:
        await site.get("/")
    assert seen == [False]


# Input


@pytest.mark.parametrize("size", [1, 1000, 200_000])
@pytest.mark.parametrize("is_chunked", [True, False])
async def test_a_body_is_read_to_its_end(size: int, is_chunked: bool) -> None:
    """Section "Input and Error Streams"."""
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    if is_chunked:
        framed = b"%x\r\n%b\r\n0\r\n\r\n" % (size, content)
        field = b"Transfer-Encoding: chunked"
    else:
        framed, field = content, b"Content-Length: %d" % size
    async with wsgi(echo) as site, await site.connect() as peer:
        for _ in range(2):
            head = b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % field
            await peer.send(head + framed)
            assert (await peer.read_response()).body == content


async def test_a_body_is_read_as_it_arrives() -> None:
    lines: list[bytes] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        lines.extend(environ["wsgi.input"])
        return hello(environ, start_response)

    async with wsgi(app) as site, await site.connect() as peer:
        await peer.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"6\r\none\ntw\r\n"
        )
        await wait_until(lambda: lines == [b"one\n"])
        await peer.send(b"1\r\no\r\n0\r\n\r\n")
        await peer.read_response()
    assert lines == [b"one\n", b"two"]


async def test_continue_leaves_at_the_first_read() -> None:
    """RFC 9110 section 10.1.1."""
    reads = threading.Event()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        reads.wait(5)
        return echo(environ, start_response)

    async with wsgi(app) as site, await site.connect() as peer:
        await peer.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        await wait_until(lambda: site.server.in_flight)
        assert peer.octets == b""
        reads.set()
        assert (await peer.read_response()).status == 100
        await peer.send(b"ab")
        assert (await peer.read_response()).body == b"ab"


async def test_a_client_that_sends_slowly_holds_no_thread() -> None:
    async with (
        wsgi(echo, threads=1) as site,
        await site.connect() as slow,
        await site.connect() as fast,
    ):
        await slow.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
        await wait_until(lambda: site.server.in_flight)
        await fast.send(GET)
        assert (await fast.read_response()).status == 200
        await slow.send(b"b")
        assert (await slow.read_response()).body == b"ab"


async def test_a_body_that_breaks_off_is_an_error_and_never_short(
    caplog: pytest.LogCaptureFixture,
) -> None:
    raised: list[BaseException] = []
    reads = threading.Event()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read(1)
            reads.set()
            environ["wsgi.input"].read()
        except OSError as error:
            raised.append(error)
            raise
        return hello(environ, start_response)

    async with wsgi(app) as site, await site.connect() as peer:
        await peer.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1\r\na\r\n"
        )
        await wait_until(reads.is_set)
        peer.close()
        await wait_until(lambda: raised)
        await wait_until(lambda: not site.server.in_flight)
    assert not caplog.records


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"Content-Length: 7\r\n\r\n1234567", 413),
    ],
)
async def test_a_body_that_is_refused_is_answered_by_the_server(
    octets: bytes, status: int
) -> None:
    async with wsgi(echo, content_bytes=6) as site, await site.connect() as peer:
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + octets)
        assert (await peer.read_response()).status == status


# Response


def yields(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", TEXT)  # late: in the iterable
    yield b""
    yield b"one"
    yield b"two"


def writes(environ: Any, start_response: Any) -> list[bytes]:
    write = start_response("200 OK", TEXT)
    write(b"one")
    write(b"t")
    return [b"wo"]


def declares(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "6")])
    return iter([b"onetwo"])


def replaces(environ: Any, start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [("X-A", "1")])
    try:
        raise ValueError
    except ValueError:
        start_response("200 OK", TEXT, sys.exc_info())
    return [b"one", b"two"]


@pytest.mark.parametrize("app", [yields, writes, declares, replaces])
async def test_a_response_comes_in_any_of_the_ways(app: Any) -> None:
    """Sections "The start_response() Callable", "The write() Callable"."""
    async with wsgi(app) as site, await site.connect() as peer:
        for _ in range(2):
            await peer.send(GET)
            answer = await peer.read_response()
            assert (answer.status, answer.body) == (200, b"onetwo")
            assert answer.field("x-a") is None


@pytest.mark.parametrize("parts", [(), (b"",)])
async def test_an_empty_response_is_one(parts: tuple[bytes, ...]) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        return list(parts)

    async with wsgi(app) as site:
        answer = await site.get("/")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.field("content-length") == "0"


async def test_each_part_leaves_before_the_next_one_is_asked_for() -> None:
    """Section "Buffering and Streaming"."""
    goes_on = threading.Event()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield b"one"
        assert goes_on.wait(5)
        yield b"two"

    async with wsgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        octets = b""
        while b"one" not in octets:
            octets += await peer.read_some()
        goes_on.set()
        while not octets.endswith(b"\r\n0\r\n\r\n"):
            octets += await peer.read_some()
    assert octets.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_the_thread_sleeps_while_the_client_does_not_read() -> None:
    parts = Closable(*[b"x" * 100_000] * 200)

    def app(environ: Any, start_response: Any) -> Closable:
        start_response("200 OK", TEXT)
        return parts

    async with wsgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        await wait_until(lambda: parts.given > 1)
        given = -1
        while given != parts.given:  # until it stands still
            given = parts.given
            await asyncio.sleep(0.05)
        assert given < 200
        octets = b""
        while not octets.endswith(b"\r\n0\r\n\r\n"):
            octets = octets[-8:] + await peer.read_some()
        await wait_until(lambda: parts.closed)
    assert (parts.given, parts.closed) == (200, 1)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "304 Not Modified"])
async def test_an_iterable_is_closed_once_whatever_is_answered(
    method: str, status: str
) -> None:
    parts = Closable(b"one", b"two")

    def app(environ: Any, start_response: Any) -> Closable:
        start_response(status, TEXT)
        return parts

    async with wsgi(app) as site, await site.connect() as peer:
        await peer.send(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        answer = await peer.read_response(method=method)
        has_content = (method, status) == ("GET", "200 OK")
        assert answer.body == (b"onetwo" if has_content else b"")
        await wait_until(lambda: parts.closed)
        await peer.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        await peer.read_response(method="HEAD")
    assert parts.closed == 2  # once a request


async def test_a_client_that_is_gone_ends_the_iteration_and_closes() -> None:
    parts = Closable(*[b"x" * 100_000] * 10_000)

    def app(environ: Any, start_response: Any) -> Closable:
        start_response("200 OK", TEXT)
        return parts

    async with wsgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        await wait_until(lambda: parts.given > 1)
        peer.reset()
        await wait_until(lambda: parts.closed)
        await wait_until(lambda: not site.server.in_flight)
    assert parts.given < 10_000
    assert parts.closed == 1


async def test_a_client_that_is_gone_ends_an_iteration_of_nothing() -> None:
    has_begun, has_ended = threading.Event(), threading.Event()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        try:
            for _ in range(2000):
                has_begun.set()
                time.sleep(0.005)
                yield b""
        except GeneratorExit:
            has_ended.set()
            raise

    async with wsgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        await wait_until(has_begun.is_set)
        peer.reset()
        await wait_until(has_ended.is_set)


async def test_work_in_close_holds_up_nothing() -> None:
    goes_on = threading.Event()
    closed: list[int] = []

    class Slow(Closable):
        def close(self) -> None:
            goes_on.wait(5)
            closed.append(1)

    def app(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/":
            return hello(environ, start_response)
        start_response("200 OK", [("Content-Length", "3")])
        return Slow(b"one")

    async with wsgi(app) as site, await site.connect() as peer:
        await peer.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
        assert (await peer.read_response()).body == b"one"
        assert (await peer.read_response()).body == b"hello"
        await wait_until(lambda: site.server.in_flight == 1)
        goes_on.set()
        await wait_until(lambda: not site.server.in_flight)
    assert closed == [1]


async def test_a_file_is_sent_whole_and_closed(tmp_path: Path) -> None:
    """Section "Optional Platform-Specific File Handling"."""
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 4000)
    files: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", TEXT)
        file = path.open("rb")
        file.read(2)
        files.append(file)
        return environ["wsgi.file_wrapper"](file, 1000)

    async with wsgi(app) as site, await site.connect() as peer:
        for method in ("GET", "HEAD"):
            await peer.send(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            answer = await peer.read_response(method=method)
            assert answer.field("content-length") == str(256 * 4000 - 2)
        await wait_until(lambda: all(file.closed for file in files))
    assert len(files) == 2


async def test_a_file_without_a_descriptor_is_read() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", TEXT)
        return environ["wsgi.file_wrapper"](io.BytesIO(b"abc" * 1000), 1000)

    async with wsgi(app) as site:
        assert (await site.get("/")).body == b"abc" * 1000


def open_in_memory(path: Path) -> io.BytesIO:
    return io.BytesIO(path.read_bytes())


@pytest.mark.parametrize("make", [lambda path: path.open("rb"), open_in_memory])
async def test_a_file_ends_where_its_content_length_says(
    make: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 10)

    def app(environ: Any, start_response: Any) -> Any:
        file = make(path)
        file.seek(5)
        start_response("206 Partial Content", [("Content-Length", "13")])
        return environ["wsgi.file_wrapper"](file, 10)

    async with wsgi(app) as site, await site.connect() as peer:
        for _ in range(2):
            await peer.send(GET)
            assert (await peer.read_response()).body == b"5678901234567"


# Faults


def raises(environ: Any, start_response: Any) -> list[bytes]:
    raise ValueError("secret")


def never_starts(environ: Any, start_response: Any) -> list[bytes]:
    return [b"one"]


def starts_twice(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    start_response("200 OK", [])
    return []


def is_too_long(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "2")])
    return [b"one"]


def is_too_short(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "9")])
    return [b"one"]


def gives_text(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    return ["one"]


def gives_nothing(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])


def writes_a_field(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("X-A", "1\r\nSet-Cookie: b")])
    return []


def fails_before_the_first_part(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    raise ValueError("secret")
    yield b""


@pytest.mark.parametrize(
    "app",
    [
        raises,
        never_starts,
        starts_twice,
        is_too_long,
        is_too_short,
        gives_text,
        gives_nothing,
        writes_a_field,
        fails_before_the_first_part,
    ],
)
async def test_a_fault_before_the_first_octet_is_500(
    app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with wsgi(app) as site, await site.connect() as peer:
        for _ in range(2):
            await peer.send(GET)
            answer = await peer.read_response()
            assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert len(caplog.records) == 2
    assert {record.name for record in caplog.records} == {"blazeio.app"}


@pytest.mark.parametrize("length", [None, 3, 9])
async def test_a_fault_after_it_cuts_the_connection(
    length: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    parts = Closable(b"o", ValueError("secret"))

    def app(environ: Any, start_response: Any) -> Closable:
        declared = [] if length is None else [("Content-Length", str(length))]
        start_response("200 OK", declared)
        return parts

    async with wsgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        with pytest.raises((ConnectionResetError, UnexpectedEndError)):
            await peer.read_response()
        await wait_until(lambda: not site.server.in_flight)
    assert parts.closed == 1
    assert len(caplog.records) == 1


async def test_more_than_the_declared_length_never_leaves() -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "3")])
        yield b"one"
        yield b"two"

    async with wsgi(app) as site, await site.connect() as peer:
        for _ in range(2):
            await peer.send(GET)
            assert (await peer.read_response()).body == b"one"
