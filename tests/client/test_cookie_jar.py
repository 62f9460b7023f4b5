import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blazeio.client.cookies import (
    MOST_COOKIES,
    MOST_COOKIES_OF_DOMAIN,
    MOST_SENT_BYTES,
    MOST_SENT_COOKIES,
    Cookie,
    CookieJar,
)

NOW = 1_700_000_000.0
SITE = "https://www.a.example/dir/page"


def filled(*fields: str, url: str = SITE) -> CookieJar:
    jar = CookieJar()
    jar.store(url, fields, NOW)
    return jar


def test_an_empty_jar_has_nothing_to_say() -> None:
    assert CookieJar().field_for(SITE, NOW) is None


@pytest.mark.parametrize(
    ("field", "sent_to", "not_to"),
    [
        ("c=1", ["www.a.example"], ["a.example", "b.www.a.example", "b.example"]),
        (
            "c=1; Domain=a.example",
            ["a.example", "www.a.example", "x.y.a.example", "WWW.A.EXAMPLE"],
            ["xa.example", "b.example", "example"],
        ),
        ("c=1; Domain=.A.Example", ["a.example", "www.a.example"], ["b.example"]),
        ("c=1; Domain=www.a.example", ["b.www.a.example"], ["a.example"]),
        ("c=1; Domain=", ["www.a.example"], ["b.www.a.example"]),
    ],
)
def test_a_cookie_goes_to_its_domain(
    field: str, sent_to: list[str], not_to: list[str]
) -> None:
    jar = filled(f"{field}; Path=/")
    assert [jar.field_for(f"http://{host}/", NOW) for host in sent_to] == [
        "c=1" for _ in sent_to
    ]
    assert [jar.field_for(f"http://{host}/", NOW) for host in not_to] == [
        None for _ in not_to
    ]


@pytest.mark.parametrize(
    "domain",
    ["b.example", "x.www.a.example", "example", "com", "ww.a.example", "a.example."],
)
def test_a_cookie_for_a_foreign_domain_is_ignored(domain: str) -> None:
    assert len(filled(f"c=1; Domain={domain}")) == 0


def test_a_cookie_for_a_public_suffix_is_ignored_where_the_jar_knows_it() -> None:
    jar = CookieJar({"co.test", "test"}.__contains__)
    jar.store(
        "https://shop.co.test/",
        ["c=1; Domain=co.test", "d=1; Domain=shop.co.test"],
        NOW,
    )
    assert [each.name for each in jar] == ["d"]


def test_a_suffix_that_is_a_host_may_set_one_for_itself() -> None:
    (cookie,) = filled("c=1; Domain=localhost", url="http://localhost:8000/")
    assert cookie.is_host_only


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_an_address_has_no_hosts_below(host: str) -> None:
    bare = host.strip("[]")
    jar = filled(
        "a=1", f"b=1; Domain={bare}", "c=1; Domain=0.0.1", url=f"http://{host}/"
    )
    assert [(each.name, each.is_host_only) for each in jar] == [
        ("a", True),
        ("b", True),
    ]
    assert jar.field_for(f"http://{host}:8000/", NOW) == "a=1; b=1"


@pytest.mark.parametrize(
    ("attribute", "sent_to", "not_to"),
    [
        ("", ["/dir/", "/dir/other", "/dir"], ["/", "/dirt", "/other/dir/"]),
        ("Path=/", ["/", "/any"], []),
        ("Path=/a", ["/a", "/a/", "/a/b"], ["/", "/ab"]),
        ("Path=/a/", ["/a/", "/a/b"], ["/a"]),
        ("Path=a", ["/dir/x"], ["/a"]),
    ],
)
def test_a_cookie_goes_to_its_path(
    attribute: str, sent_to: list[str], not_to: list[str]
) -> None:
    jar = filled(f"c=1; {attribute}")
    site = "https://www.a.example"
    assert all(jar.field_for(site + path, NOW) for path in sent_to)
    assert not any(jar.field_for(site + path, NOW) for path in not_to)


def test_a_url_without_a_path_has_the_root() -> None:
    assert filled("c=1; Path=/").field_for("https://www.a.example?q", NOW) == "c=1"


def test_a_secure_cookie_goes_over_tls_only() -> None:
    jar = filled("c=1; Secure; Path=/")
    assert jar.field_for("http://www.a.example/", NOW) is None
    assert jar.field_for("wss://www.a.example/", NOW) == "c=1"


