import pytest

from blazeio.client.request import (
    declares_content,
    frame_request,
    merge_fields,
    read_method,
    serialize_request_head,
)
from blazeio.client.url import parse_url
from blazeio.errors import FieldInput, LocalProtocolError
from blazeio.wire.headers import NO_FIELDS, serialize_fields

URL = parse_url("http://h/x")


def lines(fields: FieldInput | None) -> list[str]:
    head = serialize_request_head("GET", URL.request_start, serialize_fields(fields))
    return head.decode().removesuffix("\r\n").split("\r\n")


@pytest.mark.parametrize(
    ("written", "sent"),
    [("get", "GET"), ("Post", "POST"), ("PURGE", "PURGE"), ("purge", "purge")],
)
def test_usual_methods_are_written_in_any_case(written: str, sent: str) -> None:
    assert read_method(written) == sent


@pytest.mark.parametrize("method", ["", "G ET", "GET\r\n", "Ä"])
def test_a_method_is_a_token(method: str) -> None:
    with pytest.raises(LocalProtocolError, match="is not a token"):
        read_method(method)


def test_what_goes_without_saying() -> None:
    start, host, *rest = lines(None)
    assert (start, host) == ("GET /x HTTP/1.1", "Host: h")
    assert rest == ["User-Agent: blazeio", "Accept: */*", "Accept-Encoding: identity"]


def test_what_can_be_decoded_is_asked_for_where_it_is_wanted() -> None:
    head = serialize_request_head("GET", URL.request_start, NO_FIELDS, compress=True)
    assert b"\r\nAccept-Encoding: gzip, deflate, br" in head


def test_each_can_be_said_otherwise() -> None:
    fields = {"host": "other", "ACCEPT": "a/b", "user-agent": "me"}
    said = lines({**fields, "accept-encoding": "identity"})
    assert said == [
        "GET /x HTTP/1.1",
        *("host: other", "ACCEPT: a/b", "user-agent: me", "accept-encoding: identity"),
    ]


@pytest.mark.parametrize(
    ("standing", "fields", "expected"),
    [
        (None, None, b""),
        ({"A": "1"}, None, b"A: 1\r\n"),
        (None, {"A": "1"}, b"A: 1\r\n"),
        ({"A": "1", "B": "2"}, {"a": "3"}, b"B: 2\r\na: 3\r\n"),
        ([("A", "1")], [(b"a", "2"), ("A", "3")], b"a: 2\r\nA: 3\r\n"),
    ],
)
def test_fields_of_a_request_go_before_those_of_its_session(
    standing: FieldInput | None, fields: FieldInput | None, expected: bytes
) -> None:
    assert merge_fields(standing, fields).lines == expected


@pytest.mark.parametrize(
    ("method", "fields", "size", "content", "expected"),
    [
        ("GET", None, 0, b"", b"\r\n"),
        ("DELETE", None, 0, b"", b"\r\n"),
        ("POST", None, 0, b"", b"Content-Length: 0\r\n\r\n"),
        ("GET", None, 2, b"ab", b"Content-Length: 2\r\n\r\nab"),
        ("POST", {"Content-Length": 2}, None, b"ab", b"Content-Length: 2\r\n\r\nab"),
        ("GET", {"Connection": "close"}, 0, b"", b"Connection: close\r\n\r\n"),
    ],
)
def test_framing(
    method: str,
    fields: FieldInput | None,
    size: int | None,
    content: bytes,
    expected: bytes,
) -> None:
    message = frame_request(method, b"", serialize_fields(fields), size)
    assert message.end(content) == expected


def test_content_of_unknown_length_goes_in_chunks() -> None:
    message = frame_request("POST", b"", NO_FIELDS, None)
    octets = bytes(message.content(b"ab"))
    assert octets == b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (None, False),
        ({"Content-Length": 0}, False),
        ({"Content-Length": 5}, True),
        ({"Transfer-Encoding": "chunked"}, True),
    ],
)
def test_content_is_announced_by_its_framing(
    fields: FieldInput | None, expected: bool
) -> None:
    assert declares_content(serialize_fields(fields)) is expected
