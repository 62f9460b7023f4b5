"""RFC 9112 section 9, RFC 9110 sections 7.8 and 10.1.1: after the message."""

import pytest

from tests.wire.feeding import Message, Reading, read_every_way


def read(fields: bytes, version: bytes = b"1.1") -> Reading:
    line = b"POST / HTTP/" + version + b"\r\nHost: h\r\n"
    return read_every_way(line + fields + b"\r\n")


def one(fields: bytes, version: bytes = b"1.1") -> Message:
    [message] = read(fields, version).messages
    return message


@pytest.mark.parametrize(
    ("fields", "in_1_1", "in_1_0"),
    [
        (b"", True, False),
        (b"Connection: close\r\n", False, False),
        (b"connection: CLOSE\r\n", False, False),
        (b"Connection: foo, close\r\n", False, False),
        (b"Connection: close,foo\r\n", False, False),
        (b"Connection: ,,close\r\n", False, False),
        (b"Connection: foo\r\nConnection: close\r\n", False, False),
        (b"Connection: close\r\nConnection: foo\r\n", False, False),
        (b"Connection: keep-alive, close\r\n", False, False),
        (b"Connection: close\r\nConnection: keep-alive\r\n", False, False),
        (b"Connection: \tclose\t\r\n", False, False),
        (b"Connection: keep-alive\r\n", True, True),
        (b"Connection: Keep-Alive\r\n", True, True),
        (b"Connection: foo , KEEP-ALIVE\r\n", True, True),
        (b"Connection: foo\r\nConnection: keep-alive\r\n", True, True),
        (b"Connection: not-close\r\n", True, False),
        (b"Connection: close-not\r\n", True, False),
        (b"Connection: clo\xadse\r\n", True, False),
        (b"Connection:\r\n", True, False),
        (b"Keep-Alive: timeout=5\r\n", True, False),
        (b"Proxy-Connection: keep-alive\r\n", True, False),
        (b"Proxy-Connection: close\r\n", True, False),
    ],
)
def test_persistence(fields: bytes, in_1_1: bool, in_1_0: bool) -> None:
    assert one(fields).head.is_persistent is in_1_1
    assert one(fields, b"1.0").head.is_persistent is in_1_0


def test_pipelined_requests_are_read_in_order() -> None:
    octets = b"".join(
        b"POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b"
        % (size, size, b"x" * size)
        for size in range(16)
    )
    reading = read_every_way(octets)
    assert [each.head.target for each in reading.messages] == [
        f"/{size}" for size in range(16)
    ]
    assert reading.contents == [b"x" * size for size in range(16)]


def test_a_bad_request_after_a_good_one_is_refused() -> None:
    good = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    reading = read_every_way(good + b"BAD LINE\r\n\r\n" + good)
    assert (reading.status, len(reading.messages)) == (400, 1)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"Expect: 100-continue\r\nContent-Length: 5\r\n", True),
        (b"expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n", True),
        (b"Expect: 100-continue, 100-CONTINUE\r\nContent-Length: 5\r\n", True),
        (b"Expect:\r\nContent-Length: 5\r\n", False),
        (b"Expect: 100-continue\r\n", False),
        (b"Expect: 100-continue\r\nContent-Length: 0\r\n", False),
        (b"Content-Length: 5\r\n", False),
    ],
)
def test_a_continue_is_expected_only_where_content_follows(
    fields: bytes, expected: bool
) -> None:
    assert one(fields).head.expects_continue is expected


def test_http_1_0_expects_nothing() -> None:
    for value in (b"100-continue", b"200-ok"):
        fields = b"Expect: " + value + b"\r\nContent-Length: 5\r\n"
        assert not one(fields, b"1.0").head.expects_continue


@pytest.mark.parametrize(
    "value",
    [b"200-ok", b"100-continue, x", b"100-continue;a=b", b"100", b'"100-continue"'],
)
def test_any_other_expectation_is_refused_with_417(value: bytes) -> None:
    assert read(b"Expect: " + value + b"\r\n").status == 417


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"Upgrade: websocket\r\nConnection: Upgrade\r\n", "websocket"),
        (b"Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\n", "WebSocket"),
        (b"Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: foo/9\r\n", "h2c, foo/9"),
        (b"Upgrade: websocket\r\n", None),
        (b"Upgrade: websocket\r\nConnection: keep-alive\r\n", None),
        (b"Connection: Upgrade\r\n", None),
        (b"Connection: Upgrade\r\nUpgrade:\r\n", None),
    ],
)
def test_upgrade_needs_its_connection_option(
    fields: bytes, expected: str | None
) -> None:
    assert one(fields).head.upgrade == expected
    assert one(fields, b"1.0").head.upgrade is None


def test_the_content_of_a_request_that_offers_an_upgrade_is_read() -> None:
    fields = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    reading = read_every_way(
        b"POST / HTTP/1.1\r\nHost: h\r\n" + fields + b"Content-Length: 5\r\n\r\nhello"
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    )
    assert reading.contents == [b"hello", b""]