def test_a_secure_cookie_in_the_clear_is_ignored() -> None:
    assert len(filled("c=1; Secure", url="http://www.a.example/")) == 0


def test_what_came_in_the_clear_does_not_hide_a_secure_cookie() -> None:
    jar = filled("c=1; Secure; Domain=a.example; Path=/login")
    jar.store("http://www.a.example/login/x", ["c=2", "c=3; Path=/"], NOW)
    assert [each.value for each in jar] == ["1", "3"]


@pytest.mark.parametrize(
    ("field", "is_kept"),
    [
        ("__Secure-c=1; Secure", True),
        ("__Secure-c=1", False),
        ("__SECURE-c=1", False),
        ("__Host-c=1; Secure; Path=/", True),
        ("__Host-c=1; Secure", False),
        ("__Host-c=1; Path=/", False),
        ("__Host-c=1; Secure; Path=/; Domain=www.a.example", False),
        ("=__Host-c=1", False),
        ("__Secure-c", False),
    ],
)
def test_a_prefix_is_a_promise(field: str, is_kept: bool) -> None:
    assert len(filled(field)) == is_kept


def test_longer_paths_come_first_then_older_cookies() -> None:
    jar = filled("a=1; Path=/", "b=2; Path=/dir", "c=3; Path=/", "=4; Path=/")
    jar.store(SITE, ["a=5; Path=/"], NOW)
    assert jar.field_for(SITE, NOW) == "b=2; a=5; c=3; 4"


def test_the_same_name_in_two_places_is_two_cookies() -> None:
    jar = filled("c=1; Path=/", "c=2; Path=/dir", "c=3; Path=/; Domain=a.example")
    assert jar.field_for(SITE, NOW) == "c=2; c=1; c=3"


def test_a_cookie_ends_with_its_time() -> None:
    jar = filled("c=1; Max-Age=60")
    assert jar.field_for(SITE, NOW + 59) == "c=1"
    assert jar.field_for(SITE, NOW + 60) is None


def test_an_expired_cookie_deletes_the_one_before() -> None:
    jar = filled("c=1", "d=1")
    jar.store(SITE, ["c=; Max-Age=0"], NOW)
    assert [each.name for each in jar] == ["d"]
    assert len(jar) == 1


def test_of_too_many_of_a_domain_the_least_used_goes() -> None:
    jar = filled(*(f"c{number}=1" for number in range(MOST_COOKIES_OF_DOMAIN - 1)))
    jar.store(SITE, ["secure=1; Secure; Path=/elsewhere", "c0=2"], NOW)
    jar.store(SITE, ["last=1"], NOW)
    names = {each.name for each in jar}
    assert len(jar) == len(names) == MOST_COOKIES_OF_DOMAIN
    assert {"secure", "last", "c0"} <= names
    assert "c1" not in names


def test_what_has_expired_goes_before_what_is_of_use() -> None:
    jar = filled(*(f"c{number}=1" for number in range(MOST_COOKIES_OF_DOMAIN - 1)))
    jar.store(SITE, ["short=1; Max-Age=1"], NOW)
    jar.store(SITE, ["last=1"], NOW + 2)
    assert {each.name for each in jar} >= {"c0", "last"}


def test_of_too_many_in_all_the_least_used_goes() -> None:
    jar = CookieJar()
    for number in range(MOST_COOKIES + 5):
        jar.store(f"https://h{number // 40}.example/", [f"c{number}=1"], NOW)
    names = [each.name for each in jar]
    assert len(jar) == len(names) == MOST_COOKIES
    assert names[0] == "c5"


def test_cookies_can_be_taken_out_and_put_in_again() -> None:
    jar = filled("c=1; Domain=a.example; Path=/; Secure; SameSite=Lax")
    other = CookieJar()
    for cookie in jar:
        other.add(cookie, NOW)
    assert list(other) == list(jar)
    assert other.field_for(SITE, NOW) == "c=1"


def test_a_jar_can_be_emptied() -> None:
    jar = filled("c=1", "d=1; Domain=a.example")
    jar.clear()
    assert (len(jar), list(jar), jar.field_for(SITE, NOW)) == (0, [], None)


HOSTS = st.sampled_from(["a.example", "b.a.example", "c.b.a.example", "x.example"])


