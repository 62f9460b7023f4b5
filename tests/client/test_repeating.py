"""What is asked once more where the server closes before its response is whole."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import blazeio as io
from blazeio.errors import InvalidArgument
from tests.client.scripts import ANNOUNCED, CHUNKED, OK, ask, breaking_off, reply
from tests.support.raw_server import RawServer, Script, Visitor
from tests.support.tls_peer import NAME, Certificates

JSON = b'{"a": "' + b"b" * 1000 + b'"}'
ZIPPED = gzip.compress(JSON)


def chunked(content: bytes, *fields: bytes) -> bytes:
    lines = b"".join(each + b"\r\n" for each in fields)
    half = len(content) // 2
    pieces = (content[:half], content[half:], b"")
    return (
        CHUNKED
        + lines
        + b"\r\n"
        + b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in pieces)
    )


WHOLE = {
    "length": reply(JSON),
    "length, 1.0": reply(JSON).replace(b"1.1", b"1.0", 1),
    "length, gzip": reply(ZIPPED, "Content-Encoding: gzip"),
    "chunked": chunked(JSON),
    "chunked, gzip": chunked(ZIPPED, b"Content-Encoding: gzip"),
    "chunked, 404": chunked(JSON).replace(b"200 OK", b"404 No"),
    "tagged": reply(JSON, 'ETag: "a"', "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT"),
}
ENDINGS = ("close", "reset", "cut_off")
"""FIN, RST, and a FIN that over TLS is not the server's."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


class World:
    """A server of a script, plain or over TLS, and sessions that trust it."""

    def __init__(self, certificates: Certificates, *, is_tls: bool) -> None:
        self._certificates = certificates
        self._is_tls = is_tls

    def serve(self, script: Script) -> RawServer:
        if not self._is_tls:
            return RawServer(script)
        return RawServer(script, self._certificates.server_context(NAME), NAME)

    def session(self) -> "io.Session[io.Session[Any]]":
        return io.Session(tls=io.ClientTls(ca_file=self._certificates.ca_file))


@pytest.fixture(params=["plain", "tls"])
def world(request: pytest.FixtureRequest, certificates: Certificates) -> World:
    return World(certificates, is_tls=request.param == "tls")


# Before the head is whole


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "octets",
    [b"", b"H", OK[:20], OK[:-3], b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1"],
)
async def test_a_head_that_breaks_off_is_asked_for_once_more(
    world: World, octets: bytes, ending: str, kept: bool
) -> None:
    script = breaking_off(octets, ending=ending, kept=kept)
    async with world.serve(script) as server, world.session() as session:
        if kept:
            async with session.get(server.url) as resp:
                await resp.aread()
        async with session.get(server.url + "/x") as resp:
            assert (await resp.text(), resp.interims) == ("ok", [])
    assert [each.split()[1] for each in server.requests] == [b"/"] * kept + [b"/x"] * 2
    assert server.connections == 2


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_so_is_that_of_any_idempotent_method(method: str) -> None:
    body = {"body": b"abc"} if method == "PUT" else {}
    async with (
        RawServer(breaking_off(OK[:20])) as server,
        io.Session() as session,
        session.request(method, server.url, **body) as resp,  # type: ignore[arg-type]
    ):
        assert resp.status_code == 200
    assert len(server.requests) == 2
    assert server.requests[0] == server.requests[1]


@pytest.mark.parametrize("octets", [b"", OK[:20]])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PURGE"])
async def test_what_may_do_harm_is_asked_once(method: str, octets: bytes) -> None:
    async with RawServer(breaking_off(octets)) as server, io.Session() as session:
        with pytest.raises(io.ServerDisconnected):
            await session.request(method, server.url)
    assert len(server.requests) == 1


async def test_a_head_that_breaks_off_twice_is_an_error() -> None:
    script = breaking_off(OK[:20], OK[:30])
    async with RawServer(script) as server, io.Session() as session:
        with pytest.raises(io.ServerDisconnected, match="within the head"):
            await session.get(server.url)
    assert len(server.requests) == 2


