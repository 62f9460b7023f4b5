"""What is asked is a value, and how its head is written."""

from collections.abc import AsyncIterator

import pytest

from blazeio.client.auth import Credentials, DigestAuth, DigestChallenge
from blazeio.client.request import ClientRequest, join_cookies, merge_fields
from blazeio.client.url import Origin, parse_proxy, parse_url
from blazeio.errors import InvalidArgument
from blazeio.wire.headers import NO_FIELDS, serialize_fields

URL = parse_url("http://a.example/x")
HOST = "Host: a.example"
USUAL = "User-Agent: blazeio\r\nAccept: */*\r\nAccept-Encoding: identity"


def write(request: ClientRequest, origin: Origin = URL.origin) -> bytes:
    message = request.begin_message(origin, now=0.0, cnonce="0a")
    body = request.body
    return bytes(message.end(body if isinstance(body, bytes) else b""))


def lines(*each: str) -> bytes:
    return "\r\n".join([*each, "", ""]).encode()


async def pieces() -> AsyncIterator[bytes]:
    yield b"ab"


def test_what_describes_the_content_comes_before_what_is_asked_besides() -> None:
    request = ClientRequest(
        "POST",
        URL,
        body=b"ab",
        content_lines=b"Content-Type: text/plain\r\n",
        credentials=Credentials(URL, ("me", "x"), None, None),
        upgrade="chat",
        expects_continue=True,
    )
    assert write(request) == (
        lines(
            "POST /x HTTP/1.1",
            HOST,
            USUAL,
            "Content-Type: text/plain",
            "Connection: upgrade",
            "Upgrade: chat",
            "Expect: 100-continue",
            "Authorization: Basic bWU6eA==",
            "Content-Length: 2",
        )
        + b"ab"
    )


def test_what_the_caller_says_of_the_content_is_said_once() -> None:
    fields = serialize_fields({"Content-Type": "a/b", "Expect": "100-continue"})
    request = ClientRequest(
        "PUT", URL, fields, b"ab", b"Content-Type: c/d\r\n", expects_continue=True
    )
    assert write(request) == (
        lines(
            "PUT /x HTTP/1.1",
            HOST,
            USUAL,
            "Content-Type: a/b",
            "Expect: 100-continue",
            "Content-Length: 2",
        )
        + b"ab"
    )


@pytest.mark.parametrize("is_known", [True, False])
def test_content_is_hashed_where_it_is_known(is_known: bool) -> None:
    auth = DigestAuth("me", "x")
    auth.learn(URL.origin, ['Digest realm="r", nonce="n", qop="auth-int"'])
    request = ClientRequest(
        "PUT",
        URL,
        serialize_fields({"Content-Length": 2}),
        b"ab" if is_known else pieces(),
        credentials=Credentials(URL, auth, None, None),
    )
    answer = DigestChallenge("r", "n", qop="auth-int").answer(
        "me", "x", "PUT", "/x", cnonce="0a", content=b"ab" if is_known else b""
    )
    message = request.begin_message(URL.origin, now=0.0, cnonce="0a")
    assert f"\r\nAuthorization: {answer}\r\n".encode() in message.end(b"ab")


@pytest.mark.parametrize(
    ("proxy", "is_sent"), [(None, True), ("socks5h://u:p@proxy.example:1080", False)]
)
def test_credentials_for_a_proxy_are_not_for_who_is_behind_its_tunnel(
    proxy: str | None, is_sent: bool
) -> None:
    origin = URL.origin._replace(proxy=parse_proxy(proxy) if proxy else None)
    headers = {"Proxy-Authorization": "Basic eDp5", "x-other": "1"}
    request = ClientRequest("GET", URL, serialize_fields(headers))
    head = write(request, origin)
    assert (b"Proxy-Authorization: Basic eDp5" in head) is is_sent
    assert b"x-other: 1" in head


def test_a_proxy_is_told_its_credentials_besides() -> None:
    proxy = parse_proxy("http://u:p@proxy.example:3128")
    origin = Origin("http", "proxy.example", 3128, proxy=proxy)
    request = ClientRequest(
        "GET", URL, credentials=Credentials(URL, ("me", "x"), None, None)
    )
    assert write(request, origin) == lines(
        "GET http://a.example/x HTTP/1.1",
        HOST,
        USUAL,
        "Authorization: Basic bWU6eA==",
        "Proxy-Authorization: Basic dTpw",
    )


def test_codings_are_asked_for_where_the_caller_wants_them() -> None:
    own = serialize_fields({"X-Own": "1"})
    for fields in (NO_FIELDS, own):
        assert b"gzip" in write(ClientRequest("GET", URL, fields, compress=True))
        plain = write(ClientRequest("GET", URL, fields))
        assert b"\r\nAccept-Encoding: identity\r\n" in plain


def test_a_field_that_is_set_replaces_those_of_its_name() -> None:
    fields = serialize_fields({"Range": "bytes=1-", "X-Own": "1"})
    request = ClientRequest("GET", URL, fields, compress=True, is_plain=True)
    changed = request.with_field("range", "bytes=2-")
    assert changed.fields == fields.replaced("range", "bytes=2-")
    assert (changed.is_plain, changed.compress, changed.url) == (False, True, URL)
    assert request.fields is fields


@pytest.mark.parametrize(
    ("given", "cookies", "sent"),
    [
        ("a=1", None, "a=1"),
        ("a=x:y", {"b": "2"}, "a=x:y; b=2"),
        ("\ta=1 ;b=2\t", {"c": "3"}, "a=1; b=2; c=3"),
        ("Xa=1X", {"c": "3"}, "Xa=1X; c=3"),
        ("a=1\xa0", {"c": "3"}, "a=1\xa0; c=3"),
        ("a=1; a=2", {"c": "3"}, "a=1; c=3"),
        ("a =1; a=2", {"c": "3"}, "a =1; c=3"),
        ("aX=1; a=2", {"c": "3"}, "aX=1; a=2; c=3"),
        ("a\xa0=1; a=2", {"c": "3"}, "a\xa0=1; a=2; c=3"),
        ("a=1=2; a=2=3", {"c": "3"}, "a=1=2; c=3"),
        ("a=1; b=2", {"a": "3"}, "b=2; a=3"),
        ("; ;", {"a": "3"}, "a=3"),
    ],
)
def test_all_cookies_are_one_field(
    given: str, cookies: dict[str, str] | None, sent: str
) -> None:
    block = join_cookies(serialize_fields({"Cookie": given}), cookies)
    assert block.lines == f"Cookie: {sent}\r\n".encode("latin-1")


def test_fields_are_told_apart_by_their_names_however_they_are_given() -> None:
    kept = merge_fields([("A", "1"), (b"B", "2")], [(b"a", "3")])
    assert kept.lines == b"B: 2\r\na: 3\r\n"
    kept = merge_fields([(b"A", "1")], {"a": "3"})
    assert kept.lines == b"a: 3\r\n"


def test_fields_of_a_session_that_are_none() -> None:
    with pytest.raises(InvalidArgument, match="headers: expected a dict"):
        merge_fields(5, {"a": "b"})  # type: ignore[arg-type]
