"""RFC 9112 sections 2.3 and 3: method, request target, version, Host."""

import pytest

from tests.wire.feeding import Reading, read_every_way


def read(request_line: bytes, fields: bytes = b"Host: h.example\r\n") -> Reading:
    return read_every_way(request_line + b"\r\n" + fields + b"\r\n")


REFUSED: dict[bytes, int] = {
    # RFC 9112 section 3: method SP request-target SP HTTP-version
    b"GET": 400,
    b"GET ": 400,
    b"GET /": 400,
    b"GET / ": 400,
    b"GET HTTP/1.1": 400,
    b"GET  HTTP/1.1": 400,
    b"/ HTTP/1.1": 400,
    b" GET / HTTP/1.1": 400,
    b"GET  / HTTP/1.1": 400,
    b"GET /  HTTP/1.1": 400,
    b"GET / HTTP/1.1 ": 400,
    b"GET / HTTP/1.1\t": 400,
    b"GET / HTTP/1.1 xxx": 400,
    b"GET\t/\tHTTP/1.1": 400,
    b"GET\t/ HTTP/1.1": 400,
    b"GET /\tHTTP/1.1": 400,
    b"GET\x0b/ HTTP/1.1": 400,
    b"GET\xa0/ HTTP/1.1": 400,
    b"GET /a b HTTP/1.1": 400,
    b"BAD LINE": 400,
    # section 2.3: HTTP-version
    b"GET / HTTP/2.0": 505,
    b"GET / HTTP/3.0": 505,
    b"GET / HTTP/9.9": 505,
    b"GET / HTTP/0.9": 505,
    b"GET / HTTP/0.0": 505,
    b"PRI * HTTP/2.0": 505,
    b"GET / http/1.1": 400,
    b"GET / Http/1.1": 400,
    b"GET / HTTP/1": 400,
    b"GET / HTTP/1.": 400,
    b"GET / HTTP/.1": 400,
    b"GET / HTTP/11": 400,
    b"GET / HTTP/1,1": 400,
    b"GET / HTTP/01.01": 400,
    b"GET / HTTP/1.10": 400,
    b"GET / HTTP/1.1.1": 400,
    b"GET / HTTP/ 1.1": 400,
    b"GET / HTTP/1.1x": 400,
    b"GET / HTTP/-1.1": 400,
    b"GET / HTTP/0x1.1": 400,
    b"GET / HTTP/\xb9.\xb9": 400,
    b"GET / HTTP1.1": 400,
    b"GET / HTTPS/1.1": 400,
    b"GET / RTSP/1.0": 400,
    b"GET / XHTTP/1.1": 400,
    b"GET / ICY": 400,
    # section 3.1: method = token
    b"G\0T / HTTP/1.1": 400,
    b"G\xcbT / HTTP/1.1": 400,
    b"GET\x7f / HTTP/1.1": 400,
    b"GE(T / HTTP/1.1": 400,
    b"GE:T / HTTP/1.1": 400,
    b'"GET" / HTTP/1.1': 400,
    b"M" * 33 + b" / HTTP/1.1": 501,
    b"M" * 9_000 + b" / HTTP/1.1": 501,
    # section 3.2: request-target
    b"GET /a\0b HTTP/1.1": 400,
    b"GET /a\x01b HTTP/1.1": 400,
    b"GET /a\x0bb HTTP/1.1": 400,
    b"GET /a\x1fb HTTP/1.1": 400,
    b"GET /a\x7fb HTTP/1.1": 400,
    b"GET /na\xc3\xafve HTTP/1.1": 400,
    b"GET /?q=na\xefve HTTP/1.1": 400,
    b"GET /a#b HTTP/1.1": 400,
    b"GET # HTTP/1.1": 400,
    b"GET ?a HTTP/1.1": 400,
    b"GET relative HTTP/1.1": 400,
    b"GET ../x HTTP/1.1": 400,
    b"GET * HTTP/1.1": 400,
    b"HEAD * HTTP/1.1": 400,
    b"OPTIONS ** HTTP/1.1": 400,
    b"OPTIONS *?a HTTP/1.1": 400,
    b"GET example.com:80 HTTP/1.1": 400,
    b"GET example.com HTTP/1.1": 400,
    # section 3.2.2: absolute-form
    b"GET http: HTTP/1.1": 400,
    b"GET http:/ HTTP/1.1": 400,
    b"GET http:/a HTTP/1.1": 400,
    b"GET http:// HTTP/1.1": 400,
    b"GET http:///a HTTP/1.1": 400,
    b"GET http://?a HTTP/1.1": 400,
    b"GET http://:80/ HTTP/1.1": 400,
    b"GET http://u@h.example/ HTTP/1.1": 400,
    b"GET http://u:p@h.example/ HTTP/1.1": 400,
    b"GET http://h.example:x/ HTTP/1.1": 400,
    b"GET http://h.example:99999/ HTTP/1.1": 400,
    b"GET http://[::1/ HTTP/1.1": 400,
    b"GET http://a,b/ HTTP/1.1": 400,
    b"GET http://h.example\\@x/ HTTP/1.1": 400,
    b"GET http://h.example#a HTTP/1.1": 400,
    b"GET ftp://h.example/ HTTP/1.1": 400,
    b"GET ://h.example/ HTTP/1.1": 400,
    b"GET file:///etc/passwd HTTP/1.1": 400,
    b"GET javascript:alert(1) HTTP/1.1": 400,
    # section 3.2.3: authority-form
    b"CONNECT / HTTP/1.1": 400,
    b"CONNECT * HTTP/1.1": 400,
    b"CONNECT h.example HTTP/1.1": 400,
    b"CONNECT h.example: HTTP/1.1": 400,
    b"CONNECT :443 HTTP/1.1": 400,
    b"CONNECT 10.0.0.1 HTTP/1.1": 400,
    b"CONNECT [::1] HTTP/1.1": 400,
    b"CONNECT u@h.example:443 HTTP/1.1": 400,
    b"CONNECT h.example:443/ HTTP/1.1": 400,
    b"CONNECT h.example:65536 HTTP/1.1": 400,
    b"CONNECT http://h.example:443 HTTP/1.1": 400,
}


