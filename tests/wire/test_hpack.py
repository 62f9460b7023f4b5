import pytest

from blazeio.errors import RemoteProtocolError
from blazeio.wire.hpack import (
    STATIC_TABLE,
    HeaderDecoder,
    read_integer,
)
from blazeio.wire.http2_frames import ErrorCode, Http2ConnectionError
from blazeio.wire.http2_heads import encode_field, serialize_integer
from tests.support.http2 import integer, literal

INDEXED = 0x40
MOST = 65_536


def decoder(most_bytes: int = MOST, table_bytes: int = 4096) -> HeaderDecoder:
    return HeaderDecoder(most_bytes, table_bytes)


def refuse(octets: bytes, code: ErrorCode = ErrorCode.COMPRESSION_ERROR) -> str:
    with pytest.raises(Http2ConnectionError) as caught:
        decoder().decode(octets)
    assert caught.value.code == code
    return str(caught.value)


def test_the_requests_of_appendix_c_4() -> None:
    table = decoder()
    first = bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff")
    second = bytes.fromhex("828684be5886a8eb10649cbf")
    third = bytes.fromhex("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf")
    pseudo = [(":method", "GET"), (":scheme", "http"), (":path", "/")]
    site = (":authority", "www.example.com")
    assert table.decode(first) == [*pseudo, site]
    assert table.decode(second) == [*pseudo, site, ("cache-control", "no-cache")]
    assert table.decode(third) == [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        site,
        ("custom-key", "custom-value"),
    ]


def test_the_responses_of_appendix_c_6_evict() -> None:
    table = decoder(table_bytes=256)
    table.accept_settings()
    assert table.must_resize
    first = (
        "3fe101488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff"
        "6e919d29ad171863c78f0b97c8e9ae82ae43d3"
    )
    table.decode(bytes.fromhex(first))
    assert table.decode(bytes.fromhex("4883640effc1c0bf"))[0] == (":status", "307")
    third = bytes.fromhex(
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab"
        "77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003"
        "ed4ee5b1063d5007"
    )
    assert [name for name, _ in table.decode(third)] == [
        ":status", "cache-control", "date", "location", "content-encoding",
        "set-cookie",
    ]  # fmt: skip


def test_the_static_table_is_that_of_the_rfc() -> None:
    assert len(STATIC_TABLE) == 61
    assert STATIC_TABLE[15] == ("accept-encoding", "gzip, deflate")
    assert STATIC_TABLE[60] == ("www-authenticate", "")
    for at, pair in enumerate(STATIC_TABLE, 1):
        assert decoder().decode(bytes((0x80 | at,))) == [pair]


@pytest.mark.parametrize("index", [0, 62, 63, 5000])
def test_an_index_that_is_in_no_table(index: int) -> None:
    assert "is in no table" in refuse(integer(index, 0x7F, 0x80))
    if index:
        assert "is in no table" in refuse(integer(index, 0x0F) + b"\x01a")


def test_an_integer_of_more_than_28_bits() -> None:
    assert "28 bits" in refuse(b"\xff\xff\xff\xff\xff\xff\x0f")
    assert "28 bits" in refuse(b"\x00\x7f\xff\xff\xff\xff\xff\x0f")
    assert "28 bits" in refuse(b"\xff\x80\x80\x80\x80\x80\x80\x80")


@pytest.mark.parametrize(
    "octets",
    [
        b"\xff", b"\xff\x80", b"\x40", b"\x00", b"\x00\x01", b"\x00\x01a",
        b"\x00\x01a\x02b", b"\x00\x05ab", b"\x0f", b"\x01", b"\x00\x7f", b"\x3f",
    ],
)  # fmt: skip
def test_a_block_that_is_cut(octets: bytes) -> None:
    assert "ends within" in refuse(octets)


def test_broken_huffman_is_told() -> None:
    assert "EOS" in refuse(b"\x00\x01a\x81\xff")
    assert "EOS" in refuse(b"\x00\x84\xff\xff\xff\xff\x01a")


def test_never_indexed_and_not_indexed_leave_the_table() -> None:
    table = decoder()
    table.decode(literal("a", "b") + literal("a", "b", 0x10))
    assert table.version == 0
    table.decode(literal("a", "b", INDEXED))
    assert table.version == 1
    assert table.decode(b"\xbe") == [("a", "b")]


def test_what_is_larger_than_the_table_empties_it() -> None:
    table = decoder()
    table.decode(literal("a", "b", INDEXED))
    table.decode(literal("a", "b" * 4096, INDEXED))
    with pytest.raises(Http2ConnectionError):
        table.decode(b"\xbe")


def test_the_oldest_go_first() -> None:
    table = decoder()
    for number in range(5):
        table.decode(literal(f"n{number}", "v" * 1000, INDEXED))
    assert [table.decode(bytes((each,)))[0][0] for each in (0xBE, 0xBF, 0xC0)] == [
        "n4",
        "n3",
        "n2",
    ]
    with pytest.raises(Http2ConnectionError):
        table.decode(b"\xc1")


def test_size_updates_stand_in_front() -> None:
    table = decoder()
    table.decode(literal("a", "b", INDEXED))
    assert table.decode(b"\x20\x3f\xe1\x1f\x82") == [(":method", "GET")]
    with pytest.raises(Http2ConnectionError):
        table.decode(b"\xbe")
    for update in (b"\x20", b"\x21", b"\x3f\x00"):
        assert "after a field" in refuse(b"\x82" + update)
    assert "4096 are offered" in refuse(b"\x3f\xe2\x1f")


