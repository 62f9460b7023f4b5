from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from blazeio.client.auth import Credentials, DigestAuth
from blazeio.client.request import (
    FOLLOWED,
    MOST_CHALLENGES,
    ClientRequest,
    Redirect,
    RedirectHandler,
    decide_redirect,
    merge_fields,
    resolve_location,
)
from blazeio.client.url import parse_url
from blazeio.errors import InvalidResponse, RedirectError, TooManyRedirects
from blazeio.wire.headers import Headers

URL = "https://a.example/dir/page?q#part"


def decide(
    status: int = 302,
    location: str | None = "/next",
    method: str = "GET",
    url: str = URL,
    **options: bool,
) -> Redirect:
    redirect = decide_redirect(status, location, method, url, **options)
    assert redirect is not None
    return redirect


@pytest.mark.parametrize("status", [200, 201, 300, 304, 305, 306, 404])
def test_other_statuses_are_answers_whatever_they_name(status: int) -> None:
    assert decide_redirect(status, "/next", "GET", URL) is None


@pytest.mark.parametrize("status", sorted(FOLLOWED))
def test_a_redirect_to_nowhere_is_an_answer(status: int) -> None:
    assert decide_redirect(status, None, "GET", URL) is None


@pytest.mark.parametrize(
    ("method", "by_status"),
    [
        ("GET", {}),
        ("HEAD", {}),
        ("POST", {301: "GET", 302: "GET", 303: "GET"}),
        ("PUT", {303: "GET"}),
        ("DELETE", {303: "GET"}),
    ],
)
def test_the_method_of_the_next_request(method: str, by_status: dict[int, str]) -> None:
    methods = {status: decide(status, method=method).method for status in FOLLOWED}
    assert methods == {status: by_status.get(status, method) for status in FOLLOWED}


def test_content_and_what_is_said_of_it_go_with_its_method() -> None:
    redirect = decide(303, method="POST")
    assert not redirect.keeps_content
    assert {"content-type", "content-length", "transfer-encoding"} <= redirect.dropped


def test_what_goes_with_the_content_and_what_is_the_proxys_are_both_dropped() -> None:
    dropped = decide(303, method="POST").dropped
    assert {"content-type", "proxy-authorization"} <= dropped


def test_content_is_sent_again_where_the_method_stays() -> None:
    redirect = decide(307, method="POST")
    assert redirect.keeps_content
    assert redirect.dropped == {"proxy-authorization"}


def test_a_stream_cannot_be_sent_again() -> None:
    with pytest.raises(
        RedirectError, match=r"308 to .* again, and a stream can be sent once only$"
    ):
        decide(308, method="POST", can_replay=False)


def test_a_stream_need_not_be_sent_again_for_a_get() -> None:
    assert decide(303, method="POST", can_replay=False).method == "GET"


@pytest.mark.parametrize(
    ("url", "location", "keeps"),
    [
        ("https://a.example/", "/x", True),
        ("https://a.example/", "https://A.example:443/x", True),
        ("http://a.example:80/", "//a.example/x", True),
        ("http://a.example/", "https://a.example/x", True),
        ("http://a.example:8080/", "https://a.example/x", False),
        ("http://a.example/", "https://a.example:8443/x", False),
        ("https://a.example/", "https://a.example:8443/x", False),
        ("https://a.example/", "https://b.example/x", False),
        ("https://a.example/", "https://b.a.example/x", False),
        ("https://b.a.example/", "https://a.example/x", False),
    ],
)
def test_credentials_stay_with_their_origin(
    url: str, location: str, keeps: bool
) -> None:
    dropped = decide(location=location, url=url).dropped
    assert ("authorization" not in dropped) is keeps
    assert ("cookie" not in dropped) is keeps
    assert "proxy-authorization" in dropped


def test_nothing_goes_from_https_to_http_unless_asked() -> None:
    with pytest.raises(RedirectError, match="from https to http"):
        decide(location="http://a.example/")
    redirect = decide(location="http://a.example/", allows_downgrade=True)
    assert "authorization" in redirect.dropped


