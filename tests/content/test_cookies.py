from datetime import UTC, datetime
from http.cookies import SimpleCookie
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.content.field_values import (
    LONGEST_PAIR_BYTES,
    find_cookie,
    serialize_cookie,
    serialize_set_cookie,
)
from blazeio.errors import LocalProtocolError


def test_the_defaults_are_the_safe_ones() -> None:
    assert serialize_set_cookie("sid", "a1") == "sid=a1; Path=/; HttpOnly; SameSite=Lax"


def test_every_attribute_is_written() -> None:
    line = serialize_set_cookie(
        "sid",
        "a1",
        path="/app",
        max_age=60,
        expires=784_111_777,
        domain="example.org",
        secure=True,
        http_only=True,
        same_site="None",
        partitioned=True,
    )
    assert line == (
        "sid=a1; Max-Age=60; Expires=Sun, 06 Nov 1994 08:49:37 GMT; "
        "Domain=example.org; Path=/app; Secure; HttpOnly; SameSite=None; Partitioned"
    )


def test_what_is_none_is_left_out() -> None:
    assert (
        serialize_set_cookie("a", "", path=None, http_only=False, same_site=None)
        == "a="
    )


def test_max_age_zero_is_written_since_it_deletes() -> None:
    assert "; Max-Age=0;" in serialize_set_cookie("a", "", max_age=0)


def test_expires_takes_a_datetime() -> None:
    moment = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
    line = serialize_set_cookie("a", "b", expires=moment)
    assert "Expires=Sun, 06 Nov 1994 08:49:37 GMT" in line


def test_a_quoted_value_is_kept_as_it_is() -> None:
    assert serialize_set_cookie("a", '"b"').startswith('a="b";')


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a=b", "a\r\nX: 1", "ä", "a\x00"])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(LocalProtocolError, match="is not a token"):
        serialize_set_cookie(name, "b")


@pytest.mark.parametrize(
    "value", ["a b", "a;b", "a,b", "a\\b", 'a"b', '"a', "ä", "\r\nX: 1", "\x00", "\x7f"]
)
def test_a_value_that_a_cookie_cannot_hold_is_refused(value: str) -> None:
    with pytest.raises(LocalProtocolError, match="percent-encode it"):
        serialize_set_cookie("a", value)


def test_a_cookie_that_browsers_would_drop_for_its_size_is_refused() -> None:
    serialize_set_cookie("a", "b" * (LONGEST_PAIR_BYTES - 1))
    with pytest.raises(LocalProtocolError, match="browsers drop more than 4096"):
        serialize_set_cookie("a", "b" * LONGEST_PAIR_BYTES)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"path": "app"}, "cookie path 'app'"),
        ({"path": "/;Secure"}, "cookie path"),
        ({"path": "/\r\n"}, "cookie path"),
        ({"domain": ""}, "not a host name"),
        ({"domain": "a;b"}, "not a host name"),
        ({"domain": "a..b"}, "not a host name"),
        ({"domain": "-a.b"}, "not a host name"),
        ({"max_age": -1}, "not a count of seconds"),
        ({"max_age": 1.5}, "not a count of seconds"),
        ({"same_site": "lax"}, "not Strict, Lax or None"),
        ({"same_site": "None"}, "without secure=True"),
        ({"partitioned": True}, "without secure=True"),
        ({"expires": datetime(2026, 1, 1)}, "does not know its zone"),  # noqa: DTZ001, RUF100
        ({"expires": 1e30}, "not a time that HTTP can write"),
    ],
)
def test_an_attribute_that_cannot_be_is_refused(
    attributes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(LocalProtocolError, match=reason):
        serialize_set_cookie("a", "b", **attributes)


@pytest.mark.parametrize("name", ["__Secure-a", "__secure-a", "__Host-a", "__HOST-a"])
def test_a_prefix_demands_secure(name: str) -> None:
    assert serialize_set_cookie(name, "b", secure=True)
    with pytest.raises(LocalProtocolError, match="without secure=True"):
        serialize_set_cookie(name, "b")


@pytest.mark.parametrize("scope", [{"path": "/x"}, {"path": None}, {"domain": "a.b"}])
def test_the_host_prefix_demands_the_root_and_no_domain(scope: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError, match="__Host- demands"):
        serialize_set_cookie("__Host-a", "b", secure=True, **scope)


@given(st.text(max_size=50), st.text(max_size=50))
def test_no_text_escapes_from_the_field(name: str, value: str) -> None:
    try:
        line = serialize_set_cookie(name, value, path=None, same_site=None)
    except LocalProtocolError:
        return
    assert line == f"{name}={value}; HttpOnly"
    assert line.isascii()
    assert line.isprintable()


@given(st.text("abcXYZ0189-._~!%&()/:<=>?@[]^`{|}", max_size=50))
def test_python_reads_back_what_was_written(value: str) -> None:
    cookie = SimpleCookie(serialize_set_cookie("a", value))
    assert cookie["a"].value == value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("a=1", "1"),
        ("b=2; a=1", "1"),
        ("b=2;a=1", "1"),
        ("a=1; a=2", "1"),
        ("a=", ""),
        ("a=b=c", "b=c"),
        ('a="b c"', '"b c"'),
        (" a = 1 ", "1"),
        ("", None),
        ("a", None),
        ("aa=1; A=2; =a", None),
    ],
)
def test_a_cookie_is_found_by_its_name(field: str, value: str | None) -> None:
    assert find_cookie(field, "a") == value


@given(
    st.text(st.sampled_from("az09-_"), min_size=1, max_size=8),
    st.text(st.sampled_from("az09!#&'()*+-./:<=>?@[]^_`{|}~%"), max_size=20),
)
def test_what_was_set_is_found(name: str, value: str) -> None:
    pair = serialize_set_cookie(name, value).partition(";")[0]
    assert find_cookie(f"other=1; {pair}; last=2", name) == value


def test_cookies_are_written_as_one_field() -> None:
    assert serialize_cookie({"a": "1", "B": "2=3"}) == "a=1; B=2=3"
    assert serialize_cookie({}) == ""
    for cookies in ({"a b": "1"}, {"a": "1;2"}):
        with pytest.raises(LocalProtocolError):
            serialize_cookie(cookies)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("a=X1X", "X1X"),
        ("Xa=1", None),
        ("a=\xa01", "\xa01"),  # no blank to RFC 6265
        ("\xa0a=1", None),
        ("\ta =\t1 ", "1"),
    ],
)
def test_only_sp_and_htab_surround_a_pair(field: str, value: str | None) -> None:
    assert find_cookie(field, "a") == value


@pytest.mark.parametrize("same_site", ["Strict", "Lax", None])
def test_each_same_site_is_written(same_site: Any) -> None:
    written = serialize_set_cookie("a", "1", same_site=same_site)
    assert ("SameSite" in written) is (same_site is not None)
    for wrong in ("strict", "STRICT", "lax", ""):
        with pytest.raises(LocalProtocolError, match="is not Strict, Lax or None"):
            serialize_set_cookie("a", "1", same_site=cast("Any", wrong))


def test_an_error_shows_64_characters_of_the_value() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        serialize_set_cookie("a", "\x80" + "b" * 99)
    assert str(caught.value) == (
        f"cookie 'a': the value '\\x80{'b' * 63}' holds what a cookie cannot; "
        "percent-encode it with urllib.parse.quote"
    )
