"""An argument of a wrong type is an error at once that names it, never silence."""

from pathlib import Path
from typing import Any

import pytest

import blazeio as io
from blazeio.client.url import parse_url
from blazeio.errors import InvalidArgument, InvalidUrl, LocalProtocolError
from tests.client.scripts import OK
from tests.support.raw_server import RawServer

SECRET = "s3cret"


class Odd:
    def __repr__(self) -> str:
        return SECRET


OF_A_REQUEST: list[tuple[dict[str, Any], str]] = [
    ({"params": "a=b"}, "params: expected a dict or pairs, not str"),
    ({"params": b"a=b"}, "params: expected a dict or pairs, not bytes"),
    ({"params": 5}, "params: expected a dict or pairs, not int"),
    ({"params": ["a", "b"]}, "params: expected pairs of name and value, not str"),
    ({"params": [("a",)]}, "params: expected pairs of name and value"),
    ({"params": {"a": None}}, "params: the value of 'a' is None: leave it out"),
    ({"params": {"a": [None]}}, "params: the value of 'a': expected str"),
    ({"params": {"a": {"b": 1}}}, "params: the value of 'a': expected str"),
    ({"params": {"a": Odd()}}, "params: the value of 'a': expected str"),
    ({"params": {"a": "\udc80"}}, "params: text that UTF-8 cannot say"),
    ({"form": "a=b"}, "form: expected a dict or pairs, not str"),
    ({"form": {"a": None}}, "form: the value of 'a' is None: leave it out"),
    ({"form": {"a": None}, "files": {}}, "form: the value of 'a' is None"),
    ({"files": "x"}, "files: expected a dict or pairs of names and files, not str"),
    ({"files": {"a": None}}, "file 'a': expected bytes, a path or an open file"),
    ({"body": 5}, "body: expected bytes, str"),
    ({"body": {"a": 1}}, "body: expected bytes, str"),
    ({"body": Odd()}, "body: expected bytes, str"),
    ({"timeouts": 5}, r"timeouts: expected io.Timeouts, as .*, not int"),
    ({"timeouts": 0}, "timeouts: expected io.Timeouts"),
    ({"headers": "a: b"}, "headers: expected a dict or pairs"),
    ({"headers": ["a: b"]}, "headers: expected a dict or pairs"),
    ({"headers": 5}, "headers: expected a dict or pairs"),
    ({"headers": {"a": None}}, "value of field 'a' is a NoneType, not str"),
    ({"headers": {5: "a"}}, "headers: expected a dict or pairs"),
    ({"cookies": "a=b"}, "cookies: expected a dict of names and values, not str"),
    ({"cookies": {"a": None}}, "cookies: expected names and values, each a str"),
    ({"cookies": {5: "a"}}, "cookies: expected names and values, each a str"),
    ({"max_redirects": "5"}, "max_redirects: expected a number, not str"),
    ({"max_redirects": -1}, "max_redirects: expected a number of at least 0"),
    ({"upgrade": 5}, "upgrade: expected the name of a protocol, not int"),
    ({"auth": SECRET}, "auth: expected .name, password., .* or a DigestAuth, not str"),
    ({"auth": f"me:{SECRET}"}, "auth: expected .*, not str"),
    ({"auth": ["me", SECRET]}, "auth: expected .*, not list"),
    ({"auth": {"me": SECRET}}, "auth: expected .*, not dict"),
    ({"auth": ()}, "auth: expected .*, not tuple of nothing"),
    ({"auth": ("me",)}, "auth: expected .*, not tuple of str"),
    ({"auth": ("me", None)}, "auth: expected .*, not tuple of str, NoneType"),
    ({"auth": (b"me", SECRET)}, "auth: expected .*, not tuple of bytes, str"),
    ({"auth": ("me", SECRET, "x")}, "auth: expected .*, not tuple of str, str, str"),
    ({"auth": False}, "auth: expected .*, not bool"),
    ({"auth": Odd()}, "auth: expected .*, not Odd"),
    ({"auth": io.DigestAuth}, "auth: expected .*, not type"),
]

