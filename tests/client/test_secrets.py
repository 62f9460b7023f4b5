"""The userinfo of a URL is shown nowhere, whole or half, well-formed or not."""

import logging
import traceback
from typing import Any

import pytest

import blazeio as io
from blazeio.client.url import parse_url, show_url
from blazeio.errors import InvalidUrl
from tests.client.scripts import OK
from tests.client.test_connect import dead_port
from tests.support.raw_server import RawServer, Visitor

NAME, PASSWORD = "nobody-knows-me", "se-cret"
HALVES = (NAME, "se-cret", "cret", "se-")

# What stands before the host, and is malformed or makes all of it so.
BROKEN = [
    "{0}:{1}/{1}@",
    "{0}:{1}?{1}@",
    "{0}:{1}#{1}@",
    "{0}:{1}[{1}@",
    "{0}:{1}]{1}@",
    "{0}:{1}\\{1}@",
    "{0}:{1} {1}@ ",
    "{0}:{1}\n{1}@",
    "{0}:{1}\x7f@",
    "{0}:{1}",
    "{0}:{1}/",
    "{0}:{1}?x",
    "{0}:{1}\uff0f{1}@.",
]


def shows(text: str) -> list[str]:
    return [each for each in HALVES if each in text]


def told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).replace(__file__, "")


@pytest.mark.parametrize("scheme", ["http://", "https:", "http:/", "ftp://", "//", ""])
@pytest.mark.parametrize("userinfo", BROKEN)
def test_a_malformed_url(userinfo: str, scheme: str) -> None:
    if scheme == "" and "@" not in userinfo:
        return  # this is no URL by any reading
    url = f"{scheme}{userinfo.format(NAME, PASSWORD)}"
    if "@" in userinfo:
        url += "host.example:99999/"
    with pytest.raises(InvalidUrl) as caught:
        parse_url(url)
    shown = f"{caught.value} {caught.value!r}"
    if "@" in userinfo:
        assert not shows(shown)
    else:
        assert PASSWORD not in shown
    with pytest.raises(InvalidUrl) as caught:
        io.ClientWebSocket(url.replace("http", "ws"))
    assert "cret" not in f"{caught.value} {caught.value!r}"
    assert "cret" not in repr(io.Session(url))


@pytest.mark.parametrize("userinfo", BROKEN)
def test_a_malformed_proxy(userinfo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = f"http://{userinfo.format(NAME, PASSWORD)}"
    proxy += "host.example:99999" if "@" in userinfo else ""
    with pytest.raises(io.ConfigurationError) as caught:
        io.Session(proxy=proxy)
    assert not shows(str(caught.value))
    for name in ("http_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy)
        with pytest.raises(io.ConfigurationError, match=name) as caught:
            io.Session(trust_env=True)
        assert not shows(str(caught.value))
        monkeypatch.delenv(name)


async def ask(url: str, **options: Any) -> tuple[str, str, str]:
    session: io.Session[Any] = io.Session(url, **options)
    async with session as resp:
        return repr(session), repr(resp), str(resp.url)


async def test_a_url_that_is_right() -> None:
    async with RawServer(OK) as server:
        url = server.url.replace("//", f"//{NAME}:{PASSWORD}@")
        assert not shows(" ".join(await ask(url)))
        assert b"\r\nAuthorization: Basic " in server.requests[0]
    assert not shows(show_url(url))


async def test_whoever_cannot_be_reached(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    place = f"{NAME}:{PASSWORD}@127.0.0.1:{dead_port()}"
    for url, options in (
        (f"http://{place}/", {}),
        (f"https://{place}/", {}),
        (f"http://{NAME}:{PASSWORD}@no-such.invalid/", {}),
        ("http://a.example/", {"proxy": f"http://{place}"}),
        ("https://a.example/", {"proxy": f"http://{place}"}),
        ("https://a.example/", {"proxy": f"socks5h://{place}"}),
    ):
        with pytest.raises(io.ConnectError) as caught:
            await ask(url, **options)
        assert not shows(told(caught.value))
    assert not shows(caplog.text)


@pytest.mark.parametrize(
    "refusal",
    [
        b"HTTP/1.1 407 No\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nx",
        b"SSH\r\n\r\n",
        b"",
        b"\x05\x02",
        b"\x05\xff",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
async def test_a_proxy_that_refuses(scheme: str, refusal: bytes) -> None:
    async def refuse(visitor: Visitor) -> None:
        await visitor.read_some()
        await visitor.send(refusal)

    async with RawServer(refuse) as server:
        place = server.url.partition("//")[2]
        proxy = f"{scheme}://{NAME}:{PASSWORD}@{place}"
        with pytest.raises(io.RequestError) as caught:
            await ask("https://a.example/", proxy=proxy)
    assert not shows(told(caught.value))


async def test_a_redirect() -> None:
    for location in (
        f"http://{NAME}:{PASSWORD}@a.example/",
        f"//{NAME}:{PASSWORD}/x@a.example/",
        f"https://{NAME}@{PASSWORD}@/",
    ):
        head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\n"
        octets = f"{head}Content-Length: 0\r\n\r\n".encode()
        async with RawServer(octets) as server:
            with pytest.raises(io.RedirectError) as caught:
                await ask(server.url, follow_redirects=True)
        assert not shows(told(caught.value))


async def test_a_websocket_that_is_none() -> None:
    async with RawServer(OK) as server:
        url = server.url.replace("http://", f"ws://{NAME}:{PASSWORD}@")
        with pytest.raises(io.InvalidResponse) as caught:
            async with io.ClientWebSocket(url):
                pass
    assert not shows(told(caught.value))


async def test_a_password_that_is_no_text() -> None:
    for auth in ((NAME, f"{PASSWORD}\udc80"), (f"{NAME}:", PASSWORD)):
        with pytest.raises(io.LocalProtocolError) as caught:
            await ask("http://127.0.0.1:1/", auth=auth)
        assert not shows(told(caught.value))
