import pytest

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire.http2_frames import (
    ErrorCode,
    Http2ConnectionError,
    Http2StreamError,
)
from blazeio.wire.http2_heads import HeadReader
from blazeio.wire.request import RequestHead, parse_head
from tests.support.http2 import GET, POST, Fields, block, literal

INDEXED = 0x40


def read(fields: Fields, limits: Limits | None = None) -> RequestHead:
    return HeadReader(limits or Limits()).read(block(fields))


def refuse(fields: Fields, limits: Limits | None = None) -> tuple[int, str]:
    with pytest.raises(RemoteProtocolError) as caught:
        read(fields, limits)
    assert not isinstance(caught.value, Http2StreamError | Http2ConnectionError)
    return caught.value.status_hint, str(caught.value)


def find_fault(fields: Fields) -> str:
    with pytest.raises(Http2StreamError) as caught:
        read(fields)
    assert caught.value.code == ErrorCode.PROTOCOL_ERROR
    return str(caught.value)


def put(name: str, value: str, base: Fields = GET) -> Fields:
    return [(each, value if each == name else old) for each, old in base]


def test_a_request_has_all_that_one_of_http_1_has() -> None:
    fields = put(":path", "/a%20b?c=d")
    head = read([*fields, ("accept", "*/*"), ("cookie", "a=1"), ("cookie", "b=2")])
    assert (head.method, head.target, head.path) == ("GET", "/a%20b?c=d", "/a b")
    assert (head.query, head.host, head.minor) == ("c=d", "a.example", 1)
    assert head.headers.pairs == [
        ("host", "a.example"),
        ("accept", "*/*"),
        ("cookie", "a=1; b=2"),
    ]
    assert head.is_plain
    assert head.is_persistent
    assert not head.is_chunked
    assert (head.upgrade, head.end) == (None, 0)


def test_what_decides_of_the_content() -> None:
    head = read([*POST, ("content-length", "3"), ("expect", "100-continue")])
    assert head.content_length == 3
    assert head.expects_continue
    assert not read(put(":method", "HEAD")).is_plain


def test_host_may_stand_for_authority() -> None:
    without = [pair for pair in GET if pair[0] != ":authority"]
    assert read([*without, ("host", "b.example:1")]).host == "b.example:1"
    assert read([*GET, ("host", "a.example")]).headers.get_all("host") == ["a.example"]
    assert refuse([*GET, ("host", "b.example")])[0] == 400
    assert refuse(without) == (400, "neither :authority nor Host")
    assert refuse([*without, ("host", "a b")])[0] == 400
    assert "more than one Host" in find_fault([*without, *[("host", "a")] * 2])


@pytest.mark.parametrize("name", [":method", ":scheme", ":path"])
def test_pseudo_header_fields_that_are_missing_or_empty(name: str) -> None:
    assert "needs :method" in find_fault([pair for pair in GET if pair[0] != name])
    assert "needs :method" in find_fault(put(name, ""))


@pytest.mark.parametrize("name", [":method", ":scheme", ":path", ":authority"])
def test_pseudo_header_fields_twice_or_late(name: str) -> None:
    assert "twice" in find_fault([*GET, (name, dict(GET)[name])])
    with pytest.raises(Http2StreamError, match="twice"):
        HeadReader(Limits()).read(b"\x82\x86\x84" + block(GET))
    late = [pair for pair in GET if pair[0] != name]
    assert "after a field" in find_fault([*late, ("a", "b"), (name, dict(GET)[name])])


@pytest.mark.parametrize("name", [":status", ":foo", ":", ":Method"])
def test_unknown_pseudo_header_fields(name: str) -> None:
    text = f"malformed request: pseudo-header field '{name}'"
    assert find_fault([*GET, (name, "200")]) == text
    assert find_fault([(name, "200"), *GET]) == text


