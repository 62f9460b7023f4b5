"""What is said of one response, octet by octet."""

import pytest

from blazeio.errors import LocalProtocolError
from blazeio.wire.framing import Framing, OutgoingMessage, make_chunked

HEAD = b"HTTP/1.1 200 OK\r\n"


def message(
    framing: Framing,
    content_length: int | None = None,
    minor: int = 1,
    *,
    is_persistent: bool = True,
) -> OutgoingMessage:
    return OutgoingMessage(
        HEAD, framing, content_length, minor, is_persistent=is_persistent
    )


def test_head_is_held_until_the_first_content() -> None:
    response = message(Framing.LENGTH, 4)
    assert not response.is_begun
    assert response.content(b"ab") == HEAD + b"Content-Length: 4\r\n\r\nab"
    assert response.is_begun
    assert response.end(b"cd") == b"cd"
    assert response.is_ended


def test_head_is_given_out_once() -> None:
    response = message(Framing.CHUNKED)
    assert response.begin() == HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    assert response.begin() == b""


def test_chunks_end_with_the_last_chunk() -> None:
    response = message(Framing.CHUNKED)
    response.begin()
    assert response.content(b"hello world") == b"B\r\nhello world\r\n"
    assert response.end() == b"0\r\n\r\n"


def test_last_content_and_last_chunk_leave_together() -> None:
    response = message(Framing.CHUNKED)
    response.begin()
    assert response.end(b"a") == b"1\r\na\r\n0\r\n\r\n"


def test_empty_content_is_nothing_and_holds_the_head() -> None:
    response = message(Framing.CHUNKED)
    assert response.content(b"") == b""
    assert not response.is_begun


@pytest.mark.parametrize("framing", [Framing.CHUNKED, Framing.CLOSE])
def test_content_whose_end_is_known_at_once_gets_a_length(framing: Framing) -> None:
    response = message(framing)
    assert response.end(b"abc") == HEAD + b"Content-Length: 3\r\n\r\nabc"
    assert response.is_persistent


def test_nothing_at_all_gets_length_zero() -> None:
    assert message(Framing.CHUNKED).end() == HEAD + b"Content-Length: 0\r\n\r\n"


def test_a_message_without_content_sends_none() -> None:
    response = message(Framing.NONE)
    assert response.content(b"abc") == HEAD + b"\r\n"
    assert response.end(b"abc") == b""


def test_the_length_of_unsent_content_may_be_told() -> None:
    response = message(Framing.NONE, 7)
    assert response.end() == HEAD + b"Content-Length: 7\r\n\r\n"


def test_content_until_close_ends_the_connection() -> None:
    response = message(Framing.CLOSE, minor=0)
    assert response.content(b"abc") == HEAD + b"Connection: close\r\n\r\nabc"
    assert not response.is_persistent
    assert response.end() == b""


def test_http_1_0_is_told_that_the_connection_is_kept() -> None:
    response = message(Framing.LENGTH, 0, minor=0)
    assert b"\r\nConnection: keep-alive\r\n" in response.end()


@pytest.mark.parametrize("minor", [0, 1])
def test_an_end_of_the_connection_is_told(minor: int) -> None:
    response = message(Framing.LENGTH, 0, minor, is_persistent=False)
    assert b"\r\nConnection: close\r\n" in response.end()


def test_more_than_declared_is_refused_and_changes_nothing() -> None:
    response = message(Framing.LENGTH, 3)
    response.content(b"ab")
    with pytest.raises(LocalProtocolError) as caught:
        response.content(b"cd")
    assert str(caught.value) == "1 octets more than the declared Content-Length: 3"
    assert response.end(b"c") == b"c"


def test_more_than_declared_at_the_end_is_refused_and_changes_nothing() -> None:
    response = message(Framing.LENGTH, 3)
    with pytest.raises(LocalProtocolError, match="1 octets more"):
        response.end(b"abcd")
    assert not response.is_begun
    assert response.end(b"abc").endswith(b"\r\n\r\nabc")


def test_less_than_declared_with_a_held_head_changes_nothing() -> None:
    response = message(Framing.LENGTH, 3)
    with pytest.raises(LocalProtocolError, match="1 octets short"):
        response.end(b"ab")
    assert not response.is_begun
    assert response.end(b"abc").endswith(b"\r\n\r\nabc")