@given(
    st.lists(
        st.tuples(
            HOSTS,
            HOSTS | st.just(""),
            st.sampled_from(["a", "b"]),
            st.sampled_from(["/", "/p", "/p/q", ""]),
            st.integers(-1, 3),
            st.booleans(),
        ),
        max_size=30,
    ),
    HOSTS,
    st.booleans(),
    st.integers(0, 4),
)
def test_the_field_is_what_a_plain_filter_of_all_cookies_gives(
    history: list[tuple[str, str, str, str, int, bool]],
    host: str,
    is_enciphered: bool,
    later_s: int,
) -> None:
    jar = CookieJar()
    for setter, domain, name, path, age, is_secure in history:
        field = f"{name}=1; Domain={domain}; Path={path}; Max-Age={age}"
        jar.store(f"https://{setter}/p/q/r", [field + "; Secure" * is_secure], NOW)
    assert len(jar) == len(list(jar))

    def is_for_it(cookie: Cookie) -> bool:
        in_domain = host == cookie.domain or (
            not cookie.is_host_only and host.endswith(f".{cookie.domain}")
        )
        in_path = "/p/q/".startswith(cookie.path.rstrip("/") + "/")
        lives = cookie.expires_at is None or cookie.expires_at > NOW + later_s
        return in_domain and in_path and lives and is_enciphered >= cookie.is_secure

    scheme = "https" if is_enciphered else "http"
    field = jar.field_for(f"{scheme}://{host}/p/q", NOW + later_s) or ""
    expected = [f"{each.name}=1" for each in jar if is_for_it(each)]
    assert sorted(filter(None, field.split("; "))) == sorted(expected)


# Final dots, suffixes and names that are not ASCII


@pytest.mark.parametrize(
    ("host", "domain", "sent_to", "not_to"),
    [
        # a final dot makes no other host of it, and no suffix less of one
        ("evil.com.", "com.", [], ["bank.com.", "bank.com", "com."]),
        ("evil.com.", "com", [], ["bank.com.", "bank.com"]),
        ("evil.com", "com.", [], ["bank.com", "bank.com."]),
        ("evil.co.uk.", "co.uk.", [], ["bank.co.uk.", "bank.co.uk"]),
        ("evil.co.uk", "co.uk", [], ["bank.co.uk"]),
        ("evil.co.uk", "CO.UK", [], ["bank.co.uk"]),
        ("evil.com.au", ".com.au", [], ["bank.com.au"]),
        ("www.a.example.", "a.example.", ["b.a.example.", "a.example"], ["example."]),
        ("www.a.example.", "", ["www.a.example.", "www.a.example"], ["a.example"]),
        ("www.a.example", "a.example.", [], ["a.example", "a.example."]),
        ("www.a.example", "a.example..", [], ["a.example"]),
        # addresses have nobody below them, in any spelling
        ("127.0.0.1", "0.0.1", [], ["10.0.0.1", "0.0.1"]),
        ("127.1", "1", [], ["10.1"]),
        ("0x7f.1", "127.0.0.1", ["127.0.0.1", "127.1"], ["127.0.0.2"]),
        ("127.0.0.1.", "127.0.0.1.", ["127.0.0.1"], []),
        ("[::1]", "[::1]", ["[::1]", "[0::1]"], ["[::2]"]),
        ("[fe80::1%25a]", "", ["[fe80::1%25a]"], ["[fe80::1%25b]", "[fe80::1]"]),
        # IDNA
        ("www.stra\xdfe.de", "stra\xdfe.de", ["xn--strae-oqa.de"], ["strasse.de"]),
        ("www.xn--strae-oqa.de", "STRA\xdfE.de", ["a.stra\xdfe.de"], ["strasse.de"]),
        ("www.stra\xdfe.de", "xn--strae-oqa.de", ["stra\xdfe.de"], []),
        # no hosts
        ("www.a.example", "a..example", [], ["www.a.example"]),
        ("www.a.example", "a.example:80", [], ["www.a.example"]),
        ("www.a.example", "a example", [], ["www.a.example"]),
        ("www.a.example", "x" * 64, [], ["www.a.example"]),
    ],
)
def test_who_a_domain_is(
    host: str, domain: str, sent_to: list[str], not_to: list[str]
) -> None:
    field = f"c=1; Path=/; Domain={domain}".encode().decode("latin-1")
    jar = filled(field, url=f"https://{host}/")
    assert [
        each for each in sent_to if not jar.field_for(f"https://{each}/", NOW)
    ] == []
    assert [each for each in not_to if jar.field_for(f"https://{each}/", NOW)] == []


