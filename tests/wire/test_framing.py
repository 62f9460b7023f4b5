import pytest

from blazeio.errors import RemoteProtocolError
from blazeio.wire.framing import (
    Framing,
    decide_response_framing,
    find_response_framing,
    parse_content_length,
    parse_transfer_encoding,
)


@pytest.mark.parametrize("length", [None, 0, 5])
@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize(
    ("method", "status"),
    [
        *(("HEAD", status) for status in (200, 206, 404, 500)),
        *(("GET", status) for status in (100, 101, 103, 199, 204, 304)),
        ("CONNECT", 200),
        ("CONNECT", 299),
    ],
)
def test_responses_without_content(
    method: str, status: int, minor: int, length: int | None
) -> None:
    framing = decide_response_framing(
        method=method, minor=minor, status=status, content_length=length
    )
    assert framing is Framing.NONE


@pytest.mark.parametrize("method", ["GET", "POST", "head", "OPTIONS"])
@pytest.mark.parametrize("status", [200, 201, 205, 206, 301, 404, 500, 599])
@pytest.mark.parametrize(
    ("minor", "length", "framing"),
    [
        (1, None, Framing.CHUNKED),
        (0, None, Framing.CLOSE),
        (1, 0, Framing.LENGTH),
        (0, 0, Framing.LENGTH),
        (1, 5, Framing.LENGTH),
        (0, 5, Framing.LENGTH),
    ],
)
def test_responses_with_content(
    method: str, status: int, minor: int, length: int | None, framing: Framing
) -> None:
    decided = decide_response_framing(
        method=method, minor=minor, status=status, content_length=length
    )
    assert decided is framing


@pytest.mark.parametrize("status", [300, 405])
def test_a_connect_that_fails_has_content(status: int) -> None:
    decided = decide_response_framing(
        method="CONNECT", minor=1, status=status, content_length=3
    )
    assert decided is Framing.LENGTH


def test_no_framing_field_says_nothing() -> None:
    assert parse_content_length([]) is None
    assert parse_transfer_encoding([], 0) is False


@pytest.mark.parametrize(
    ("values", "status", "message"),
    [
        (["5", "5"], 400, "more than one Content-Length"),
        (["+5"], 400, "Content-Length is not a decimal number: '+5'"),
        (["\xb2"], 400, "Content-Length is not a decimal number: '\xb2'"),
        (["1" * 19], 413, "Content-Length of more than 18 digits"),
    ],
)
def test_bad_lengths(values: list[str], status: int, message: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_content_length(values)
    assert (str(caught.value), caught.value.status_hint) == (message, status)


@pytest.mark.parametrize(
    ("values", "minor", "status", "message"),
    [
        (["chunked"], 0, 400, "Transfer-Encoding in an HTTP/1.0 message"),
        (["gzip"], 1, 400, "Transfer-Encoding does not end in one chunked: 'gzip'"),
        (
            ["chunked", "chunked"],
            1,
            400,
            "Transfer-Encoding does not end in one chunked: 'chunked, chunked'",
        ),
        (["a b, chunked"], 1, 400, "malformed Transfer-Encoding: 'a b, chunked'"),
        (['"a", chunked'], 1, 400, "malformed Transfer-Encoding: '\"a\", chunked'"),
        (["gzip", "chunked"], 1, 501, "unknown transfer coding: 'gzip, chunked'"),
        (["a ;b=c, chunked"], 1, 501, "unknown transfer coding: 'a ;b=c, chunked'"),
        # Only SP and HTAB surround a coding: an intermediary that strips more than
        # that would read chunks where we do not, or the other way round.
        *(
            (
                [coding],
                1,
                400,
                f"Transfer-Encoding does not end in one chunked: {shown}",
            )
            for coding, shown in (
                ("chunked\xa0", "'chunked\\xa0'"),
                ("\x85chunked", "'\\x85chunked'"),
                ("\x0bchunked", "'\\x0bchunked'"),
            )
        ),
        (
            *(["gzip\xa0;a, chunked"], 1, 400),
            "malformed Transfer-Encoding: 'gzip\\xa0;a, chunked'",
        ),
    ],
)
def test_bad_codings(values: list[str], minor: int, status: int, message: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_transfer_encoding(values, minor)
    assert (str(caught.value), caught.value.status_hint) == (message, status)


def test_18_digits_are_read() -> None:
    assert parse_content_length(["9" * 18]) == 999_999_999_999_999_999


@pytest.mark.parametrize(
    ("method", "status", "content_length", "is_chunked", "expected"),
    [
        ("GET", 200, 5, False, Framing.LENGTH),
        ("GET", 200, 0, False, Framing.LENGTH),
        ("GET", 200, None, True, Framing.CHUNKED),
        ("GET", 200, None, False, Framing.CLOSE),
        ("HEAD", 200, 5, False, Framing.NONE),
        ("HEAD", 200, None, True, Framing.NONE),
        ("GET", 204, 5, False, Framing.NONE),
        ("GET", 304, None, False, Framing.NONE),
        ("GET", 103, None, False, Framing.NONE),
        ("CONNECT", 200, 5, False, Framing.NONE),
        ("CONNECT", 403, 5, False, Framing.LENGTH),
    ],
)
def test_how_the_end_of_a_received_response_is_known(
    method: str,
    status: int,
    content_length: int | None,
    is_chunked: bool,
    expected: Framing,
) -> None:
    framing = find_response_framing(
        method=method,
        status=status,
        content_length=content_length,
        is_chunked=is_chunked,
    )
    assert framing is expected