async def test_what_is_written_by_hand_is_never_sent_again() -> None:
    async with (
        RawServer(breaking_off(OK[:20])) as server,
        io.Session() as session,
        session.put(server.url, headers=ANNOUNCED) as resp,
    ):
        await resp.write(b"abc")
        await resp.eof()
        with pytest.raises(io.ServerDisconnected):
            await resp.prepare()
    assert len(server.requests) == 1


# Content that is collected whole


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", WHOLE)
async def test_content_that_breaks_off_is_asked_for_once_more(
    world: World, kind: str, ending: str
) -> None:
    octets = WHOLE[kind]
    script = breaking_off(octets[:-3], ending=ending, after=octets)
    async with world.serve(script) as server, world.session() as session:
        async with session.get(server.url, compress=True) as resp:
            assert await resp.json() == {"a": "b" * 1000}
            assert await resp.aread() == JSON
            assert resp.current_length == resp.content.received_bytes > 0
        assert repr(session).endswith(
            ": 1 idle>>" if kind != "length, 1.0" else "<Pool empty>>"
        )
    assert (len(server.requests), server.connections) == (2, 2)
    assert server.requests[0] == server.requests[1]


Collect = Callable[[io.ClientResponse], Awaitable[object]]
COLLECT: dict[str, Collect] = {
    "aread": lambda resp: resp.aread(),
    "read": lambda resp: resp.read(),
    "text": lambda resp: resp.text(),
    "json": lambda resp: resp.json(),
    "data": lambda resp: resp.data(),
}


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
@pytest.mark.parametrize("at", [-len(JSON), -len(JSON) + 1, -1])
@pytest.mark.parametrize("how", COLLECT)
async def test_whatever_collects_it_starts_over(how: str, at: int, method: str) -> None:
    script = breaking_off(reply(JSON)[:at], after=reply(JSON))
    async with RawServer(script) as server, io.Session() as session:
        resp = await session.request(method, server.url)
        assert await COLLECT[how](resp) in (JSON, JSON.decode(), {"a": "b" * 1000})
    assert len(server.requests) == 2


async def test_content_up_to_the_close_starts_over_after_a_reset() -> None:
    octets = b"HTTP/1.0 200 OK\r\n\r\nok"
    is_answered = asyncio.Event()

    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(octets[:-1] if visitor.number == 0 else octets)
        if visitor.number == 0:
            await is_answered.wait()
            visitor.reset()

    async with (
        RawServer(script) as server,
        io.Session() as session,
        session.get(server.url) as resp,
    ):
        is_answered.set()
        assert await resp.text() == "ok"
    assert len(server.requests) == 2


async def test_the_response_is_the_second_one_then() -> None:
    whole = chunked(JSON, b"Second: yes")
    half = reply(ZIPPED, "Content-Encoding: gzip")[:-1]
    async with (
        RawServer(breaking_off(half, after=whole)) as server,
        io.Session() as session,
        session.get(server.url) as resp,
    ):
        codings = [resp.content_coding]
        assert await resp.aread() == JSON
        assert [*codings, resp.content_coding] == ["gzip", None]
        assert resp.content_length is None
        assert resp.transfer_encoding == "chunked"
        assert resp.headers["second"] == "yes"


async def test_data_is_what_the_second_response_says_it_is() -> None:
    script = breaking_off(reply(JSON)[:-1], after=reply(JSON, "Content-Type: a/b+json"))
    async with RawServer(script) as server, io.Session(server.url) as resp:
        assert await resp.data() == {"a": "b" * 1000}


