"""What users of httpx and aiohttp look for."""

import asyncio
import io as python_io
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import blazeio as io
from blazeio.errors import (
    InvalidArgument,
    InvalidUrl,
    LocalProtocolError,
    SessionClosed,
)
from tests.client.scripts import OK, reply
from tests.support.clock import wait_until
from tests.support.raw_server import RawServer
from tests.support.tree import REPOSITORY

# raise_for_status


@pytest.mark.parametrize("status", [400, 404, 499, 500, 503, 599, 600, 999])
async def test_a_refusal_is_raised_where_it_is_asked_for(status: int) -> None:
    octets = b"HTTP/1.1 %d Oh no\r\nContent-Length: 2\r\n\r\nno" % status
    async with RawServer(octets) as server:
        url = server.url.replace("//", "//me:secret@")
        async with io.Session(url) as resp:
            with pytest.raises(io.StatusError) as caught:
                resp.raise_for_status()
            error = caught.value
            assert str(error) == f"GET {server.url}/: {status} Oh no"
            assert (error.status_code, error.response) == (status, resp)
            assert await error.response.text() == "no"
            assert isinstance(error, io.RequestError)


@pytest.mark.parametrize("status", [200, 204, 299, 301, 304, 399])
async def test_anything_else_is_the_response(status: int) -> None:
    octets = b"HTTP/1.1 %d Well\r\nContent-Length: 0\r\n\r\n" % status
    async with RawServer(octets) as server, io.Session(server.url) as resp:
        assert resp.raise_for_status() is resp


async def test_before_the_response_there_is_no_status_to_raise_for() -> None:
    announced = {"Content-Length": "2"}
    async with (
        RawServer(OK) as server,
        io.Session(server.url, "post", headers=announced) as resp,
    ):
        with pytest.raises(LocalProtocolError, match=r"await resp\.prepare"):
            resp.raise_for_status()
        await resp.write(b"ok")
        await resp.eof()
        await resp.prepare()
        assert resp.raise_for_status() is resp


# cookies


async def test_what_a_response_sets_can_be_looked_at() -> None:
    octets = reply(
        b"",
        "Set-Cookie: a=1; Path=/x; Domain=other.example",
        'Set-Cookie: b="q"; HttpOnly',
        "Set-Cookie: a=2",
        "Set-Cookie: gone=1; Max-Age=0",
        "Set-Cookie: b2=1",
        "Set-Cookie: b2=; Max-Age=-1",
        "Set-Cookie: late=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "Set-Cookie: long=1; Max-Age=60",
        "Set-Cookie: ;",
    )
    async with RawServer(octets) as server, io.Session(server.url) as resp:
        assert resp.cookies == {"a": "2", "b": '"q"', "long": "1"}


async def test_without_cookies_there_are_none() -> None:
    async with RawServer(OK) as server, io.Session(server.url) as resp:
        assert resp.cookies == {}


# base_url


@pytest.mark.parametrize(
    ("base", "url", "target"),
    [
        ("", "/x", "/x"),
        ("", "x", "/x"),
        ("/", "/x", "/x"),
        ("/v1", "/x", "/v1/x"),
        ("/v1", "x?y=1", "/v1/x?y=1"),
        ("/v1/", "/x", "/v1/x"),
        ("/v1/", "", "/v1/"),
        ("/v1", "", "/v1"),
        ("/v1", "?q", "/v1?q"),
        ("/v1", "#part", "/v1"),
        ("/v1", "@b.example/", "/v1/@b.example/"),
        ("/v1", "\\\\b.example", "/v1/\\\\b.example"),
        ("/v1", "/a:b", "/v1/a:b"),
    ],
)
async def test_a_url_that_is_not_absolute_follows_the_base(
    base: str, url: str, target: str
) -> None:
    async with (
        RawServer(OK) as server,
        io.Session(base_url=server.url + base) as session,
    ):
        async with session.get(url):
            pass
        async with io.Session(url, base_url=server.url + base):
            pass
    for request in server.requests:
        assert request.startswith(f"GET {target} HTTP/1.1\r\n".encode())


async def test_an_absolute_url_stays_as_it_is() -> None:
    async with (
        RawServer(OK) as server,
        RawServer(OK) as other,
        io.Session(base_url=server.url + "/v1") as session,
    ):
        async with session.get(f"{other.url}/x", params={"a": "b"}):
            pass
        async with session.get(f"{other.url}/y") as resp:
            pass
        async with session.get(resp.url):
            pass
    assert not server.requests
    assert [each.split(b" ")[1] for each in other.requests] == [b"/x?a=b", b"/y", b"/y"]