@pytest.mark.parametrize("line", REFUSED)
def test_a_malformed_request_line_is_refused(line: bytes) -> None:
    reading = read(line)
    assert (reading.status, reading.messages) == (REFUSED[line], [])


@pytest.mark.parametrize("line", REFUSED)
def test_a_malformed_request_line_is_refused_before_its_fields_come(
    line: bytes,
) -> None:
    # but for the form of the target, which is judged with the whole head
    reading = read_every_way(line + b"\r\nHost: h.ex")
    assert reading.status in (REFUSED[line], None)
    if b"/1.1" not in line or REFUSED[line] != 400:
        assert reading.status == REFUSED[line]


TARGETS: dict[bytes, tuple[str, str]] = {
    b"/": ("/", ""),
    b"/?": ("/", ""),
    b"/?a=b&c=%20": ("/", "a=b&c=%20"),
    b"/a?b?c": ("/a", "b?c"),
    b"/a/b;c=d/e": ("/a/b;c=d/e", ""),
    b"//h.example/x": ("//h.example/x", ""),
    b"/../../etc/passwd": ("/../../etc/passwd", ""),
    b"/\\..\\x": ("/\\..\\x", ""),
    b"/a@b:c": ("/a@b:c", ""),
    b"/http://h.example/": ("/http://h.example/", ""),
    b"/~u/!$&'()*+,;=": ("/~u/!$&'()*+,;=", ""),
    # not RFC 3986, but what browsers send
    b'/?"<>\\^`{|}[]': ("/", '"<>\\^`{|}[]'),
    # percent-decoding of the path, never of the query
    b"/a%20b%2Fc?%2F": ("/a b/c", "%2F"),
    b"/na%C3%AFve": ("/na\u00efve", ""),
    b"/%e2%82%ac": ("/\u20ac", ""),
    b"/%0d%0aX-Injected:%201": ("/\r\nX-Injected: 1", ""),
    b"/a%00b": ("/a\0b", ""),
    b"/%": ("/%", ""),
    b"/%4": ("/%4", ""),
    b"/%zz%41": ("/%zzA", ""),
    b"/%ff": ("/\ufffd", ""),
    b"/%c3": ("/\ufffd", ""),
    b"/%2541": ("/%41", ""),
    b"/?a=%zz%": ("/", "a=%zz%"),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("prefix", [b"", b"http://h.example", b"HTTPS://h.example:1"])
def test_path_and_query(prefix: bytes, target: bytes) -> None:
    [message] = read(b"GET " + prefix + target + b" HTTP/1.1").messages
    assert (message.head.path, message.head.query) == TARGETS[target]
    assert message.head.target == (prefix + target).decode()


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [(b"http://x", "/", ""), (b"http://x?a", "/", "a"), (b"hTTp://x:", "/", "")],
)
def test_absolute_form_with_an_empty_path(target: bytes, path: str, query: str) -> None:
    [message] = read(b"GET " + target + b" HTTP/1.1").messages
    assert (message.head.path, message.head.query) == (path, query)


@pytest.mark.parametrize(
    "authority", [b"x", b"x:8080", b"[::1]", b"[2001:db8::1]:80", b"10.0.0.1:1"]
)
def test_the_authority_of_the_target_replaces_host(authority: bytes) -> None:
    line = b"GET http://" + authority + b"/ HTTP/1.1"
    [message] = read(line, b"A: b\r\nHost: other\r\n").messages
    assert message.head.host == authority.decode()
    assert message.head.headers.get_all("host") == [authority.decode()]
    assert message.head.headers["a"] == "b"