LOCATIONS = {
    "/other": "https://a.example/other#part",
    "other?x": "https://a.example/dir/other?x#part",
    "../up": "https://a.example/up#part",
    "?only": "https://a.example/dir/page?only#part",
    "#there": "https://a.example/dir/page?q#there",
    "": "https://a.example/dir/page?q#part",
    "//b.example/x": "https://b.example/x#part",
    "https://b.example": "https://b.example#part",
    "https://B/x": "https://b/x#part",
    "HTTPS://b.example:8443/x#y": "https://b.example:8443/x#y",
    "https://[::1]:8443/": "https://[::1]:8443/#part",
    "/a b": "https://a.example/a%20b#part",
    "/%C3%A9": "https://a.example/%C3%A9#part",
    "/é".encode().decode("latin-1"): "https://a.example/%C3%A9#part",
    "\\\\b.example\\x": "https://a.example/dir/%5C%5Cb.example%5Cx#part",
}


@pytest.mark.parametrize(("location", "url"), LOCATIONS.items())
def test_a_location_is_resolved(location: str, url: str) -> None:
    assert resolve_location(URL, location) == url


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "javascript:alert(1)",
        "ftp://a.example/",
        "http://",
        "http:///x",
        "https:x",
        "//",
        "//:80/",
        "http://a.example:port/",
        "http://a.example:65536/",
        "http://[::1/",
        "http://[x]/",
        "http://user:password@a.example/",
        "http://a.example\\@b.example/",
        "http://a b/",
    ],
)
def test_a_location_that_leads_nowhere_is_an_error(location: str) -> None:
    with pytest.raises(RedirectError, match="is not a URL that can be followed"):
        resolve_location("ws://a.example/", location)


def test_a_location_that_leads_nowhere_is_shown_without_credentials() -> None:
    with pytest.raises(RedirectError) as caught:
        decide(location="http://user:secret@x@[bad/")
    assert str(caught.value).startswith("Location '...@[bad/' is not a URL")
    with pytest.raises(RedirectError, match=r"^Location 'http://\[bad/' is not a URL"):
        decide(location="http://[bad/")


@given(st.text(st.characters(max_codepoint=255), max_size=30))
def test_every_location_is_resolved_or_refused(location: str) -> None:
    try:
        url = resolve_location(URL, location)
    except RedirectError:
        return
    assert urlsplit(url).scheme in ("http", "https")
    assert url.isascii()
    assert url.isprintable()
    assert " " not in url


# What one request of an app leads to


ASKED = ClientRequest("GET", parse_url("https://a.example/x"))
TO_NEXT = Headers((("location", "/next"),))


def challenge(nonce: str, realm: str = "r") -> Headers:
    return Headers((("www-authenticate", f'Digest realm="{realm}", nonce="{nonce}"'),))


def with_digest() -> tuple[RedirectHandler, ClientRequest]:
    credentials = Credentials(ASKED.url, DigestAuth("me", "x"), None, None)
    request = ClientRequest("PUT", ASKED.url, body=b"ab", credentials=credentials)
    return RedirectHandler(0, credentials=credentials), request


def test_so_many_redirects_are_followed_and_no_more() -> None:
    handler = RedirectHandler(2)
    for _ in range(2):
        redirect = handler.decide(ASKED, 302, TO_NEXT)
        assert redirect == Redirect(
            "GET", "https://a.example/next", True, frozenset(("proxy-authorization",))
        )
    with pytest.raises(TooManyRedirects, match=r"^https://a.example/x: more than 2 r"):
        handler.decide(ASKED, 302, TO_NEXT)
    assert handler.renewed(None).decide(ASKED, 302, TO_NEXT) is not None


def test_what_is_renewed_decides_alike() -> None:
    handler, request = with_digest()
    handler = RedirectHandler(3, True, request.credentials)
    assert handler.renewed(handler.credentials) == handler


