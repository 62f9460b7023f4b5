from collections.abc import AsyncIterator
from typing import Any

import pytest

from blazeio.client.content import FORM, JSON, NO_BODY, TEXT, choose_body
from blazeio.errors import LocalProtocolError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (None, b"")),
        ({"body": b"x"}, (b"x", b"")),
        ({"body": bytearray(b"x")}, (b"x", b"")),
        ({"body": memoryview(b"x")}, (b"x", b"")),
        ({"body": "ü"}, ("ü".encode(), TEXT)),
        ({"json": {"a": [1]}}, (b'{"a":[1]}', JSON)),
        ({"json": None}, (b"null", JSON)),
        ({"form": {"a": "1 2", "b": ["x", "y"]}}, (b"a=1+2&b=x&b=y", FORM)),
        ({"form": [("ü", "&")]}, (b"%C3%BC=%26", FORM)),
    ],
)
def test_what_is_sent_and_as_what(
    given: dict[str, Any], expected: tuple[bytes | None, bytes]
) -> None:
    assert choose_body(**{"body": None, "json": NO_BODY, "form": None, **given}) == (
        expected
    )


async def pieces() -> AsyncIterator[bytes]:
    yield b""


def test_a_stream_stays_one() -> None:
    stream = pieces()
    assert choose_body(stream, NO_BODY, None) == (stream, b"")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((b"x", {}, None), "only one of them"),
        ((None, 1, {"a": "b"}), "only one of them"),
        (
            (5, NO_BODY, None),
            "expected bytes, str, a file or an async iterable, not int",
        ),
        ((["x"], NO_BODY, None), "not list"),
        ((None, object(), None), "json: "),
    ],
)
def test_what_cannot_be_sent_is_the_callers_fault(
    given: tuple[Any, Any, Any], message: str
) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        choose_body(*given)
    assert message in str(caught.value)