async def test_credentials_of_the_base_are_those_of_its_requests() -> None:
    async with RawServer(OK) as server:
        base = server.url.replace("//", "//me:x@")
        async with io.Session(base_url=base) as session, session.get("/x"):
            pass
    assert b"\r\nAuthorization: Basic bWU6eA==\r\n" in server.requests[0]


@pytest.mark.parametrize(
    ("base", "kind"),
    [
        ("/v1", InvalidUrl),
        ("a.example", InvalidUrl),
        ("", InvalidUrl),
        ("ftp://a.example", InvalidUrl),
        ("http://a.example/?x", io.ConfigurationError),
        ("http://a.example/#x", io.ConfigurationError),
        (5, InvalidArgument),
    ],
)
def test_a_base_that_cannot_be_one(base: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        io.Session(base_url=base)


@pytest.mark.parametrize("url", ["//b.example/x", "//", "items:1", "ftp://b.example/"])
async def test_what_is_neither_absolute_nor_a_path(url: str) -> None:
    async with io.Session(base_url="http://a.example") as session:
        with pytest.raises(InvalidUrl):
            session.get(url)


# A session without its block


async def test_the_block_may_be_left_out() -> None:
    async with RawServer(OK) as server:
        session = io.Session()
        for _ in range(2):
            async with session.get(server.url) as resp:
                assert await resp.text() == "ok"
        assert server.connections == 1
        async with session, session.get(server.url):  # and be entered later
            pass
        await session.aclose()
        await session.aclose()
        with pytest.raises(SessionClosed):
            async with session.get(server.url):
                pass
        assert server.connections == 1


async def test_closed_before_anything_was_asked() -> None:
    session = io.Session()
    await session.aclose()
    with pytest.raises(SessionClosed):
        session.get("http://127.0.0.1:1/")
    with pytest.raises(SessionClosed):
        async with session:
            pass


def test_where_no_loop_runs_nothing_can_be_asked() -> None:
    session = io.Session()
    with pytest.raises(LocalProtocolError, match="where an event loop runs"):
        session.get("http://127.0.0.1:1/")


def test_a_session_stays_with_its_loop() -> None:
    session = io.Session()

    async def ask(url: str) -> None:
        async with session.get(url):
            pass

    async def first() -> None:
        async with RawServer(OK) as server:
            await ask(server.url)

    asyncio.run(first())
    with pytest.raises(LocalProtocolError, match="another event loop"):
        asyncio.run(ask("http://127.0.0.1:1/"))
    asyncio.run(session.aclose())  # its loop is gone: so are its connections
    with pytest.raises(SessionClosed):
        asyncio.run(ask("http://127.0.0.1:1/"))


async def test_one_that_nobody_closes_is_warned_of() -> None:
    async with RawServer(OK) as server:
        session = io.Session()
        async with session.get(server.url):
            pass
        shared = session._shared
        kept = [session]
        del session
        with pytest.warns(ResourceWarning, match=r"was not closed: `await session\."):
            kept.clear()
        await shared.pool.close()
        shared.wheel.close()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            unused = io.Session()
            with pytest.raises(InvalidUrl):
                unused.get("nowhere")
            del unused


# A file as the content


async def test_an_open_file_is_sent_from_where_it_stands(tmp_path: Path) -> None:
    content = os.urandom(200_000)
    path = tmp_path / "file"
    path.write_bytes(content)
    async with RawServer(OK) as server, io.Session() as session:
        with path.open("rb") as file:
            async with session.put(server.url, body=file):
                pass
            assert not file.closed
            file.seek(100_000)
            async with session.post(server.url, body=file):
                pass
        async with session.post(server.url, body=path):
            pass
        async with session.post(server.url, body=python_io.BytesIO(content)):
            pass
    sent = [each.partition(b"\r\n\r\n") for each in server.requests]
    assert [each[2] for each in sent] == [
        content,
        content[100_000:],
        content,
        content,
    ]
    assert b"\r\nContent-Length: 200000" in sent[0][0]
    assert b"Transfer-Encoding" not in sent[0][0]
    assert b"Content-Type" not in sent[0][0]


async def test_a_pipe_is_sent_in_chunks() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"through a pipe")
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        async with (
            RawServer(OK) as server,
            io.Session(server.url, "post", body=file),
        ):
            pass
    assert b"\r\nTransfer-Encoding: chunked\r\n" in server.requests[0]
    assert b"\r\nthrough a pipe\r\n" in server.requests[0]


