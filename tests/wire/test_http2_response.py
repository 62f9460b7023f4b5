from hpack import Decoder

from blazeio.wire.http2_heads import (
    NO_TABLE,
    _cached_heads,
    _cached_lines,
    encode_head,
    encode_lines,
)

HEAD = (
    b"HTTP/1.1 200 OK\r\nDate: Mon, 21 Oct 2013 20:13:21 GMT\r\nServer: blazeio\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 27\r\n\r\n"
)


def decode(block: bytes) -> list[tuple[str, str]]:
    fields = Decoder().decode(block, raw=True)
    return [(str(name, "latin-1"), str(value, "latin-1")) for name, value in fields]


def test_a_head_becomes_a_block() -> None:
    status, block = encode_head(HEAD)
    assert status == 200
    assert decode(block) == [
        (":status", "200"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("server", "blazeio"),
        ("content-type", "text/plain"),
        ("content-length", "27"),
    ]


def test_a_head_is_kept_where_it_is_nobodys_own() -> None:
    assert encode_head(HEAD)[1] is encode_head(HEAD)[1]
    own = HEAD[:-2] + b"Set-Cookie: a=b\r\n\r\n"
    assert encode_head(own)[1] is not encode_head(own)[1]
    assert ("set-cookie", "a=b") in decode(encode_head(own)[1])
    assert not [key for key in _cached_heads.recent if b"Set-Cookie" in key]
    assert not [key for key in _cached_lines.recent if b"Set-Cookie" in key]


def test_fields_of_a_connection_are_left_out() -> None:
    head = (
        b"HTTP/1.1 204 No Content\r\nConnection: close\r\nUpgrade: x\r\n"
        b"Keep-Alive: a\r\nTransfer-Encoding: chunked\r\nProxy-Connection: x\r\n"
    )
    assert decode(encode_head(head)[1]) == [(":status", "204")]


def test_no_block_changes_the_table_of_the_peer() -> None:
    decoder = Decoder()
    lines = b"X-A: b\r\nSet-Cookie: c\r\nEtag: d\r\nX-Empty:\r\n"
    fields = decoder.decode(NO_TABLE + encode_lines(lines))
    assert not decoder.header_table.dynamic_entries
    assert [str(name) for name, _ in fields] == ["x-a", "set-cookie", "etag", "x-empty"]


def test_a_status_without_a_reason_and_one_that_is_in_no_table() -> None:
    assert decode(encode_head(b"HTTP/1.1 299 \r\n\r\n")[1]) == [(":status", "299")]


def test_a_length_is_not_kept_for_it_is_soon_another() -> None:
    line = b"Content-Length: 98765"
    _, block = encode_head(b"HTTP/1.1 200 OK\r\n" + line + b"\r\n\r\n")
    assert decode(block)[1] == ("content-length", "98765")
    assert line not in _cached_lines.recent


def test_what_is_long_is_not_kept() -> None:
    start = b"HTTP/1.1 200 OK\r\n"
    for size, is_kept in ((256, True), (257, False)):
        line = b"Server: ".ljust(size, b"a")
        encode_head(start + line + b"\r\n")
        assert (line in _cached_lines.recent) is is_kept
    for size, is_kept in ((512, True), (513, False)):
        head = start + b"Server: a\r\n" * 20 + b"Vary: "
        head = head.ljust(size - 4, b"b") + b"\r\n\r\n"
        assert (encode_head(head)[1] is encode_head(head)[1]) is is_kept


def test_only_blanks_around_a_value_are_left_out() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-A: XaX\r\nX-B: \t b \t\r\nX-C: XcX\r\n\r\n"
    values = [value for _, value in decode(encode_head(head)[1])[1:]]
    assert values == ["XaX", "b", "XcX"]


def test_values_of_any_length_and_octets() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-A: %b\r\nContent-Length: %b\r\n" % (
        b"\xe9" * 5000,
        b"1" * 18,
    )
    decoded = decode(encode_head(head)[1])
    assert decoded[2] == ("content-length", "1" * 18)


def test_what_is_kept_is_bounded() -> None:
    for number in range(2000):
        encode_head(b"HTTP/1.1 200 OK\r\nServer: %d\r\n" % number)
    assert len(_cached_heads) <= 128
    assert len(_cached_lines) <= 1024