def test_less_than_declared_costs_the_connection() -> None:
    response = message(Framing.LENGTH, 5)
    response.begin()
    with pytest.raises(LocalProtocolError) as caught:
        response.end(b"ab")
    assert str(caught.value) == (
        "the message ended 3 octets short of its declared Content-Length: 5"
    )
    assert not response.is_persistent
    with pytest.raises(LocalProtocolError, match="already ended"):
        response.end(b"cde")


def test_a_message_whose_first_chunks_have_left_goes_on_after_them() -> None:
    response = make_chunked(5)
    assert (response.is_begun, response.is_persistent) == (True, True)
    assert response.content(b"ab") == b"2\r\nab\r\n"
    assert response.content_bytes == 7
    assert response.takes_chunks
    assert response.end() == b"0\r\n\r\n"


@pytest.mark.parametrize("framing", list(Framing))
def test_nothing_follows_the_end(framing: Framing) -> None:
    response = message(framing)
    response.end()
    with pytest.raises(LocalProtocolError, match="already ended"):
        response.content(b"a")
    with pytest.raises(LocalProtocolError, match="already ended"):
        response.end()


@pytest.mark.parametrize("framing", [Framing.CHUNKED, Framing.CLOSE, Framing.NONE])
def test_chunks_are_taken_where_no_length_was_declared(framing: Framing) -> None:
    assert message(framing).takes_chunks


@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.NONE])
def test_chunks_are_refused_where_a_length_was_declared(framing: Framing) -> None:
    assert not message(framing, 3).takes_chunks


def test_content_that_went_beside_is_counted() -> None:
    response = message(Framing.LENGTH, 5)
    response.begin()
    response.count_beside(1)
    response.count_beside(2)
    assert response.content_bytes == 3
    with pytest.raises(LocalProtocolError, match="1 octets more"):
        response.count_beside(3)
    assert response.end(b"de") == b"de"


@pytest.mark.parametrize("framing", [Framing.CHUNKED, Framing.LENGTH, Framing.CLOSE])
def test_all_content_is_counted(framing: Framing) -> None:
    response = message(framing, 5 if framing is Framing.LENGTH else None)
    assert (response.is_begun, response.is_ended) == (False, False)
    response.content(b"ab")
    response.content(b"c")
    assert response.content_bytes == 3
    response.end(b"de")
    assert response.content_bytes == 5
    assert response.has_content
    assert response.is_chunked is (framing is Framing.CHUNKED)


def test_a_view_with_nothing_to_add_is_returned_as_it_is() -> None:
    response = message(Framing.LENGTH, 3)
    response.begin()
    view = memoryview(b"abc")
    assert response.content(view) is view


def test_trailers_follow_the_last_chunk() -> None:
    response = message(Framing.CHUNKED)
    response.begin()
    response.trailers = b"a: b\r\nc: d\r\n"
    assert response.end(b"x") == b"1\r\nx\r\n0\r\na: b\r\nc: d\r\n\r\n"


@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CLOSE])
def test_trailers_are_left_out_where_there_are_no_chunks(framing: Framing) -> None:
    response = message(framing, 1 if framing is Framing.LENGTH else None)
    response.begin()
    response.trailers = b"a: b\r\n"
    assert response.end(b"x") == b"x"


def test_head_and_content_are_taken_apart() -> None:
    response = message(Framing.STREAM)
    assert response.take(b"", is_last=False) == (b"", b"")
    assert not response.is_begun
    assert response.take(b"ab", is_last=False) == (HEAD + b"\r\n", b"ab")
    assert response.take(b"", is_last=False) == (b"", b"")
    assert response.take(b"c", is_last=True) == (b"", b"c")
    assert (response.is_ended, response.content_bytes) == (True, 3)
    with pytest.raises(LocalProtocolError, match="already ended"):
        response.take(b"", is_last=False)


def test_what_is_taken_at_once_has_its_length() -> None:
    response = message(Framing.STREAM)
    head = HEAD + b"Content-Length: 2\r\n\r\n"
    assert response.take(b"ab", is_last=True) == (head, b"ab")


@pytest.mark.parametrize(("octets", "is_last"), [(b"abcd", False), (b"ab", True)])
def test_another_length_than_declared_is_not_taken(
    octets: bytes, is_last: bool
) -> None:
    response = message(Framing.LENGTH, 3)
    with pytest.raises(LocalProtocolError, match="declared Content-Length: 3"):
        response.take(octets, is_last=is_last)
