"""Cookies and credentials are said once, and to whom they are for."""

from pathlib import Path
from typing import Any

import pytest

import blazeio as io
from tests.client.scripts import OK, reply
from tests.client.test_tunnels import relay
from tests.support.raw_server import RawServer, Visitor
from tests.support.tls_peer import NAME, Certificates

SET = reply(b"", "Set-Cookie: a=jar; Path=/", "Set-Cookie: j=1; Path=/")


def cookies_of(request: bytes) -> list[bytes]:
    lines = [each for each in request.split(b"\r\n") if each[:7].lower() == b"cookie:"]
    assert len(lines) == 1
    return sorted(lines[0].partition(b": ")[2].split(b"; "))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [b"a=jar", b"j=1"]),
        ({"cookies": {"a": "mine"}}, [b"a=mine", b"j=1"]),
        ({"headers": {"Cookie": "a=header"}}, [b"a=header"]),
        ({"headers": {"cookie": "h=1"}, "cookies": {"c": "2"}}, [b"c=2", b"h=1"]),
        ({"headers": {"COOKIE": "c=1; h=1"}, "cookies": {"c": "2"}}, [b"c=2", b"h=1"]),
        ({"headers": [("Cookie", "x=1"), ("cookie", "y=2; x=3")]}, [b"x=1", b"y=2"]),
        ({"headers": {"Cookie": ["x=1", "y=2"]}}, [b"x=1", b"y=2"]),
    ],
)
async def test_a_cookie(options: dict[str, Any], expected: list[bytes]) -> None:
    jar = io.CookieJar()
    async with RawServer(SET) as server, io.Session(cookie_jar=jar) as session:
        async with session.get(server.url):
            pass
        async with session.get(server.url, **options):
            pass
    assert cookies_of(server.requests[1]) == expected


async def test_a_cookie_of_the_sessions_headers() -> None:
    async with (
        RawServer(OK) as server,
        io.Session(headers={"Cookie": "s=1; t=1"}) as session,
        session.get(server.url, cookies={"s": "2"}),
    ):
        pass
    assert cookies_of(server.requests[0]) == [b"s=2", b"t=1"]


async def test_a_redirect_to_the_same_place() -> None:
    there = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nSet-Cookie: c=jar; Path=/\r\n"

    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(there + b"Content-Length: 0\r\n\r\n")
        await visitor.read_request()
        await visitor.send(OK)

    async with (
        RawServer(script) as server,
        io.Session(cookie_jar=io.CookieJar(), follow_redirects=True) as session,
        session.get(server.url, cookies={"c": "mine", "d": "2"}),
    ):
        pass
    assert cookies_of(server.requests[1]) == [b"c=mine", b"d=2"]


# Proxy-Authorization


def proxied(server: RawServer) -> str:
    return server.url.replace("//", "//me:pw@")


@pytest.mark.parametrize("name", ["Proxy-Authorization", "proxy-authorization"])
async def test_what_the_caller_says_to_a_proxy(name: str) -> None:
    headers = {name: "Bearer mine"}
    async with (
        RawServer(OK) as server,
        io.Session(proxy=proxied(server)) as session,
    ):
        async with session.get("http://a.example/", headers=headers):
            pass
        async with session.get("http://a.example/"):
            pass
    lines = [
        [line for line in each.split(b"\r\n") if line[:6].lower() == b"proxy-"]
        for each in server.requests
    ]
    assert lines == [
        [f"{name}: Bearer mine".encode()],
        [b"Proxy-Authorization: Basic bWU6cHc="],
    ]


async def test_what_is_for_a_proxy_does_not_reach_a_server(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    context = certificates.server_context(NAME)
    async with RawServer(OK, context, NAME) as origin:

        async def tunnel(visitor: Visitor) -> None:
            heads.append(await visitor.read_head())
            await visitor.send(b"HTTP/1.1 200 OK\r\n\r\n")
            await relay(visitor, "127.0.0.1", origin.port)

        heads: list[bytes] = []
        async with (
            RawServer(tunnel) as proxy,
            io.Session(
                proxy=proxied(proxy),
                tls=io.ClientTls(ca_file=certificates.ca_file),
                headers={"Proxy-Authorization": "Bearer mine"},
            ) as session,
            session.get(origin.url),
        ):
            pass
    assert heads[0].count(b"Proxy-Authorization: Basic bWU6cHc=\r\n") == 1
    assert b"proxy-auth" not in origin.requests[0].lower()


async def test_an_expectation() -> None:
    headers = {"Expect": "100-continue"}
    async with (
        RawServer(OK) as server,
        io.Session(
            server.url, "post", body=b"x", headers=headers, expect_continue=True
        ),
    ):
        pass
    assert server.requests[0].lower().count(b"expect:") == 1
