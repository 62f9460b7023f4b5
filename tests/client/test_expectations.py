"""417 (Expectation Failed): the request goes out again, and expects nothing."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import blazeio as io
from tests.client.scripts import ANNOUNCED, OK
from tests.support.clock import within
from tests.support.raw_server import RawServer, Visitor

REFUSED = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno"
PATIENT = io.Timeouts(continue_s=30.0)


class Knowing:
    """A server that does not know the expectation.

    Attributes:
        heads: Of the requests.
        contents: Of those that were answered by 200.
    """

    def __init__(self, *, sends_100: bool = False, refuses_all: bool = False) -> None:
        self.heads: list[bytes] = []
        self.contents: list[bytes] = []
        self._sends_100 = sends_100
        self._refuses_all = refuses_all

    async def __call__(self, visitor: Visitor) -> None:
        head = await visitor.read_head()
        self.heads.append(head)
        expects = b"\r\nExpect: 100-continue\r\n" in head
        if expects and self._sends_100:
            await visitor.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            await visitor.read_some()
        if expects or self._refuses_all:
            await visitor.send(REFUSED)
            await visitor.read_until_end()
            return
        content = b""
        while b"octets" not in content:
            content += (await visitor.read_some()) or b"octets, but for the FIN"
        self.contents.append(content)
        await visitor.send(OK)


async def ask(server: Knowing, body: Any, **options: Any) -> int:
    sent: dict[str, Any] = {"expect_continue": True, "timeouts": PATIENT, **options}
    async with (
        RawServer(server) as raw,
        io.Session() as session,
        session.put(raw.url, body=body, **sent) as resp,
    ):
        text = await within(resp.text())
        assert text == ("ok" if resp.status_code == 200 else "no")
        assert resp.history == []
        return resp.status_code


async def stream() -> AsyncIterator[bytes]:
    yield b"octets"


async def test_octets_are_sent_without_asking() -> None:
    server = Knowing()
    assert await ask(server, b"octets") == 200
    assert len(server.heads) == 2
    assert b"xpect" not in server.heads[1]
    assert server.contents == [b"octets"]


async def test_a_file_is_sent_without_asking(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"octets")
    server = Knowing()
    assert await ask(server, tmp_path / "file") == 200
    assert server.contents == [b"octets"]


async def test_a_stream_of_which_nothing_was_taken_is_sent_without_asking() -> None:
    server = Knowing()
    assert await ask(server, stream()) == 200
    (content,) = server.contents
    assert b"octets" in content


async def test_a_stream_of_which_something_was_taken_is_not_sent_again() -> None:
    server = Knowing(sends_100=True)
    assert await ask(server, stream()) == 417
    assert len(server.heads) == 1


async def test_a_417_to_what_expects_nothing_is_the_response() -> None:
    server = Knowing(refuses_all=True)
    assert await ask(server, b"octets", expect_continue=False) == 417
    assert len(server.heads) == 1


async def test_a_second_417_is_the_response() -> None:
    server = Knowing(refuses_all=True)
    assert await ask(server, b"octets") == 417
    assert len(server.heads) == 2


async def test_an_expectation_of_the_callers_own_is_left_alone() -> None:
    server = Knowing()
    headers = {"Expect": "100-continue"}
    options: dict[str, Any] = {"headers": headers, "expect_continue": False}
    assert await ask(server, b"octets", **options) == 417
    assert len(server.heads) == 1


async def test_content_that_the_caller_writes_is_not_sent_again() -> None:
    server = Knowing()
    async with (
        RawServer(server) as raw,
        io.Session() as session,
        session.put(raw.url, headers=ANNOUNCED, expect_continue=True) as resp,
    ):
        await within(resp.prepare())
        assert resp.status_code == 417
    assert len(server.heads) == 1


@pytest.mark.parametrize("status", [b"403 No", b"401 Who"])
async def test_a_stream_that_is_refused_is_closed(status: bytes) -> None:
    """Also where nothing was taken of it."""

    class Source:
        is_closed = False

        def __aiter__(self) -> "Source":
            return self

        async def __anext__(self) -> bytes:
            return b"octets"

        async def aclose(self) -> None:
            self.is_closed = True

    async def refuse(visitor: Visitor) -> None:
        await visitor.read_head()
        await visitor.send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        await visitor.read_until_end()

    source = Source()
    async with RawServer(refuse) as raw, io.Session() as session:
        async with session.put(
            raw.url, body=source, expect_continue=True, timeouts=PATIENT
        ) as resp:
            assert resp.status_code in (401, 403)
        assert source.is_closed