OF_A_SESSION: list[tuple[dict[str, Any], str]] = [
    ({"tls": False}, "tls: expected io.ClientTls, as .*, not bool"),
    ({"pool": 5}, "pool: expected io.PoolLimits"),
    ({"limits": 5}, "limits: expected io.Limits"),
    ({"cookie_jar": {}}, "cookie_jar: expected io.CookieJar"),
    ({"cookie_jar": True}, "cookie_jar: expected io.CookieJar"),
    ({"proxy": Odd()}, "proxy: expected a str"),
    ({"unix": 5}, "unix: expected the path of a socket"),
    ({"unix": "/a\0b"}, "unix: the path of a socket cannot hold a NUL"),
]
OF_BOTH = [
    each
    for each in OF_A_REQUEST
    if each[0].keys() & {"auth", "timeouts", "max_redirects"}
]


@pytest.mark.parametrize(("options", "message"), OF_A_REQUEST)
async def test_of_a_request(options: dict[str, Any], message: str) -> None:
    async with io.Session() as session:
        with pytest.raises(TypeError, match=message) as caught:
            session.post("http://127.0.0.1:1/", **options)
    with pytest.raises(LocalProtocolError, match=message):
        async with io.Session("http://127.0.0.1:1/", "post", **options):
            pass
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("options", "message"), OF_A_SESSION + OF_BOTH)
def test_of_a_session(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message) as caught:
        io.Session(**options)
    assert SECRET not in str(caught.value)


def test_of_digest_credentials() -> None:
    with pytest.raises(
        TypeError, match=r"^DigestAuth: name and password are each a str"
    ):
        io.DigestAuth("me", None)  # type: ignore[arg-type]
    with pytest.raises(
        InvalidArgument, match=r"^DigestAuth: a name .* UTF-8 cannot say$"
    ):
        io.DigestAuth("me", "\udc80")


async def test_of_a_method() -> None:
    async with io.Session() as session:
        for method in (None, b"GET", 5):
            with pytest.raises(TypeError, match="method: expected a str, not "):
                session.request(method, "http://127.0.0.1:1/")  # type: ignore[arg-type]


@pytest.mark.parametrize("url", [None, 5, b"http://a/", ["http://a/"], Path("/a")])
async def test_of_a_url(url: Any) -> None:
    async with io.Session() as session:
        with pytest.raises(InvalidUrl, match=r"a URL is a str, not .*: give str"):
            session.get(url)


async def test_a_url_of_a_response_can_be_asked_again() -> None:
    async with RawServer(OK) as server, io.Session() as session:
        async with session.get(f"{server.url}/x?y") as resp:
            again = resp.url
        async with session.get(again) as resp:
            assert resp.url is again is parse_url(again)
    assert len({each.split(b"\r\n")[0] for each in server.requests}) == 1


async def test_none_and_what_is_empty_are_nothing() -> None:
    nothing: dict[str, Any] = {"headers": {}, "cookies": {}, "auth": None}
    params: dict[str, Any] = {"a": [], "b": ""}
    async with (
        RawServer(OK) as server,
        io.Session() as session,
        session.get(server.url, params=params, timeouts=None, **nothing),
    ):
        pass
    assert server.requests[0].startswith(b"GET /?b= HTTP/1.1\r\n")
    assert b"Cookie" not in server.requests[0]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("timeout", r": use timeouts=io\.Timeouts\(total_s="),
        ("data", ": use body= for octets, .* form= for names"),
        ("content", ": use body="),
        ("verify", r": use tls=io\.ClientTls"),
        ("allow_redirects", ": use follow_redirects=True"),
        ("josn", "$"),
    ],
)
async def test_what_is_called_otherwise_here_is_named(name: str, hint: str) -> None:
    given: dict[str, Any] = {name: SECRET}
    message = f"unexpected argument '{name}'{hint}"
    with pytest.raises(TypeError, match=message) as caught:
        io.Session(**given)
    assert SECRET not in str(caught.value)
    with pytest.raises(TypeError, match=message):
        io.Session("http://127.0.0.1:1/", **given)
    async with io.Session() as session:
        with pytest.raises(TypeError, match=message):
            session.get("http://127.0.0.1:1/", **given)