@pytest.mark.parametrize("kind", ["forwarding", "unix"])
@pytest.mark.parametrize("octets", [OK[:20], OK[:-1]])
async def test_the_way_is_the_same_the_second_time(
    tmp_path: Path, kind: str, octets: bytes
) -> None:
    script = breaking_off(octets)
    path = str(tmp_path / "socket") if kind == "unix" else None
    async with RawServer(script, path=path) as server:
        way: dict[str, Any] = {"unix": path} if path else {"proxy": server.url}
        async with io.Session(**way) as session:
            assert await ask(session, "http://a.example/x", retries=1) == "ok"
    assert server.requests[0] == server.requests[1]


async def test_it_can_be_saved_then(tmp_path: Path) -> None:
    script = breaking_off(reply(JSON)[:-1], after=reply(JSON))
    async with RawServer(script) as server, io.Session(server.url) as resp:
        await resp.aread()
        assert await resp.save(tmp_path / "file") == len(JSON)
    assert (tmp_path / "file").read_bytes() == JSON


async def test_after_redirects_only_the_last_one_is_asked_again() -> None:
    found = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"

    async def script(visitor: Visitor) -> None:
        while (request := await visitor.read_request()) is not None:
            if b" /x " not in request:
                await visitor.send(found)
            else:
                await visitor.send(OK if visitor.number else OK[:-1])
                return

    async with (
        RawServer(script) as server,
        io.Session(server.url, follow_redirects=True) as resp,
    ):
        assert await resp.text() == "ok"
        assert len(resp.history) == 1
    assert [each.split()[1] for each in server.requests] == [b"/", b"/x", b"/x"]


async def test_a_file_is_sent_again_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(JSON)
    async with (
        RawServer(breaking_off(OK[:-1])) as server,
        io.Session() as session,
        session.get(server.url, body=path) as resp,
    ):
        assert await resp.text() == "ok"
    assert [each.partition(b"\r\n\r\n")[2] for each in server.requests] == [JSON] * 2


async def test_leave_is_asked_for_again() -> None:
    """Content is not sent before there is a 100, the second time as the first."""
    seen: list[bytes] = []

    async def script(visitor: Visitor) -> None:
        assert b"\r\nExpect: 100-continue\r\n" in await visitor.read_head()
        await asyncio.sleep(0.02)
        seen.append(visitor.octets)
        await visitor.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(visitor.octets) < 3:
            visitor.octets += await visitor.read_some()
        await visitor.send(OK if visitor.number else OK[:-1])

    options: dict[str, Any] = {
        "expect_continue": True,
        "timeouts": io.Timeouts(continue_s=30.0),
    }
    async with (
        RawServer(script) as server,
        io.Session() as session,
        session.get(server.url, body=b"abc", **options) as resp,
    ):
        assert await resp.text() == "ok"
    assert seen == [b"", b""]


# What is not repeated


async def pieces() -> AsyncIterator[bytes]:
    yield b"abc"


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("POST", {}),
        ("PUT", {"body": b"x"}),
        ("DELETE", {}),
        ("GET", {"body": pieces}),
        ("GET", {"retries": 0}),
    ],
)
async def test_content_of_the_others_is_an_error(
    method: str, options: dict[str, Any]
) -> None:
    if "body" in options and callable(options["body"]):
        options = {"body": options["body"]()}
    async with (
        RawServer(breaking_off(OK[:-1])) as server,
        io.Session() as session,
        session.request(method, server.url, **options) as resp,
    ):
        with pytest.raises(io.ServerDisconnected, match="1 octets before"):
            await resp.aread()
    assert len(server.requests) == 1


async def test_content_of_what_was_written_by_hand_is_an_error() -> None:
    async with (
        RawServer(breaking_off(OK[:-1])) as server,
        io.Session() as session,
        session.get(server.url, headers=ANNOUNCED) as resp,
    ):
        await resp.write(b"abc")
        await resp.eof()
        with pytest.raises(io.ServerDisconnected):
            await resp.aread()
    assert len(server.requests) == 1