def test_an_answer_counts_for_nothing() -> None:
    handler = RedirectHandler(1)
    assert handler.decide(ASKED, 200, TO_NEXT) is None
    assert handler.decide(ASKED, 302, Headers(())) is None
    assert handler.decide(ASKED, 302, TO_NEXT) is not None


def test_where_none_is_followed_each_is_an_answer() -> None:
    assert RedirectHandler().decide(ASKED, 302, TO_NEXT) is None


def test_a_downgrade_is_followed_where_that_is_allowed() -> None:
    headers = Headers((("location", "http://a.example/"),))
    with pytest.raises(RedirectError, match="is not followed"):
        RedirectHandler(1).decide(ASKED, 302, headers)
    assert RedirectHandler(1, True).decide(ASKED, 302, headers) is not None


def test_two_locations_lead_nowhere_unless_they_are_the_same() -> None:
    two = Headers((("location", "/a"), ("location", "/b")))
    with pytest.raises(RedirectError, match=r"^https://a.example/x: more than one Loc"):
        RedirectHandler(1).decide(ASKED, 302, two)
    assert RedirectHandler(1).decide(ASKED, 200, two) is None
    same = Headers((("location", "/a"), ("location", "/a")))
    assert RedirectHandler(1).decide(ASKED, 302, same) is not None


def test_a_challenge_is_answered_with_the_same_request() -> None:
    handler, request = with_digest()
    again = Redirect("PUT", request.url.text, True, frozenset())
    assert handler.decide(request, 401, challenge("1")) == again
    asked = again.apply(request)
    assert asked.url.text == request.url.text
    assert replace(asked, url=request.url) == request
    assert handler.decide(request, 401, challenge("2")) == again
    # however often the nonce expires
    assert MOST_CHALLENGES == 2
    assert handler.decide(request, 401, challenge("3")) is None


def test_a_challenge_that_comes_back_is_an_answer() -> None:
    handler, request = with_digest()
    assert handler.decide(request, 401, challenge("1")) is not None
    assert handler.decide(request, 401, challenge("1")) is None


def test_a_challenge_without_credentials_or_content_is_an_answer() -> None:
    assert RedirectHandler(1).decide(ASKED, 401, challenge("1")) is None
    basic = Credentials(ASKED.url, ("me", "x"), None, None)
    handler = RedirectHandler(1, credentials=basic)
    assert handler.decide(ASKED, 401, challenge("1")) is None
    handler, request = with_digest()
    announced = ClientRequest(
        "PUT",
        request.url,
        merge_fields(None, {"Content-Length": "2"}),
        credentials=request.credentials,
    )
    assert handler.decide(announced, 401, challenge("1")) is None


def test_a_challenge_that_nobody_can_answer_is_told() -> None:
    handler, request = with_digest()
    long = challenge("1", "r" * 5000)
    with pytest.raises(InvalidResponse, match=r"^https://a.example/x: a Digest chall"):
        handler.decide(request, 401, long)
    handler, request = with_digest()
    assert handler.decide(request, 401, Headers(())) is None


def test_the_request_that_follows_has_what_the_redirect_keeps() -> None:
    credentials = Credentials(ASKED.url, ("me", "x"), {"a": "1"}, None)
    request = ClientRequest(
        "POST",
        ASKED.url,
        merge_fields(None, {"Authorization": "x", "X-Own": "y"}),
        b"ab",
        b"Content-Type: text/plain\r\n",
        credentials,
    )
    kept = Redirect("POST", "https://a.example/next", True, frozenset()).apply(request)
    assert (kept.body, kept.content_lines) == (b"ab", b"Content-Type: text/plain\r\n")
    assert (kept.url.text, kept.fields) == ("https://a.example/next", request.fields)
    dropped = frozenset(("authorization", "cookie"))
    other = Redirect("GET", "http://b.example/", False, dropped).apply(request)
    assert (other.method, other.url.text) == ("GET", "http://b.example/")
    assert (other.body, other.content_lines) == (None, b"")
    assert other.fields.names == {"x-own"}
    told = credentials.serialize(
        other.url, "GET", b"", frozenset(), now=0.0, cnonce="0a"
    )
    assert told == b""