@pytest.mark.parametrize("authority", ["", "u@a.example", "u:p@a", "a b", "a,b"])
def test_an_authority_that_is_none(authority: str) -> None:
    assert ":authority is" in find_fault(put(":authority", authority))


@pytest.mark.parametrize(
    "path", ["a", "*", "http://a.example/", "/a b", "/\x01", "/\xe9", "?a", "/a#b"]
)
def test_a_path_that_is_none(path: str) -> None:
    assert ":path" in find_fault(put(":path", path))


def test_the_asterisk_is_for_options() -> None:
    fields = put(":path", "*", put(":method", "OPTIONS"))
    assert read(fields).path == "*"


@pytest.mark.parametrize("scheme", ["ht tp", "1", "\x00"])
def test_a_scheme_that_is_none(scheme: str) -> None:
    assert ":scheme is" in find_fault(put(":scheme", scheme))


def test_methods() -> None:
    assert read(put(":method", "BREW")).method == "BREW"
    assert refuse(put(":method", "G ET"))[0] == 400
    assert refuse(put(":method", "A" * 33))[0] == 501


@pytest.mark.parametrize("name", ["Accept", "a b", "a:b", "", "\xe9", "a\r\nb", "A"])
def test_names_that_are_none(name: str) -> None:
    assert "field name" in find_fault([*GET, (name, "x")])


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\0b", "\x7f", "\x01"])
def test_values_with_control_octets(value: str) -> None:
    assert "control octet" in find_fault([*GET, ("a", value)])


@pytest.mark.parametrize("value", [" a", "a ", "\ta", "a\t", " "])
def test_values_with_whitespace_around(value: str) -> None:
    assert "whitespace around" in find_fault([*GET, ("a", value)])


def test_other_values_are_taken() -> None:
    head = read([*GET, ("a", ""), ("b", "x\ty"), ("c", "\xe9")])
    assert head.headers.pairs[1:] == [("a", ""), ("b", "x\ty"), ("c", "\xe9")]


@pytest.mark.parametrize(
    "name",
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"],
)
def test_fields_of_a_connection(name: str) -> None:
    assert "connection-specific" in find_fault([*GET, (name, "close")])


def test_te_is_trailers_or_nothing() -> None:
    assert read([*GET, ("te", "trailers")]).headers["te"] == "trailers"
    assert "te is" in find_fault([*GET, ("te", "gzip")])


def test_what_is_refused_with_a_status() -> None:
    assert refuse([*GET, ("expect", "x")])[0] == 417
    assert refuse([*POST, ("content-length", "x")])[0] == 400
    assert refuse([*POST, *[("content-length", "1")] * 2])[0] == 400
    assert refuse([*POST, ("content-length", "1" * 19)])[0] == 413


def test_the_limits_of_a_head() -> None:
    fields = [("a", "b")] * 3
    assert refuse([*GET, *fields], Limits(field_count=2))[0] == 431
    refusal = 431, "field line of 10 octets"
    assert refuse([*GET, ("a", "b" * 9)], Limits(field_bytes=9)) == refusal
    assert refuse(put(":path", "/abc"), Limits(target_bytes=3))[0] == 414
    total = sum(len(name) + len(value) + 32 for name, value in GET)
    assert read(GET, Limits(head_bytes=total)).path == "/"
    assert refuse(GET, Limits(head_bytes=total - 1))[0] == 431


def test_many_cookies_are_one_field() -> None:
    cookies = [("cookie", f"c{number}=1") for number in range(200)]
    assert len(read([*GET, *cookies]).headers.get_all("cookie")) == 1


def test_fields_in_front_count_for_the_head() -> None:
    reader = HeadReader(Limits(head_bytes=200))
    octets = b"\x82\x86\x01\x07a.local\x04\x02/a"  # static names: read in front
    assert reader.read(octets).path == "/a"
    with pytest.raises(RemoteProtocolError, match="head larger") as caught:
        reader.read(b"\x82\x86\x01\x07a.local\x04\x37/" + b"a" * 54)
    assert caught.value.status_hint == 431


