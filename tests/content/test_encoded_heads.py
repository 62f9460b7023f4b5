"""What a response says of the coding of its content, and which content has none."""

import pytest

from blazeio.content.representation import choose_for
from blazeio.errors import FieldInput
from blazeio.wire.headers import serialize_fields

VARY = b"Vary: Accept-Encoding\r\n"


def choose(
    fields: FieldInput, status: int = 200, accept_encoding: str | None = "gzip"
) -> tuple[bytes, int | None, str | None]:
    block, coding = choose_for(serialize_fields(fields), status, accept_encoding)
    return block.lines, block.content_length, coding


def test_the_coding_is_said_and_the_length_is_not() -> None:
    found = choose({"Content-Type": "text/html", "Content-Length": "7"})
    lines = b"Content-Type: text/html\r\n" + VARY + b"Content-Encoding: gzip\r\n"
    assert found == (lines, None, "gzip")


def test_a_client_without_a_coding_of_ours_is_told_that_there_are_others() -> None:
    fields = {"X": "y", "Content-Length": "7"}
    assert choose(fields, accept_encoding=None) == (b"X: y\r\n" + VARY, 7, None)


@pytest.mark.parametrize("status", [204, 205, 304])
def test_what_has_no_content_has_no_coding_but_the_etag(status: int) -> None:
    lines = b'ETag: W/"a"\r\n' + VARY
    assert choose({"ETag": '"a"'}, status) == (lines, None, "gzip")


@pytest.mark.parametrize(
    "name",
    ["Content-Digest", "content-encoding", "Content-MD5", "Content-Range", "Digest"],
)
def test_what_describes_the_octets_keeps_them_as_they_are(name: str) -> None:
    assert choose({name: "x"}) == (f"{name}: x\r\n".encode() + VARY, None, None)


def test_a_range_stays_as_it_is() -> None:
    assert choose({"ETag": '"a"'}, 206) == (b'ETag: "a"\r\n' + VARY, None, None)


@pytest.mark.parametrize(
    ("value", "coding"),
    [
        ("no-transform", None),
        ("max-age=7, NO-TRANSFORM", None),
        ("max-age=7", "gzip"),
        ("no-transformation", "gzip"),
    ],
)
def test_no_transform_is_kept_to(value: str, coding: str | None) -> None:
    assert choose({"Cache-Control": value})[2] == coding
    assert choose({"X": value})[2] == "gzip"


@pytest.mark.parametrize(
    ("value", "is_added"),
    [
        ("Accept-Encoding", False),
        ("origin, accept-encoding", False),
        ("*", False),
        ("Origin", True),
    ],
)
def test_vary_is_said_once(value: str, *, is_added: bool) -> None:
    lines, _, _ = choose({"vary": value}, accept_encoding=None)
    assert lines == f"vary: {value}\r\n".encode() + VARY * is_added
    lines, _, _ = choose({"X": value}, accept_encoding=None)
    assert lines == f"X: {value}\r\n".encode() + VARY


@pytest.mark.parametrize(
    ("etag", "sent"), [('"a"', 'W/"a"'), ('W/"a"', 'W/"a"'), ("a", "a")]
)
def test_an_etag_becomes_weak(etag: str, sent: str) -> None:
    lines = choose({"X": "y", "Etag": etag})[0]
    assert f"\r\nEtag: {sent}\r\n".encode() in lines
