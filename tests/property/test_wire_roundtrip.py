"""What is written is read as it was meant: parse after serialize is identity."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blazeio.errors import LocalProtocolError, RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire.chunked import LAST_CHUNK, ChunkDecoder, serialize_chunk
from blazeio.wire.grammar import is_host, parse_field_line
from blazeio.wire.headers import Headers, serialize_field, serialize_fields
from blazeio.wire.request import parse_head
from tests.property.wire_octets import (
    chunked,
    contents,
    fields,
    framed_contents,
    hosts,
    in_pieces,
    join_head,
    methods,
    names,
    targets,
    tokens,
    values,
)
from tests.wire.feeding import read_messages

pytestmark = pytest.mark.slow
thorough = settings(max_examples=200, deadline=None)
LIMITS = Limits()


@thorough
@given(tokens, values)
def test_a_field_line_is_read_as_it_was_written(name: str, value: str) -> None:
    line = serialize_field(name, value)
    assert line.endswith(b"\r\n")
    assert parse_field_line(line[:-2]) == (name.lower(), value.strip(" \t"))


@thorough
@given(st.text(max_size=8) | st.binary(max_size=8), st.text() | st.binary())
def test_no_name_and_value_make_more_than_one_line(
    name: str | bytes, value: str | bytes
) -> None:
    try:
        line = serialize_field(name, value)
    except (LocalProtocolError, UnicodeDecodeError):
        return
    assert line.count(b"\r") == line.count(b"\n") == 1
    assert b"\0" not in line
    parse_field_line(line[:-2])


@thorough
@given(st.lists(fields, max_size=5))
def test_a_block_is_read_as_it_was_written(pairs: list[tuple[str, str]]) -> None:
    dropped = {"keep-alive", "proxy-connection", "te", "trailer"}
    expected = [
        (name.lower(), value.strip(" \t"))
        for name, value in pairs
        if name.lower() not in dropped
    ]
    lines = serialize_fields(pairs).lines
    head = parse_head(b"GET / HTTP/1.0\r\n" + lines + b"\r\n", LIMITS)
    assert head is not None
    assert head.headers.pairs == expected
    assert serialize_fields(Headers(expected)).lines.lower() == lines.lower()


@thorough
@given(st.lists(contents, max_size=5), st.data())
def test_content_is_decoded_as_it_was_chunked(
    pieces: list[bytes], data: st.DataObject
) -> None:
    octets = b"".join(map(serialize_chunk, pieces)) + LAST_CHUNK
    decoder = ChunkDecoder(LIMITS)
    decoded: list[bytes] = []
    for piece in data.draw(in_pieces(octets)):
        decoder.decode(piece, 0, decoded)
    assert decoder.is_complete
    assert b"".join(decoded) == b"".join(pieces)


@thorough
@given(contents, st.data())
def test_extensions_and_trailers_change_no_content(
    content: bytes, data: st.DataObject
) -> None:
    octets = data.draw(chunked(content)) + b"next"
    decoder = ChunkDecoder(LIMITS)
    decoded: list[bytes] = []
    end = decoder.decode(octets, 0, decoded)
    assert b"".join(decoded) == content
    assert octets[end:] == b"next"


@thorough
@given(
    methods | tokens, targets, hosts, st.lists(fields, max_size=4), framed_contents()
)
def test_a_request_is_read_as_it_was_written(
    method: str,
    target: str,
    host: str,
    pairs: list[tuple[str, str]],
    framing: tuple[list[tuple[str, str]], bytes],
) -> None:
    framing_fields, content = framing
    head_fields = [("Host", host), *framing_fields, *pairs]
    octets = join_head(f"{method} {target} HTTP/1.1", head_fields) + content
    if method == "CONNECT":
        return
    [message] = read_messages([octets]).messages
    head = message.head
    assert (head.method, head.target, head.host) == (method, target, host)
    assert head.target.partition("?")[2] == head.query
    assert head.headers.pairs == [
        (name.lower(), value.strip(" \t")) for name, value in head_fields
    ]
    assert message.is_whole


@thorough
@given(names.filter(lambda name: len(name) > 1), st.integers(1))
def test_whitespace_in_a_name_is_always_refused(name: str, at: int) -> None:
    at = at % (len(name) - 1) + 1
    line = f"{name[:at]} {name[at:]}: v".encode()
    with pytest.raises(RemoteProtocolError):
        parse_field_line(line)


@thorough
@given(st.ip_addresses(v=6))
def test_every_ipv6_address_is_a_host(address: ipaddress.IPv6Address) -> None:
    for text in {str(address), address.exploded, str(address).upper()}:
        assert is_host(f"[{text}]")


@settings(max_examples=1_000, deadline=None)
@given(st.text("0123456789abcdefABCDEF:.g", max_size=24))
def test_an_ip_literal_is_an_ipv6_address(text: str) -> None:
    try:
        ipaddress.IPv6Address(text)
        is_address = True
    except ValueError:
        is_address = False
    assert is_host(f"[{text}]") == is_address
