"""Redirects and challenges, as a caller of ``Session`` sees them."""

from typing import Any

import pytest

import blazeio as io
from blazeio.errors import RedirectError, TooManyRedirects
from tests.client.scripts import OK
from tests.support.raw_server import RawServer, Script, Visitor


def by_path(**answers: bytes) -> Script:
    """A server that has an answer for the first word of each path."""

    async def script(visitor: Visitor) -> None:
        while (request := await visitor.read_request()) is not None:
            word = request.split(b" ")[1].strip(b"/").decode() or "root"
            await visitor.send(answers.get(word, OK))

    return script


def redirect(location: str, status: int = 302, *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Moved", f"Location: {location}", "Content-Length: 4"]
    return "\r\n".join([*lines, *fields, "", "gone"]).encode()


def start_lines(server: RawServer) -> list[str]:
    return [each.split(b" HTTP")[0].decode() for each in server.requests]


async def ask(server: RawServer, method: str = "GET", **options: Any) -> bytes:
    async with (
        io.Session(follow_redirects=True) as session,
        session.request(method, server.url + "/a", **options) as resp,
    ):
        return await resp.aread()


async def test_a_redirect_is_an_answer_unless_it_is_to_be_followed() -> None:
    async with RawServer(by_path(a=redirect("/b"))) as server:
        async with io.Session(server.url + "/a") as resp:
            assert (resp.status_code, resp.headers["location"]) == (302, "/b")
            assert resp.history == []
        assert await ask(server, follow_redirects=False) == b"gone"


async def test_redirects_are_followed_on_the_same_connection() -> None:
    script = by_path(a=redirect("/b"), b=redirect("c?d#e", 308))
    async with (
        RawServer(script) as server,
        io.Session(follow_redirects=True) as session,
        session.get(server.url + "/a") as resp,
    ):
        assert (resp.status_code, await resp.text()) == (200, "ok")
        assert str(resp.url) == server.url + "/c?d"
        passed = [(status, str(url)) for status, url, _ in resp.history]
        assert passed == [(302, server.url + "/a"), (308, server.url + "/b")]
    assert start_lines(server) == ["GET /a", "GET /b", "GET /c?d"]
    assert server.connections == 1


async def test_content_is_sent_again_where_the_method_stays() -> None:
    async with RawServer(by_path(a=redirect("/b", 307))) as server:
        await ask(server, "POST", json={"x": 1})
    first, second = server.requests
    assert second == first.replace(b"/a", b"/b")


async def test_content_goes_with_its_method_and_its_type() -> None:
    async with RawServer(by_path(a=redirect("/b", 303))) as server:
        await ask(server, "POST", body=b"x", headers={"Content-Type": "a/b", "X": "y"})
    request = server.requests[1]
    assert request.startswith(b"GET /b ")
    assert b"\r\nX: y\r\n" in request
    assert b"Content-" not in request


async def test_a_stream_is_not_sent_again() -> None:
    async def pieces() -> Any:
        yield b"x"

    async with RawServer(by_path(a=redirect("/b", 307))) as server:
        with pytest.raises(RedirectError, match="can be sent once only"):
            await ask(server, "POST", body=pieces())


async def test_credentials_and_cookies_stay_with_their_origin() -> None:
    async with RawServer(OK) as other:
        target = redirect(other.url + "/b")
        async with RawServer(by_path(a=target)) as server:
            headers = {"X-Kept": "1", "Host": "site.example"}
            await ask(
                server, auth=("me", "secret"), cookies={"c": "1"}, headers=headers
            )
    first, second = server.requests[0], other.requests[-1]
    assert b"\r\nAuthorization: Basic bWU6c2VjcmV0\r\n" in first
    assert b"\r\nCookie: c=1\r\n" in first
    assert b"\r\nX-Kept: 1\r\n" in second
    assert not any(each in second for each in (b"Authorization", b"Cookie", b"site."))


async def test_too_many_redirects_are_an_error() -> None:
    async with RawServer(by_path(a=redirect("/a"))) as server:
        with pytest.raises(TooManyRedirects, match="more than 3 redirects"):
            await ask(server, max_redirects=3)
    assert len(server.requests) == 4


async def test_cookies_are_kept_and_given_back_along_the_way() -> None:
    jar = io.CookieJar()
    script = by_path(
        a=redirect("/b", 302, "Set-Cookie: s=1; Path=/", "Set-Cookie: t=2")
    )
    async with (
        RawServer(script) as server,
        io.Session(cookie_jar=jar, follow_redirects=True) as session,
        session.get(server.url + "/a", cookies={"mine": "0"}),
    ):
        pass
    assert b"\r\nCookie: mine=0\r\n" in server.requests[0]
    assert b"\r\nCookie: mine=0; s=1; t=2\r\n" in server.requests[1]
    assert [each.name for each in jar] == ["s", "t"]


async def test_without_a_jar_no_cookie_is_kept() -> None:
    async with RawServer(by_path(a=redirect("/b", 302, "Set-Cookie: s=1"))) as server:
        await ask(server)
    assert b"Cookie" not in server.requests[1]


CHALLENGE = (
    b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n"
    b'WWW-Authenticate: Digest realm="r", nonce="n%d", qop=auth\r\n\r\n'
)


async def test_a_digest_challenge_is_answered_once_for_all() -> None:
    async def script(visitor: Visitor) -> None:
        while (request := await visitor.read_request()) is not None:
            await visitor.send(OK if b"Digest" in request else CHALLENGE % 1)

    async with (
        RawServer(script) as server,
        io.Session(auth=io.DigestAuth("me", "x")) as session,
    ):
        for _ in range(2):
            async with session.post(server.url, body=b"x") as resp:
                assert resp.status_code == 200
    proofs = [b"nc=00000001" in each for each in server.requests]
    assert proofs == [False, True, False]
    assert b"nc=00000002" in server.requests[2]


@pytest.mark.parametrize("nonces", [(1, 1), (1, 2, 3)])
async def test_a_challenge_that_comes_again_is_the_answer(
    nonces: tuple[int, ...],
) -> None:
    async def script(visitor: Visitor) -> None:
        for nonce in nonces:
            await visitor.read_request()
            await visitor.send(CHALLENGE % nonce)

    async with (
        RawServer(script) as server,
        io.Session(server.url, auth=io.DigestAuth("me", "x")) as resp,
    ):
        assert resp.status_code == 401
    assert len(server.requests) == len(nonces)


async def test_a_foreign_origin_gets_no_answer_to_its_challenge() -> None:
    async with (
        RawServer(CHALLENGE % 1) as other,
        RawServer(by_path(a=redirect(other.url + "/b"))) as server,
    ):
        await ask(server, auth=io.DigestAuth("me", "x"))
    assert len(other.requests) == 1
    assert b"Authorization" not in other.requests[0]


@pytest.mark.parametrize(
    ("challenge", "message"),
    [
        (b'Digest realm="r", nonce="n", algorithm=ROT13', "algorithm 'ROT13' is not"),
        (b'Digest realm="r", nonce="%b"' % (b"n" * 9000), "its nonce has more than"),
        (b'Digest realm="r"', "it has no nonce"),
    ],
)
async def test_a_challenge_that_cannot_be_answered_is_an_error(
    challenge: bytes, message: str
) -> None:
    head = b"HTTP/1.1 401 Who?\r\nContent-Length: 0\r\nWWW-Authenticate: "
    async with RawServer(head + challenge + b"\r\n\r\n") as server:
        with pytest.raises(io.InvalidResponse, match=message):
            async with io.Session(server.url, auth=io.DigestAuth("me", "x")):
                pass
        assert len(server.requests) == 1
        async with io.Session(server.url, auth=("me", "x")) as resp:
            assert resp.status_code == 401


async def test_two_locations_are_no_redirect() -> None:
    head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n"
    locations = b"Location: /x\r\nLocation: %b\r\n\r\n"
    async with RawServer(head + locations % b"/y") as server:
        with pytest.raises(io.RedirectError, match="more than one Location"):
            async with io.Session(server.url, follow_redirects=True):
                pass
        async with io.Session(server.url) as resp:
            assert resp.status_code == 302
    async with RawServer(head + locations % b"/x") as server:
        with pytest.raises(io.TooManyRedirects):
            async with io.Session(server.url, follow_redirects=True):
                pass