def test_a_list_of_suffixes_is_asked_for_names_without_a_final_dot() -> None:
    asked: list[str] = []

    def is_public(domain: str) -> bool:
        asked.append(domain)
        return domain == "xn--strae-oqa.de"

    jar = CookieJar(is_public)
    for host, field in (
        ("a.stra\xdfe.de.", "c=1; Domain=xn--strae-oqa.de."),
        ("a.Example.", "d=1; Domain=.A.example."),
    ):
        jar.store(f"https://{host}/", [field], NOW)
    assert asked == ["xn--strae-oqa.de", "a.example"]
    assert [each.name for each in jar] == ["d"]


@pytest.mark.parametrize("age", ["9" * 30, "-" + "9" * 30, "-0", "9" * 1000])
def test_an_age_of_any_size_is_an_age(age: str) -> None:
    jar = filled(f"c=1; Max-Age={age}; Path=/")
    assert bool(jar.field_for(SITE, NOW)) is not age.startswith("-")


def test_what_is_sent_has_a_bound_whatever_was_set() -> None:
    host = ".".join(["x"] * 100) + ".example"
    jar = CookieJar()
    for start in range(0, 20, 2):
        fields = [
            f"{number:02}={'v' * 4000}; Path=/; Domain={host[start:]}"
            for number in range(40)
        ]
        jar.store(f"https://{host}/", fields, NOW)
    field = jar.field_for(f"https://{host}/", NOW)
    assert field is not None
    assert 8000 < len(field) <= MOST_SENT_BYTES
    jar.clear()
    for start in range(0, 20, 2):
        fields = [f"{n:02}=1; Path=/; Domain={host[start:]}" for n in range(40)]
        jar.store(f"https://{host}/", fields, NOW)
    field = jar.field_for(f"https://{host}/", NOW)
    assert field is not None
    assert field.count("=") == MOST_SENT_COOKIES


NOBODY = "a..b/"


def test_what_is_sent_may_be_as_long_as_the_bound() -> None:
    jar = CookieJar()
    for name, length in (("a", 4000), ("b", MOST_SENT_BYTES - 4000 - len("; "))):
        jar.add(Cookie(name, "x" * (length - 2), "a.example"), NOW)
    field = jar.field_for("http://a.example/", NOW)
    assert field is not None
    assert len(field) == MOST_SENT_BYTES


def test_what_does_not_fit_keeps_nothing_else_away() -> None:
    jar = CookieJar()
    for name, length in (
        ("a", 4000),
        ("b", MOST_SENT_BYTES - 4000 - len("; ") + 1),
        ("c", 10),
    ):
        jar.add(Cookie(name, "x" * (length - 2), "a.example"), NOW)
    field = jar.field_for("http://a.example/", NOW)
    assert field is not None
    assert [each[0] for each in field.split("; ")] == ["a", "c"]


def test_websockets_over_tls_are_secure() -> None:
    assert len(filled("c=1; Secure", url="wss://a.example/")) == 1
    assert len(filled("c=1; Secure", url="ws://a.example/")) == 0


def test_a_url_that_names_no_host_has_no_cookies() -> None:
    jar = filled("c=1", url="https://" + NOBODY)
    assert len(jar) == 0
    assert filled("c=1; Path=/").field_for("https://" + NOBODY, NOW) is None
    assert len(filled("c=1", url="https:///x")) == 0


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(0, 7), st.integers(0, 5), st.sampled_from("ksdf")),
        min_size=40,
        max_size=120,
    )
)
def test_a_full_jar_lets_go_of_what_is_of_the_least_use(
    history: list[tuple[int, int, str]],
) -> None:
    """The queue of a jar that was full once tells the same as a look at all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blazeio.client.cookies.MOST_COOKIES", 12)
        jar = CookieJar()
        used: dict[tuple[str, str], tuple[bool, int]] = {}
        for step, (number, name, what) in enumerate(history):
            host = f"h{number}.example"
            if what == "f":
                jar.field_for(f"https://{host}/", NOW)
                used.update({k: (v[0], step) for k, v in used.items() if k[0] == host})
                continue
            end = {"s": "; Secure", "d": "; Max-Age=0"}.get(what, "")
            jar.store(f"https://{host}/", [f"c{name}=1{end}"], NOW)
            used.pop((host, f"c{name}"), None)
            if what != "d":
                used[host, f"c{name}"] = (what == "s", step)
            if len(used) > 12:
                least = min(used.values())
                kept = {(each.domain, each.name) for each in jar}
                (gone,) = used.keys() - kept
                assert used.pop(gone) == least
            assert {(each.domain, each.name) for each in jar} == used.keys()