def test_absolute_form_needs_a_good_host_field_all_the_same() -> None:
    assert read(b"GET http://x/ HTTP/1.1", b"").status == 400
    assert read(b"GET http://x/ HTTP/1.1", b"Host: a b\r\n").status == 400
    assert read(b"GET http://x/ HTTP/1.0", b"").messages[0].head.host == "x"


def test_asterisk_form_is_for_options() -> None:
    [message] = read(b"OPTIONS * HTTP/1.1").messages
    assert (message.head.path, message.head.query) == ("*", "")
    assert message.head.host == "h.example"


def test_authority_form_is_for_connect() -> None:
    [message] = read(b"CONNECT x.example:443 HTTP/1.1").messages
    assert (message.head.path, message.head.target) == ("", "x.example:443")
    assert message.head.host == "x.example:443"


@pytest.mark.parametrize(
    ("version", "minor"), [(b"1.0", 0), (b"1.1", 1), (b"1.2", 1), (b"1.9", 1)]
)
def test_a_higher_minor_version_is_served_as_1(version: bytes, minor: int) -> None:
    [message] = read(b"GET / HTTP/" + version).messages
    assert message.head.minor == minor


@pytest.mark.parametrize(
    "method", ["get", "Get", "PURGE", "M-SEARCH", "!#$%&'*+-.^_`|~09aZ", "M" * 32]
)
def test_any_other_token_is_another_method(method: str) -> None:
    [message] = read(method.encode() + b" / HTTP/1.1").messages
    assert message.head.method == method


HOSTS_REFUSED = [
    b"a b",
    b"a\tb",
    b"a/b",
    b"u@a",
    b"u:p@a",
    b"a:80,b:80",
    b"a,b",
    b"a, b",
    b"a#b",
    b"a?b",
    b"a\\b",
    b"a:xyz",
    b"a:-1",
    b"a:+1",
    b"a:8 0",
    b"a:80:80",
    b"a:65536",
    b"a:080000",
    b"a:99999999999999999999",
    b"a:\xb2",
    b":80",
    b":",
    b"[::1",
    b"::1",
    b"[]",
    b"[:::1]",
    b"[::1]x",
    b"[::1%eth0]",
    b"[::1%25eth0]",
    b"[1::2::3]",
    b"[12345::]",
    b"[::256.0.0.1]",
    b"[v1]",
    b"[vg.x]",
    b"[127.0.0.1]",
    b"a%zz",
    b"a%4",
    b"a\x01b",
    b"a\x7fb",
    b"a\0b",
    b"a\xffb",
    b"b\xc3\xbccher.example",
    b"<a>",
    b'"a"',
    b"{a}",
    b"a|b",
    b"a^b",
    b"a`b",
    b"http://a",
]


@pytest.mark.parametrize("value", HOSTS_REFUSED)
def test_a_malformed_host_is_refused(value: bytes) -> None:
    for version in (b"1.0", b"1.1"):
        fields = b"Host: " + value + b"\r\n"
        assert read(b"GET / HTTP/" + version, fields).status == 400


@pytest.mark.parametrize(
    "value",
    [
        b"a",
        b"A.Example",
        b"a:80",
        b"a:",
        b"a:0",
        b"a:65535",
        b"a.",
        b"a_b",
        b"127.0.0.1:8000",
        b"999.1.1.1",
        b"[::1]:8080",
        b"[::]",
        b"[2001:db8::7]",
        b"[::ffff:10.0.0.1]:1",
        b"[1:2:3:4:5:6:7:8]",
        b"[v1.fe80::a+b]",
        b"xn--bcher-kva.example",
        b"a%41b",
        b"a!$&'()*+;=-._~",
    ],
)
def test_host_of_any_good_form_is_kept_as_sent(value: bytes) -> None:
    [message] = read(b"GET / HTTP/1.1", b"Host:\t" + value + b" \t\r\n").messages
    assert message.head.host == value.decode()


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"A: b\r\n",
        b"Hosts: a\r\n",
        b"Host: a\r\nHost: b\r\n",
        b"Host: a\r\nHost: a\r\n",
        b"Host: a\r\nX: y\r\nhOST: a\r\n",
        b"Host:\r\nHost: a\r\n",
        b"Host:\r\n",
    ],
)
def test_not_exactly_one_host_is_refused(fields: bytes) -> None:
    assert read(b"GET / HTTP/1.1", fields).status == 400


def test_http_1_0_may_do_without_host() -> None:
    assert read(b"GET / HTTP/1.0", b"").messages[0].head.host is None
    assert read(b"GET / HTTP/1.0", b"Host:\r\n").messages[0].head.host == ""
    assert read(b"GET / HTTP/1.0", b"Host: a\r\nHost: a\r\n").status == 400


def test_an_empty_host_goes_with_a_target_that_has_no_authority() -> None:
    assert read(b"OPTIONS * HTTP/1.1", b"Host:\r\n").messages[0].head.host == ""
    assert read(b"GET http://x/ HTTP/1.1", b"Host:\r\n").messages[0].head.host == "x"