def test_some_pseudo_header_fields_may_be_read_in_front_and_others_not() -> None:
    head = HeadReader(Limits()).read(b"\x82\x86" + block(GET[2:]))
    assert (head.method, head.path, head.host) == ("GET", "/", "a.example")


def test_connect_has_an_authority_alone() -> None:
    head = read([(":method", "CONNECT"), (":authority", "a.example:443")])
    assert (head.method, head.target, head.path) == ("CONNECT", "a.example:443", "")
    assert head.end == 0
    connect = put(":method", "CONNECT")
    assert "CONNECT has" in find_fault(connect)


@pytest.mark.parametrize("authority", ["a", "a1", "192.0.2.1", "a:", "[::1]"])
def test_connect_needs_a_port(authority: str) -> None:
    fields = [(":method", "CONNECT"), (":authority", authority)]
    assert "CONNECT has :authority with a port" in find_fault(fields)


def test_an_extended_connect_is_seen_as_the_get_of_a_websocket() -> None:
    connect = [*put(":method", "CONNECT"), (":protocol", "websocket")]
    head = read([*connect, ("sec-websocket-version", "13")])
    assert (head.method, head.path, head.upgrade) == ("GET", "/", "websocket")
    assert head.headers["upgrade"] == "websocket"
    assert head.headers["connection"] == "Upgrade"
    assert ":protocol without CONNECT" in find_fault([*GET, (":protocol", "websocket")])
    assert refuse([*put(":method", "CONNECT"), (":protocol", "x")])[0] == 501
    assert "needs :method" in find_fault(
        [pair for pair in connect if pair[0] != ":path"]
    )


def test_trailers_keep_what_a_trailer_may_be() -> None:
    reader = HeadReader(Limits())
    trailers = reader.read_trailers(block([("grpc-status", "0"), ("host", "x")]))
    assert trailers is not None
    assert trailers.pairs == [("grpc-status", "0")]
    assert reader.read_trailers(b"") is None
    for fields in ([(":path", "/")], [("content-length", "1")], [("A", "b")]):
        with pytest.raises(Http2StreamError):
            reader.read_trailers(block(fields))
    with pytest.raises(Http2StreamError, match="trailers larger"):
        HeadReader(Limits(trailer_bytes=40)).read_trailers(block([("a", "b" * 9)]))
    with pytest.raises(Http2StreamError, match="head larger"):
        HeadReader(Limits(head_bytes=40)).read_trailers(block([("a", "b" * 9)]))


# What is kept


def test_the_same_block_is_the_same_head() -> None:
    reader = HeadReader(Limits())
    octets = block(GET)
    assert reader.read(octets) is not reader.read(octets)  # it may have been the last
    assert reader.read(octets) is reader.read(octets)


def test_a_change_of_the_table_is_the_end_of_what_was_kept() -> None:
    reader = HeadReader(Limits())
    named = block(GET[:3])
    reader.read(named + literal(":path", "/1", INDEXED))
    octets = named + b"\xbe"  # the newest entry
    for _ in range(4):
        assert reader.read(octets).path == "/1"
    reader.read(named + literal(":path", "/2", INDEXED))
    assert reader.read(octets).path == "/2"
    with pytest.raises(Http2StreamError):
        reader.read(literal(":path", "/3", INDEXED) + b"\x82")
    assert reader.read(octets).path == "/3"
    reader.read_trailers(literal("x", "/4", INDEXED))
    with pytest.raises(Http2StreamError):
        reader.read(octets)


def test_the_rest_is_kept_where_paths_differ() -> None:
    reader = HeadReader(Limits())
    rest = literal("accept", "*/*") + literal("x-a", "b")
    heads = [
        reader.read(b"\x82\x86\x01\x01a\x04\x02/%c" % letter + rest)
        for letter in b"abcd"
    ]
    assert [head.path for head in heads] == ["/a", "/b", "/c", "/d"]
    assert len({id(head.headers) for head in heads[1:]}) == 1
    other = reader.read(b"\x82\x86\x01\x01b\x04\x02/a" + rest)
    assert other.headers["host"] == "b"


