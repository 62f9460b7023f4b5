from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.client.redirects import (
    FOLLOWED,
    Redirect,
    decide_redirect,
    resolve_location,
)
from blazeio.errors import RedirectError

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