@pytest.mark.parametrize("octets", [b"", OK[:20], OK[:-1]])
@pytest.mark.parametrize("of_session", [False, True])
async def test_it_can_be_turned_off(octets: bytes, of_session: bool) -> None:
    of_all: dict[str, Any] = {"retries": 0} if of_session else {}
    of_one: dict[str, Any] = {} if of_session else {"retries": 0}
    script = breaking_off(octets, kept=True)
    async with RawServer(script) as server, io.Session(**of_all) as session:
        async with session.get(server.url) as resp:
            await resp.aread()
        with pytest.raises(io.ServerDisconnected):
            async with session.get(server.url, **of_one) as resp:
                await resp.aread()
    assert len(server.requests) == 2


async def test_a_request_may_say_otherwise_than_its_session() -> None:
    script = breaking_off(OK[:-1])
    async with (
        RawServer(script) as server,
        io.Session(retries=0) as session,
        session.get(server.url, retries=1) as resp,
    ):
        assert await resp.text() == "ok"


@pytest.mark.parametrize("retries", [2, -1, "1", 1.0])
async def test_more_than_one_is_refused(retries: Any) -> None:
    with pytest.raises(InvalidArgument, match="retries: expected 0 or 1, not"):
        io.Session(retries=retries)
    async with io.Session() as session:
        with pytest.raises(InvalidArgument, match="retries: expected 0 or 1, not"):
            session.get("http://127.0.0.1/", retries=retries)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (OK[:-1], OK.replace(b"200", b"503"), "said 503"),
        (OK[:-1], OK[:-1], "1 octets before"),
        (OK[:-1], OK[:20], "within the head"),
        (OK[:-1], b"nonsense\r\n\r\n", "nonsense"),
        (
            reply(b"ok", 'ETag: "a"')[:-1],
            reply(b"ok", 'ETag: "b"'),
            "had another etag",
        ),
        (reply(b"ok", 'ETag: "a"')[:-1], OK, "had another etag"),
        (
            reply(b"ok", 'ETag: "a"', "Last-Modified: x")[:-1],
            reply(b"ok", 'ETag: "a"', "Last-Modified: y"),
            "had another last-modified",
        ),
    ],
)
async def test_another_answer_or_none_is_the_first_error(
    first: bytes, second: bytes, told: str
) -> None:
    script = breaking_off(first, second)
    async with RawServer(script) as server, io.Session() as session:
        async with session.get(server.url) as resp:
            headers = resp.headers
            with pytest.raises(io.ServerDisconnected, match="1 octets b") as caught:
                await resp.text()
            assert told in str(caught.value.__cause__)
            with pytest.raises(io.ServerDisconnected, match="1 octets b"):
                await resp.text()
            assert (resp.status_code, resp.headers) == (200, headers)
        assert repr(session) == "<Session <Pool empty>>"
    assert len(server.requests) == 2


async def test_what_was_asked_twice_for_its_head_is_not_asked_a_third_time() -> None:
    script = breaking_off(OK[:20], OK[:-1])
    async with (
        RawServer(script) as server,
        io.Session() as session,
        session.get(server.url) as resp,
    ):
        with pytest.raises(io.ServerDisconnected):
            await resp.aread()
    assert len(server.requests) == 2


async def test_who_has_taken_some_gets_the_error() -> None:
    script = breaking_off(reply(JSON)[:-1])
    async with (
        RawServer(script) as server,
        io.Session() as session,
        session.get(server.url) as resp,
    ):
        with pytest.raises(io.ServerDisconnected):
            async for _ in resp.pull():
                pass
        with pytest.raises(io.ServerDisconnected):
            await resp.aread()
    assert len(server.requests) == 1


async def test_what_breaks_http_is_not_asked_again() -> None:
    octets = CHUNKED + b"\r\nnonsense\r\n"
    async with (
        RawServer(octets) as server,
        io.Session() as session,
        session.get(server.url) as resp,
    ):
        with pytest.raises(io.InvalidResponse):
            await resp.aread()
    assert len(server.requests) == 1
