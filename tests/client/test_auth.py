import pytest

from blazeio.client.auth import Credentials, DigestAuth, DigestChallenge
from blazeio.client.cookies import CookieJar
from blazeio.client.url import basic_credentials, parse_url
from blazeio.errors import LocalProtocolError

URL = parse_url("http://h/x")
NOW = 1_796_000_000.0
NOTHING: frozenset[str] = frozenset()


def serialize(identity: Credentials, given: frozenset[str] = NOTHING) -> bytes:
    return identity.serialize(URL, "GET", b"", given, now=NOW, cnonce="00")


def test_credentials_of_the_url_count_unless_others_are_given() -> None:
    url = parse_url("http://me:x@h/")
    assert serialize(Credentials(url, None, None, None)) == (
        b"Authorization: Basic bWU6eA==\r\n"
    )
    assert serialize(Credentials(url, ("you", "y"), None, None)) == (
        b"Authorization: Basic eW91Onk=\r\n"
    )


def test_what_the_caller_has_written_himself_is_not_said_twice() -> None:
    identity = Credentials(URL, ("me", "x"), {"a": "1"}, None)
    assert serialize(identity, frozenset(("authorization", "cookie"))) == b""


def test_cookies_of_the_request_come_before_those_of_the_jar() -> None:
    identity = Credentials(URL, None, {"a": "1", "b": "2"}, CookieJar())
    identity.learn_cookies(URL, ["c=3"], NOW)
    assert serialize(identity) == b"Cookie: a=1; b=2; c=3\r\n"


def test_what_is_forgotten_is_told_to_nobody_else() -> None:
    identity = Credentials(URL, ("me", "x"), {"a": "1"}, None)
    identity.forget(frozenset(("authorization", "cookie")))
    assert serialize(identity) == b""


def test_a_copy_keeps_what_is_forgotten_elsewhere() -> None:
    identity = Credentials(URL, ("me", "x"), {"a": "1"}, None)
    sent = serialize(identity)
    twin = identity.copy()
    identity.forget(frozenset(("authorization", "cookie")))
    assert serialize(twin) == sent != b""


def test_no_digest_is_made_for_whoever_comes_next() -> None:
    identity = Credentials(URL, DigestAuth("me", "x"), None, None)
    identity.forget(frozenset(("authorization",)))
    assert identity.digest is None


def test_a_cookie_that_is_none_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="percent-encode it"):
        Credentials(URL, None, {"a": "x; y"}, None)


def test_before_a_challenge_digest_says_nothing() -> None:
    assert serialize(Credentials(URL, DigestAuth("me", "x"), None, None)) == b""


@pytest.mark.parametrize("qop", ["auth", "auth-int"])
def test_a_challenge_is_answered_for_each_request_and_its_content(qop: str) -> None:
    auth = DigestAuth("me", "x")
    field = f'Digest realm="r", nonce="n", qop="{qop}"'
    assert auth.learn(URL.origin, [field])
    assert not auth.learn(URL.origin, [field])  # the answer was refused
    challenge = DigestChallenge("r", "n", qop=qop)
    identity = Credentials(URL, auth, None, None)
    for count in (1, 2):
        answer = challenge.answer(
            "me", "x", "PUT", "/x", cnonce="0a", count=count, content=b"abc"
        )
        lines = identity.serialize(URL, "PUT", b"abc", NOTHING, now=NOW, cnonce="0a")
        assert lines == f"Authorization: {answer}\r\n".encode()


def test_a_password_is_not_shown() -> None:
    assert repr(DigestAuth("me", "secret")) == "<DigestAuth me>"


@pytest.mark.parametrize(
    ("username", "password", "value"),
    [
        ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ("test", "123\u00a3", "Basic dGVzdDoxMjPCow=="),
        ("", "a:b", "Basic OmE6Yg=="),
    ],
)
def test_the_examples_of_the_rfc(username: str, password: str, value: str) -> None:
    assert basic_credentials(username, password) == value


def test_a_name_with_a_colon_is_the_callers_fault() -> None:
    with pytest.raises(LocalProtocolError, match="cannot hold a colon"):
        basic_credentials("a:b", "c")
