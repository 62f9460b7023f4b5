import pytest

from tests.support.response import (
    BadResponseError,
    parse_response,
    parse_responses,
)

HEAD = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def test_every_split_of_the_octets_waits_for_the_whole() -> None:
    octets = CHUNKED + b"2;x=1\r\nok\r\n0\r\nSum: 9\r\n\r\n"
    for cut in range(len(octets)):
        assert parse_response(octets[:cut]) is None
    response = parse_response(octets + b"HTTP/1.1 ...")
    assert response is not None
    assert (response.body, response.trailers) == (b"ok", [("sum", "9")])
    assert response.octets == octets


def test_content_length_bounds_the_body() -> None:
    response = parse_response(HEAD + b"Content-Length: 2\r\n\r\nokay")
    assert response is not None
    assert response.text == "ok"
    assert response.field("content-length") == "2"
    assert response.field_all("X-A") == ["1", "2"]


def test_without_a_length_the_end_of_the_connection_ends_it() -> None:
    octets = HEAD + b"\r\nall of it"
    assert parse_response(octets) is None
    response = parse_response(octets, is_ended=True)
    assert response is not None
    assert response.body == b"all of it"


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", b"200"), ("GET", b"204"), ("GET", b"304")]
)
def test_some_responses_have_no_body(method: str, status: bytes) -> None:
    octets = b"HTTP/1.1 " + status + b" \r\nContent-Length: 9\r\n\r\n"
    response = parse_response(octets, method=method)
    assert response is not None
    assert response.body == b""


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        HEAD + b"A : b\r\n\r\n",
        HEAD + b"A: b\nC: d\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
        HEAD + b"Content-Length: x\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"1\r\nab\r\n",
    ],
)
def test_a_response_that_cannot_be_framed_is_an_error(octets: bytes) -> None:
    with pytest.raises(BadResponseError):
        parse_response(octets)


def test_a_pipeline_must_end_with_a_whole_response() -> None:
    octets = HEAD + b"Content-Length: 1\r\n\r\na"
    assert [each.body for each in parse_responses(octets * 2)] == [b"a", b"a"]
    with pytest.raises(BadResponseError, match="cut off"):
        parse_responses(octets + octets[:-1])