async def test_a_file_is_sent_again_where_a_redirect_wants_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"again")
    found = b"HTTP/1.1 307 T\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"
    async with RawServer(found) as server:
        with path.open("rb") as file:
            for body in (path, file):
                with pytest.raises(io.TooManyRedirects):
                    async with io.Session(
                        server.url,
                        "post",
                        body=body,
                        follow_redirects=True,
                        max_redirects=1,
                    ):
                        pass
    assert [each.rpartition(b"\r\n")[2] for each in server.requests] == [b"again"] * 4


async def test_what_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    closed = path.open("rb")
    closed.close()
    async with io.Session() as session:
        with path.open() as text:
            wrong: list[Any] = [text, python_io.StringIO("x")]
            for each in wrong:
                with pytest.raises(InvalidArgument, match="open for text"):
                    session.post("http://127.0.0.1:1/", body=each)
        for body in (tmp_path / "none", closed):
            with pytest.raises(LocalProtocolError, match="body: "):
                session.post("http://127.0.0.1:1/", body=body)


# What completion shows

DOCUMENT = (REPOSITORY / "docs" / "reference" / "client.md").read_text()


def documented(title: str) -> set[str]:
    """The names in the first column of the table below a title."""
    section = DOCUMENT.partition(f"\n### {title}\n")[2].partition("\n#")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line[:3] == "| `"]
    return set(re.findall(r"`([a-z_]+)", " ".join(rows)))


async def test_completion_shows_what_is_documented() -> None:
    async with RawServer(OK) as server, io.Session() as session:
        async with session.get(server.url) as resp:
            shown = {each for each in dir(resp) if not each.startswith("_")}
            assert shown == documented("A response")
            for name in shown:
                getattr(resp, name)
        shown = {each for each in dir(session) if not each.startswith("_")}
        assert shown == documented("A session")
    await wait_until(lambda: "empty" in repr(session))


@pytest.mark.long
def test_a_users_types_are_checked(tmp_path: Path) -> None:
    """``mypy --strict`` of a user takes what is right and names what is not."""
    program = tmp_path / "program.py"
    program.write_text(
        "from pathlib import Path\n"
        "import blazeio as io\n"
        "async def main() -> int:\n"
        "    session = io.Session(base_url='http://a.example')\n"
        "    async with session.get('/x', auth=('a', 'b'), params={'a': 1}) as resp:\n"
        "        cookies: dict[str, str] = resp.raise_for_status().cookies\n"
        "        coding: str | None = resp.content_coding\n"
        "    with open('x', 'rb') as file:\n"
        "        async with session.post(resp.url, body=file) as resp:\n"
        "            print(cookies, coding, await resp.json(list[int]))\n"
        "    async with session.put('/x', body=Path('x')):\n"
        "        pass\n"
        "    await session.aclose()\n"
        "    async with io.Session('http://a.example') as one:\n"
        "        status: int = one.status_code\n"
        "    session.get('/x', timeouts=5)  # wrong\n"
        "    session.get('/x', timeout=5)  # wrong\n"
        "    session.get('/x', auth='a:b')  # wrong\n"
        "    session.get('/x', params='a=b')  # wrong\n"
        "    io.Session(base_url=5)  # wrong\n"
        "    return status\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary"]
    command += ["--cache-dir", str(REPOSITORY / ".mypy_cache" / "of-a-user")]
    checked = subprocess.run(
        [*command, str(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    wrong = [
        number
        for number, line in enumerate(program.read_text().splitlines(), 1)
        if line.endswith("# wrong")
    ]
    told = {
        int(each) for each in re.findall(r"program\.py:(\d+): error", checked.stdout)
    }
    assert told == set(wrong), checked.stdout + checked.stderr


# A response without its block


async def test_a_request_can_be_awaited() -> None:
    async with RawServer(OK) as server, io.Session() as session:
        resp = await session.get(server.url)
        assert (resp.status_code, await resp.text()) == (200, "ok")
        assert "1 idle" in repr(session)  # all of it was read
        resp = await session.get(server.url)
        await resp.close()
        async with await session.get(server.url) as resp:
            assert await resp.text() == "ok"
        assert len(server.requests) == 3
        with pytest.raises(io.ConnectError):
            await session.get("http://no-such.invalid/")


async def test_a_block_that_is_entered_twice_asks_once() -> None:
    async with RawServer(OK) as server, io.Session() as session:
        async with session.get(server.url) as resp, resp:
            assert await resp.text() == "ok"
        assert len(server.requests) == 1
        asked = session.get("http://no-such.invalid/")
        for _ in range(2):  # what came to nothing is asked again
            with pytest.raises(io.ConnectError):
                async with asked:
                    pass