def test_each_change_of_the_table_is_another_version() -> None:
    table = decoder()
    update, insertion = b"\x3f\xe1\x1f", literal("a", "b", INDEXED)
    for octets in (insertion, update, update + insertion, update * 2, insertion * 2):
        before = table.version
        table.decode(octets)
        assert table.version > before
    table.decode(b"\x82\xbe")
    assert table.version == before + 2


def test_a_smaller_table_has_to_be_acknowledged() -> None:
    table = decoder(table_bytes=100)
    table.decode(literal("a", "b", INDEXED))
    table.accept_settings()
    assert table.decode_front(b"\x82") == ([], 0)
    with pytest.raises(Http2ConnectionError, match="not reduced as SETTINGS asked"):
        table.decode(b"\x82")
    table.decode(b"\x3f\x45\x82")
    table.decode(b"\x82")


def test_a_larger_table_is_offered() -> None:
    table = decoder(table_bytes=8192)
    table.accept_settings()
    table.decode(b"\x3f\xe1\x3f")
    table.decode(literal("a", "b" * 5000, INDEXED))
    assert table.decode(b"\xbe")[0][0] == "a"


def test_a_head_that_is_too_large_is_refused_and_the_table_is_right() -> None:
    table = decoder(most_bytes=1000)
    octets = literal("a", "b" * 900, INDEXED) + b"\xbe" + literal("c", "d", INDEXED)
    with pytest.raises(RemoteProtocolError) as caught:
        table.decode(octets)
    assert caught.value.status_hint == 431
    assert table.decode(b"\xbe") == [("c", "d")]


def test_a_bomb_ends_the_connection() -> None:
    octets = literal("a", "b" * 4000, INDEXED) + b"\xbe" * 15_000
    refuse(octets, ErrorCode.ENHANCE_YOUR_CALM)


def test_what_is_decoded_of_a_head_that_is_too_large_is_bounded() -> None:
    octets = literal("a", "b" * 67)  # counts for 100
    with pytest.raises(RemoteProtocolError, match="head larger than 100 octets"):
        decoder(most_bytes=100).decode(octets * 4)
    with pytest.raises(Http2ConnectionError, match="a head of more than 500 octets"):
        decoder(most_bytes=100).decode(octets * 5)


def test_fields_in_front_are_read_as_long_as_the_table_stays() -> None:
    table = decoder()
    front = b"\x82\x86" + b"\x04\x02/a" + literal("x", "y")
    assert table.decode_front(front) == (
        [(":method", "GET"), (":scheme", "http"), (":path", "/a")],
        6,
    )
    changing = b"\x82\x44\x02/a\x86"
    assert table.decode_front(changing) == ([(":method", "GET")], 1)
    with pytest.raises(Http2ConnectionError, match="ends within"):
        table.decode_front(b"\x82\x04")


@pytest.mark.parametrize(
    ("octets", "count", "end"),
    [
        (b"\x92", 0, 0),  # the last four bits are those of ":method"
        (b"\xff\x00", 0, 0),  # an index of two octets, also where it is in no table
        (b"\x14\x02/a", 1, 4),  # a path that is never indexed
        (b"\x82\xbe", 2, 2),  # the second is in the dynamic table
        (b"\x82" * 6, 5, 5),
    ],
)
def test_what_is_in_front(octets: bytes, count: int, end: int) -> None:
    table = decoder()
    table.decode(literal(":authority", "a.example", INDEXED))
    pairs, at = table.decode_front(octets)
    assert (len(pairs), at) == (count, end)
    if count:
        assert pairs == table.decode(octets)[:count]


@pytest.mark.parametrize("value", [0, 30, 31, 127, 128, 1337, 2**20, 2**28 - 1])
@pytest.mark.parametrize("prefix", [0x0F, 0x1F, 0x3F, 0x7F])
def test_integers_go_both_ways(value: int, prefix: int) -> None:
    octets = serialize_integer(value, prefix, 0)
    assert octets == integer(value, prefix)
    if octets[0] == prefix:
        assert read_integer(octets, 1, prefix) == (value, len(octets))


@pytest.mark.parametrize("prefix", [0x0F, 0x1F, 0x3F, 0x7F])
def test_the_least_integer_of_three_octets(prefix: int) -> None:
    value = prefix + 128
    octets = bytes((prefix, 0x80, 1))
    assert serialize_integer(value, prefix, 0) == octets
    assert read_integer(octets, 1, prefix) == (value, 3)


@pytest.mark.parametrize("size", [1, 2, 126, 127, 128, 300])
def test_names_and_values_of_each_length(size: int) -> None:
    octets = encode_field("n" * size, b"v" * size)
    assert decoder().decode(octets) == [("n" * size, "v" * size)]
    assert octets == literal("n" * size, "v" * size)


def test_secrets_are_never_indexed() -> None:
    for name in ("set-cookie", "authorization", "cookie", "proxy-authorization"):
        assert encode_field(name, b"x")[0] & 0xF0 == 0x10
    assert encode_field("etag", b"x")[0] & 0xF0 == 0
    assert encode_field(":status", b"200") == b"\x88"
    assert encode_field("x-new", b"1") == b"\x00\x05x-new\x011"