def test_what_is_kept_is_bounded() -> None:
    reader = HeadReader(Limits())
    for number in range(500):
        for _ in range(2):
            reader.read(block(put(":path", f"/{number}")))
        assert len(reader._heads) <= 16
        assert len(reader._sections) <= 16
    for _ in range(3):
        reader.read(block([*GET, ("a", "b" * 2000)]))
    assert len(max(reader._heads, key=len)) < 200
    assert max(len(rest) for _, rest in reader._sections) < 200


def test_what_comes_once_is_not_kept() -> None:
    reader = HeadReader(Limits())
    for number in range(5):
        reader.read(block(put(":path", f"/{number}")))
    assert not reader._heads
    assert not reader._sections


@pytest.mark.parametrize("front", [b"", b"\x82\x86\x01\x01a\x04\x02/a"])
def test_what_changes_the_table_is_never_kept(front: bytes) -> None:
    reader = HeadReader(Limits())
    octets = front or block(GET)
    for number in range(1, 5):
        reader.read(octets + literal("x", "y", INDEXED))
        assert reader.decoder.version == number


def test_a_head_is_no_longer_known_once_the_table_must_be_reduced() -> None:
    reader = HeadReader(Limits(header_table_bytes=100))
    octets = block(GET)
    for _ in range(3):
        reader.read(octets)
    reader.accept_settings()
    with pytest.raises(Http2ConnectionError, match="not reduced"):
        reader.read(octets)


def test_connect_is_as_in_http_1() -> None:
    head = read([(":method", "CONNECT"), (":authority", "a.example:443")])
    octets = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"
    same = parse_head(octets, Limits())
    assert same is not None
    for name in RequestHead.__struct_fields__:
        if name not in ("end", "limits"):
            assert getattr(head, name) == getattr(same, name), name


@pytest.mark.parametrize(
    ("limits", "fields"),
    [
        (Limits(field_bytes=10), [*GET, ("a", "b" * 9)]),
        (Limits(field_count=2), [*GET, ("a", "b"), ("c", "d")]),
        (Limits(target_bytes=5), put(":path", "/abcd")),
    ],
)
def test_limits_are_inclusive(limits: Limits, fields: Fields) -> None:
    assert read(fields, limits)
    longer = [(name, value + "x") for name, value in fields]
    if limits.field_count == 2:
        longer = [*fields, ("e", "f")]
    elif limits.field_bytes == 10:
        longer = [*GET, ("a", "b" * 10)]
    assert refuse(longer, limits)[0] in (414, 431)


def test_the_limits_of_trailers_are_inclusive() -> None:
    fields = [("a", "b"), ("c", "d")]
    limits = Limits(trailer_bytes=68, field_count=2)
    assert HeadReader(limits).read_trailers(block(fields)) is not None
    for smaller in (Limits(trailer_bytes=67), Limits(field_count=1)):
        with pytest.raises(Http2StreamError, match="trailers larger"):
            HeadReader(smaller).read_trailers(block(fields))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_head_that_is_too_large_is_refused_with_431(count: int) -> None:
    size = sum(len(name) + len(value) + 32 for name, value in GET)
    fields = [*GET, *[("a", "b")] * count]
    assert read(fields, Limits(head_bytes=size + 34 * count))
    status, text = refuse(fields, Limits(head_bytes=size + 34 * count - 1))
    assert status == 431
    assert text == f"head larger than {size + 34 * count - 1} octets"


@pytest.mark.parametrize("value", ["\xa0b", "b\x85", "XbX"])
def test_only_sp_and_htab_may_not_surround_a_value(value: str) -> None:
    assert read([*GET, ("a", value)]).headers["a"] == value
